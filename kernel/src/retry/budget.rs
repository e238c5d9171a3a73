//! How many retries an agent's callers may make together: a share of the calls that go well.
//!
//! **Why a budget and not only a cap on attempts?** A cap bounds one call. When an agent fails for everybody, each call
//! makes all its attempts, and the load is multiplied just when the agent can bear it least. A budget bounds them all: who
//! succeeds pays in, who retries takes out, and an agent that fails altogether soon gets each call once.
//!
//! The bookkeeping is Finagle's `RetryBudget` (`finagle-core/.../service/RetryBudget.scala`) in the shape tower gave it
//! (`TpsBudget`, `tower/src/retry/budget/tps_budget.rs`): a ring of slots, each with what was paid in less what was taken
//! out while it was the newest. A slot that has left the window no longer counts, so nobody saves up for a storm. A
//! reserve that never runs dry for long lets agents with little traffic be retried at all.
//!
//! **Law:** in any window, at most the reserve and the share of that window's successes is retried at once.
//!
//! Who finds the budget spent and has time, as the run of a workflow has, books a retry for later. Bookings are spaced at
//! the pace of the reserve, so they add at most as much again; a run is slowed down by an outage and not brought down.

use std::time::Duration;

use crate::time::Mono;

/// What a retry costs. Deposits are shares of it in basis points, so that sums are exact.
const COST: i64 = 10_000;

/// Into how many slots the window is cut, as tower does: the past is forgotten a tenth at a time.
const SLOTS: usize = 10;

/// The size of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// What each success pays in, in basis points of a retry.
    pub share_bp: u32,
    /// How long what was paid in can be used.
    pub window: Duration,
    /// Retries in a window that need no success.
    pub reserve: u32,
}

/// The budget of one agent, shared by all who call it.
#[derive(Debug, Clone)]
pub struct Budget {
    config: Config,
    slots: [i64; SLOTS],
    /// The number of the newest slot, counted from the clock's origin.
    newest: u64,
    /// The time of the last retry that was booked.
    booked: Mono,
}

/// What a budget says to a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a retry that was refused must not be made"]
pub enum Leave {
    /// It may be made, and was taken out.
    Granted {
        /// How many more could be made now.
        left: u32,
    },
    /// The budget is spent now, and a retry is booked for later.
    Later {
        /// How much later.
        after: Duration,
    },
    /// The budget is spent, and no retry can be booked in time.
    Refused,
}

impl Default for Config {
    /// A tenth of what goes well, over 10 s, and twenty more: two a second. Finagle and tower give a fifth and ten a second
    /// to calls of milliseconds; a call of an agent costs seconds and money, and what was saved up in good times must not
    /// add a fifth to a storm.
    fn default() -> Self {
        Self { share_bp: 1_000, window: Duration::from_secs(10), reserve: 20 }
    }
}

// === impl Budget ===

impl Budget {
    /// A budget with its reserve and nothing else.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self { config, slots: [0; SLOTS], newest: 0, booked: Mono::at(Duration::ZERO) }
    }

    /// From now on each success pays in so much, in basis points of a retry.
    pub const fn set_share(&mut self, share_bp: u32) {
        self.config.share_bp = share_bp;
    }

    /// A call went well.
    pub fn deposit(&mut self, now: Mono) {
        let share = share(self.config.share_bp);
        let slot = self.slot(now);
        *slot = slot.saturating_add(share);
    }

    /// Asks leave for one retry, which may wait for less than `patience`.
    pub fn withdraw(&mut self, now: Mono, patience: Duration) -> Leave {
        if self.left(now) == 0 {
            return self.book(now, patience);
        }
        let slot = self.slot(now);
        *slot = slot.saturating_sub(COST);
        Leave::Granted { left: self.left(now) }
    }

    fn book(&mut self, now: Mono, patience: Duration) -> Leave {
        let Some(pace) = self.config.window.checked_div(self.config.reserve) else { return Leave::Refused };
        let at = self.booked.max(now) + pace;
        if at - now >= patience {
            return Leave::Refused;
        }
        self.booked = at;
        Leave::Later { after: at - now }
    }

    /// How many retries could be made now.
    pub fn left(&mut self, now: Mono) -> u32 {
        self.slot(now);
        let paid_in = self.slots.iter().fold(0_i64, |sum, slot| sum.saturating_add(*slot));
        let balance = paid_in.saturating_add(i64::from(self.config.reserve).saturating_mul(COST));
        u32::try_from(balance.max(0) / COST).unwrap_or(u32::MAX)
    }

    /// The slot of `now`; those that fell out of the window meanwhile are emptied. A time before the newest slot counts
    /// as that slot.
    fn slot(&mut self, now: Mono) -> &mut i64 {
        let length = (self.config.window.as_nanos() / SLOTS as u128).max(1);
        let number = u64::try_from(now.since_origin().as_nanos() / length).unwrap_or(u64::MAX);
        let passed = number.saturating_sub(self.newest).min(SLOTS as u64);
        for step in 0..passed {
            self.slots[place(number - step)] = 0;
        }
        self.newest = self.newest.max(number);
        &mut self.slots[place(self.newest)]
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(Config::default())
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number % SLOTS as u64).unwrap_or(0)
}

