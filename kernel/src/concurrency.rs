//! How many calls one instance takes at once: at most what it declares, and fewer while more only makes them all slower.
//!
//! A declared number is a promise made on a good day. When what lies behind an agent slows down (a shared database, a model
//! that is rate limited), calls queue up inside it: each takes longer, none more gets done. The limit finds that out from
//! latencies alone. It is the gradient of Netflix's `Gradient2Limit` (concurrency-limits,
//! `core/src/main/java/com/netflix/concurrency/limits/limit/Gradient2Limit.java`): the latency now is compared with the
//! latency in the long run; where it has grown beyond a tolerance, the limit shrinks in proportion, else it grows by the
//! square root of itself, the room left for a queue.
//!
//! What differs, and why:
//! - It begins at what is declared and never exceeds it: the author knows more than a guess, and the gradient only takes back.
//! - It compares windows of several calls, not single calls. Answers of a model vary by a factor from input to input.
//! - An instance that says it is busy is believed at once: the limit drops by a tenth, once a window, as in AIMD
//!   (`AIMDLimit.java`, Jacobson's "Congestion Avoidance and Control", 1988).
//! - Failures count for nothing: an agent that fails in a millisecond is not fast.

use std::time::Duration;

use crate::outcome::Class;
use crate::time::Mono;

/// How much slower than in the long run calls may be before the limit shrinks. Netflix takes 1.5 for services; the answers
/// of one agent differ by more than that without anything being wrong.
const TOLERANCE: f64 = 2.0;

/// How far one window moves the limit, as in Gradient2.
const SMOOTHING: f64 = 0.2;

/// Windows in the long run, as in Gradient2: the past is forgotten over ten minutes of traffic at least.
const LONG_RUN: f64 = 600.0;

/// The least time of a window. Gradient2 is fed by windows of a second too.
const WINDOW: Duration = Duration::from_secs(1);

/// The fewest answers in a window: fewer say more about their inputs than about the agent.
const LEAST_ANSWERS: u32 = 10;

/// What is left of the limit when the instance says it is busy.
const BACK_OFF: f64 = 0.9;

/// How fast the long run follows where calls became much faster for good, as in Gradient2.
const FORGET: f64 = 0.95;

/// The limit of one instance for one capability.
#[derive(Debug, Clone)]
pub struct Limit {
    most: u32,
    limit: f64,
    /// Mean latency in the long run, in nanoseconds; nothing before the first window.
    long_run: Option<f64>,
    /// Mean latency in the last window.
    recent: Option<Duration>,
    window: Window,
}

/// What was seen since the limit was last looked at.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    since: Mono,
    answers: u32,
    total: f64,
    /// The most calls under way at the end of one.
    peak: u32,
    said_busy: bool,
}

impl Limit {
    /// As much as is declared.
    #[must_use]
    pub fn new(most: u32, now: Mono) -> Self {
        Self {
            most,
            limit: f64::from(most),
            long_run: None,
            recent: None,
            window: Window { since: now, ..Window::default() },
        }
    }

    /// How many calls may be under way now: 1 to what is declared; none if none is declared.
    #[must_use]
    pub fn now(&self) -> u32 {
        // Between 1 and a `u32`, so that nothing is lost.
        (self.limit as u32).max(1).min(self.most)
    }

    /// What an answer took on average, when enough of them were last seen.
    #[must_use]
    pub const fn latency(&self) -> Option<Duration> {
        self.recent
    }

    /// What is declared.
    #[must_use]
    pub const fn most(&self) -> u32 {
        self.most
    }

    /// Another number is declared. What was found out is kept in proportion.
    pub fn set_most(&mut self, most: u32) {
        if most != self.most {
            self.limit = self.limit * f64::from(most) / f64::from(self.most.max(1));
            self.most = most;
            self.clamp();
        }
    }

    /// A call ended while `under_way` were, itself included.
    pub fn ended(&mut self, class: Class, latency: Duration, under_way: u32, now: Mono) {
        match class {
            Class::Success | Class::Timeout => {
                self.window.answers = self.window.answers.saturating_add(1);
                self.window.total += latency.as_nanos() as f64;
                self.window.peak = self.window.peak.max(under_way);
            }
            Class::Overload if !self.window.said_busy => {
                self.window.said_busy = true;
                self.limit *= BACK_OFF;
                self.clamp();
            }
            Class::Overload
            | Class::Transport
            | Class::AgentError
            | Class::ContractBreach
            | Class::LowConfidence
            | Class::OverBudget
            | Class::CallerFault
            | Class::Unavailable
            | Class::Cancelled => {}
        }
        if now - self.window.since >= WINDOW {
            self.close(now);
        }
    }

