//! Reading a rehearsal document. Conditions are compiled here, so that a case is wrong before it is played or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{MAX_CASES, Rehearsal};
use crate::context::Key;
use crate::effect::EffectClass;
use crate::expr::Condition;
use crate::json::Json;
use crate::mode::Mode;
use crate::name::Name;
use crate::outcome::{Began, Class, Usage};
use crate::run::{EndState, Estimates, Verdict};
use crate::workflow::StepId;
use crate::yaml::{self, DocumentError, Place};

/// One case, ready to be played.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) tenant: Name,
    pub(super) input: Json,
    pub(super) intent: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) mode: Mode,
    pub(super) estimates: Estimates,
    /// Values of the shared context, by key.
    pub(super) context: BTreeMap<Key, Json>,
    pub(super) agents: BTreeMap<Name, Vec<Canned>>,
    pub(super) effects: BTreeMap<Name, EffectClass>,
    pub(super) signals: Vec<Signal>,
    pub(super) answers: BTreeMap<StepId, Answer>,
    pub(super) ways: BTreeMap<StepId, WayText>,
    pub(super) cancel: Option<Cancel>,
    pub(super) expect: Expect,
}

/// A reply of an agent.
#[derive(Debug)]
pub(super) struct Canned {
    pub(super) when: Option<Condition>,
    /// How often it is used; without an end if nothing is said.
    pub(super) times: Option<u32>,
    pub(super) reply: Reply,
}

/// What is expected.
#[derive(Debug)]
pub(super) struct Expect {
    pub(super) text: ExpectText,
    pub(super) that: Vec<Condition>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    workflow: String,
    #[serde(default)]
    subs: Vec<String>,
    #[serde(default)]
    agents: BTreeMap<Name, Vec<Reply>>,
    #[serde(default)]
    effects: BTreeMap<Name, EffectClass>,
    #[serde(default)]
    costs: BTreeMap<Name, f64>,
    tests: Vec<CaseText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseText {
    name: String,
    tenant: Option<Name>,
    #[serde(default)]
    input: Value,
    #[serde(default)]
    intent: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    context: BTreeMap<Key, Value>,
    #[serde(default)]
    agents: BTreeMap<Name, Vec<Reply>>,
    #[serde(default)]
    effects: BTreeMap<Name, EffectClass>,
    #[serde(default)]
    signals: Vec<Signal>,
    #[serde(default)]
    answers: BTreeMap<StepId, Answer>,
    #[serde(default)]
    ways: BTreeMap<StepId, WayText>,
    cancel: Option<Cancel>,
    #[serde(default)]
    expect: ExpectText,
}

/// A reply as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reply {
    when: Option<String>,
    times: Option<u32>,
    #[serde(default, deserialize_with = "present")]
    pub(super) output: Option<Value>,
    pub(super) fail: Option<Class>,
    pub(super) code: Option<String>,
    #[serde(default)]
    pub(super) message: String,
    pub(super) began: Option<Began>,
    pub(super) retry_after: Option<Span>,
    #[serde(default)]
    pub(super) after: Span,
    #[serde(default)]
    pub(super) usage: Usage,
    pub(super) confidence: Option<f64>,
    #[serde(default)]
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Signal {
    pub(super) name: Name,
    #[serde(default)]
    pub(super) at: Span,
    #[serde(default)]
    pub(super) value: Value,
}

/// Where a routing document sends the request of a `route` step: to a capability, or to an answer of its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WayText {
    pub(super) capability: Option<Name>,
    #[serde(default, deserialize_with = "present")]
    pub(super) answer: Option<Value>,
}

/// What a person answers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    #[serde(default)]
    pub(super) after: Span,
    #[serde(default, deserialize_with = "present")]
    pub(super) value: Option<Value>,
    #[serde(default)]
    pub(super) by: String,
    #[serde(default)]
    pub(super) comment: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cancel {
    pub(super) at: Span,
    #[serde(default)]
    pub(super) reason: String,
}

/// What is expected, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExpectText {
    pub(super) status: Option<EndState>,
    #[serde(deserialize_with = "present")]
    pub(super) output: Option<Value>,
    that: Vec<String>,
    pub(super) failure: Option<String>,
    pub(super) failed_step: Option<StepId>,
    pub(super) steps: BTreeMap<StepId, StepText>,
    pub(super) calls: Option<Vec<Name>>,
    pub(super) counts: BTreeMap<Name, usize>,
    pub(super) never: Vec<Name>,
    pub(super) elapsed: Elapsed,
}

/// What is expected of a step.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StepText {
    pub(super) state: Option<String>,
    pub(super) attempts: Option<usize>,
    pub(super) failure: Option<String>,
    #[serde(deserialize_with = "present")]
    pub(super) input: Option<Value>,
    #[serde(deserialize_with = "present")]
    pub(super) output: Option<Value>,
}

