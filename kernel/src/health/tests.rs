use super::*;
use proptest::prelude::*;

const PASS: Evidence = Evidence::PollPassed;
const FAIL: Evidence = Evidence::PollFailed(PollFailure::Unreachable);

fn at(secs: u64) -> Mono {
    Mono::at(Duration::from_secs(secs))
}

struct Bed {
    health: Health,
    dice: Dice,
    now: u64,
}

impl Bed {
    fn new() -> Self {
        Self { health: Health::new(Config::default(), at(0)), dice: Dice::seeded(1), now: 0 }
    }

    fn healthy() -> Self {
        let mut bed = Self::new();
        assert!(bed.see(PASS).is_some());
        bed
    }

    fn see(&mut self, evidence: Evidence) -> Option<Change> {
        self.now += 1;
        self.health.observe(evidence, at(self.now), &mut self.dice)
    }

    fn state(&self) -> State {
        self.health.verdict().state
    }

    /// How long until the next poll.
    fn wait(&self) -> Duration {
        self.health.poll_timeout().expect("polled") - at(self.now)
    }

    /// Passes polls until healthy; how many it took.
    fn recover(&mut self) -> u32 {
        (1..100).find(|_| self.see(PASS).is_some()).expect("recovers")
    }
}

#[test]
fn a_fresh_instance_is_polled_at_once_and_routable_after_its_first_success() {
    let mut bed = Bed::new();
    assert_eq!(bed.health.poll_timeout(), Some(at(0)));
    assert!(!bed.health.is_routable());
    let change = bed.see(PASS).expect("a change");
    assert_eq!((change.from, change.to.state), (State::Unknown, State::Healthy));
    assert!(bed.health.is_routable());
}

#[test]
fn a_fresh_instance_that_answers_a_call_needs_no_poll() {
    let mut bed = Bed::new();
    let change = bed.see(Evidence::Call(Class::Success)).expect("a change");
    assert_eq!(change.to.reason, Reason::CallAnswered);
}

#[test]
fn three_failures_in_a_row_fall_and_two_do_not() {
    let mut bed = Bed::healthy();
    assert_eq!((bed.see(FAIL), bed.see(FAIL), bed.see(PASS)), (None, None, None));
    assert_eq!((bed.see(FAIL), bed.see(FAIL)), (None, None));
    let change = bed.see(FAIL).expect("a change");
    assert_eq!(change.to.reason, Reason::PollsFailed { in_a_row: 3, last: PollFailure::Unreachable });
    assert_eq!(change.to.reason.to_string(), "3 failures in a row, last health check: unreachable");
    assert_eq!(change.to.since, at(bed.now));
}

#[test]
fn two_passed_polls_in_a_row_rise_and_one_does_not() {
    let mut bed = Bed::healthy();
    for _ in 0..3 {
        let _ = bed.see(FAIL);
    }
    assert_eq!((bed.see(PASS), bed.see(FAIL), bed.see(PASS)), (None, None, None));
    assert!(bed.see(PASS).is_some());
}

#[test]
fn calls_that_cannot_be_carried_count_towards_the_fall() {
    let mut bed = Bed::healthy();
    assert_eq!(bed.see(FAIL), None);
    assert_eq!(bed.see(Evidence::Call(Class::Transport)), None);
    let change = bed.see(Evidence::Call(Class::Transport)).expect("a change");
    assert_eq!(change.to.reason, Reason::CallsFailed(3));
}

#[test]
fn a_busy_or_failing_agent_is_alive() {
    for class in
        [Class::Overload, Class::AgentError, Class::ContractBreach, Class::Timeout, Class::CallerFault]
    {
        let mut bed = Bed::healthy();
        for _ in 0..50 {
            assert_eq!(bed.see(Evidence::Call(class)), None, "{class:?}");
        }
        assert!(bed.health.is_routable());
    }
}

#[test]
fn a_late_answer_does_not_lift_an_unhealthy_instance() {
    let mut bed = Bed::healthy();
    for _ in 0..3 {
        let _ = bed.see(Evidence::PollFailed(PollFailure::NotServing));
    }
    for _ in 0..10 {
        assert_eq!(bed.see(Evidence::Call(Class::Success)), None);
    }
    assert_eq!(bed.state(), State::Unhealthy);
}

#[test]
fn calls_that_end_while_unhealthy_neither_renew_the_verdict_nor_disturb_the_rise() {
    for class in [Class::Success, Class::Transport] {
        let mut bed = Bed::healthy();
        for _ in 0..3 {
            let _ = bed.see(FAIL);
        }
        let verdict = bed.health.verdict();
        for _ in 0..10 {
            assert_eq!(bed.see(Evidence::Call(class)), None);
        }
        assert_eq!(bed.health.verdict(), verdict);
        assert_eq!((bed.see(PASS), bed.see(Evidence::Call(class))), (None, None));
        assert!(bed.see(PASS).is_some(), "{class:?}");
    }
}

