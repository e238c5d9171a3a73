//! What must hold whatever a stranger writes: a workflow, a plan, a mapping.
//!
//! Each law takes any bytes and panics if it is broken. Bytes that mean nothing are refused with reasons; bytes that mean
//! something give a run that ends, that its journal tells again, and that nothing panics in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::expr::{Mapping, Scope};
use mainstay_kernel::id::RunId;
use mainstay_kernel::json::{Json, Limits};
use mainstay_kernel::name::Name;
use mainstay_kernel::outcome::Answer;
use mainstay_kernel::play::{Play, Reply, Turn, World};
use mainstay_kernel::retry::budget::Leave;
use mainstay_kernel::run::{
    About, Call, Finding, Ignored, Input, Inquiry, Offered, Ruling, Run, Start, StartError, Transition,
    Verdict, Way, asked, outstanding,
};
use mainstay_kernel::time::Wall;
use mainstay_kernel::workflow::{Linked, Workflow};
use serde_json::{Value, json};

const RUN: RunId = RunId::from_bytes([7; 16]);
const BEGINNING: Wall = Wall::from_millis(1_000);
/// Turns after which a run is cancelled: a document may ask for millions, and what could go wrong does so before.
const PATIENCE: usize = 300;
/// Turns in which a cancelled run must end. What undoes steps may be tried again.
const LAST_WORDS: usize = 100_000;

/// A document is refused with reasons, or it is a workflow whose runs end.
pub fn workflows(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let workflow = match Workflow::parse(text) {
        Ok(workflow) => Arc::new(workflow),
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            assert!(problems.iter().all(|problem| !problem.message.is_empty()), "{problems:?}");
            return;
        }
    };
    let again = Workflow::parse(workflow.source()).expect("what was read is read again");
    assert_eq!(again.hash(), workflow.hash());
    let place: BTreeMap<usize, usize> =
        workflow.order().iter().enumerate().map(|(at, &step)| (step, at)).collect();
    assert_eq!(place.len(), workflow.steps().len(), "every step has a turn");
    for (at, step) in workflow.steps().iter().enumerate() {
        assert!(
            step.after.iter().all(|before| place[before] < place[&at]),
            "`{}` has its turn too early",
            step.id
        );
    }
    for problem in workflow.lint() {
        assert!(!problem.message.is_empty());
    }
    for said in [json!(null), json!({}), json!([1, "two", null])] {
        play(&workflow, &said, &json!({ "text": "one two" }));
    }
}

/// A planner's answer is refused, or what it proposes is carried out.
pub fn plans(data: &[u8]) {
    let Ok(proposed) = Json::parse(data, &Limits::default()) else { return };
    let text = json!({
        "name": "planned",
        "version": 1,
        "steps": [{
            "id": "plan",
            "plan": {
                "by": { "capability": "planner" },
                "capabilities": ["words.count", "words.shout"],
                "max_steps": 5,
                "repairs": 1,
            },
        }],
        "output": "${steps.plan.output}",
    });
    let workflow = Workflow::parse(&text.to_string()).expect("the frame of a plan is sound");
    play(&Arc::new(workflow), &proposed.value(), &json!({ "text": "one two" }));
}

