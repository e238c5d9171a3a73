//! What the kernel's record of a call says to people: who was called, who was passed over, what was waited for.

use mainstay_kernel::call::{Record, Search};
use mainstay_kernel::outcome::{Answer, Class, Failure, NO_INSTANCE};
use mainstay_kernel::run::AttemptRecord;
use mainstay_kernel::time::Now;

use super::Call;
use crate::faults::Sending;
use crate::registry::Handle;

/// What a drill did to one sending of a call.
#[derive(Debug)]
pub(super) struct Mark {
    /// Which sending, from 0.
    sending: usize,
    text: String,
}

/// The attempts of a call.
pub(super) fn attempts(registry: &Handle, now: Now, call: &Call, record: Record) -> Vec<AttemptRecord> {
    let mut attempts: Vec<AttemptRecord> = record
        .sent
        .into_iter()
        .map(|sent| {
            let instance = registry.instance(sent.instance);
            let mut notes = notes(registry, &sent.search);
            if let Some(after) = sent.hedge {
                notes.insert(0, format!("a hedge: the sending before it had taken {after:?}"));
            }
            if sent.asked > 0 {
                notes.push(format!("its ledger was asked {} times", sent.asked));
            }
            if let Some(retried) = sent.retried {
                notes.push(retried.to_string());
            }
            AttemptRecord {
                attempt: sent.key,
                number: call.number + sent.attempt - 1,
                agent: instance.as_ref().map(|i| i.spec.name.to_string()).unwrap_or_default(),
                instance: instance.as_ref().map_or_else(|| sent.instance.to_string(), |i| i.name.to_string()),
                version: instance.as_ref().map(|i| i.spec.version.clone()).unwrap_or_default(),
                started_at: now.wall_at(sent.started),
                duration: sent.latency.unwrap_or_else(|| now.mono - sent.started),
                class: sent.class.unwrap_or(Class::Cancelled),
                failure: sent.failure,
                refused: String::new(),
                side_effecting: false,
                usage: sent.usage.unwrap_or_default(),
                waited: sent.search.waited,
                hedge_after: sent.hedge,
                notes,
            }
        })
        .collect();
    if let (Some(search), true) = (record.unanswered, attempts.is_empty()) {
        attempts.push(nobody(registry, now, call, &search));
    }
    // Of a step's call, its run decides that.
    if let (Some(why), Some(last), None) = (record.gave_up, attempts.last_mut(), &call.step) {
        last.notes.push(format!("not tried again: {why}"));
    }
    attempts
}

impl Mark {
    /// What is to be put down of the sending of this epoch, which ended.
    pub(super) fn of(epoch: u64, sending: Sending, ended: &Result<Answer, Failure>) -> Option<Self> {
        let class = ended.as_ref().map_or_else(|failure| failure.class, |_| Class::Success);
        let sent = usize::try_from(epoch).ok()?.checked_sub(1)?;
        Some(Self { sending: sent, text: sending.ended(class)? })
    }
}

/// Puts down what a drill did to them.
pub(super) fn mark(attempts: &mut [AttemptRecord], marks: Vec<Mark>) {
    for Mark { sending, text } in marks {
        if let Some(attempt) = attempts.get_mut(sending) {
            attempt.notes.push(text);
        }
    }
}

/// A call that nobody took.
fn nobody(registry: &Handle, now: Now, call: &Call, search: &Search) -> AttemptRecord {
    let mut notes = notes(registry, search);
    notes.push(NO_INSTANCE.to_owned());
    AttemptRecord {
        attempt: call.key,
        number: call.number,
        agent: String::new(),
        instance: String::new(),
        version: String::new(),
        started_at: now.wall,
        duration: std::time::Duration::ZERO,
        class: Class::Unavailable,
        failure: None,
        refused: String::new(),
        side_effecting: false,
        usage: Default::default(),
        waited: search.waited,
        hedge_after: None,
        notes,
    }
}

fn notes(registry: &Handle, search: &Search) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(why) = &search.why {
        notes.push(format!("waited {:?}: {why}", search.waited));
    }
    if search.panicking {
        notes.push("panic: most instances look unusable, so all that hold a lease were used".to_owned());
    }
    let passed_over = &search.passed_over;
    for considered in passed_over.first() {
        let name = registry
            .instance(considered.instance)
            .map_or_else(|| considered.instance.to_string(), |i| format!("{}/{}", i.spec.name, i.name));
        notes.push(format!("passed over {name}: {}", considered.rejection));
    }
    let more = passed_over.total() as usize - passed_over.first().len().min(passed_over.total() as usize);
    if more > 0 {
        notes.push(format!("and {more} more"));
    }
    notes
}
