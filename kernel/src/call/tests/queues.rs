//! Who waits for a turn, and who is told not to.

use super::*;
use crate::queue::Reason;

const REFUSED: queue::Refused =
    queue::Refused { reason: Reason::TooLate, waiting: 40, retry_after: Duration::from_secs(3) };

fn busy_bed(policy: RetryPolicy) -> Bed {
    let mut bed = Bed::with(EffectClass::ReadOnly, Fleet::of(1, 0), policy);
    bed.fleet.refused = Some(REFUSED);
    bed
}

#[test]
fn a_call_whose_turn_cannot_come_in_time_is_told_so_at_once_and_when_to_try_again() {
    let mut bed = busy_bed(RetryPolicy::default());
    let failure = bed.finish().unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Overload, OVERLOADED));
    assert_eq!((failure.began, failure.retry_after), (Began::No, Some(REFUSED.retry_after)));
    assert!(failure.message.starts_with("40 calls wait"), "{}", failure.message);
}

#[test]
fn a_call_that_waits_already_is_not_asked_again() {
    let mut bed = busy_bed(RetryPolicy::NONE);
    bed.fleet.refused = None;
    assert!(bed.waits().1.ends_with_pool_change());
    bed.fleet.refused = Some(REFUSED);
    bed.now += 10;
    assert!(bed.waits().1.ends_with_pool_change());
}

#[test]
fn a_call_that_finds_a_bulkhead_full_looks_again_soon_and_says_whose_it_was() {
    let mut bed = Bed::new(EffectClass::ReadOnly, Fleet::of(1, 1));
    bed.fleet.walled = Some(ms(100));
    assert_eq!(bed.waits(), (100, Waiting::NonePermitted { unhealthy: 0, ejected: 0, open: 0, busy: 1 }));
    bed.now = 100;
    let dispatch = bed.sent();
    bed.ends(dispatch, Ok(answer()));
    let rejection = Rejection::Bulkhead { wall: Wall::Tenant, most: 9, until: ms(100) };
    assert_eq!(rejection.to_string(), "the tenant has 9 calls under way, all it may have");
}
