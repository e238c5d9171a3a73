//! What a case expects, held against what came of it.

use serde_json::Value;

use super::Miss;
use super::document::{Expect, StepText};
use crate::expr::{Ended, Outputs};
use crate::json::Json;
use crate::name::Name;
use crate::run::{EndState, Run, StepState};
use crate::time::text::Human;
use crate::workflow::StepId;

/// The outputs of the steps of the outermost workflow.
struct Steps<'r>(&'r Run);

impl Outputs for Steps<'_> {
    fn output(&self, step: &str) -> Option<&Json> {
        let (_, step) = self.0.step(step)?;
        if step.state == StepState::Completed { step.output.as_ref() } else { None }
    }
}

/// Everything that is not as expected, in the order of the document's fields.
pub(super) fn check(expect: &Expect, run: &Run, calls: &[(StepId, Name)]) -> Vec<Miss> {
    let mut misses = Vec::new();
    let text = &expect.text;
    status(expect, run, &mut misses);
    let output = run.end.as_ref().and_then(|end| end.output.as_ref());
    if let Some(expected) = &text.output {
        holds(expected, output, "expect.output", &mut misses);
    }
    let nothing = Json::null();
    let ended = Ended { output: output.unwrap_or(&nothing), input: &run.input, outputs: &Steps(run) };
    for (at, that) in expect.that.iter().enumerate() {
        let what = format!("expect.that[{at}]");
        match that.holds_of(ended) {
            Ok(true) => {}
            Ok(false) => misses.push(Miss::new(what, format!("`{}`", that.source()), "false")),
            Err(error) => misses.push(Miss::new(what, "true", error.to_string())),
        }
    }
    for (id, expected) in &text.steps {
        step(id, expected, run, &mut misses);
    }
    called(expect, calls, &mut misses);
    let took = run.last_at.saturating_since(run.started_at);
    if let Some(least) = text.elapsed.at_least.filter(|least| took < least.0) {
        misses.push(Miss::new(
            "expect.elapsed.at_least",
            Human(least.0).to_string(),
            Human(took).to_string(),
        ));
    }
    if let Some(most) = text.elapsed.at_most.filter(|most| took > most.0) {
        misses.push(Miss::new("expect.elapsed.at_most", Human(most.0).to_string(), Human(took).to_string()));
    }
    misses
}

fn status(expect: &Expect, run: &Run, misses: &mut Vec<Miss>) {
    let text = &expect.text;
    let expected = text.status.unwrap_or(EndState::Completed);
    let Some(end) = &run.end else {
        misses.push(Miss::new("expect.status", word(expected), "a run that does not end"));
        return;
    };
    if end.state != expected {
        let why = end.failure.as_ref().map(|failure| format!(": {}: {}", failure.code, failure.message));
        misses.push(Miss::new("expect.status", word(expected), word(end.state) + &why.unwrap_or_default()));
    }
    let code = end.failure.as_ref().map_or("none", |failure| &failure.code);
    if let Some(expected) = text.failure.as_deref().filter(|expected| *expected != code) {
        misses.push(Miss::new("expect.failure", expected, code));
    }
    if let Some(expected) = text.failed_step.as_ref().filter(|expected| end.step.as_ref() != Some(expected)) {
        let got = end.step.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        misses.push(Miss::new("expect.failed_step", expected.as_str(), got));
    }
}

fn step(id: &StepId, expected: &StepText, run: &Run, misses: &mut Vec<Miss>) {
    let what = |field: &str| format!("expect.steps.{id}{field}");
    let Some((_, step)) = run.step(id.as_str()) else {
        misses.push(Miss::new(what(""), "a step", "no such step in the run"));
        return;
    };
    let state = step.state.as_str();
    if let Some(expected) = expected.state.as_deref().filter(|expected| *expected != state) {
        let why = step.failure.as_ref().map(|failure| format!(": {}: {}", failure.code, failure.message));
        misses.push(Miss::new(what(".state"), expected, state.to_owned() + &why.unwrap_or_default()));
    }
    let attempts = step.attempts.len();
    if let Some(expected) = expected.attempts.filter(|expected| *expected != attempts) {
        misses.push(Miss::new(what(".attempts"), expected.to_string(), attempts.to_string()));
    }
    let code = step.failure.as_ref().map_or("none", |failure| &failure.code);
    if let Some(expected) = expected.failure.as_deref().filter(|expected| *expected != code) {
        misses.push(Miss::new(what(".failure"), expected, code));
    }
    for (field, expected, got) in
        [("input", &expected.input, &step.input), ("output", &expected.output, &step.output)]
    {
        if let Some(expected) = expected {
            holds(expected, got.as_ref(), &what(&format!(".{field}")), misses);
        }
    }
}

fn called(expect: &Expect, calls: &[(StepId, Name)], misses: &mut Vec<Miss>) {
    let text = &expect.text;
    let made: Vec<&str> = calls.iter().map(|(_, capability)| capability.as_str()).collect();
    if let Some(expected) = &text.calls {
        let expected: Vec<&str> = expected.iter().map(Name::as_str).collect();
        if expected != made {
            misses.push(Miss::new("expect.calls", expected.join(", "), made.join(", ")));
        }
    }
    for (capability, expected) in &text.counts {
        let got = made.iter().filter(|made| **made == capability.as_str()).count();
        if got != *expected {
            misses.push(Miss::new(
                format!("expect.counts.{capability}"),
                expected.to_string(),
                got.to_string(),
            ));
        }
    }
    for capability in &text.never {
        let by: Vec<&str> =
            calls.iter().filter(|(_, made)| made == capability).map(|(step, _)| step.as_str()).collect();
        if !by.is_empty() {
            let got = format!("called by {}", by.join(", "));
            misses.push(Miss::new(format!("expect.never.{capability}"), "no call", got));
        }
    }
}

/// Notes the first place where `got` does not hold what is expected: of a map the fields that are named, of a list every
/// item, of anything else the very value.
fn holds(expected: &Value, got: Option<&Json>, what: &str, misses: &mut Vec<Miss>) {
    let Some(got) = got else {
        misses.push(Miss::new(what, expected.to_string(), "none"));
        return;
    };
    let found = got.value();
    if let Some((path, expected, got)) = lacking(expected, &found, what.to_owned()) {
        misses.push(Miss::new(
            path,
            expected.to_string(),
            got.map_or_else(|| "none".to_owned(), ToString::to_string),
        ));
    }
}

fn lacking<'v>(
    expected: &'v Value,
    got: &'v Value,
    path: String,
) -> Option<(String, &'v Value, Option<&'v Value>)> {
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => expected.iter().find_map(|(key, expected)| {
            let path = format!("{path}.{key}");
            match got.get(key) {
                Some(got) => lacking(expected, got, path),
                None => Some((path, expected, None)),
            }
        }),
        (Value::Array(items), Value::Array(found)) if items.len() == found.len() => {
            let pairs = items.iter().zip(found).enumerate();
            pairs
                .into_iter()
                .find_map(|(at, (expected, got))| lacking(expected, got, format!("{path}[{at}]")))
        }
        // 1 and 1.0 are one number to whoever writes a test.
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        (expected, got) if expected == got => None,
        (expected, got) => Some((path, expected, Some(got))),
    }
}

fn word(state: EndState) -> String {
    match state {
        EndState::Completed => "completed",
        EndState::Failed => "failed",
        EndState::Cancelled => "cancelled",
        EndState::TimedOut => "timed-out",
    }
    .to_owned()
}
