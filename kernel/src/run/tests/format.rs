//! The text of events, frozen: what was written once is read for ever.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::world::{RUN, answer, at, id, name, record, ruling, text};
use crate::budget::{Exhausted, Limit, Scope};
use crate::chain::Chain;
use crate::context::{Pin, Pins};
use crate::effect::EffectClass;
use crate::id::RunId;
use crate::mode::Mode;
use crate::outcome::{Answer, Began, Class, Failure, Usage};
use crate::retry::Retries;
use crate::run::resume::{Carried, Ended, Opened, Past};
use crate::run::{
    Attempt, AttemptRecord, EndState, Event, Finding, Graft, Left, Offered, Remedied, Resumed, Ruling,
    SkipReason, Soundness, Transition, Undo, Verdict, Verified, Way, WorkflowRef,
};
use crate::workflow::{Call, StepId, Sub, Work, WorkflowHash};

/// One transition a line, as first written. Lines are added, never changed.
const WRITTEN: &str = include_str!("journal.v1.jsonl");

fn events() -> Vec<Event> {
    let failure = Failure {
        class: Class::Overload,
        code: "AGENT_BUSY".to_owned(),
        message: "at its limit".to_owned(),
        began: Began::No,
        retry_after: Some(Duration::from_millis(1_500)),
    };
    let attempt = Attempt::first(RUN, "draft");
    let done = record(attempt, at(1_000), Duration::from_micros(2_500), Class::Success);
    let failed = AttemptRecord {
        agent: String::new(),
        instance: String::new(),
        class: Class::Overload,
        failure: Some(failure.clone()),
        usage: Usage::default(),
        waited: Duration::from_micros(7),
        notes: vec!["one: breaker open".to_owned()],
        ..done.clone()
    };
    let hedge = AttemptRecord { hedge_after: Some(Duration::from_millis(300)), ..done.clone() };
    let step = || id("draft");
    vec![
        Event::RunStarted {
            tenant: name("default"),
            workflow: workflow("answer"),
            subs: Vec::new(),
            input: text(r#"{"question":"why","n":1.0}"#),
            intent: "to know why".into(),
            labels: Arc::new(BTreeMap::from([("team".to_owned(), "docs".to_owned())])),
            idempotency_key: Some("key-1".into()),
            deadline: at(61_000),
            retries: Retries::Allowed,
            chain: Chain::default(),
            priority: crate::priority::Priority::default(),
            estimates: Arc::default(),
            context: Pins::default(),
            resumed: None,
        },
        Event::StepStarted { step: step(), attempt, input: Some(text("null")) },
        Event::AttemptFailed {
            step: step(),
            failure: failure.clone(),
            next: attempt.next(RUN, "draft", true),
            retry_at: at(1_200),
            reason: "attempt 2 of 3 follows".to_owned(),
            attempts: vec![Arc::new(failed)],
        },
        Event::StepStarted { step: step(), attempt: attempt.next(RUN, "draft", true), input: None },
        Event::StepCompleted {
            step: step(),
            answer: Arc::new(Answer {
                usage: Usage { tokens_in: 10, tokens_out: 1, cost_nano_usd: 5, agent_micros: 100 },
                confidence_bp: Some(9_000),
                warnings: vec!["stale".to_owned()],
                ..answer(r#"{"text":"because"}"#)
            }),
            attempts: vec![Arc::new(done.clone())],
        },
        Event::StepFailed {
            step: step(),
            failure: failure.clone(),
            reason: "every attempt".to_owned(),
            attempts: vec![],
            effect_stands: false,
        },
        Event::StepSkipped { step: step(), reason: SkipReason::RunEnded },
        Event::StepCancelled { step: step() },
        Event::CancelRequested { reason: "enough".into() },
        Event::RunEnded { state: EndState::Completed, output: Some(text("null")), failure: None, step: None },
        Event::RunEnded {
            state: EndState::Failed,
            output: None,
            failure: Some(failure.clone()),
            step: Some(step()),
        },
        Event::RunEnded { state: EndState::Cancelled, output: None, failure: None, step: None },
        Event::RunEnded { state: EndState::TimedOut, output: None, failure: None, step: None },
        Event::StepSkipped { step: step(), reason: SkipReason::Mode(Mode::Degraded) },
        Event::StepOpened { step: step(), input: text("[1,2]"), until: Some(at(9_000)), rounds: None },
        Event::StepOpened { step: step(), input: text("[]"), until: None, rounds: None },
        Event::StepsGrafted {
            step: step(),
            grafts: vec![Arc::new(graft("draft/0", &[])), Arc::new(graft("draft/1", &["draft/0"]))],
        },
        Event::StepSkipped { step: step(), reason: SkipReason::NotNeeded },
        Event::SignalReceived { name: name("paid"), value: text("null") },
        Event::StepAnswered { step: step(), answer: Arc::new(ruling(Verdict::Approved)) },
        Event::StepAnswered {
            step: step(),
            answer: Arc::new(Ruling {
                verdict: Verdict::Corrected,
                value: Some(text("null")),
                by: String::new(),
                comment: "shorter".to_owned(),
            }),
        },
        Event::StepCompleted {
            step: step(),
            answer: Arc::new(answer("null")),
            attempts: vec![Arc::new(hedge)],
        },
        Event::RunStarted {
            tenant: name("default"),
            workflow: workflow("answer"),
            subs: vec![workflow("quote")],
            input: text("null"),
            intent: "".into(),
            labels: Arc::default(),
            idempotency_key: None,
            deadline: at(61_000),
            retries: Retries::Allowed,
            chain: Chain::default(),
            priority: crate::priority::Priority::default(),
            estimates: Arc::default(),
            context: Pins::default(),
            resumed: None,
        },
        Event::StepsGrafted {
            step: step(),
            grafts: vec![Arc::new(Graft {
                work: Work::Sub(Sub { workflow: name("deeper"), version: Some(2) }),
                ..graft("draft/1_0", &[])
            })],
        },
        Event::RunStarted {
            tenant: name("default"),
            workflow: workflow("answer"),
            subs: Vec::new(),
            input: text("null"),
            intent: "".into(),
            labels: Arc::default(),
            idempotency_key: None,
            deadline: at(61_000),
            retries: Retries::Allowed,
            chain: Chain::default(),
            priority: crate::priority::Priority::default(),
            context: Pins::default(),
            resumed: None,
            estimates: Arc::new(BTreeMap::from([(name("text.draft"), 1_500_000)])),
        },
        Event::StepSkipped {
            step: step(),
            reason: SkipReason::Budget(Exhausted {
                scope: Scope::Run,
                limit: Limit::Usd,
                most: 500_000_000,
                left: 1_000_000,
                wanted: 1_500_000,
            }),
        },
        started_with_context(),
        Event::StepFailed {
            step: step(),
            failure: failure.clone(),
            reason: "its answer was not taken".to_owned(),
            attempts: vec![],
            effect_stands: true,
        },
        Event::RemedyBegun {
            step: step(),
            remedy: 1,
            failure: failure.clone(),
            reason: "every attempt".to_owned(),
            answer: Some(Arc::new(answer("null"))),
            until: Some(at(9_000)),
            attempts: vec![],
        },
        Event::RemedyBegun {
            step: step(),
            remedy: 0,
            failure: failure.clone(),
            reason: "every attempt".to_owned(),
            answer: None,
            until: None,
            attempts: vec![],
        },
        Event::StepInformed {
            step: step(),
            finding: Arc::new(Finding::Offers(vec![Offered {
                capability: name("text.draft"),
                description: "drafts".to_owned(),
                input_schema: text("true"),
                output_schema: text(r#"{"type":"object"}"#),
                effect: EffectClass::Idempotent,
            }])),
        },
        Event::StepInformed {
            step: step(),
            finding: Arc::new(Finding::Way(Way {
                decision: "dec_1".to_owned(),
                rung: "rules".to_owned(),
                call: Some(Call { agent: Some(name("writer")), ..Call::of(name("text.draft")) }),
                response: None,
            })),
        },
        Event::StepInformed {
            step: step(),
            finding: Arc::new(Finding::Way(Way {
                decision: String::new(),
                rung: "static".to_owned(),
                call: None,
                response: Some(text("null")),
            })),
        },
        Event::StepInformed { step: step(), finding: Arc::new(Finding::Nothing(failure.clone())) },
        Event::PlanAccepted { step: step(), plan: "name: plan".into() },
        Event::UndoBegun {
            state: EndState::Cancelled,
            failure: None,
            step: None,
            until: at(9_000),
            undos: vec![Arc::new(Undo { id: StepId::path("draft/undo").unwrap(), input: text("null") })],
            left: vec![Left { step: step(), why: "nobody can tell".to_owned() }],
        },
        Event::UndoBegun {
            state: EndState::Failed,
            failure: Some(failure.clone()),
            step: Some(step()),
            until: at(9_000),
            undos: vec![],
            left: vec![],
        },
        Event::StepOpened { step: step(), input: text("1"), until: None, rounds: Some(3) },
        Event::StepsGrafted {
            step: step(),
            grafts: vec![Arc::new(Graft {
                work: Work::Call(Call { not_by: vec![name("writer")], ..Call::of(name("text.check")) }),
                ..graft("draft/verify_1", &[])
            })],
        },
        Event::VerificationBegun {
            step: step(),
            answer: Arc::new(answer("1.0")),
            repairs: 1,
            attempts: vec![Arc::new(AttemptRecord {
                side_effecting: true,
                refused: "ab".to_owned(),
                ..done
            })],
        },
        Event::VerdictReached {
            step: step(),
            verified: Arc::new(Verified {
                verdict: Soundness::Refused,
                score_bp: Some(4_000),
                grounds: vec!["no sources".to_owned()],
                by: "checker".to_owned(),
            }),
        },
        Event::VerdictReached {
            step: step(),
            verified: Arc::new(Verified {
                verdict: Soundness::Passed,
                score_bp: None,
                grounds: vec![],
                by: String::new(),
            }),
        },
        Event::RepetitionNoticed { step: step(), capability: name("text.draft"), times: 3 },
        started_from_another(failure),
        started_on_behalf(),
    ]
}

fn workflow(called: &str) -> WorkflowRef {
    WorkflowRef { name: name(called), version: 3, hash: WorkflowHash::from_bytes([0xab; 32]) }
}

fn started_on_behalf() -> Event {
    let mut event = started_with_context();
    if let Event::RunStarted { chain, .. } = &mut event {
        *chain = "planner/trip.plan, finder/flights.search".parse().unwrap();
    }
    event
}

fn started_with_context() -> Event {
    Event::RunStarted {
        tenant: name("default"),
        workflow: workflow("answer"),
        subs: Vec::new(),
        input: text("{}"),
        intent: "".into(),
        labels: Arc::default(),
        idempotency_key: None,
        deadline: at(61_000),
        retries: Retries::Allowed,
        chain: Chain::default(),
        priority: crate::priority::Priority::default(),
        estimates: Arc::default(),
        context: Pins::new(vec![Pin {
            of: "".into(),
            name: "prices".into(),
            key: "market/prices".parse().unwrap(),
            version: 7,
            at: at(900),
            value: text(r#"{"eur":1.10}"#),
        }]),
        resumed: None,
    }
}

fn started_from_another(failure: Failure) -> Event {
    let Event::RunStarted { tenant, workflow, subs, input, intent, labels, deadline, retries, .. } =
        started_with_context()
    else {
        unreachable!()
    };
    let step = || id("draft");
    let opened = Opened {
        step: step(),
        input: text("[1]"),
        finding: Some(Arc::new(Finding::Offers(vec![]))),
        grafts: vec![Arc::new(graft("draft/0", &[]))],
        plan: Some("name: plan".into()),
    };
    let ended = Past {
        step: step(),
        state: Ended::Completed,
        input: Some(text("null")),
        output: Some(text("null")),
        warnings: vec!["stale".to_owned()],
        failure: None,
        effect_stands: false,
        skipped: None,
        remedied: Some(Remedied { remedy: 1, failure: failure.clone(), answer: None }),
        started_at: Some(at(100)),
        ended_at: Some(at(200)),
    };
    let failed = Past { state: Ended::Failed, output: None, failure: Some(failure), ..ended.clone() };
    let failed = Past { effect_stands: true, remedied: None, input: None, warnings: vec![], ..failed };
    let skipped = Past { state: Ended::Skipped, skipped: Some(SkipReason::RunEnded), ..failed.clone() };
    let skipped = Past { failure: None, effect_stands: false, started_at: None, ..skipped };
    let cut = Past { state: Ended::Cancelled, skipped: None, ended_at: None, ..skipped.clone() };
    let ended = [ended, failed, skipped, cut].map(|past| Arc::new(Carried::Ended(past)));
    let resumed = Resumed {
        from: RunId::from_bytes([9; 16]),
        signals: Arc::new(BTreeMap::from([(name("go"), text("null"))])),
        carried: [Arc::new(Carried::Opened(opened))].into_iter().chain(ended).collect(),
    };
    Event::RunStarted {
        tenant,
        workflow,
        subs,
        input,
        intent,
        labels,
        idempotency_key: None,
        deadline,
        retries,
        chain: Chain::default(),
        priority: crate::priority::Priority::default(),
        estimates: Arc::default(),
        context: Pins::default(),
        resumed: Some(Arc::new(resumed)),
    }
}

fn graft(id: &str, after: &[&str]) -> Graft {
    let path = |id: &str| StepId::path(id).unwrap();
    Graft {
        id: path(id),
        work: Work::Call(Call {
            agent: after.first().map(|_| name("writer")),
            ..Call::of(name("text.draft"))
        }),
        after: after.iter().copied().map(path).collect(),
        input: text(r#"{"item":1.0}"#),
        optional: after.is_empty(),
    }
}

#[test]
fn events_are_written_and_read_as_they_always_were() {
    let transitions: Vec<Transition> = (1..)
        .zip(events())
        .map(|(first_event, event)| Transition { first_event, at: at(1_000), events: vec![event] })
        .collect();
    let now: Vec<String> = transitions.iter().map(|t| serde_json::to_string(t).unwrap()).collect();
    assert_eq!(now, WRITTEN.lines().collect::<Vec<_>>(), "the format changed:\n{}", now.join("\n"));
    for (line, transition) in WRITTEN.lines().zip(transitions) {
        assert_eq!(serde_json::from_str::<Transition>(line).unwrap(), transition, "{line}");
    }
}

#[test]
fn what_a_later_version_adds_does_not_stop_an_earlier_one() {
    let line =
        r#"{"first_event":1,"at":5,"later":1,"events":[{"step-cancelled":{"step":"draft","later":true}}]}"#;
    let events = vec![Event::StepCancelled { step: id("draft") }];
    assert_eq!(
        serde_json::from_str::<Transition>(line).unwrap(),
        Transition { first_event: 1, at: at(5), events }
    );
}

#[test]
fn an_event_of_a_kind_unknown_is_an_error_and_not_left_out() {
    let line = r#"{"first_event":1,"at":5,"events":[{"step-blessed":{"step":"draft"}}]}"#;
    assert!(serde_json::from_str::<Transition>(line).unwrap_err().to_string().contains("step-blessed"));
}
