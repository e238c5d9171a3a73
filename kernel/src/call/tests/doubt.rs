//! What becomes of a side effect that may have happened.

use super::*;

#[test]
fn a_side_effecting_call_with_unknown_outcome_asks_the_ledger_and_is_not_repeated() {
    let mut bed = Bed::with(EffectClass::SideEffecting, Fleet::of(3, 1), RetryPolicy::default());
    let dispatch = bed.sent();
    let instance = dispatch.instance;
    bed.ends(dispatch, lost_on_the_way());
    bed.asked(instance, Ledger::Lost);
    let failure = bed.finish().unwrap_err();
    assert_eq!((failure.code.as_str(), failure.began), (OUTCOME_UNKNOWN, Began::Unknown));
    assert_eq!(
        failure.message,
        format!("it failed; the ledger of {instance} could not tell whether it happened")
    );
    assert_eq!(bed.call.record().gave_up, Some(GiveUp::OutcomeUnknown));
    assert_eq!(bed.fleet.given, 1);
}

#[test]
fn what_the_ledger_recorded_is_the_outcome() {
    let mut bed = Bed::new(EffectClass::SideEffecting, Fleet::of(2, 1));
    let dispatch = bed.sent();
    let instance = dispatch.instance;
    bed.ends(dispatch, lost_on_the_way());
    bed.asked(instance, Ledger::Ended(Ok(answer())));
    assert_eq!(bed.finish(), Ok(answer()));
    let record = bed.call.into_record();
    assert_eq!((record.sent[0].class, record.sent[0].asked), (Some(Class::Success), 1));
}

#[test]
fn a_failure_the_ledger_recorded_is_final_unless_the_policy_repeats_it() {
    let recorded = || Ledger::Ended(Err(failed(Class::AgentError, Began::Yes)));
    let run = |retry_agent_errors| {
        let policy = RetryPolicy { retry_agent_errors, ..RetryPolicy::default() };
        let mut bed = Bed::with(EffectClass::SideEffecting, Fleet::of(1, 1), policy);
        let dispatch = bed.sent();
        bed.ends(dispatch, lost_on_the_way());
        bed.asked(id(0), recorded());
        bed
    };
    let mut bed = run(false);
    assert_eq!(bed.finish().unwrap_err().class, Class::AgentError);
    assert_eq!(bed.call.record().gave_up, Some(GiveUp::SideEffectBegan));
    let mut bed = run(true);
    bed.now = bed.waits().0 + 1;
    let dispatch = bed.sent();
    assert_ne!(dispatch.key, KEY, "the old key would be answered with the old failure");
    bed.ends(dispatch, Ok(answer()));
    assert!(bed.finish().is_ok());
}

#[test]
fn what_the_ledger_never_saw_is_sent_again_under_its_key_to_the_same_instance_only() {
    for _ in 0..20 {
        let mut bed = Bed::new(EffectClass::SideEffecting, Fleet::of(5, 1));
        let dispatch = bed.sent();
        let instance = dispatch.instance;
        bed.ends(dispatch, lost_on_the_way());
        bed.asked(instance, Ledger::NeverSeen);
        let dispatch = bed.sent();
        assert_eq!((dispatch.instance, dispatch.key, dispatch.epoch), (instance, KEY, 2));
        bed.ends(dispatch, refused());
        assert_eq!(bed.finish(), refused(), "nobody else is asked to do it");
    }
}

#[test]
fn a_new_key_is_free_to_go_to_any_instance() {
    let policy = RetryPolicy { retry_agent_errors: true, ..RetryPolicy::default() };
    let mut bed = Bed::with(EffectClass::SideEffecting, Fleet::of(2, 1), policy);
    let dispatch = bed.sent();
    let instance = dispatch.instance;
    bed.ends(dispatch, lost_on_the_way());
    bed.asked(instance, Ledger::NeverSeen);
    let dispatch = bed.sent();
    let index = dispatch.index;
    bed.ends(dispatch, Err(failed(Class::AgentError, Began::Yes)));
    bed.fleet.lanes[index].0 = health::State::Unhealthy;
    bed.now = bed.waits().0 + 1;
    assert_ne!(bed.sent().instance, instance);
}

#[test]
fn while_the_work_goes_on_the_ledger_is_asked_ever_less_often_and_at_most_until_the_deadline() {
    for silence in [Ledger::Running, Ledger::Unreachable] {
        let mut bed = Bed::new(EffectClass::SideEffecting, Fleet::of(1, 1));
        let dispatch = bed.sent();
        bed.ends(dispatch, lost_on_the_way());
        let mut questions = 0;
        let end = loop {
            match bed.next() {
                Decision::AskLedger { .. } => {
                    questions += 1;
                    bed.call.on_ledger_answer(silence.clone(), ms(bed.now), &mut bed.dice);
                }
                Decision::Wait { until, why } => {
                    assert_eq!(why, Waiting::Ledger);
                    bed.now = u64::try_from(until.since_origin().as_millis()).unwrap() + 1;
                }
                Decision::Finish(end) => break end,
                Decision::Send(dispatch) => panic!("repeated: {dispatch:?}"),
            }
        };
        assert_eq!(end.unwrap_err().code, OUTCOME_UNKNOWN);
        assert!((10..40).contains(&questions), "{questions}");
        assert!(
            (39_000..=40_100).contains(&bed.now),
            "the attempt's ten seconds, and thirty more: {}",
            bed.now
        );
    }
}
