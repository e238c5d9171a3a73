//! What a call does while what it needs is paused.

use super::*;
use crate::time::Wall;

fn pause(target: &str) -> Arc<Pause> {
    let since = Wall::from_millis(0);
    Arc::new(Pause { target: target.parse().unwrap(), reason: "upgrade".into(), by: String::new(), since })
}

fn bed(count: usize) -> Bed {
    Bed::new(EffectClass::SideEffecting, Fleet::of(count, 1))
}

#[test]
fn goes_to_the_instance_that_is_not_paused_and_records_why_not_to_the_other() {
    for seed in 0..20 {
        let mut bed = bed(2);
        bed.dice = Dice::seeded(seed);
        bed.fleet.paused.insert(0, pause("instance/writer/one"));
        let dispatch = bed.sent();
        assert_eq!(dispatch.instance, id(1));
        bed.ends(dispatch, Ok(answer()));
        assert!(bed.finish().is_ok());
        if let [passed] = bed.call.record().sent[0].search.passed_over.first() {
            assert_eq!(passed.rejection.to_string(), "paused: upgrade (instance/writer/one)");
            return;
        }
    }
    panic!("no dice looked at the paused one first");
}

#[test]
fn work_of_a_run_waits_for_the_resumption_and_says_for_what() {
    for whole in [true, false] {
        let mut bed = bed(1);
        if whole {
            bed.fleet.pause = Some(pause("capability/draft"));
        } else {
            bed.fleet.paused.insert(0, pause("agent/writer"));
        }
        let (until, why) = bed.waits();
        assert!(until == 60_000 && why.ends_with_pool_change(), "{why:?}");
        bed.now = 3_000;
        (bed.fleet.pause, bed.fleet.paused) = (None, BTreeMap::new());
        let dispatch = bed.sent();
        bed.ends(dispatch, Ok(answer()));
        assert!(bed.finish().is_ok());
        let search = &bed.call.record().sent[0].search;
        assert_eq!(search.waited, Duration::from_secs(3));
        let why = search.why.as_ref().unwrap().to_string();
        assert!(why.starts_with("paused: upgrade ("), "{why}");
    }
}

#[test]
fn a_wait_for_a_resumption_ends_at_the_deadline_with_its_own_code() {
    let mut bed = bed(1);
    bed.fleet.pause = Some(pause("tenant/acme"));
    bed.waits();
    bed.now = 60_000;
    let failure = bed.finish().unwrap_err();
    assert_eq!((&*failure.code, failure.class, failure.began), (PAUSED, Class::Unavailable, Began::No));
    assert_eq!(failure.message, "no instance could take the call in 60s: paused: upgrade (tenant/acme)");
    assert_eq!(failure.retry_after, None, "the journal's own back-off decides");
    assert_eq!(bed.fleet.given, 0);
}

#[test]
fn a_call_that_somebody_waits_for_fails_at_once_and_says_when_to_ask_again() {
    for count in [0, 2] {
        let mut bed = bed(count);
        bed.call.request.if_paused = IfPaused::Fail;
        bed.fleet.pause = Some(pause("capability/draft"));
        let failure = bed.finish().unwrap_err();
        assert_eq!((&*failure.code, failure.began), (PAUSED, Began::No));
        assert_eq!(failure.message, "paused: upgrade (capability/draft)");
        assert_eq!(failure.retry_after, Some(PAUSED_RETRY));
        assert!(bed.call.into_record().unanswered.is_some(), "the search is on record");
    }
}

#[test]
fn who_is_busy_may_take_the_call_sooner_than_a_pause_ends() {
    let mut bed = bed(2);
    bed.call.request.if_paused = IfPaused::Fail;
    bed.fleet.paused.insert(0, pause("instance/writer/one"));
    let held = bed.fleet.gate(1, ms(0)).unwrap();
    let (_, why) = bed.waits();
    assert_eq!(why, Waiting::NonePermitted { unhealthy: 0, ejected: 0, open: 0, busy: 1 });
    assert_eq!(bed.call.search.passed_over.to_string(), "1 busy, 1 paused");
    assert_eq!(bed.call.search.passed_over.total(), 2);
    bed.fleet.lanes[1].1.abandon(held);
    let dispatch = bed.sent();
    bed.ends(dispatch, Ok(answer()));
    assert!(bed.finish().is_ok());
}

#[test]
fn a_pause_that_comes_between_two_tries_lets_the_first_failure_stand() {
    let mut bed = bed(2);
    bed.call.request.if_paused = IfPaused::Fail;
    let dispatch = bed.sent();
    bed.fleet.pause = Some(pause("capability/draft"));
    bed.ends(dispatch, refused());
    let failure = bed.finish().unwrap_err();
    assert_eq!((&*failure.code, failure.class), ("X", Class::Transport));
    assert_eq!(bed.call.record().sent.len(), 1, "nothing begins once it is paused");
}
