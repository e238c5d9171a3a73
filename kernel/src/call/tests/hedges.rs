//! Calls that are sent to a second instance while the first takes long.

use super::*;
use proptest::prelude::*;

const AFTER: Duration = Duration::from_millis(300);

fn hedged(instances: usize, max: u32) -> Fleet {
    Fleet { hedge: Some(Hedge { after: AFTER, max }), hedges_left: 100, ..Fleet::of(instances, 2) }
}

fn read(instances: usize) -> Bed {
    Bed::new(EffectClass::ReadOnly, hedged(instances, 1))
}

/// The sending, after `millis` in which nothing ended.
fn sent_after(bed: &mut Bed, millis: u64) -> Dispatch<Permit> {
    bed.now += millis;
    bed.sent()
}

/// A loser's permit comes back, as the shell's guard gives it.
fn stopped(bed: &mut Bed, dispatch: Dispatch<Permit>) {
    bed.ends(dispatch, Err(failed(Class::Cancelled, Began::Unknown)));
}

#[test]
fn the_first_good_answer_wins_and_the_record_tells_of_both() {
    let mut bed = read(3);
    let slow = bed.sent();
    assert!(bed.call.is_hedged());
    assert_eq!(bed.waits(), (300, Waiting::UnderWay));
    let hedge = sent_after(&mut bed, 300);
    assert_ne!(hedge.instance, slow.instance);
    assert_eq!((hedge.key, hedge.attempt, hedge.epoch), (slow.key, 1, 2));
    assert_eq!(hedge.timeout, SLA - AFTER, "it shares the time of the attempt");
    assert_eq!(bed.waits(), (10_000, Waiting::UnderWay), "one is declared, and no more are made");
    bed.ends(hedge, Ok(answer()));
    assert!(!bed.call.is_under_way());
    stopped(&mut bed, slow);
    assert_eq!(bed.finish(), Ok(answer()));
    assert_eq!(bed.fleet.in_flight(), 0);
    let sent = bed.call.into_record().sent;
    assert_eq!((sent[0].hedge, sent[1].hedge), (None, Some(AFTER)));
    assert_eq!((sent[0].class, sent[1].class), (Some(Class::Cancelled), Some(Class::Success)));
    assert_eq!(sent[0].failure.as_ref().unwrap().message, "another instance answered first");
}

#[test]
fn a_call_that_is_answered_in_time_is_not_hedged() {
    let mut bed = read(3);
    let only = bed.sent();
    bed.ends(only, Ok(answer()));
    assert!(bed.finish().is_ok());
    assert_eq!(bed.fleet.given, 1);
}

#[test]
fn an_attempt_fails_when_the_last_of_its_sendings_has() {
    let mut bed = read(2);
    let first = bed.sent();
    let hedge = sent_after(&mut bed, 300);
    bed.ends(first, lost_on_the_way());
    assert_eq!(bed.waits().1, Waiting::UnderWay, "the hedge may still be answered");
    bed.ends(hedge, Err(failed(Class::AgentError, Began::Yes)));
    assert_eq!(bed.finish().unwrap_err().class, Class::AgentError);
}

#[test]
fn a_call_that_is_wrong_in_itself_ends_with_its_first_failure() {
    let mut bed = read(2);
    let first = bed.sent();
    let hedge = sent_after(&mut bed, 300);
    bed.ends(hedge, Err(failed(Class::CallerFault, Began::No)));
    assert_eq!(bed.finish().unwrap_err().class, Class::CallerFault);
    stopped(&mut bed, first);
    assert_eq!(bed.fleet.in_flight(), 0);
}

#[test]
fn only_what_is_read_only_is_hedged_and_only_where_it_may_be_repeated() {
    for effect in [EffectClass::Idempotent, EffectClass::SideEffecting] {
        let mut bed = Bed::new(effect, hedged(3, 1));
        let _sent = bed.sent();
        assert_eq!(bed.waits(), (10_000, Waiting::UnderWay), "{effect:?}");
    }
    let mut bed = read(3);
    bed.forbid_retries();
    let _sent = bed.sent();
    assert_eq!(bed.waits(), (10_000, Waiting::UnderWay));
}

