//! Over many seeds: a breaker keeps still where it should, opens where it should, and then keeps traffic away.

use super::*;
use crate::breaker::State;

/// How a minute of traffic went.
#[derive(Debug, Default, PartialEq, Eq)]
struct Minute {
    /// Changes of the breaker.
    changes: u32,
    /// Calls until it opened first.
    until_open: Option<u32>,
    /// Calls since, and how many of them went through.
    after: u32,
    through: u32,
}

/// Sixty seconds of `per_second` calls, of which `failing` in a thousand fail at random.
fn minute(per_second: u32, failing: usize, seed: u64) -> Minute {
    let (mut breaker, mut dice) = (Breaker::new(Config::default(), SLA, ms(0)), Dice::seeded(seed));
    let mut luck = Dice::seeded(!seed);
    let mut minute = Minute::default();
    for call in 1..=60 * per_second {
        let now = ms(u64::from(call) * 1_000 / u64::from(per_second));
        let opened = minute.until_open.is_some();
        minute.after += u32::from(opened);
        let (admission, change) = breaker.admit(now);
        minute.changes += u32::from(change.is_some());
        let Ok(admission) = admission else { continue };
        minute.through += u32::from(opened);
        let class = if luck.below(1_000) < failing { Class::AgentError } else { Class::Success };
        if let Some(change) = breaker.record(admission, class, FAST, now, &mut dice) {
            minute.changes += 1;
            if change.to == State::Open {
                minute.until_open.get_or_insert(call);
            }
        }
    }
    minute
}

#[test]
fn thirty_percent_of_failures_under_a_threshold_of_fifty_do_not_make_it_flap() {
    for per_second in [1, 10, 100] {
        let opened = (0..1_000).filter(|seed| minute(per_second, 300, *seed).changes > 0).count();
        assert!(opened <= 10, "{opened} of 1,000 minutes at {per_second} calls a second");
    }
}

#[test]
fn failures_well_above_the_threshold_open_it_soon_and_all_of_them_at_once() {
    for seed in 0..1_000 {
        assert_eq!(minute(10, 1_000, seed).until_open, Some(5));
        assert!(minute(10, 800, seed).until_open.is_some_and(|calls| calls <= 60), "{seed}");
    }
    let half = (0..1_000).filter(|seed| minute(10, 500, *seed).until_open.is_some()).count();
    assert!(half >= 950, "half of the calls failing open it within a minute in {half} of 1,000");
}

#[test]
fn an_outage_after_good_times_is_noticed_after_five_calls() {
    let mut bed = Bed::new();
    (0..1_000).for_each(|_| assert_eq!(bed.call(Class::Success, FAST), None));
    assert_eq!(bed.fail_in_a_row().reason, Reason::FailedInARow(5));
}

#[test]
fn once_it_is_open_hardly_anything_reaches_a_broken_instance() {
    let minutes: Vec<Minute> = (0..1_000).map(|seed| minute(100, 1_000, seed)).collect();
    let (after, through) = minutes.iter().fold((0, 0), |(after, through), minute| {
        assert!(minute.through * 100 <= minute.after, "{minute:?}");
        (after + minute.after, through + minute.through)
    });
    assert!(through * 1_000 <= after, "{through} of {after}");
}
