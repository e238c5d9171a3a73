//! Calls over a declared rate.

use super::*;
use crate::rate::{Limits, Rate, Turns};

/// A bed over `count` instances, each of an agent of its own that takes one call a second.
fn slow_bed(count: usize) -> Bed {
    let mut limits = Limits::new(Name::new("default").unwrap());
    let rate = Rate::read("1/s", Some(1)).ok();
    (0..count).for_each(|n| limits.set(format!("agent/a{n}").parse().unwrap(), rate, ms(0)));
    let mut bed = Bed::new(EffectClass::ReadOnly, Fleet::of(count, 10));
    bed.fleet.limits = Some(limits);
    bed
}

fn spend(bed: &mut Bed, index: usize, times: u32) {
    let limits = bed.fleet.limits.as_mut().unwrap();
    limits.admit(&agent(index), &work(), &mut Turns::default(), ms(bed.now)).unwrap();
    for _ in 1..times {
        limits.book(&agent(index), &work(), &mut Turns::default(), SLA * 6, ms(bed.now)).unwrap();
    }
}

#[test]
fn a_call_over_a_rate_waits_for_its_turn_and_its_record_says_for_whose() {
    let mut bed = slow_bed(1);
    spend(&mut bed, 0, 3);
    let (until, why) = bed.waits();
    assert_eq!((until, why.to_string()), (3_000, "over the rate of agent/a0, 1/s".into()));
    assert!(why.ends_with_pool_change() && !why.ends_with_room());
    bed.now = 1_500;
    assert_eq!(bed.waits().0, 3_000, "looking again in between costs no second turn");
    bed.now = 3_000;
    let dispatch = bed.sent();
    bed.ends(dispatch, Ok(answer()));
    assert_eq!(bed.finish(), Ok(answer()));
    let search = &bed.call.record().sent[0].search;
    assert_eq!(search.waited, Duration::from_secs(3));
    assert_eq!(search.why.as_ref().map(ToString::to_string), Some(why.to_string()));
}

#[test]
fn a_call_goes_to_whoever_is_below_its_rate_and_waits_for_whoever_is_first() {
    let mut bed = slow_bed(2);
    spend(&mut bed, 0, 3);
    let dispatch = bed.sent();
    assert_eq!(dispatch.instance, id(1));
    bed.ends(dispatch, Ok(answer()));

    let mut bed = Bed { fleet: std::mem::take(&mut bed.fleet), ..slow_bed(0) };
    assert_eq!(bed.waits().0, 1_000);
    bed.now = 1_000;
    assert_eq!(bed.sent().instance, id(1));
}

#[test]
fn a_call_whose_turn_comes_after_its_deadline_is_told_so_at_once() {
    let mut bed = slow_bed(1);
    spend(&mut bed, 0, 60);
    let failure = bed.finish().unwrap_err();
    assert_eq!(
        (failure.class, failure.code.as_str(), failure.began),
        (Class::Overload, RATE_LIMITED, Began::No)
    );
    assert_eq!(failure.retry_after, Some(Duration::from_secs(60)));
    let search = bed.call.into_record().unanswered.expect("the search is on record");
    assert_eq!(search.passed_over.first()[0].rejection.to_string(), "over the rate of agent/a0, 1/s");
}

#[test]
fn a_turn_that_could_not_be_used_in_time_is_booked_again() {
    let mut bed = slow_bed(1);
    spend(&mut bed, 0, 1);
    assert_eq!(bed.waits().0, 1_000);
    bed.fleet.walled = Some(ms(2_500));
    bed.now = 1_000;
    assert_eq!(bed.waits().1, Waiting::NonePermitted { unhealthy: 0, ejected: 0, open: 0, busy: 1 });
    bed.now = 2_500;
    let _sent = bed.sent();
    assert_eq!(bed.fleet.turns, Turns::default());
}

#[test]
fn who_is_busy_is_waited_for_rather_than_a_turn() {
    let mut bed = slow_bed(2);
    spend(&mut bed, 0, 5);
    bed.fleet.lanes[1].1 = Lane::new(breaker::Breaker::new(breaker::Config::default(), SLA, ms(0)), 0, ms(0));
    let (until, why) = bed.waits();
    assert_eq!((until, why), (5_000, Waiting::NonePermitted { unhealthy: 0, ejected: 0, open: 0, busy: 1 }));
    assert_eq!(bed.fleet.turns, Turns::default(), "no turn is booked that may never be taken");
}
