//! The ladder, rung by rung.

use super::*;

#[test]
fn a_request_that_names_its_target_goes_there() {
    let request = Request { target: Some(target("billing.invoice", None)), ..asks("{}") };
    let mut machine = machine(request);
    assert_eq!(machine.next(&town()), Move::Call(target("billing.invoice", None)));
    let decision = machine.into_decision();
    assert_eq!((decision.rung, decision.passed), (Rung::Target, vec![]));
}

#[test]
fn a_target_that_is_not_there_is_passed_over_with_the_reason() {
    for (named, why) in
        [(target("billing.refnud", None), Why::Unknown), (target("night.work", None), Why::Down)]
    {
        let request = Request { target: Some(named.clone()), ..asks(r#"{"amount": 200}"#) };
        let mut machine = machine(request);
        assert_eq!(machine.next(&town()), Move::Call(target("billing.refund", Some("cashier"))));
        let decision = machine.into_decision();
        assert_eq!((decision.passed[0].why, decision.passed[0].target.clone()), (why, Some(named)));
        assert_eq!((decision.rung, decision.rule), (Rung::Rules, Some(name("big-refunds"))));
    }
}

#[test]
fn a_rule_without_a_value_does_not_hold_and_the_classifier_decides_with_its_reasons() {
    let mut machine = machine(asks(r#"{"question": "where is the parcel"}"#));
    assert_eq!(machine.next(&town()), Move::Call(target("shipping.track", None)));
    let decision = machine.into_decision();
    assert_eq!(decision.rung, Rung::Classifier);
    assert_eq!(passed(&decision), [(Rung::Rules, Why::Error), (Rung::Rules, Why::NoMatch)]);
    let verdict = decision.verdict.unwrap();
    assert_eq!(verdict.features[0].text, "parcel");
    assert_eq!(verdict.ranked[0].capability, "shipping.track");
}

#[test]
fn what_the_classifier_cannot_tell_goes_to_the_router_agent_with_the_candidates_it_may_name() {
    let mut machine = machine(asks(r#"{"question": "the lamp is green"}"#));
    let Move::Ask(question) = machine.next(&town()) else { panic!("the router agent is asked") };
    let input = question.input.value();
    assert_eq!(question.target, target("pick", None));
    assert_eq!(input["text"], "the lamp is green");
    let candidates: Vec<_> =
        input["candidates"].as_array().unwrap().iter().map(|c| c["capability"].clone()).collect();
    assert_eq!(candidates, ["billing.invoice", "billing.refund", "night.work", "shipping.track"]);
    machine.on_router(Ok(&answers(r#"{"capability": "billing.invoice", "confidence": 0.75}"#)), &town());
    assert_eq!(machine.next(&town()), Move::Call(target("billing.invoice", None)));
    let decision = machine.into_decision();
    assert_eq!((decision.rung, decision.confidence_bp), (Rung::Router, Some(7_500)));
}

#[test]
fn a_router_may_name_an_agent_that_has_one_capability() {
    let routed = |answer: &str| {
        let mut machine = machine(asks("{}"));
        assert!(matches!(machine.next(&town()), Move::Ask(_)));
        machine.on_router(Ok(&answers(answer)), &town());
        (machine.next(&town()), machine.into_decision())
    };
    let (to, _) = routed(r#"{"agent": "courier", "confidence": 1}"#);
    assert_eq!(to, Move::Call(target("shipping.track", Some("courier"))));
    for (answer, why) in [
        (r#"{"agent": "cashier", "confidence": 1}"#, Why::Garbage),
        (r#"{"agent": "vault", "confidence": 1}"#, Why::Forbidden),
        (r#"{"agent": "nobody", "confidence": 1}"#, Why::Unknown),
        (r#"{"agent": "courier", "capability": "billing.refund", "confidence": 1}"#, Why::Unknown),
    ] {
        let (to, decision) = routed(answer);
        assert_eq!(to, Move::Call(target("anything", None)), "{answer}");
        assert_eq!(decision.passed.last().map(|passed| passed.why), Some(why), "{answer}");
    }
}

#[test]
fn the_agents_own_measure_of_confidence_counts_where_the_answer_has_none() {
    let mut machine = machine(asks("{}"));
    assert!(matches!(machine.next(&town()), Move::Ask(_)));
    let answer = Answer { confidence_bp: Some(8_000), ..answers(r#"{"capability": "shipping.track"}"#) };
    machine.on_router(Ok(&answer), &town());
    assert_eq!(machine.next(&town()), Move::Call(target("shipping.track", None)));
}

#[test]
fn a_call_that_reached_nobody_goes_on_down_and_one_that_did_is_the_answer() {
    let mut machine = machine(asks(r#"{"amount": 200, "question": "where is the parcel"}"#));
    assert_eq!(machine.next(&town()), Move::Call(target("billing.refund", Some("cashier"))));
    assert!(!machine.on_failed(&fails(Class::AgentError, Began::Yes)));
    assert!(!machine.on_failed(&fails(Class::Timeout, Began::Unknown)));
    assert!(machine.on_failed(&fails(Class::Unavailable, Began::No)));
    assert_eq!(machine.next(&town()), Move::Call(target("shipping.track", None)));
    assert_eq!(machine.decision().passed[0].why, Why::Unserved);
    assert_eq!(machine.decision().rule, None, "the rule did not decide after all");
}

#[test]
fn with_nobody_left_the_static_response_is_the_answer_and_marked() {
    let mut machine = machine(asks(r#"{"amount": 200}"#));
    let response = json(r#"{"answer":"Nobody can say now; please write to us."}"#);
    assert_eq!(machine.next(&Town::default()), Move::Respond(response.clone()));
    assert!(machine.decision().is_fallback() && machine.decision().target.is_none());
    assert_eq!(machine.next(&Town::default()), Move::Respond(response), "however often it is asked");
    let rungs: Vec<_> = passed(machine.decision()).into_iter().map(|(rung, _)| rung).collect();
    assert_eq!(rungs, [Rung::Rules, Rung::Classifier, Rung::Router, Rung::Generalist]);
}

#[test]
fn a_rehearsal_asks_nobody_and_says_so() {
    let decision = machine(asks("{}")).rehearse(&town());
    assert_eq!(decision.target, Some(target("anything", None)));
    assert_eq!(decision.passed.last().map(|passed| passed.why), Some(Why::NotAsked));
}

#[test]
fn a_record_is_read_back_as_it_was_written() {
    let mut machine = machine(asks(r#"{"question": "where is the parcel"}"#));
    assert!(matches!(machine.next(&town()), Move::Call(_)));
    let decision = machine.into_decision();
    let text = serde_json::to_string(&decision).unwrap();
    assert_eq!(serde_json::from_str::<Decision>(&text).unwrap(), decision);
}

#[test]
fn a_mode_leaves_out_the_rungs_that_the_document_says_and_it_is_on_record() {
    let in_mode = |mode| Request { mode, ..asks(r#"{"amount": 200}"#) };
    let degraded = machine(Request { mode: Mode::Degraded, ..asks("{}") }).rehearse(&town());
    assert_eq!(degraded.target, Some(target("anything", None)));
    assert!(passed(&degraded).contains(&(Rung::Router, Why::Mode)), "{degraded:?}");
    let emergency = machine(in_mode(Mode::Emergency)).rehearse(&town());
    assert!(emergency.is_fallback());
    assert!(passed(&emergency).iter().all(|(_, why)| *why == Why::Mode), "{emergency:?}");
    let named = Request { target: Some(target("anything", None)), ..in_mode(Mode::Emergency) };
    assert!(machine(named).rehearse(&town()).is_fallback(), "not even its own target");

    let document = format!("{DOCUMENT}\nmodes: {{ degraded: [rules], emergency: [router, classifier] }}");
    let decide = |mode| Machine::new(routing(&document), None, in_mode(mode)).rehearse(&town());
    assert_eq!(passed(&decide(Mode::Degraded))[0], (Rung::Rules, Why::Mode));
    assert_eq!(decide(Mode::Emergency).rung, Rung::Rules);
}
