//! Whether two decisions are the same, and where they part.

use std::sync::Arc;

use serde_json::Value;

use super::tape::Cue;
use super::{Difference, Field, Side};
use crate::run::{AttemptRecord, Event, Transition};

/// The code of an answer that broke the workflow's output schema. The answer itself is not on record, so why it was not
/// asked for again cannot be told from it.
const BROKE_SCHEMA: &str = "OUTPUT_SCHEMA_MISMATCH";
/// The code of an answer that was not sure enough, which is not on record either.
const LOW_CONFIDENCE: &str = "LOW_CONFIDENCE";

/// Where `now` parts from what is on record. A changed workflow is of another version, may run others,
/// and may have another deadline.
pub(super) fn differing(cue: &Cue<'_>, now: &Transition, changed: bool) -> Option<Difference> {
    let recorded = &cue.transition.events;
    let at = first_differing(recorded, &now.events, changed)?;
    let side = match now.events.get(at) {
        Some(event) => Side::Event(Box::new(event.clone())),
        None => Side::Nothing("nothing".to_owned()),
    };
    let field = match (recorded.get(at), now.events.get(at)) {
        (Some(recorded), Some(now)) => field(&plain(recorded), &plain(now)),
        _ => None,
    };
    let mut difference = cue.differs(at, field, side);
    difference.step = difference.step.or_else(|| now.events.get(at).and_then(Event::step).cloned());
    Some(difference)
}

/// The place of the first event that is not the same.
pub(super) fn first_differing(recorded: &[Event], now: &[Event], changed: bool) -> Option<usize> {
    let longer = recorded.len().max(now.len());
    (0..longer).find(|&at| match (recorded.get(at), now.get(at)) {
        (Some(recorded), Some(now)) => !same(recorded, now, changed),
        _ => true,
    })
}

fn same(recorded: &Event, now: &Event, changed: bool) -> bool {
    let (recorded, mut now) = (plain(recorded), plain(now));
    if let (
        true,
        Event::RunStarted { workflow, subs, deadline, .. },
        Event::RunStarted { workflow: its, subs: runs, deadline: until, .. },
    ) = (changed, &recorded, &mut now)
    {
        its.clone_from(workflow);
        runs.clone_from(subs);
        *until = *deadline;
    }
    recorded == now
}

/// An event without what is only there for people, and without what cannot be told again.
#[allow(clippy::wildcard_enum_match_arm, reason = "only the ends of tries have notes")]
fn plain(event: &Event) -> Event {
    let mut event = event.clone();
    match &mut event {
        Event::StepFailed { failure, reason, attempts, .. }
        | Event::RemedyBegun { failure, reason, attempts, .. } => {
            if matches!(failure.code.as_str(), BROKE_SCHEMA | LOW_CONFIDENCE) {
                reason.clear();
            }
            without_notes(attempts);
        }
        Event::AttemptFailed { attempts, .. }
        | Event::StepCompleted { attempts, .. }
        | Event::VerificationBegun { attempts, .. } => without_notes(attempts),
        // The others have nothing of the kind.
        _ => {}
    }
    event
}

fn without_notes(attempts: &mut [Arc<AttemptRecord>]) {
    for attempt in attempts {
        if !attempt.notes.is_empty() {
            *attempt = Arc::new(AttemptRecord { notes: Vec::new(), ..(**attempt).clone() });
        }
    }
}

/// The first field in which two events of one kind differ; nothing if they are of two kinds.
fn field(recorded: &Event, now: &Event) -> Option<Field> {
    let (recorded, now) = (serde_json::to_value(recorded).ok()?, serde_json::to_value(now).ok()?);
    let (kind, recorded) = recorded.as_object()?.iter().next()?;
    let (other, now) = now.as_object()?.iter().next()?;
    if kind == other { parting(Some(recorded), Some(now), String::new()) } else { None }
}

fn parting(recorded: Option<&Value>, now: Option<&Value>, path: String) -> Option<Field> {
    match (recorded, now) {
        (Some(Value::Object(recorded)), Some(Value::Object(now))) => {
            let mut keys = recorded.keys().chain(now.keys().filter(|key| !recorded.contains_key(*key)));
            keys.find_map(|key| {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                parting(recorded.get(key), now.get(key), path)
            })
        }
        (Some(Value::Array(recorded)), Some(Value::Array(now))) if recorded.len() == now.len() => {
            let mut pairs = recorded.iter().zip(now).enumerate();
            pairs
                .find_map(|(at, (recorded, now))| parting(Some(recorded), Some(now), format!("{path}[{at}]")))
        }
        (recorded, now) if recorded == now => None,
        (recorded, now) => Some(Field { path, recorded: recorded.cloned(), now: now.cloned() }),
    }
}