/// A mapping, and behind a line of three dashes what it is given, is refused, or comes to the same each time or to an error.
pub fn mappings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (mapping, input) =
        text.split_once("\n---\n").unwrap_or((text, r#"{"n":5,"list":[1,2.5,"x",null],"s":"é"}"#));
    let mapping = serde_json::from_str(mapping).unwrap_or_else(|_| Value::String(mapping.to_owned()));
    let Ok(input) = Json::parse(input.as_bytes(), &Limits::default()) else { return };
    let mapping = match Mapping::compile(&mapping) {
        Ok(mapping) => mapping,
        Err(errors) => {
            assert!(!errors.is_empty(), "refused without a reason");
            return;
        }
    };
    let outputs = BTreeMap::from([("a".to_owned(), input.clone()), ("b".to_owned(), Json::null())]);
    let scope = Scope { input: &input, run: RUN, intent: "ask", context: &input, outputs: &outputs };
    let once = mapping.eval(&scope).map_err(|error| error.to_string());
    assert_eq!(once, mapping.eval(&scope).map_err(|error| error.to_string()), "the same each time");
    if let Ok(json) = once {
        Json::parse(json.as_str().as_bytes(), &Limits::default()).expect("what comes out may be handed on");
    }
}

/// Plays a run to its end; every agent answers `said`.
fn play(workflow: &Arc<Workflow>, said: &Value, input: &Value) {
    let Ok(linked) = Linked::new(Arc::clone(workflow), |_| Err(())) else { return };
    let start = Start::of(RUN, name("default"), linked.clone(), Json::from(input));
    let arena = Arena { said: Json::from(said), turns: 0, cancelled: false };
    let mut play = match Play::start(start, BEGINNING, arena) {
        Ok(play) => play,
        Err(StartError::Illegal(error)) => panic!("a start that its own journal does not take: {error}"),
        Err(StartError::Input(_) | StartError::DeadlinePassed) => return,
    };
    for _ in 0..LAST_WORDS {
        match play.turn() {
            Turn::Went => {}
            Turn::Refused(_, Ignored::Illegal(error)) => {
                panic!("a decision that its journal does not take: {error}")
            }
            Turn::Refused(input, ignored) => panic!("{input:?} was waited for, and ignored: {ignored}"),
            Turn::Still => break,
        }
    }
    let run = play.run();
    assert!(run.end.is_some(), "the run stands still");
    let mut log = play.log().iter().map(|transition| {
        let text = serde_json::to_string(transition).expect("a journal can be written");
        serde_json::from_str::<Transition>(&text).expect("and read")
    });
    let first = log.next().expect("a run has a beginning");
    let mut told = Run::begin(&first, linked, RUN).expect("it folds");
    log.for_each(|transition| told.fold(&transition).expect("it folds"));
    assert_eq!(format!("{told:?}"), format!("{run:?}"), "told again, it is the same run");
}

/// Agents that all say the same at once, and people who approve of everything.
struct Arena {
    said: Json,
    turns: usize,
    cancelled: bool,
}

impl World for Arena {
    fn reply(&mut self, _: &Run, _: &Call, now: Wall) -> Option<Reply> {
        let answer = Answer {
            output: self.said.clone(),
            usage: Default::default(),
            confidence_bp: None,
            warnings: Vec::new(),
        };
        Some(Reply {
            at: now + Duration::from_millis(1),
            effect: EffectClass::SideEffecting,
            result: Ok(answer),
            attempts: Vec::new(),
            leave: Leave::Granted { left: u32::MAX },
        })
    }

    fn word(&mut self, run: &Run) -> Option<(Wall, Input)> {
        self.turns += 1;
        let now = run.last_at;
        if self.turns > PATIENCE && !self.cancelled {
            return Some((now, Input::Cancel { reason: "enough".to_owned() }));
        }
        if let Some(Inquiry { step, about }) = outstanding(run).inquiries.into_iter().next() {
            return Some((now, Input::Found { step, finding: found(about) }));
        }
        let asked = asked(run).into_iter().next()?;
        let ruling =
            Ruling { verdict: Verdict::Approved, value: None, by: String::new(), comment: String::new() };
        Some((asked.since, Input::Answer { step: asked.step, ruling }))
    }

    fn said(&mut self) {
        self.cancelled |= self.turns > PATIENCE;
    }
}

fn found(about: About) -> Finding {
    let anything = || Json::from(&Value::Bool(true));
    match about {
        About::Offers(capabilities) => {
            let offer = |capability| Offered {
                capability,
                description: String::new(),
                input_schema: anything(),
                output_schema: anything(),
                effect: EffectClass::ReadOnly,
            };
            Finding::Offers(capabilities.into_iter().map(offer).collect())
        }
        About::Way { .. } => Finding::Way(Way {
            decision: String::new(),
            rung: "rules".to_owned(),
            call: Some(mainstay_kernel::workflow::Call::of(name("anything"))),
            response: None,
        }),
    }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}