/// No deposit is worth more than the retry of the call it was for.
fn share(basis_points: u32) -> i64 {
    i64::from(basis_points).min(COST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn ms(n: u64) -> Mono {
        Mono::at(Duration::from_millis(n))
    }

    fn granted(budget: &mut Budget, at: u64, asked: usize) -> usize {
        (0..asked).filter(|_| budget.withdraw(ms(at), Duration::ZERO) != Leave::Refused).count()
    }

    #[test]
    fn an_agent_nobody_called_yet_may_be_retried_out_of_the_reserve() {
        let mut budget = Budget::default();
        assert_eq!(budget.withdraw(ms(0), Duration::ZERO), Leave::Granted { left: 19 });
        assert_eq!(granted(&mut budget, 0, 100), 19);
        assert_eq!(granted(&mut budget, 9_999, 100), 0, "the window is not over");
        assert_eq!(granted(&mut budget, 10_000, 100), 20);
    }

    #[test]
    fn ten_successes_pay_for_one_retry() {
        let mut budget = Budget::new(Config { reserve: 0, ..Config::default() });
        (0..9).for_each(|_| budget.deposit(ms(0)));
        assert_eq!(budget.withdraw(ms(0), MINUTE), Leave::Refused, "nothing is kept to be booked");
        budget.deposit(ms(0));
        assert_eq!(budget.withdraw(ms(0), MINUTE), Leave::Granted { left: 0 });
    }

    #[test]
    fn nobody_saves_up_for_longer_than_the_window() {
        let mut budget = Budget::new(Config { reserve: 0, ..Config::default() });
        (0..1_000).for_each(|_| budget.deposit(ms(500)));
        assert_eq!(budget.left(ms(9_999)), 100);
        assert_eq!(budget.left(ms(10_000)), 0);
    }

    #[test]
    fn a_storm_of_failures_adds_at_most_a_tenth_and_the_reserve_to_the_offered_load() {
        let mut budget = Budget::default();
        // A hundred calls a second, well for a minute and then failing for ten seconds, each asking for two retries.
        (0..6_000).for_each(|n| budget.deposit(ms(n * 10)));
        let retried: usize = (0..1_000).map(|n| granted(&mut budget, 60_000 + n * 10, 2)).sum();
        assert!(retried <= 120, "{retried} retries of 1,000 calls");
    }

    #[test]
    fn who_has_time_books_a_retry_and_bookings_keep_the_pace_of_the_reserve() {
        let mut budget = Budget::default();
        granted(&mut budget, 0, 20);
        let book = |budget: &mut Budget, at| match budget.withdraw(ms(at), Duration::from_secs(3)) {
            Leave::Later { after } => Some(at + u64::try_from(after.as_millis()).unwrap()),
            Leave::Granted { .. } | Leave::Refused => None,
        };
        let booked: Vec<_> = (0..8).filter_map(|n| book(&mut budget, n * 10)).collect();
        assert_eq!(booked, [500, 1_000, 1_500, 2_000, 2_500, 3_000], "and none beyond their patience");
        assert_eq!(book(&mut budget, 5_000), Some(5_500), "nobody stands in line any more");
    }

    proptest! {
        #[test]
        fn in_any_window_no_more_is_retried_than_its_successes_and_the_reserve_pay_for(
            share_bp in 0..12_000_u32,
            reserve in 0..5_u32,
            happenings in proptest::collection::vec((0..400_u64, any::<bool>()), 0..300),
        ) {
            let window = Duration::from_secs(1);
            let mut budget = Budget::new(Config { share_bp, window, reserve });
            let (mut now, mut log) = (0, Vec::new());
            for (step, success) in happenings {
                now += step;
                if success {
                    budget.deposit(ms(now));
                    log.push((now, 0, i64::from(share_bp.min(10_000))));
                } else if budget.withdraw(ms(now), Duration::ZERO) != Leave::Refused {
                    log.push((now, COST, 0));
                    // Slots are a tenth of a second: the window reaches back to the edge of one.
                    let from = (now / 100 * 100).saturating_sub(900);
                    let recent = log.iter().filter(|(at, ..)| *at >= from);
                    let (out, paid) = recent.fold((0, 0), |sum, (_, o, p)| (sum.0 + o, sum.1 + p));
                    prop_assert!(out <= paid + i64::from(reserve) * COST, "{out} taken, {paid} paid");
                }
            }
        }

        #[test]
        fn a_budget_says_what_it_has_and_fills_again_in_a_window(
            steps in proptest::collection::vec((0..2_000_u64, any::<bool>()), 0..200),
        ) {
            let (mut budget, mut now) = (Budget::default(), 0);
            for (step, success) in steps {
                now += step;
                if success { budget.deposit(ms(now)) }
                let left = budget.left(ms(now)) as usize;
                prop_assert_eq!(granted(&mut budget, now, 3), left.min(3));
            }
            prop_assert_eq!(budget.left(ms(now + 10_000)), 20);
        }
    }
}
