//! Money: what is on record, beside what the agents say they were paid.
//!
//! An attempt that is on record with its answer cost what its agent says. An answer that is on no record was lost on its way:
//! its call was under way at a crash, or its step had been cut off. Each kind is counted; any other is missing.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_proto::pb;

use super::History;
use crate::agent::Row;

/// Rows that agents may write while an answer is on its way to the disk: two calls begun and answered for each of 64
/// clients. Nobody waits for the record of what may be repeated, so it is written with whatever is written next.
const ON_THEIR_WAY: usize = 4 * 64;

/// What the books of the tenant say, in 10⁻⁹ US dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purse {
    /// What its budget counts as spent.
    pub spent: u64,
    /// What its budget holds for calls under way.
    pub reserved: u64,
    /// What its sums of the days say.
    pub total: u64,
}

/// Answers on record and not, and what they cost in 10⁻⁹ US dollars.
#[derive(Debug, Default)]
struct Books {
    recorded: usize,
    on_record: u64,
    /// Not on record, and under way at a crash.
    lost: usize,
    /// How many rows were written between such an answer and the crash, at most.
    furthest: usize,
    /// Not on record, because their step was cut off.
    cut: usize,
    off_record: u64,
    /// Not on record, and nothing explains it.
    missing: Vec<String>,
    /// On record with another cost.
    wrong: Vec<String>,
}

impl History {
    pub(super) fn books(&self, report: &mut impl FnMut(&'static str, String)) {
        if self.mix.is_none() {
            return;
        }
        let books = self.audit();
        books.wrong.into_iter().for_each(|what| report("money", what));
        books.missing.into_iter().for_each(|what| report("money", what));
        for (id, found) in &self.found {
            let attempts = found.run.steps.iter().flat_map(|step| &step.attempts).map(cost);
            let (sum, usage) = (attempts.sum::<u64>(), found.run.usage.as_ref().map_or(0, nano));
            if sum != usage {
                report("money", format!("{id} used {usage} by its sum, and its attempts {sum}"));
            }
        }
        if let Some(purse) = self.purse {
            let wanted = Purse { spent: books.on_record, reserved: 0, total: books.on_record };
            if purse != wanted {
                report("money", format!("the tenant's books say {purse:?}, its runs {wanted:?}"));
            }
        }
    }

    /// A sentence with the figures.
    pub(super) fn money(&self) -> String {
        let Books { recorded, on_record, lost, furthest, cut, off_record, .. } = self.audit();
        let under_way = self.under_way();
        format!(
            "money: {recorded} answers on record cost {on_record} nano-USD, as their agents say; {lost} lost at a crash \
             (at most {furthest} rows before it) and {cut} cut off cost {off_record} more ({:.2} % of all); {} calls were under way at {} crashes, {} at most",
            off_record as f64 * 100.0 / (on_record + off_record).max(1) as f64,
            under_way.iter().sum::<usize>(),
            under_way.len(),
            under_way.iter().max().unwrap_or(&0),
        )
    }

    fn audit(&self) -> Books {
        let mut books = Books::default();
        let mut on_record = BTreeMap::new();
        let steps = self.found.values().flat_map(|found| &found.run.steps);
        for attempt in steps.flat_map(|step| &step.attempts).filter(|attempt| was_answered(attempt)) {
            on_record.insert(attempt.attempt_id.as_str(), cost(attempt));
        }
        let mut taken = BTreeSet::new();
        let mut began = BTreeMap::new();
        for (at, row) in self.rows.iter().enumerate() {
            if row.failed {
                continue;
            }
            if row.begins() {
                began.insert(row.key.as_str(), at);
                continue;
            }
            match on_record.get(row.key.as_str()) {
                Some(cost) if taken.insert(&row.key) => {
                    books.recorded += 1;
                    books.on_record += cost;
                    if *cost != row.nano_usd {
                        let (key, said) = (&row.key, row.nano_usd);
                        books.wrong.push(format!("{key} is on record with {cost}, its agent says {said}"));
                    }
                }
                _ => {
                    books.off_record += row.nano_usd;
                    let began = began.get(row.key.as_str()).copied().unwrap_or(at);
                    match () {
                        () if self.was_cut_off(row) => books.cut += 1,
                        () => match self.rows_to_crash(began, at) {
                            Some(rows) => {
                                books.lost += 1;
                                books.furthest = books.furthest.max(rows);
                            }
                            None => {
                                let Row { run, step, key, .. } = row;
                                books
                                    .missing
                                    .push(format!("{run}/{step}: the answer to {key} is on no record"));
                            }
                        },
                    }
                }
            }
        }
        for key in on_record.keys().filter(|key| !taken.iter().any(|taken| taken == *key)) {
            books.wrong.push(format!("{key} is on record as answered, and no agent says so"));
        }
        books
    }

    /// If a call that began and ended at these rows was under way at a crash, or its answer was: how many rows came between.
    fn rows_to_crash(&self, began: usize, ended: usize) -> Option<usize> {
        let met = |crash: &&usize| began < **crash && **crash <= ended + ON_THEIR_WAY;
        self.crashes.iter().find(met).map(|crash| crash.saturating_sub(ended))
    }

    fn was_cut_off(&self, row: &Row) -> bool {
        let Some(found) = self.found.get(&row.run) else { return false };
        let step = found.run.steps.iter().find(|step| step.id == row.step);
        step.is_some_and(|step| step.state() == pb::StepState::Cancelled)
    }

    /// How many calls were under way at each crash: begun before, and not ended.
    fn under_way(&self) -> Vec<usize> {
        let mut open = BTreeSet::new();
        let (mut under_way, mut rows) = (Vec::new(), self.rows.iter().enumerate().peekable());
        for crash in &self.crashes {
            while let Some((_, row)) = rows.next_if(|(at, _)| at < crash) {
                if row.begins() {
                    open.insert(&row.key)
                } else {
                    open.remove(&row.key)
                };
            }
            under_way.push(open.len());
        }
        under_way
    }
}

/// Whether an agent answered, be the answer good enough or not.
fn was_answered(attempt: &pb::Attempt) -> bool {
    use pb::OutcomeClass::{ContractBreach, LowConfidence, Success};
    matches!(attempt.class(), Success | ContractBreach | LowConfidence)
}

fn cost(attempt: &pb::Attempt) -> u64 {
    attempt.usage.as_ref().map_or(0, nano)
}

fn nano(usage: &pb::Usage) -> u64 {
    u64::try_from(usage.cost_nano_usd).unwrap_or(0)
}
