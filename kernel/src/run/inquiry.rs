//! What a run must learn of the world before it can decide: what is offered, where a request goes.
//!
//! Whoever asks the same a second time may hear something else: an agent registers, a rule changes, a router model thinks
//! again. So what was found is written down before anything follows from it, and a run taken up after a crash goes by what
//! stands there.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::effect::EffectClass;
use crate::json::Json;
use crate::name::Name;
use crate::outcome::Failure;
use crate::run::event::Event;
use crate::run::fold::FoldError;
use crate::run::input::Ignored;
use crate::run::state::{State, StepState};
use crate::workflow::{Call, StepId, StepKind};

/// A question of a step to the world.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a run that asks waits for what is found"]
pub struct Inquiry {
    /// The step.
    pub step: StepId,
    /// What it asks.
    pub about: About,
}

/// What a step asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// What these capabilities take and give.
    Offers(Vec<Name>),
    /// Which way a routing document sends a request.
    Way {
        /// The document.
        document: Name,
        /// Its version; the newest if none is named.
        version: Option<u32>,
        /// The request.
        input: Json,
    },
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// Those of the capabilities that somebody has registered.
    Offers(Vec<Offered>),
    /// Where the request goes.
    Way(Way),
    /// It cannot be found out.
    Nothing(Failure),
}

/// A capability, as it was registered last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// The capability.
    pub capability: Name,
    /// What it does, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// JSON Schema of its input.
    pub input_schema: Json,
    /// JSON Schema of its output.
    pub output_schema: Json,
    /// What a call may do to the world.
    pub effect: EffectClass,
}

/// A decision of a routing document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// Names the decision among those on record.
    pub decision: String,
    /// The rung that decided.
    pub rung: String,
    /// Who is called; nobody if the document answers itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
    /// What the document answers itself.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::run::event::present"
    )]
    pub response: Option<Json>,
}

impl Finding {
    /// As it stands in the journal.
    #[must_use]
    pub fn to_json(&self) -> Json {
        // Names, texts and JSON: nothing in it that could not be written.
        Json::from(&serde_json::to_value(self).unwrap_or_default())
    }
}

/// What the step at `at` asks, if it asks and nothing was found yet.
pub(super) fn asked(run: &State, at: usize) -> Option<Inquiry> {
    let step = &run.steps[at];
    if !matches!(step.state, StepState::Gathering { .. }) || step.finding.is_some() {
        return None;
    }
    let spec = run.spec(at);
    let about = match &spec.kind {
        StepKind::Plan(plan) => About::Offers(plan.capabilities.clone()),
        StepKind::Route(route) => About::Way {
            document: route.by.clone(),
            version: route.version,
            input: step.input.clone().unwrap_or_default(),
        },
        StepKind::Call(_)
        | StepKind::Map(_)
        | StepKind::Choose(_)
        | StepKind::Wait(_)
        | StepKind::Approve(_)
        | StepKind::Sub(_)
        | StepKind::Consensus(_)
        | StepKind::Supervise(_) => return None,
    };
    Some(Inquiry { step: spec.id.clone(), about })
}

/// What a finding does to a run.
pub(super) fn found(run: &State, step: StepId, finding: Finding) -> Result<Event, Ignored> {
    match run.step(step.as_str()) {
        Some((at, _)) if asked(run, at).is_some() => {
            Ok(Event::StepInformed { step, finding: Arc::new(finding) })
        }
        _ => Err(Ignored::NotInquired { step }),
    }
}

impl State {
    /// Keeps what was found for the step at `at`.
    pub(super) fn inform(&mut self, at: usize, finding: &Arc<Finding>) -> Result<(), FoldError> {
        if asked(self, at).is_none() {
            return Err(FoldError::NotInquired { step: self.spec(at).id.clone() });
        }
        self.steps[at].finding = Some(Arc::clone(finding));
        Ok(())
    }
}
