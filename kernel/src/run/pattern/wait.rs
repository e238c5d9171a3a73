//! Waiting: for time to pass, for a signal, for a person.

use std::time::Duration;

use serde::Serialize;

use crate::json::Json;
use crate::outcome::{Class, Failure};
use crate::run::hand_off::own;
use crate::run::pattern::{Progress, complete, fail, written};
use crate::run::people::{Ruling, Verdict};
use crate::run::state::State;
use crate::time::text::Human;
use crate::workflow::{Approve, Otherwise, Until, Wait};

const SIGNAL_MISSING: &str = "SIGNAL_MISSING";
const REJECTED: &str = "REJECTED";
const NOT_ANSWERED: &str = "NOT_ANSWERED";

/// The answer of a step that asked a person.
#[derive(Serialize)]
struct Said<'a> {
    verdict: Verdict,
    value: &'a Json,
    by: &'a str,
    comment: &'a str,
}

/// What a step that waits does next; `over` once its time is.
pub(super) fn next(run: &State, wait: &Wait, over: bool) -> Progress {
    match &wait.until {
        Until::Time(_) if over => complete(Json::default(), Vec::new()),
        Until::Time(_) => Progress::Wait,
        Until::Signal { name, within, default, .. } => match (run.signals.get(name), default) {
            (Some(value), _) => complete(value.clone(), Vec::new()),
            (None, _) if !over => Progress::Wait,
            (None, Some(default)) => {
                complete(default.clone(), vec![format!("signal `{name}` did not come{}", in_time(*within))])
            }
            (None, None) => {
                let message = format!("signal `{name}` did not come{}", in_time(*within));
                fail(own(Class::Timeout, SIGNAL_MISSING, message), "there is no default")
            }
        },
    }
}

/// What a step that asks a person does next.
pub(super) fn answered(run: &State, at: usize, approve: &Approve, over: bool) -> Progress {
    let step = &run.steps[at];
    let shown = || step.input.clone().unwrap_or_default();
    match (step.ruling.as_deref(), approve.otherwise) {
        (Some(ruling), _) if ruling.verdict == Verdict::Rejected => {
            fail(rejection(ruling), "a person said no")
        }
        (Some(ruling), _) => {
            let value = ruling.value.clone().unwrap_or_else(shown);
            said(ruling.verdict, &value, &ruling.by, &ruling.comment, Vec::new())
        }
        (None, _) if !over => Progress::Wait,
        (None, Otherwise::Approve) => {
            let warning = format!("nobody answered{}; approved by default", in_time(Some(approve.within)));
            said(Verdict::Approved, &shown(), "", "", vec![warning])
        }
        (None, Otherwise::Reject) => fail(silence(approve.within), "silence means no"),
    }
}

/// Why a step fails whose question a person answered with no.
pub(in crate::run) fn rejection(ruling: &Ruling) -> Failure {
    let by = if ruling.by.is_empty() { "a person" } else { &ruling.by };
    let comment = if ruling.comment.is_empty() { String::new() } else { format!(": {}", ruling.comment) };
    own(Class::Cancelled, REJECTED, format!("{by} rejected it{comment}"))
}

/// Why a step fails whose question nobody answered.
pub(in crate::run) fn silence(within: Duration) -> Failure {
    own(Class::Timeout, NOT_ANSWERED, format!("nobody answered{}", in_time(Some(within))))
}

fn said(verdict: Verdict, value: &Json, by: &str, comment: &str, warnings: Vec<String>) -> Progress {
    match written(&Said { verdict, value, by, comment }) {
        Ok(output) => complete(output, warnings),
        Err(failure) => fail(failure, "it will not become smaller"),
    }
}

fn in_time(within: Option<Duration>) -> String {
    within.map_or_else(String::new, |within| format!(" within {}", Human(within)))
}