    fn close(&mut self, now: Mono) {
        let Window { answers, total, peak, said_busy, .. } = self.window;
        if answers < LEAST_ANSWERS && !said_busy {
            return;
        }
        self.window = Window { since: now, ..Window::default() };
        if answers < LEAST_ANSWERS {
            return;
        }
        let short = (total / f64::from(answers)).max(1.0);
        self.recent = Some(Duration::from_nanos(short as u64));
        let mut long = self.long_run.map_or(short, |long| long + (short - long) / LONG_RUN);
        if long > 2.0 * short {
            long *= FORGET;
        }
        self.long_run = Some(long);
        // An instance that is hardly used tells nothing of what it can take; nor does one that has just said it is full.
        if said_busy || f64::from(peak) < self.limit / 2.0 {
            return;
        }
        let gradient = (TOLERANCE * long / short).clamp(0.5, 1.0);
        let room = self.limit.sqrt();
        self.limit += SMOOTHING * (self.limit * gradient + room - self.limit);
        self.clamp();
    }

    fn clamp(&mut self) {
        let most = f64::from(self.most.max(1));
        self.limit = self.limit.clamp(1.0, most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(n: u64) -> Mono {
        Mono::at(Duration::from_millis(n))
    }

    /// Keeps an instance as busy as its limit lets for so many windows; `latency` tells what a call takes at a load.
    fn busy(limit: &mut Limit, from: u64, windows: u64, latency: impl Fn(u32) -> u64) -> u64 {
        for window in 0..windows {
            let under_way = limit.now();
            for call in 0..20 {
                let taken = Duration::from_millis(latency(under_way));
                limit.ended(Class::Success, taken, under_way, ms(from + window * 1_000 + call * 50));
            }
        }
        from + windows * 1_000
    }

    /// What can do eight things at once: beyond that, calls wait for each other inside it.
    fn eight_at_once(under_way: u32) -> u64 {
        100 * u64::from(under_way.div_ceil(8))
    }

    #[test]
    fn an_instance_that_keeps_its_promise_gets_all_it_declares() {
        let mut limit = Limit::new(32, ms(0));
        assert_eq!(limit.latency(), None);
        busy(&mut limit, 0, 100, |_| 100);
        assert_eq!((limit.now(), limit.latency()), (32, Some(Duration::from_millis(100))));
    }

    #[test]
    fn an_instance_that_slows_down_under_load_gets_fewer_calls_and_all_of_them_again_when_it_recovers() {
        let mut limit = Limit::new(64, ms(0));
        let now = busy(&mut limit, 0, 50, |_| 100);
        assert_eq!(limit.now(), 64);
        let now = busy(&mut limit, now, 30, eight_at_once);
        assert!((8..=24).contains(&limit.now()), "{}", limit.now());
        busy(&mut limit, now, 60, |_| 100);
        assert_eq!(limit.now(), 64);
    }

    #[test]
    fn busy_is_believed_at_once_and_once_a_window() {
        let mut limit = Limit::new(20, ms(0));
        (0..50).for_each(|n| limit.ended(Class::Overload, Duration::ZERO, 20, ms(n)));
        assert_eq!(limit.now(), 18);
        limit.ended(Class::Overload, Duration::ZERO, 18, ms(1_000));
        limit.ended(Class::Overload, Duration::ZERO, 18, ms(1_001));
        assert_eq!(limit.now(), 16);
    }

    #[test]
    fn one_slow_answer_among_few_changes_nothing() {
        let mut limit = Limit::new(4, ms(0));
        for n in 0..9 {
            limit.ended(Class::Success, Duration::from_millis(10), 4, ms(n * 200));
        }
        limit.ended(Class::Success, Duration::from_secs(9), 4, ms(11_000));
        assert_eq!(limit.now(), 4);
    }

    #[test]
    fn an_idle_instance_that_is_slow_for_other_reasons_keeps_its_limit() {
        let mut limit = Limit::new(40, ms(0));
        for (n, latency) in (0..400).map(|n| (n, if n < 200 { 10 } else { 1_000 })) {
            limit.ended(Class::Success, Duration::from_millis(latency), 2, ms(n * 100));
        }
        assert_eq!(limit.now(), 40);
    }

    #[test]
    fn what_was_found_out_survives_a_new_declaration_in_proportion() {
        let mut limit = Limit::new(20, ms(0));
        limit.ended(Class::Overload, Duration::ZERO, 20, ms(0));
        limit.set_most(40);
        assert_eq!((limit.now(), limit.most()), (36, 40));
        limit.set_most(10);
        assert_eq!(limit.now(), 9);
    }

    proptest! {
        #[test]
        fn the_limit_stays_between_one_and_what_is_declared(
            most in 1..500_u32,
            ends in proptest::collection::vec((0..4_u8, 0..20_000_u64, 0..600_u32, 0..3_000_u64), 0..300),
        ) {
            let (mut limit, mut now) = (Limit::new(most, ms(0)), 0);
            for (kind, latency, under_way, step) in ends {
                now += step;
                let class = [Class::Success, Class::Timeout, Class::Overload, Class::AgentError][usize::from(kind)];
                limit.ended(class, Duration::from_millis(latency), under_way, ms(now));
                prop_assert!((1..=most).contains(&limit.now()));
            }
        }
    }
}
