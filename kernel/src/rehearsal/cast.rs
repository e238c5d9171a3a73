//! The world of a case: agents that say what is written for them, people and signals that come when it says.

use std::collections::BTreeMap;
use std::time::Duration;

use super::document::{Canned, Case, Reply as Text};
use super::{BEGINNING, Miss};
use crate::effect::EffectClass;
use crate::expr::Facts;
use crate::json::Json;
use crate::name::Name;
use crate::outcome::{self, Began, Class, Failure};
use crate::play::{Reply, World};
use crate::retry::budget::Leave;
use crate::run::{
    About, AttemptRecord, Call, Finding, Ignored, Input, Inquiry, Offered, Ruling, Run, Way, asked,
    outstanding,
};
use crate::time::Wall;
use crate::workflow::StepId;

/// What plays the agents.
pub(super) struct Cast<'c> {
    case: &'c Case,
    /// How often each reply was used.
    used: BTreeMap<(Name, usize), u32>,
    /// What was called, in order.
    pub(super) calls: Vec<(StepId, Name)>,
    /// Set when a call came that nothing is written for.
    pub(super) missing: Option<Miss>,
    signals: usize,
    cancelled: bool,
    next: Option<Next>,
}

/// What the last word was.
#[derive(Debug, Clone, Copy)]
enum Next {
    Signal,
    Answer,
    Cancel,
    Found,
}

impl<'c> Cast<'c> {
    pub(super) fn new(case: &'c Case) -> Self {
        Self {
            case,
            used: BTreeMap::new(),
            calls: Vec::new(),
            missing: None,
            signals: 0,
            cancelled: false,
            next: None,
        }
    }

    /// The reply that a call takes.
    fn pick(&mut self, call: &Call) -> Result<&'c Canned, String> {
        let Some(replies) = self.case.agents.get(&call.capability) else {
            return Err("no agent of the case offers it".to_owned());
        };
        let labels = Json::from(&serde_json::json!(*call.labels));
        for (at, canned) in replies.iter().enumerate() {
            let used = self.used.entry((call.capability.clone(), at)).or_default();
            if canned.times.is_some_and(|times| *used >= times) {
                continue;
            }
            let facts = Facts { input: &call.input, labels: &labels, tenant: call.tenant.as_str() };
            let holds = canned.when.as_ref().map_or(Ok(true), |when| when.holds(facts));
            if holds.map_err(|error| format!("agents.{}[{at}].when: {error}", call.capability))? {
                *used = used.saturating_add(1);
                return Ok(canned);
            }
        }
        Err(format!("none of its {} replies is left or fits the input {}", replies.len(), call.input))
    }
}

impl Cast<'_> {
    /// What the first step that asks finds out: that every capability is offered and takes anything, and the way that the
    /// case gives.
    fn found(&mut self, run: &Run) -> Option<(Wall, Input, Next)> {
        let Inquiry { step, about } = outstanding(run).inquiries.into_iter().next()?;
        let finding = match about {
            About::Offers(capabilities) => {
                Finding::Offers(capabilities.into_iter().map(|name| self.offered(name)).collect())
            }
            About::Way { .. } => {
                let Some(way) = self.case.ways.get(&step) else {
                    let expected = "the capability or the answer that the request is sent to".to_owned();
                    let miss = Miss::new(format!("ways.{step}"), expected, "nothing".to_owned());
                    self.missing.get_or_insert(miss);
                    return None;
                };
                Finding::Way(Way {
                    decision: String::new(),
                    rung: if way.capability.is_some() { "rules" } else { "static" }.to_owned(),
                    call: way.capability.clone().map(crate::workflow::Call::of),
                    response: way.answer.as_ref().map(Json::from),
                })
            }
        };
        Some((run.last_at, Input::Found { step, finding }, Next::Found))
    }

    fn offered(&self, capability: Name) -> Offered {
        let anything = || Json::from(&serde_json::Value::Bool(true));
        let effect = self.case.effects.get(&capability).copied().unwrap_or(EffectClass::ReadOnly);
        let (input_schema, output_schema) = (anything(), anything());
        Offered { capability, description: String::new(), input_schema, output_schema, effect }
    }
}

