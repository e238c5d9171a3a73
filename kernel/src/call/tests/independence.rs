//! Calls that look at work go to nobody who had a part in it.

use super::*;

#[test]
fn nobody_looks_at_their_own_work() {
    let mut bed = Bed::new(EffectClass::ReadOnly, Fleet::of(3, 1));
    bed.fleet.barred = BTreeSet::from([0, 2]);
    // The one that may is busy: it is waited for, and nobody else does instead.
    let held = bed.fleet.gate(1, ms(0)).unwrap();
    let (_, why) = bed.waits();
    assert_eq!(why, Waiting::NonePermitted { unhealthy: 0, ejected: 0, open: 0, busy: 1 });
    drop(held);
    bed.fleet.barred.insert(1);
    let (until, why) = bed.waits();
    assert_eq!((until, &why), (60_000, &Waiting::NoOtherAgent));
    assert!(why.ends_with_pool_change(), "another agent may come");
    bed.now = 60_000;
    let failure = bed.finish().unwrap_err();
    assert_eq!((failure.class, failure.began), (Class::Unavailable, Began::No));
    assert_eq!(failure.code, NO_OTHER_AGENT);
    assert!(failure.message.ends_with("only agents that had a part in the work offer to look at it"));
    let first = bed.call.into_record().unanswered.expect("the search is on record");
    assert_eq!(first.passed_over.first()[0].rejection, Rejection::Barred);
}

#[test]
fn a_call_that_looks_at_work_goes_to_the_one_that_had_no_part_in_it_however_often_it_moves_on() {
    for seed in 0..20 {
        let mut bed = Bed::new(EffectClass::ReadOnly, Fleet::of(4, 1));
        bed.dice = Dice::seeded(seed);
        bed.fleet.barred = BTreeSet::from([0, 1, 3]);
        assert_eq!(bed.sent().index, 2);
    }
}
