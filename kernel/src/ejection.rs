//! Outlier ejection: an instance that does clearly worse than its siblings is left out for a while.
//!
//! **What the breaker leaves to it.** A breaker is absolute: it knows one instance and one threshold, acts on the very call
//! that crosses it, and would act the same if the whole world failed. Ejection is relative: it knows all instances of a
//! capability and acts only where one of them differs. An instance that fails four calls in ten is below every sensible
//! threshold; beside siblings that hardly fail at all it is the one that is broken, and its share of the traffic costs
//! something for nothing. If all fail four in ten, what lies behind them is broken, and leaving instances out would only
//! pile the load on fewer.
//!
//! So of the three detectors of Envoy (`source/common/upstream/outlier_detection_impl.cc`) only the relative one is here. "Consecutive
//! failures" and "failure percentage" are absolute, and the breaker has both, with a policy for each capability: a second
//! machine with the same rule and another threshold would only make it hard to say why an instance gets no calls. Nor is
//! slowness judged here: the choice of an instance weighs latency against that of its siblings in every single call
//! ([`crate::balance`]), and inputs of agents differ so much that being slower than others, by itself, is no fault.
//!
//! What counts as a failure, and how much, is what the breaker of that capability says: busy is not dead, a caller's faults
//! never count, contract breaches do. An instance whose breaker is not closed is not judged.
//!
//! # Who is an outlier
//! Every [`INTERVAL`] those with at least [`LEAST_CALLS`] calls are compared, each with all the *others*. Envoy compares with a mean
//! that includes the one in question; among n instances none can then be more than √(n−1) deviations away, so that
//! its 1.9 needs five of them. Pools of agents are smaller. An instance is ejected if its share of successes is below its
//! siblings' mean
//! - by more than [`SPREAD`] standard deviations of the siblings: they do not differ as much among themselves;
//! - by more than [`CHANCE`] standard errors of the two shares: few calls do not make such a difference by accident;
//! - by at least [`LEAST_GAP`]: what fails little more often than others is still worth its place.
//!
//! # How many
//! At most a share of the pool is out at once, one tenth unless set otherwise, as Envoy's. A tenth of a pool of agents is
//! mostly none, so from [`LEAST_POOL`] instances on it is at least one: three is where two agree against one. Of two that
//! differ nobody can say which is odd, and without it half of the capacity would be gone. And none is ejected if that would leave so few that
//! routing panics ([`crate::panic`]).
//!
//! # For how long
//! [`BASE`] × how often in a row, at most [`LONGEST`], spread over the upper half, as in Envoy. Each interval it spends in service without being
//! ejected takes one off the count. It comes back with a slow start ([`crate::balance`]).

use std::fmt;
use std::time::Duration;

use crate::dice::Dice;
use crate::share::{Human, WHOLE};
use crate::time::Mono;

/// How often siblings are compared. Envoy's.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Nobody is judged by fewer calls. Envoy takes 100, for services; agents get tens a minute, and [`CHANCE`] asks for more where
/// the difference is small.
const LEAST_CALLS: f64 = 10.0;

/// The smallest pool, by those who can be judged too: two that agree, and one that does not.
pub const LEAST_POOL: usize = 3;

/// Envoy's `success_rate_stdev_factor`.
const SPREAD: f64 = 1.9;

/// Once in 30,000 times by accident: with ten instances compared six times a minute, once in some eight hours.
const CHANCE: f64 = 4.0;

/// A fifth: below that, what is lost by the failures is less than what is lost with the instance.
const LEAST_GAP: f64 = 0.2;

/// The first ejection. Envoy's.
const BASE: Duration = Duration::from_secs(30);

/// The longest. Envoy's.
const LONGEST: Duration = Duration::from_secs(300);

/// How much may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The most of a pool that is out at once, in basis points: 0 (never any) to 5,000.
    pub share_bp: u32,
}

/// The largest share that can be asked for: more than half are not the outliers.
pub const LARGEST_SHARE: u32 = WHOLE / 2;

/// How the calls of one instance went, the last interval in full, and each one before it half as much as the next.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tally {
    calls: f64,
    failed: f64,
}

/// What is known of one instance of a pool when siblings are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sibling {
    /// Calls may go there; its tally.
    Usable(Tally),
    /// It is unwell, or its breaker is not closed.
    Excluded,
    /// It is ejected already.
    Ejected,
}

/// Why an instance was ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// Calls it was judged by.
    pub calls: u32,
    /// Its share of successes, in basis points.
    pub success_bp: u32,
    /// Its siblings' mean.
    pub siblings_bp: u32,
    /// How many of them.
    pub siblings: u32,
}

/// An instance that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejected {
    /// Since when.
    pub since: Mono,
    /// Until when.
    pub until: Mono,
    /// Why.
    pub reason: Reason,
}

/// One instance's side of it: its tally, and whether it is ejected.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    tally: Tally,
    ejected: Option<Ejected>,
    /// Ejections in a row.
    times: u32,
}

impl Default for Config {
    /// A tenth, as Envoy's `max_ejection_percent`.
    fn default() -> Self {
        Self { share_bp: WHOLE / 10 }
    }
}

impl Config {
    /// How many of a pool may be out at once.
    #[must_use]
    pub fn most(&self, pool: usize) -> usize {
        if self.share_bp == 0 || pool < LEAST_POOL {
            return 0;
        }
        (pool * self.share_bp as usize / WHOLE as usize).max(1)
    }

