//! What one decision costs: from a thousand candidates through health, breakers and limits to one of them with its permit.
//!
//! `cargo bench -p mainstay-kernel`. The aim is a median of at most 5 µs while a call can be placed at all; finding out
//! that none of a thousand takes it means asking all of them, and is followed by a wait.

use std::hint::black_box;
use std::time::Duration;

use divan::Bencher;
use mainstay_kernel::breaker::{self, Breaker};
use mainstay_kernel::call::{Call, Decision, IfPaused, Lane, Permit, Pool, Rejection, Request};
use mainstay_kernel::dice::Dice;
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::health::{Reason, State, Verdict};
use mainstay_kernel::id::{AttemptId, InstanceId};
use mainstay_kernel::outcome::Class;
use mainstay_kernel::queue::Refused;
use mainstay_kernel::retry::budget::Leave;
use mainstay_kernel::retry::{Retries, RetryPolicy};
use mainstay_kernel::time::Mono;

const INSTANCES: usize = 1_000;

const SLA: Duration = Duration::from_secs(10);

fn main() {
    divan::main();
}

/// A thousand instances of one capability.
struct Thousand {
    lanes: Vec<Lane>,
    well: Verdict,
    ill: Verdict,
    /// How many of them, from the first, are unhealthy.
    unhealthy: usize,
    now: Mono,
    dice: Dice,
}

impl Thousand {
    fn new() -> Self {
        let now = Mono::at(Duration::from_secs(100));
        let lane = |_| Lane::new(Breaker::new(breaker::Config::default(), SLA, now), 16, now);
        let verdict = |state| Verdict { state, reason: Reason::Registered, since: now };
        Self {
            lanes: (0..INSTANCES).map(lane).collect(),
            well: verdict(State::Healthy),
            ill: verdict(State::Unhealthy),
            unhealthy: 0,
            now,
            dice: Dice::seeded(7),
        }
    }

    /// The first `count` breakers are open for good.
    fn with_open(mut self, count: usize) -> Self {
        for lane in &mut self.lanes[..count] {
            drop(lane.breaker_mut().trip("bench".to_owned(), self.now));
        }
        self
    }

    /// The first `count` breakers are half-open, all their probes under way.
    fn with_probing(mut self, count: usize) -> Self {
        for at in 0..count {
            for _ in 0..5 {
                if let (Ok(permit), _) = self.lanes[at].admit(self.well, false, self.now) {
                    drop(self.lanes[at].end(permit, Class::Transport, SLA, self.now, &mut self.dice));
                }
            }
        }
        self.now = self.now + Duration::from_secs(60);
        for lane in &mut self.lanes[..count] {
            // Probes whose end nobody tells.
            while lane.admit(self.well, false, self.now).0.is_ok() {}
        }
        self
    }

    fn decide(&mut self) -> bool {
        let (now, mut dice) = (self.now, self.dice.clone());
        let mut call = Call::new(Request {
            key: AttemptId::from_bytes([1; 16]),
            effect: EffectClass::ReadOnly,
            timeout: SLA,
            deadline: now + SLA,
            policy: RetryPolicy::NONE,
            if_paused: IfPaused::Fail,
            retries: Retries::Allowed,
        });
        let decision = call.next(self, now, &mut dice);
        self.dice = dice;
        match decision {
            Decision::Send(dispatch) => {
                self.lanes[dispatch.index].abandon(dispatch.permit);
                true
            }
            Decision::Wait { .. } | Decision::AskLedger { .. } | Decision::Finish(_) => false,
        }
    }
}

impl Pool for Thousand {
    type Permit = Permit;

    fn len(&self) -> usize {
        self.lanes.len()
    }

    fn instance(&self, index: usize) -> InstanceId {
        InstanceId::from_bytes((index as u128).to_be_bytes())
    }

    fn score(&self, index: usize, now: Mono) -> f64 {
        self.lanes[index].score(now)
    }

    fn weight(&self, index: usize, now: Mono) -> f64 {
        self.lanes[index].weight(now)
    }

    fn gate(&mut self, index: usize, now: Mono) -> Result<Permit, Rejection> {
        let verdict = if index < self.unhealthy { self.ill } else { self.well };
        self.lanes[index].admit(verdict, false, now).0
    }

    fn queue(&self, _: Duration) -> Result<(), Refused> {
        Ok(())
    }

    fn retry(&mut self, _: InstanceId, _: Mono) -> Leave {
        Leave::Refused
    }
}

fn bench(bencher: Bencher<'_, '_>, mut pool: Thousand, placed: bool) {
    assert_eq!(pool.decide(), placed);
    bencher.bench_local(|| black_box(pool.decide()));
}

#[divan::bench]
fn all_are_well(bencher: Bencher<'_, '_>) {
    bench(bencher, Thousand::new(), true);
}

#[divan::bench]
fn half_of_them_probing(bencher: Bencher<'_, '_>) {
    bench(bencher, Thousand::new().with_probing(INSTANCES / 2), true);
}

#[divan::bench]
fn nine_of_ten_unhealthy(bencher: Bencher<'_, '_>) {
    bench(bencher, Thousand { unhealthy: INSTANCES * 9 / 10, ..Thousand::new() }, true);
}

#[divan::bench]
fn nine_of_ten_open(bencher: Bencher<'_, '_>) {
    bench(bencher, Thousand::new().with_open(INSTANCES * 9 / 10), true);
}

#[divan::bench]
fn all_but_one_open(bencher: Bencher<'_, '_>) {
    bench(bencher, Thousand::new().with_open(INSTANCES - 1), true);
}

#[divan::bench]
fn none_takes_it(bencher: Bencher<'_, '_>) {
    bench(bencher, Thousand::new().with_open(INSTANCES), false);
}
