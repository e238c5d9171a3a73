//! Who pays for repeating a call, and who may not repeat it at all.

use super::*;

fn spent() -> Budget {
    Budget::new(budget::Config { reserve: 0, ..budget::Config::default() })
}

fn busy() -> Result<Answer, Failure> {
    Err(failed(Class::Overload, Began::No))
}

fn agent_error() -> Result<Answer, Failure> {
    Err(failed(Class::AgentError, Began::Yes))
}

fn gave_up(bed: &Bed) -> Option<GiveUp> {
    bed.call.record().gave_up
}

#[test]
fn a_retry_is_paid_for_and_its_record_says_what_was_left() {
    let mut bed = Bed::with(EffectClass::ReadOnly, Fleet::of(1, 1), RetryPolicy::default());
    let dispatch = bed.sent();
    bed.ends(dispatch, agent_error());
    assert_eq!(bed.waits().1, Waiting::BackOff);
    let retry = bed.call.record().sent[0].retried.unwrap();
    assert_eq!((retry.budget, retry.remaining), (Some(19), Duration::from_millis(59_900)));
    let after = Duration::from_millis(u64::try_from(retry.after.as_millis()).unwrap());
    let text = format!(
        "tried again after {after:?} under a new key; 59.9s of the deadline and 19 of the agent's retry budget were left"
    );
    assert_eq!(retry.to_string(), text);
}

#[test]
fn without_budget_a_failure_is_final_however_many_attempts_the_policy_has() {
    let mut bed = Bed::with(EffectClass::ReadOnly, Fleet::of(3, 1), RetryPolicy::default());
    bed.fleet.budget = spent();
    let dispatch = bed.sent();
    bed.ends(dispatch, agent_error());
    assert!(bed.finish().is_err());
    assert_eq!((gave_up(&bed), bed.call.record().sent.len()), (Some(GiveUp::BudgetSpent), 1));
}

#[test]
fn a_busy_instance_is_passed_on_from_only_if_the_budget_pays() {
    for (budget, sent) in [(Budget::default(), 2), (spent(), 1)] {
        let mut bed = Bed::with(EffectClass::ReadOnly, Fleet::of(2, 1), RetryPolicy::NONE);
        bed.fleet.budget = budget;
        let dispatch = bed.sent();
        bed.ends(dispatch, busy());
        if let Decision::Send(dispatch) = bed.next() {
            bed.ends(dispatch, Ok(answer()));
        }
        assert_eq!(bed.call.record().sent.len(), sent);
    }
}

#[test]
fn an_instance_that_was_not_even_reached_is_passed_on_from_for_nothing() {
    let mut bed = Bed::with(EffectClass::SideEffecting, Fleet::of(2, 1), RetryPolicy::NONE);
    bed.fleet.budget = spent();
    let dispatch = bed.sent();
    bed.ends(dispatch, refused());
    let dispatch = bed.sent();
    bed.ends(dispatch, Ok(answer()));
    assert!(bed.finish().is_ok());
}

#[test]
fn a_call_made_for_another_is_never_repeated_by_us() {
    for end in [busy(), agent_error(), lost_on_the_way()] {
        let mut bed = Bed::with(EffectClass::ReadOnly, Fleet::of(3, 1), RetryPolicy::default());
        bed.forbid_retries();
        let dispatch = bed.sent();
        bed.ends(dispatch, end.clone());
        assert!(bed.finish().is_err());
        assert_eq!((gave_up(&bed), bed.call.record().sent.len()), (Some(GiveUp::Forbidden), 1), "{end:?}");
    }
}
