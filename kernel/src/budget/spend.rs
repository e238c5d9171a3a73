//! Spend: what was used up, by whom and for what, as it is reported.
//!
//! Every figure is a sum over the attempts on record, and nothing else: an attempt counts once, on the day it began, when
//! the transition that holds it is on record. Attempts that reached nobody used nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Amount;
use super::window::Day;
use crate::run::{AttemptRecord, Event, State, Transition};

/// What calls used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spend {
    /// Calls of an agent.
    pub calls: u64,
    /// Prompt tokens.
    pub tokens_in: u64,
    /// Completion tokens.
    pub tokens_out: u64,
    /// Money, in 10⁻⁹ US dollars. A negative cost counts as none.
    pub nano_usd: u64,
}

/// What calls have in common that are summed up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Source {
    /// The day they began.
    pub day: Day,
    /// The agent called.
    pub agent: String,
    /// The capability called.
    pub capability: String,
}

/// Sums by what they have in common.
pub type Rows = BTreeMap<Source, Spend>;

impl Spend {
    /// What one call used.
    #[must_use]
    pub fn of_call(attempt: &AttemptRecord) -> Self {
        let usage = &attempt.usage;
        Self {
            calls: 1,
            tokens_in: usage.tokens_in,
            tokens_out: usage.tokens_out,
            nano_usd: u64::try_from(usage.cost_nano_usd).unwrap_or(0),
        }
    }

    /// Both together; saturating, because a liar's numbers must not wrap around to small ones.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            tokens_in: self.tokens_in.saturating_add(other.tokens_in),
            tokens_out: self.tokens_out.saturating_add(other.tokens_out),
            nano_usd: self.nano_usd.saturating_add(other.nano_usd),
        }
    }

    /// The same as budgets count it.
    #[must_use]
    pub const fn amount(self) -> Amount {
        Amount {
            nano_usd: self.nano_usd,
            tokens: self.tokens_in.saturating_add(self.tokens_out),
            calls: self.calls,
        }
    }
}

/// Adds `more` to `rows`.
pub fn add(rows: &mut Rows, more: Rows) {
    for (source, spend) in more {
        let sum = rows.entry(source).or_default();
        *sum = sum.plus(spend);
    }
}

/// What `run` has used by what is on record of it.
#[must_use]
pub fn of_run(run: &State) -> Rows {
    let mut rows = Rows::new();
    for (spec, step) in run.each() {
        let capability = spec.kind.call().map_or("", |call| call.capability.as_str());
        sum_up(&mut rows, capability, &step.attempts);
    }
    rows
}

/// What the attempts that `transition` puts on record used. `run` has folded it.
#[must_use]
pub fn of_transition(run: &State, transition: &Transition) -> Rows {
    let mut rows = Rows::new();
    for event in &transition.events {
        let (Event::AttemptFailed { step, attempts, .. }
        | Event::StepCompleted { step, attempts, .. }
        | Event::RemedyBegun { step, attempts, .. }
        | Event::VerificationBegun { step, attempts, .. }
        | Event::StepFailed { step, attempts, .. }) = event
        else {
            continue;
        };
        let call = run.step(step.as_str()).and_then(|(at, _)| run.spec(at).kind.call());
        sum_up(&mut rows, call.map_or("", |call| call.capability.as_str()), attempts);
    }
    rows
}

fn sum_up(rows: &mut Rows, capability: &str, attempts: &[Arc<AttemptRecord>]) {
    for attempt in attempts.iter().filter(|attempt| !attempt.agent.is_empty()) {
        let source = Source {
            day: Day::of(attempt.started_at),
            agent: attempt.agent.clone(),
            capability: capability.to_owned(),
        };
        let sum = rows.entry(source).or_default();
        *sum = sum.plus(Spend::of_call(attempt));
    }
}
