//! What a run used up, written with its last transition and gone once it is added to the spend of its days.

use mainstay_kernel::budget::spend::{Rows, Source, Spend};
use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use serde::{Deserialize, Serialize};

use super::{RecordError, key};

const KIND: &str = "run spend";
const SCHEMA: u16 = 1;

/// Rows of one run. One that calls more agents than this for more capabilities has the rest in one row of nobody's, so that
/// the record and what is written when it is added up stay small.
const MAX_ROWS: usize = 64;

/// What a run used up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpend {
    /// Its workflow.
    pub workflow: Name,
    /// By day, agent and capability.
    pub rows: Vec<(Source, Spend)>,
}

impl RunSpend {
    /// Of a run of `workflow`.
    #[must_use]
    pub fn new(workflow: &Name, rows: Rows) -> Self {
        let mut rows: Vec<_> = rows.into_iter().collect();
        if rows.len() > MAX_ROWS {
            let day = rows[MAX_ROWS - 1].0.day;
            let rest = rows.drain(MAX_ROWS - 1..).fold(Spend::default(), |sum, (_, spend)| sum.plus(spend));
            rows.push((Source { day, agent: String::new(), capability: String::new() }, rest));
        }
        Self { workflow: workflow.clone(), rows }
    }
}

/// Prefix of a tenant's entries.
#[must_use]
pub fn prefix(tenant: &str) -> Vec<u8> {
    key::global(tenant, key::RUN_SPEND)
}

/// Key of one.
#[must_use]
pub fn key(tenant: &str, run: RunId) -> Vec<u8> {
    let mut key = prefix(tenant);
    key.extend_from_slice(run.as_bytes());
    key
}

/// The run that the part of a key behind its prefix names.
#[must_use]
pub fn run(rest: &[u8]) -> Option<RunId> {
    rest.try_into().map(RunId::from_bytes).ok()
}

/// Encodes one.
pub fn encode(spend: &RunSpend) -> Result<Vec<u8>, RecordError> {
    super::encode(KIND, SCHEMA, spend)
}

/// Decodes one.
pub fn decode(bytes: &[u8]) -> Result<RunSpend, RecordError> {
    super::decode(KIND, SCHEMA, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_kernel::budget::window::Day;

    #[test]
    fn however_many_rows_there_are_the_sum_is_the_same() {
        let row = |n: i32| {
            let source = Source { day: Day(n / 50), agent: format!("a{n}"), capability: "c".to_owned() };
            (source, Spend { calls: 1, nano_usd: 2, ..Spend::default() })
        };
        let spend = RunSpend::new(&Name::new("w").unwrap(), (0..200).map(row).collect());
        assert_eq!(spend.rows.len(), MAX_ROWS);
        let sum = spend.rows.iter().fold(Spend::default(), |sum, (_, spend)| sum.plus(*spend));
        assert_eq!((sum.calls, sum.nano_usd), (200, 400));
        assert_eq!(decode(&encode(&spend).unwrap()).unwrap(), spend);
    }
}