#[test]
fn a_hedge_needs_another_instance_with_room_and_leave() {
    let mut alone = read(1);
    let _sent = alone.sent();
    alone.now = 300;
    assert_eq!(alone.waits(), (10_000, Waiting::UnderWay));

    let mut crowded = read(2);
    let first = crowded.sent();
    let other = 1 - first.index;
    let _taken = [(); 2].map(|()| crowded.fleet.gate(other, ms(0)).expect("room"));
    crowded.now = 300;
    assert_eq!(crowded.waits(), (10_000, Waiting::UnderWay), "a hedge does not wait");
    assert_eq!(crowded.fleet.in_flight(), 3);

    let mut refused = read(2);
    refused.fleet.hedges_left = 0;
    let _sent = refused.sent();
    refused.now = 300;
    assert_eq!(refused.waits(), (10_000, Waiting::UnderWay));
    assert_eq!(refused.fleet.given, 1, "nobody is asked without leave");
}

#[test]
fn nobody_is_hedged_onto_whoever_is_paused() {
    let mut bed = read(3);
    let first = bed.sent();
    let others: Vec<usize> = (0..3).filter(|index| *index != first.index).collect();
    let pause = Pause {
        target: "agent/a".parse().unwrap(),
        reason: "upgrade".into(),
        by: String::new(),
        since: crate::time::Wall::from_millis(0),
    };
    bed.fleet.paused.insert(others[0], Arc::new(pause.clone()));
    let hedge = sent_after(&mut bed, 300);
    assert_eq!(hedge.index, others[1]);

    let mut paused = read(3);
    let _sent = paused.sent();
    paused.fleet.pause = Some(Arc::new(pause));
    paused.now = 300;
    assert_eq!(paused.waits(), (10_000, Waiting::UnderWay));
}

#[test]
fn a_hedge_is_a_try_of_the_policy() {
    let policy = |max_attempts| RetryPolicy { max_attempts, ..RetryPolicy::default() };
    for (attempts, hedges, sendings) in [(1, 1, 2), (2, 1, 2), (3, 1, 3), (4, 1, 4), (2, 2, 3), (5, 2, 5)] {
        let mut bed = Bed::with(EffectClass::ReadOnly, hedged(5, hedges), policy(attempts));
        bed.fleet.budget = Budget::new(budget::Config { reserve: 99, ..budget::Config::default() });
        let mut under_way = Vec::new();
        loop {
            match bed.next() {
                Decision::Finish(end) => break assert!(end.is_err()),
                Decision::Send(dispatch) => under_way.push(dispatch),
                Decision::AskLedger { .. } => panic!("nothing is in doubt"),
                Decision::Wait { until, why } => {
                    if why == Waiting::UnderWay && !bed.call.is_hedged() {
                        let slow = under_way.remove(0);
                        bed.ends(slow, Err(failed(Class::AgentError, Began::Yes)));
                    } else {
                        bed.now = u64::try_from(until.since_origin().as_millis()).unwrap() + 1;
                    }
                }
            }
        }
        let sent = bed.call.into_record().sent.len();
        assert_eq!(sent, sendings, "{attempts} attempts, {hedges} hedges each");
    }
}

/// A bed of two, with the breaker of one open for so long that it would let a probe through.
fn proving(probed: usize) -> Bed {
    let mut bed = read(2);
    for _ in 0..5 {
        let permit = bed.fleet.gate(probed, ms(0)).expect("closed");
        let lane = &mut bed.fleet.lanes[probed].1;
        let _change = lane.end(permit, Class::AgentError, SLA, ms(0), &mut bed.dice);
    }
    let opens = bed.fleet.lanes[probed].1.breaker().poll_timeout().expect("open");
    bed.now = u64::try_from(opens.since_origin().as_millis()).unwrap() + 1;
    bed
}

#[test]
fn a_probe_is_not_hedged() {
    let mut bed = proving(0);
    bed.fleet.lanes[1].0 = health::State::Unhealthy;
    let probe = bed.sent();
    assert_eq!(probe.index, 0);
    bed.fleet.lanes[1].0 = health::State::Healthy;
    assert!(!bed.call.is_hedged());
}

#[test]
fn a_hedge_is_no_probe() {
    let mut bed = proving(1);
    bed.fleet.lanes[1].0 = health::State::Unhealthy;
    let first = bed.sent();
    assert_eq!(first.index, 0);
    bed.fleet.lanes[1].0 = health::State::Healthy;
    bed.now += 300;
    assert_eq!(bed.waits().1, Waiting::UnderWay);
    assert!(!bed.call.is_hedged(), "it was looked for");
    assert_eq!(bed.fleet.in_flight(), 1);
}