#[test]
fn a_timeout_or_a_broken_call_brings_the_next_poll_forward() {
    for class in [Class::Timeout, Class::Transport] {
        let mut bed = Bed::healthy();
        assert!(bed.wait() >= Duration::from_secs(5));
        let _ = bed.see(Evidence::Call(class));
        assert!(bed.wait() < Duration::from_secs(1), "{class:?}");
    }
}

#[test]
fn a_lapsed_lease_outweighs_passing_polls_until_the_next_registration() {
    let mut bed = Bed::healthy();
    let change = bed.see(Evidence::LeaseLapsed).expect("a change");
    assert_eq!(change.to.reason, Reason::LeaseLapsed);
    assert_eq!(bed.health.poll_timeout(), None);
    assert_eq!((bed.see(PASS), bed.see(PASS), bed.see(Evidence::LeaseLapsed)), (None, None, None));
    let change = bed.see(Evidence::Registered).expect("a change");
    assert_eq!(change.to.state, State::Unknown);
    assert_eq!(bed.wait(), Duration::ZERO);
    assert!(bed.see(PASS).is_some());
}

#[test]
fn registering_again_while_the_lease_is_held_changes_no_verdict_but_is_checked_at_once() {
    let mut bed = Bed::healthy();
    assert_eq!(bed.see(Evidence::Registered), None);
    assert!(bed.health.is_routable());
    assert_eq!(bed.wait(), Duration::ZERO);
}

#[test]
fn doubt_is_settled_at_the_quick_pace_and_the_dead_are_polled_ever_less() {
    let mut bed = Bed::healthy();
    assert!(bed.wait() >= Duration::from_secs(5));
    let _ = bed.see(FAIL);
    assert!(bed.wait() < Duration::from_secs(1));
    for _ in 0..8 {
        let _ = bed.see(FAIL);
    }
    assert!(bed.wait() >= Duration::from_secs(5));
    let _ = bed.see(PASS);
    assert!(bed.wait() < Duration::from_secs(1));
}

#[test]
fn an_instance_that_flaps_must_prove_itself_for_longer_each_time_and_calm_forgives() {
    let mut bed = Bed::healthy();
    let mut rises = Vec::new();
    for _ in 0..6 {
        for _ in 0..3 {
            let _ = bed.see(FAIL);
        }
        rises.push(bed.recover());
    }
    assert_eq!(rises, [2, 4, 8, 16, 16, 16]);
    bed.now += CALM.as_secs();
    for _ in 0..3 {
        let _ = bed.see(FAIL);
    }
    assert_eq!(bed.recover(), 2);
}

#[test]
fn a_poll_under_way_is_not_started_twice_but_a_lost_one_is() {
    let mut bed = Bed::new();
    bed.health.begin_poll(at(0));
    assert_eq!(bed.health.poll_timeout(), Some(at(10)));
}

#[test]
fn a_configuration_that_cannot_work_names_the_value() {
    let secs = Duration::from_secs;
    assert_eq!(Config::try_new(secs(0), secs(0), 3, 2), Err(ConfigError::Interval(secs(0))));
    assert_eq!(Config::try_new(secs(1), secs(2), 3, 2), Err(ConfigError::Quick(secs(2))));
    let err = Config::try_new(secs(10), secs(1), 0, 2).unwrap_err();
    assert_eq!(err.to_string(), "health threshold `fall` is 0: give 1 to 100");
    assert_eq!(Config::try_new(secs(10), secs(1), 3, 2), Ok(Config::default()));
}

fn evidence() -> impl Strategy<Value = Evidence> {
    prop_oneof![
        Just(PASS),
        Just(FAIL),
        Just(Evidence::Call(Class::Success)),
        Just(Evidence::Call(Class::Transport)),
        Just(Evidence::Call(Class::Timeout)),
        Just(Evidence::LeaseLapsed),
        Just(Evidence::Registered),
    ]
}

proptest! {
    #[test]
    fn whatever_happened_a_registered_instance_that_passes_its_polls_becomes_routable(
        history in proptest::collection::vec(evidence(), 0..200),
    ) {
        let mut bed = Bed::new();
        for piece in history {
            let before = bed.state();
            let change = bed.see(piece);
            prop_assert_eq!(change.map(|c| c.from), change.map(|_| before));
            prop_assert_eq!(change.is_some(), before != bed.state());
        }
        let _ = bed.see(Evidence::Registered);
        for _ in 0..16 {
            let _ = bed.see(PASS);
        }
        prop_assert!(bed.health.is_routable());
    }

    #[test]
    fn a_poll_is_always_due_within_one_interval_while_the_lease_is_held(
        history in proptest::collection::vec(evidence(), 0..200),
    ) {
        let mut bed = Bed::new();
        for piece in history {
            let _ = bed.see(piece);
            let due = bed.health.poll_timeout();
            prop_assert!(due.is_none_or(|due| due - at(bed.now) <= Duration::from_secs(10)));
        }
    }
}
