use super::*;
use crate::time::Mono;

fn verdict(state: health::State, reason: health::Reason) -> Verdict {
    Verdict { state, reason, since: Mono::at(std::time::Duration::ZERO) }
}

fn polls_failed(last: PollFailure) -> Verdict {
    verdict(health::State::Unhealthy, health::Reason::PollsFailed { in_a_row: 3, last })
}

fn pool(usable: u32, of: u32) -> Usable {
    Usable { usable, of }
}

#[test]
fn below_half_of_the_pool_it_panics_and_at_half_it_does_not() {
    let config = Config::default();
    assert!(config.panics(pool(1, 3)) && config.panics(pool(499, 1_000)) && config.panics(pool(0, 3)));
    assert!(!config.panics(pool(2, 3)) && !config.panics(pool(500, 1_000)));
    assert!(!config.panics(pool(0, 1)) && !config.panics(pool(0, 2)), "one or two may well be down");
    assert!(!Config { threshold_bp: 0 }.panics(pool(0, 10)), "switched off");
}

#[test]
fn each_change_is_told_once_with_its_numbers() {
    let config = Config::default();
    let began = config.change(false, pool(1, 4)).expect("it began");
    assert_eq!(began.to_string(), "1 of 4 instances usable, fewer than 50%: all that hold a lease are used");
    assert_eq!(config.change(true, pool(1, 4)), None);
    assert_eq!(config.change(true, pool(2, 4)), Some(Change::Ended(pool(2, 4))));
    assert_eq!(config.change(false, pool(2, 4)), None);
}

#[test]
fn who_was_never_seen_is_not_counted_and_an_open_breaker_is_unusable() {
    let mut usable = Usable::default();
    let healthy = verdict(health::State::Healthy, health::Reason::PollsPassed(1));
    usable.count(verdict(health::State::Unknown, health::Reason::Registered), breaker::State::Closed, false);
    usable.count(healthy, breaker::State::Closed, false);
    usable.count(healthy, breaker::State::HalfOpen, false);
    usable.count(healthy, breaker::State::Open, false);
    usable.count(healthy, breaker::State::Closed, true);
    usable.count(polls_failed(PollFailure::TimedOut), breaker::State::Closed, false);
    assert_eq!(usable, pool(2, 5));
}

#[test]
fn only_what_looks_unwell_from_here_is_used_in_a_panic() {
    assert_eq!(Fitness::of(polls_failed(PollFailure::TimedOut)), Fitness::LooksUnfit);
    assert_eq!(Fitness::of(polls_failed(PollFailure::Unreachable)), Fitness::LooksUnfit);
    assert_eq!(
        Fitness::of(verdict(health::State::Unhealthy, health::Reason::CallsFailed(3))),
        Fitness::LooksUnfit
    );
    assert_eq!(Fitness::of(polls_failed(PollFailure::NotServing)), Fitness::Unfit, "it says so itself");
    let lapsed = verdict(health::State::Unhealthy, health::Reason::LeaseLapsed);
    assert_eq!(Fitness::of(lapsed), Fitness::Unfit);
    assert_eq!(
        Fitness::of(verdict(health::State::Unknown, health::Reason::Registered)),
        Fitness::Unfit,
        "an address that never answered gets no work"
    );
}

#[test]
fn an_ejection_leaves_enough_for_no_panic() {
    let config = Config::default();
    for of in 3..200_u32 {
        let least = u32::try_from(config.least_usable(of as usize)).expect("small");
        assert!(!config.panics(pool(least, of)) && config.panics(pool(least - 1, of)));
    }
}
