//! Schedules: one record each, with where it stands, and one for each line of its history.

use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::schedule::{Reason, Standing};
use mainstay_kernel::time::Wall;
use serde::{Deserialize, Serialize};

use super::{RecordError, key};

const SCHEDULE: &str = "schedule";
const LINE: &str = "schedule history";
const SCHEMA: u16 = 1;

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSchedule {
    /// The document, as its author wrote it.
    pub document: String,
    /// When it was put first.
    pub created_at: Wall,
    /// When this document was put.
    pub changed_at: Wall,
    /// Who put it, as they said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Why nothing of it is started, if somebody paused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// Where it stands.
    pub standing: Standing,
    /// The number of the newest line of its history; 0 if there is none.
    #[serde(default)]
    pub lines: u64,
}

/// A pause of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Since when.
    pub since: Wall,
    /// Why, in the words of who did it.
    pub reason: String,
    /// Who, as they said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// A line of a schedule's history: what one occurrence came to, or several in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The occurrence; the first of several.
    pub from: Wall,
    /// The last of several; the same if it is one.
    pub to: Wall,
    /// How many.
    pub count: u64,
    /// When that was decided; of several, last.
    pub at: Wall,
    /// What became of them.
    pub outcome: Outcome,
}

/// What an occurrence came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A run.
    Started {
        /// Which.
        run: RunId,
    },
    /// No run could be started.
    Refused {
        /// Why.
        why: String,
    },
    /// No run was to be started.
    LeftOut {
        /// Why.
        reason: Reason,
    },
}

/// Prefix of a tenant's schedules.
#[must_use]
pub fn prefix(tenant: &str) -> Vec<u8> {
    key::global(tenant, key::SCHEDULE)
}

/// Key of a schedule.
#[must_use]
pub fn key(tenant: &str, name: &Name) -> Vec<u8> {
    let mut key = prefix(tenant);
    key.extend_from_slice(name.as_str().as_bytes());
    key
}

/// The schedule's name in what follows its prefix.
#[must_use]
pub fn name(rest: &[u8]) -> Option<Name> {
    Name::new(std::str::from_utf8(rest).ok()?).ok()
}

/// Prefix of the history of a schedule, in its order.
#[must_use]
pub fn lines(tenant: &str, name: &Name) -> Vec<u8> {
    let mut key = key::global(tenant, key::SCHEDULE_LINE);
    key.extend_from_slice(name.as_str().as_bytes());
    key.push(0);
    key
}

/// Key of one line.
#[must_use]
pub fn line_key(tenant: &str, name: &Name, number: u64) -> Vec<u8> {
    let mut key = lines(tenant, name);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

impl StoredSchedule {
    /// Encodes it.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        super::encode(SCHEDULE, SCHEMA, self)
    }

    /// Decodes it.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        super::decode(SCHEDULE, SCHEMA, bytes)
    }
}

impl Line {
    /// Encodes it.
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        super::encode(LINE, SCHEMA, self)
    }

    /// Decodes it.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        super::decode(LINE, SCHEMA, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lie_in_their_order_and_histories_do_not_mix() {
        let named = |text: &str| Name::new(text).unwrap();
        assert!(line_key("t", &named("a"), 1) < line_key("t", &named("a"), 300));
        assert!(!line_key("t", &named("ab"), 1).starts_with(&lines("t", &named("a"))));
        let at = key("t", &named("nightly"));
        assert_eq!(name(&at[prefix("t").len()..]).unwrap().as_str(), "nightly");
    }

    #[test]
    fn a_schedule_and_its_lines_come_back_as_they_were() {
        let at = Wall::from_millis(1_000);
        let run = RunId::from_bytes([1; 16]);
        let stored = StoredSchedule {
            document: "name: a".to_owned(),
            created_at: at,
            changed_at: at,
            by: "ann".to_owned(),
            paused: Some(Paused { since: at, reason: "holidays".to_owned(), by: String::new() }),
            standing: Standing { starting: vec![at], ..Standing::beginning(at) },
            lines: 3,
        };
        assert_eq!(StoredSchedule::decode(&stored.encode().unwrap()), Ok(stored));
        for outcome in [
            Outcome::Started { run },
            Outcome::Refused { why: "x".to_owned() },
            Outcome::LeftOut { reason: Reason::Missed },
        ] {
            let line = Line { from: at, to: at, count: 1, at, outcome };
            assert_eq!(Line::decode(&line.encode().unwrap()), Ok(line));
        }
    }
}
