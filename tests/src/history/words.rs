//! What was said to runs and written beside them, and what became of it.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_proto::pb;
use pb::run_event::Event;
use serde::{Deserialize, Serialize};

use super::{Found, History};

/// What became of a word or a write, as its sender knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was acknowledged.
    Yes,
    /// It was refused: something else was said before.
    No,
    /// The answer was lost.
    Unknown,
}

/// A word to a run: a signal, or a person's answer.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The run.
    pub run: String,
    /// The signal's name, or the step that asks.
    pub to: String,
    /// The signal's value, or the verdict.
    pub said: String,
    /// What became of it.
    pub taken: Taken,
}

/// A value of the shared context that counts the writes of each writer, so that it says which of them happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// All writes together.
    pub x: u64,
    /// Those of each writer.
    pub of: BTreeMap<usize, u64>,
}

/// A write of the shared context over the version before.
#[derive(Debug, Clone)]
pub struct Wrote {
    /// Whose; the first version is nobody's.
    pub writer: Option<usize>,
    /// The version it makes.
    pub version: u64,
    /// What was written.
    pub tally: Tally,
    /// What became of it.
    pub taken: Taken,
}

/// The epoch of a registration, as its owner met it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epoch {
    /// A registration was acknowledged under it.
    Granted(u64),
    /// It was read.
    Read(u64),
}

impl History {
    /// Remembers what of the shared context was acknowledged before the start under `key` was first sent.
    pub fn knows(&mut self, key: &str) {
        let newest = self.writes.iter().rev().find(|write| write.taken == Taken::Yes);
        // Written down when its answer came, so an older one may stand behind a newer one, which is the weaker claim.
        if let Some(version) = newest.map(|write| write.version) {
            self.known.entry(key.to_owned()).or_insert(version);
        }
    }