    /// The outliers among the instances of a pool, by their places, the worst first; no more than may be ejected now.
    /// `least_usable` is how many must stay usable.
    #[must_use]
    pub fn outliers(&self, pool: &[Sibling], least_usable: usize) -> Vec<(usize, Reason)> {
        let ejected = pool.iter().filter(|it| matches!(it, Sibling::Ejected)).count();
        let usable = pool.iter().filter(|it| matches!(it, Sibling::Usable(_))).count();
        let room = self.most(pool.len()).saturating_sub(ejected).min(usable.saturating_sub(least_usable));
        if room == 0 {
            return Vec::new();
        }
        let known = pool.iter().enumerate().filter_map(|(place, it)| match it {
            Sibling::Usable(tally) if tally.calls >= LEAST_CALLS => Some((place, *tally)),
            Sibling::Usable(_) | Sibling::Excluded | Sibling::Ejected => None,
        });
        let known: Vec<(usize, Tally)> = known.collect();
        if known.len() < LEAST_POOL {
            return Vec::new();
        }
        let all = known.iter().fold(Sums::default(), |sums, (_, tally)| sums.with(*tally));
        let judged = known.iter().map(|(place, tally)| (*place, all.without(*tally).judge(*tally)));
        let mut outliers: Vec<(usize, Reason)> =
            judged.filter_map(|(place, reason)| Some((place, reason?))).collect();
        outliers.sort_by_key(|(place, reason)| (reason.success_bp, *place));
        outliers.truncate(room);
        outliers
    }
}

impl Tally {
    /// A call that says something about the agent ended; `weight` is how much of a failure it was, in basis points.
    pub fn add(&mut self, weight: u32) {
        self.calls += 1.0;
        self.failed += f64::from(weight) / f64::from(WHOLE);
    }

    fn success(&self) -> f64 {
        1.0 - self.failed / self.calls
    }

    fn age(&mut self) {
        self.calls /= 2.0;
        self.failed /= 2.0;
    }
}

impl Standing {
    /// A call that says something about the agent ended; see [`Tally::add`].
    pub fn count(&mut self, weight: u32) {
        self.tally.add(weight);
    }

    /// Its tally.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// Whether and until when it is left out.
    #[must_use]
    pub const fn ejected(&self) -> Option<Ejected> {
        self.ejected
    }

    /// It is left out from now on.
    pub fn eject(&mut self, reason: Reason, now: Mono, dice: &mut Dice) -> Ejected {
        self.times = self.times.saturating_add(1);
        let time = dice.half_jitter(BASE.saturating_mul(self.times).min(LONGEST));
        let ejected = Ejected { since: now, until: now + time, reason };
        // What it was ejected for is not held against it when it comes back.
        (self.ejected, self.tally) = (Some(ejected), Tally::default());
        ejected
    }

    /// Whether its time is over: it is back then.
    pub fn handle_timeout(&mut self, now: Mono) -> bool {
        self.ejected.take_if(|ejected| ejected.until <= now).is_some()
    }

    /// It comes back at once: it registered again, or leaving instances out is switched off.
    pub fn release(&mut self) -> bool {
        self.ejected.take().is_some()
    }

    /// An interval is over, and its siblings have been compared with it.
    pub fn age(&mut self) {
        self.tally.age();
        if self.ejected.is_none() {
            self.times = self.times.saturating_sub(1);
        }
    }
}

/// The successes of several instances, to be compared with one more. Rates weigh the same however many calls there were:
/// a busy instance is one instance.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    count: f64,
    rates: f64,
    squares: f64,
    calls: f64,
    failed: f64,
}

impl Sums {
    fn with(self, tally: Tally) -> Self {
        self.moved(tally, 1.0)
    }

    fn without(self, tally: Tally) -> Self {
        self.moved(tally, -1.0)
    }

    fn moved(self, tally: Tally, sign: f64) -> Self {
        let rate = tally.success();
        Self {
            count: self.count + sign,
            rates: self.rates + sign * rate,
            squares: self.squares + sign * rate * rate,
            calls: self.calls + sign * tally.calls,
            failed: self.failed + sign * tally.failed,
        }
    }

    /// Whether an instance does clearly worse than these.
    fn judge(&self, tally: Tally) -> Option<Reason> {
        let mean = self.rates / self.count;
        let spread = (self.squares / self.count - mean * mean).max(0.0).sqrt();
        let together = 1.0 - (self.failed + tally.failed) / (self.calls + tally.calls);
        let chance = (together * (1.0 - together) * (1.0 / tally.calls + 1.0 / self.calls)).max(0.0).sqrt();
        let gap = mean - tally.success();
        let is_outlier = gap >= LEAST_GAP && gap > SPREAD * spread && gap > CHANCE * chance;
        let points = |share: f64| (share * f64::from(WHOLE)).round() as u32;
        is_outlier.then(|| Reason {
            calls: tally.calls.round() as u32,
            success_bp: points(tally.success()),
            siblings_bp: points(mean),
            siblings: self.count.round() as u32,
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Self { calls, success_bp, siblings_bp, siblings } = self;
        let (own, theirs) = (Human(success_bp), Human(siblings_bp));
        write!(f, "{own} of {calls} recent calls went well, {theirs} at its {siblings} siblings")
    }
}

#[cfg(test)]
mod tests;