impl World for Cast<'_> {
    fn reply(&mut self, _: &Run, call: &Call, now: Wall) -> Option<Reply> {
        self.calls.push((call.step.clone(), call.capability.clone()));
        let number = self.calls.iter().filter(|(_, capability)| *capability == call.capability).count();
        match self.pick(call) {
            Ok(canned) => {
                let effect = self.case.effects.get(&call.capability).copied();
                Some(perform(&canned.reply, effect.unwrap_or(EffectClass::ReadOnly), call, now))
            }
            Err(why) => {
                let what = format!("agents.{}", call.capability);
                let expected = format!("a reply for call {number}, of step `{}`", call.step);
                self.missing.get_or_insert(Miss::new(what, expected, why));
                None
            }
        }
    }

    fn word(&mut self, run: &Run) -> Option<(Wall, Input)> {
        let signal = self.case.signals.get(self.signals).map(|signal| {
            let (name, value) = (signal.name.clone(), Json::from(&signal.value));
            (BEGINNING + signal.at.0, Input::Signal { name, value }, Next::Signal)
        });
        let cancel = self.case.cancel.as_ref().filter(|_| !self.cancelled).map(|cancel| {
            (BEGINNING + cancel.at.0, Input::Cancel { reason: cancel.reason.clone() }, Next::Cancel)
        });
        let open = |step: &StepId| run.step(step.as_str()).is_some_and(|(_, step)| step.ruling.is_none());
        let answers = asked(run).into_iter().filter(|asked| open(&asked.step));
        let answer = answers.filter_map(|asked| {
            let answer = self.case.answers.get(&asked.step)?;
            let ruling = Ruling {
                verdict: answer.verdict,
                value: answer.value.as_ref().map(Json::from),
                by: answer.by.clone(),
                comment: answer.comment.clone(),
            };
            Some((asked.since + answer.after.0, Input::Answer { step: asked.step, ruling }, Next::Answer))
        });
        let found = self.found(run);
        let (at, input, next) = answer.chain(signal).chain(cancel).chain(found).min_by_key(|(at, ..)| *at)?;
        self.next = Some(next);
        Some((at, input))
    }

    fn said(&mut self) {
        match self.next.take() {
            Some(Next::Signal) => self.signals += 1,
            Some(Next::Cancel) => self.cancelled = true,
            // The run knows that it was answered, and what was found.
            Some(Next::Answer | Next::Found) | None => {}
        }
    }
}

/// A word that nobody listened to.
pub(super) fn refused(input: &Input, ignored: &Ignored) -> Miss {
    let what = match input {
        Input::Signal { name, .. } => format!("signals.{name}"),
        Input::Answer { step, .. } => format!("answers.{step}"),
        Input::Cancel { .. } => "cancel".to_owned(),
        Input::Found { step, .. } => format!("ways.{step}"),
        Input::AttemptEnded { .. } | Input::Woken => "agents".to_owned(),
    };
    Miss::new(what, "that the run takes it", ignored.to_string())
}

/// What a reply comes to. One that takes longer than the call may take is a timeout, and the agent began or not: nobody can
/// say, as in production.
fn perform(text: &Text, effect: EffectClass, call: &Call, now: Wall) -> Reply {
    let patience = call.timeout.min(call.deadline.saturating_since(now));
    let late = text.after.0 > patience;
    let took = text.after.0.min(patience);
    let result = match (&text.output, text.fail) {
        _ if late => Err(failure(Class::Timeout, text, Some(Began::Unknown))),
        (Some(output), _) => Ok(outcome::Answer {
            output: Json::from(output),
            usage: text.usage,
            confidence_bp: text.confidence.map(basis_points),
            warnings: text.warnings.clone(),
        }),
        (None, fail) => Err(failure(fail.unwrap_or(Class::AgentError), text, text.began)),
    };
    let class = result.as_ref().map_or_else(|failure| failure.class, |_| Class::Success);
    let record = AttemptRecord {
        attempt: call.attempt.id,
        number: call.attempt.number,
        agent: call.agent.as_ref().map_or_else(|| call.capability.to_string(), ToString::to_string),
        instance: "canned".to_owned(),
        version: String::new(),
        started_at: now,
        duration: took,
        class,
        failure: result.as_ref().err().cloned(),
        refused: String::new(),
        side_effecting: false,
        usage: text.usage,
        waited: Duration::ZERO,
        hedge_after: None,
        notes: Vec::new(),
    };
    Reply { at: now + took, effect, result, attempts: vec![record], leave: Leave::Granted { left: u32::MAX } }
}

fn failure(class: Class, text: &Text, began: Option<Began>) -> Failure {
    let (usual_code, usually_began) = usual(class);
    let code = text.code.clone().filter(|_| text.fail == Some(class));
    let message = if text.message.is_empty() { "as the rehearsal says" } else { &text.message };
    Failure {
        class,
        code: code.unwrap_or_else(|| usual_code.to_owned()),
        message: message.to_owned(),
        began: began.unwrap_or(usually_began),
        retry_after: text.retry_after.map(|span| span.0),
    }
}

/// The code that such a failure has most often, and whether the agent then began.
const fn usual(class: Class) -> (&'static str, Began) {
    match class {
        Class::Transport => ("AGENT_UNREACHABLE", Began::Unknown),
        Class::Timeout => ("AGENT_TIMEOUT", Began::Unknown),
        Class::Overload => ("AGENT_BUSY", Began::No),
        Class::AgentError | Class::LowConfidence | Class::Success => ("AGENT_FAILED", Began::Yes),
        Class::ContractBreach => ("OUTPUT_SCHEMA_MISMATCH", Began::Yes),
        Class::OverBudget => ("BUDGET_EXHAUSTED", Began::Yes),
        Class::CallerFault => ("INPUT_SCHEMA_MISMATCH", Began::No),
        Class::Unavailable => (outcome::NO_INSTANCE, Began::No),
        Class::Cancelled => (outcome::CALL_CANCELLED, Began::Unknown),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share was checked to be one")]
fn basis_points(share: f64) -> u16 {
    (share * 10_000.0).round() as u16
}