    /// What was said to a run counts once: what was acknowledged, or else what may have arrived, and nothing else.
    pub(super) fn words_count_once(&self, report: &mut impl FnMut(&'static str, String)) {
        let mut sent = BTreeMap::<_, Vec<&Sent>>::new();
        for word in &self.words {
            sent.entry((word.run.as_str(), word.to.as_str())).or_default().push(word);
        }
        for ((run, to), words) in &sent {
            let taken: BTreeSet<_> =
                words.iter().filter(|word| word.taken == Taken::Yes).map(|word| &word.said).collect();
            if taken.len() > 1 {
                report("words", format!("{run}/{to} took {taken:?}"));
            }
            let heard = self.found.get(*run).map(|found| heard(found, to)).unwrap_or_default();
            if taken.iter().any(|said| !heard.contains(said)) {
                report("words", format!("{run}/{to} took {taken:?}, and on record is {heard:?}"));
            }
        }
        for (id, found) in &self.found {
            for to in ears(found) {
                let heard = heard(found, to);
                let said = sent.get(&(id.as_str(), to)).map_or(&[][..], Vec::as_slice);
                let said = |it: &String| said.iter().any(|word| word.said == *it && word.taken != Taken::No);
                if heard.len() > 1 || !heard.iter().all(said) {
                    report(
                        "words",
                        format!("{id}/{to} has {heard:?} on record, and not once or from nobody"),
                    );
                }
            }
        }
    }

    /// Every write that was acknowledged is in the history once, every other at most once, and runs read what was there.
    pub(super) fn context_holds(&self, report: &mut impl FnMut(&'static str, String)) {
        let mut made = BTreeMap::<u64, Vec<&Wrote>>::new();
        for write in self.writes.iter().filter(|write| write.taken != Taken::No) {
            made.entry(write.version).or_default().push(write);
        }
        let fits = |version: u64, tally: &Tally| {
            let writes = made.get(&version).map_or(&[][..], Vec::as_slice);
            let acknowledged: Vec<_> = writes.iter().filter(|write| write.taken == Taken::Yes).collect();
            match acknowledged[..] {
                [] => writes.iter().any(|write| write.tally == *tally),
                [one] => one.tally == *tally,
                _ => false,
            }
        };
        for (version, tally) in &self.kept {
            if !fits(*version, tally) || tally.x + 1 != *version || tally.of.values().sum::<u64>() != tally.x
            {
                report("words", format!("version {version} of the context is {tally:?}, which nobody wrote"));
            }
        }
        for (version, writes) in &made {
            if writes.iter().filter(|write| write.taken == Taken::Yes).count() > 1 {
                report("words", format!("version {version} of the context was acknowledged twice"));
            }
        }
        if let Some((version, last)) = self.kept.last() {
            self.writes_are_counted(*version, last, report);
        }
        for (id, found) in &self.found {
            for pin in &found.run.context {
                let known = self.known.get(&found.run.idempotency_key).copied().unwrap_or(0);
                let tally = serde_json::from_slice(&pin.value).unwrap_or_default();
                if !fits(pin.version, &tally) || pin.version < known {
                    report("words", format!("{id} read {tally:?} as version {}", pin.version));
                }
            }
        }
    }

    /// The last version counts every write of each writer that was acknowledged, and no more than may have happened.
    fn writes_are_counted(&self, version: u64, last: &Tally, report: &mut impl FnMut(&'static str, String)) {
        let mut writes = BTreeMap::<usize, (u64, u64)>::new();
        for write in &self.writes {
            let Some(writer) = write.writer else { continue };
            let (sure, possible) = writes.entry(writer).or_default();
            *sure += u64::from(write.taken == Taken::Yes);
            *possible += u64::from(write.taken != Taken::No);
        }
        for (writer, (sure, possible)) in writes {
            let counted = last.of.get(&writer).copied().unwrap_or(0);
            if counted < sure || counted > possible {
                let text = format!("{sure} writes of {writer} are sure and {possible} possible");
                report("words", format!("version {version} of the context counts {counted}; {text}"));
            }
        }
    }

    /// **R6** and **R8**: each registration has a later epoch than all that were seen before it, and stays.
    pub(super) fn epochs_grow(&self, report: &mut impl FnMut(&'static str, String)) {
        let mut newest = 0;
        for epoch in &self.epochs {
            match *epoch {
                Epoch::Granted(granted) if granted <= newest => {
                    report("R6", format!("epoch {granted} was granted after {newest}"));
                }
                Epoch::Read(read) if read < newest => {
                    report("R8", format!("epoch {read} was read after {newest}"));
                }
                Epoch::Granted(seen) | Epoch::Read(seen) => newest = seen,
            }
        }
    }

    /// A sentence with the figures.
    pub(super) fn heard(&self) -> String {
        let of = |taken| self.words.iter().filter(|word| word.taken == taken).count();
        let wrote = |taken| self.writes.iter().filter(|write| write.taken == taken).count();
        let words: usize = self
            .found
            .values()
            .map(|found| ears(found).iter().map(|to| heard(found, to).len()).sum::<usize>())
            .sum();
        format!(
            "words: {words} on record, {} acknowledged, {} refused, {} unknown; context: {} writes acknowledged, {} \
             overtaken, {} unknown; {} epochs met",
            of(Taken::Yes),
            of(Taken::No),
            of(Taken::Unknown),
            wrote(Taken::Yes),
            wrote(Taken::No),
            wrote(Taken::Unknown),
            self.epochs.len(),
        )
    }
}

/// What a run has on record under a signal's name or a step's.
fn heard(found: &Found, to: &str) -> Vec<String> {
    let said = |event: &pb::RunEvent| match &event.event {
        Some(Event::SignalReceived(it)) if it.signal == to => {
            Some(String::from_utf8_lossy(&it.value).into_owned())
        }
        Some(Event::StepAnswered(it)) if it.step_id == to => Some(it.verdict().as_str_name().to_owned()),
        _ => None,
    };
    found.events.iter().filter_map(said).collect()
}

/// The signals and steps under which a run has something on record.
fn ears(found: &Found) -> BTreeSet<&str> {
    let ears = found.events.iter().filter_map(|event| match &event.event {
        Some(Event::SignalReceived(it)) => Some(it.signal.as_str()),
        Some(Event::StepAnswered(it)) => Some(it.step_id.as_str()),
        _ => None,
    });
    ears.collect()
}