#[test]
fn whoever_cancels_a_call_cancels_all_of_its_sendings() {
    let mut bed = read(2);
    let first = bed.sent();
    let hedge = sent_after(&mut bed, 300);
    bed.call.cancel(ms(bed.now));
    assert!(!bed.call.is_under_way());
    stopped(&mut bed, first);
    stopped(&mut bed, hedge);
    assert_eq!(bed.finish().unwrap_err().class, Class::Cancelled);
    assert_eq!(bed.fleet.in_flight(), 0);
    let record = bed.call.into_record();
    assert!(record.sent.iter().all(|sent| sent.class == Some(Class::Cancelled)));
}

proptest! {
    #[test]
    fn hedges_never_exceed_their_cap_and_every_permit_comes_back(
        seed: u64,
        instances in 1..6_usize,
        max in 1..=2_u32,
        attempts in 1..6_u32,
        leave in 0..5_u32,
        ends in proptest::collection::vec((0..400_u64, 0..3_usize, 0..4_u8), 1..60),
    ) {
        let policy = RetryPolicy { max_attempts: attempts, ..RetryPolicy::default() };
        let fleet = Fleet { hedges_left: leave, ..hedged(instances, max) };
        let mut bed = Bed::with(EffectClass::ReadOnly, fleet, policy);
        bed.dice = Dice::seeded(seed);
        let mut flying: Vec<Dispatch<Permit>> = Vec::new();
        let mut ends = ends.into_iter();
        for _ in 0..5_000 {
            if !bed.call.is_under_way() {
                std::mem::take(&mut flying).into_iter().for_each(|loser| stopped(&mut bed, loser));
            }
            match bed.next() {
                Decision::Finish(_) => break,
                Decision::Send(dispatch) => {
                    prop_assert!(flying.iter().all(|other| other.instance != dispatch.instance));
                    flying.push(dispatch);
                    prop_assert!(flying.len() <= 1 + max as usize);
                    prop_assert_eq!(bed.fleet.in_flight() as usize, flying.len());
                }
                Decision::AskLedger { .. } => prop_assert!(false, "nothing read-only is in doubt"),
                Decision::Wait { until, why } => {
                    let (passes, which, how) = ends.next().unwrap_or((0, 0, 0));
                    if how > 0 && which < flying.len() {
                        bed.now += passes;
                        let ended = match how {
                            1 => Ok(answer()),
                            2 => Err(failed(Class::AgentError, Began::Yes)),
                            _ => refused(),
                        };
                        let dispatch = flying.remove(which);
                        bed.ends(dispatch, ended);
                    } else {
                        let hedges = bed.call.is_hedged();
                        bed.now = bed.now.max(u64::try_from(until.since_origin().as_millis()).unwrap() + 1);
                        if why == Waiting::UnderWay && !hedges {
                            let dispatch = flying.remove(0);
                            bed.ends(dispatch, Err(failed(Class::Timeout, Began::Unknown)));
                        }
                    }
                }
            }
        }
        std::mem::take(&mut flying).into_iter().for_each(|loser| stopped(&mut bed, loser));
        let end = bed.finish();
        prop_assert_eq!(bed.fleet.in_flight(), 0);
        let record = bed.call.into_record();
        let good = record.sent.iter().filter(|sent| sent.class == Some(Class::Success)).count();
        prop_assert_eq!(good, usize::from(end.is_ok()), "one answer, and no other is heard");
        prop_assert_eq!(bed.fleet.given, record.sent.len());
        prop_assert!(record.sent.iter().all(|sent| sent.class.is_some()));
        let hedges = |attempt| {
            record.sent.iter().filter(move |sent| sent.attempt == attempt && sent.hedge.is_some()).count() as u32
        };
        let made = (1..=attempts).map(hedges).sum::<u32>();
        prop_assert!(made <= leave, "without leave there is none");
        let tries = record.sent.iter().map(|sent| sent.attempt).max().unwrap_or(0) + made;
        prop_assert!(tries <= attempts.max(1 + max), "{tries} tries");
        for attempt in 1..=attempts {
            prop_assert!(hedges(attempt) <= max);
            let sendings = record.sent.iter().filter(|sent| sent.attempt == attempt).count();
            prop_assert!(sendings <= MAX_SENDS as usize);
        }
    }
}