/// How long a run may and must take.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Elapsed {
    pub(super) at_least: Option<Span>,
    pub(super) at_most: Option<Span>,
}

/// A span as it is written: `20s`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Span(#[serde(with = "crate::time::text")] pub(super) Duration);

/// What is there may be `null`, and that is not the same as what is not there.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

pub(super) fn read(text: &str) -> Result<Rehearsal, DocumentError> {
    let document: Document = yaml::from_str(text)?;
    if document.tests.is_empty() || document.tests.len() > MAX_CASES {
        let message = format!("has {} cases; give it 1 to {MAX_CASES}", document.tests.len());
        return Err(wrong("tests".to_owned(), message));
    }
    let Document { workflow, subs, agents, effects, costs, tests } = document;
    let estimates =
        costs.into_iter().map(|(capability, usd)| Ok((capability.clone(), nano_usd(&capability, usd)?)));
    let estimates = Arc::new(estimates.collect::<Result<BTreeMap<_, _>, _>>()?);
    let cases =
        tests.into_iter().enumerate().map(|(at, case)| compile(at, case, (&agents, &effects, &estimates)));
    Ok(Rehearsal { workflow, subs, cases: cases.collect::<Result<_, _>>()? })
}

/// A case with everything in it that the document says of all of them.
fn compile(
    at: usize,
    case: CaseText,
    (agents, effects, estimates): (&BTreeMap<Name, Vec<Reply>>, &BTreeMap<Name, EffectClass>, &Estimates),
) -> Result<Case, DocumentError> {
    let path = format!("tests[{at}]");
    let mut cast = agents.clone();
    cast.extend(case.agents);
    let mut compiled = BTreeMap::new();
    for (capability, replies) in cast {
        let path = format!("{path}.agents.{capability}");
        let replies =
            replies.into_iter().enumerate().map(|(at, reply)| canned(&format!("{path}[{at}]"), reply));
        compiled.insert(capability, replies.collect::<Result<Vec<_>, _>>()?);
    }
    let mut all_effects = effects.clone();
    all_effects.extend(case.effects);
    let that = case.expect.that.iter().enumerate().map(|(at, source)| {
        Condition::compile_for_ended(source).map_err(|error| {
            wrong(format!("{path}.expect.that[{at}]"), format!("`{source}` {}", error.message))
        })
    });
    let that = that.collect::<Result<_, _>>()?;
    let tenant = case.tenant.map_or_else(|| Name::new("default"), Ok);
    let tenant = tenant.map_err(|error| wrong(format!("{path}.tenant"), error.to_string()))?;
    Ok(Case {
        name: case.name,
        tenant,
        input: Json::from(&case.input),
        intent: case.intent,
        labels: case.labels,
        mode: case.mode,
        estimates: Arc::clone(estimates),
        context: case.context.iter().map(|(key, value)| (key.clone(), Json::from(value))).collect(),
        agents: compiled,
        effects: all_effects,
        signals: case.signals,
        answers: case.answers,
        ways: case.ways,
        cancel: case.cancel,
        expect: Expect { text: case.expect, that },
    })
}

fn canned(path: &str, reply: Reply) -> Result<Canned, DocumentError> {
    let when = reply.when.as_deref().map(Condition::compile).transpose();
    let when = when.map_err(|error| {
        wrong(format!("{path}.when"), format!("`{}` {}", error.expression, error.message))
    })?;
    match (&reply.output, reply.fail) {
        (Some(_), None) => {}
        (None, Some(Class::Success)) => {
            return Err(wrong(format!("{path}.fail"), "is success; give `output` instead".to_owned()));
        }
        (None, Some(_)) => {}
        (Some(_), Some(_)) | (None, None) => {
            return Err(wrong(path.to_owned(), "needs either `output` or `fail`".to_owned()));
        }
    }
    if reply.confidence.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
        return Err(wrong(format!("{path}.confidence"), "give a number from 0 to 1".to_owned()));
    }
    let times = reply.times.or(if when.is_some() { None } else { Some(1) });
    Ok(Canned { when, times, reply })
}

/// What a call costs, in 10⁻⁹ US dollars.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to fit")]
fn nano_usd(capability: &Name, usd: f64) -> Result<u64, DocumentError> {
    if !(0.0..=1e9).contains(&usd) {
        return Err(wrong(format!("costs.{capability}"), "give US dollars, from 0 to a billion".to_owned()));
    }
    Ok((usd * 1e9).round() as u64)
}

fn wrong(path: String, message: String) -> DocumentError {
    DocumentError { place: Place::default(), path, message }
}
