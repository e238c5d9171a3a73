//! One entry of the durable ledger: key, value, schema version. The only record kind of a sidecar.

use mainstay_kernel::id::AttemptId;
use mainstay_kernel::time::Wall;
use mainstay_store::record::{self, Upcast, UpcastError};
use serde::{Deserialize, Serialize};

use super::{Digest, Ended};

/// Keys begin with this ordinal; frozen.
pub(super) const PREFIX: &[u8] = &[1];
/// The steps from each schema of the value below to the next, oldest first. A schema newer than the last step leads to is
/// refused, which makes its key unknown rather than new. Whoever changes what is kept adds a step here, and a record of
/// the schema before to `fixtures`.
const UPCASTS: &[Upcast] = &[];

/// What is kept of one side-effecting call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// The idempotency key. In the value as well, so that two equal outcomes are two documents.
    pub(super) id: AttemptId,
    /// BLAKE3 of what was asked, in hexadecimal.
    digest: String,
    /// When it was written.
    pub(super) at: Wall,
    pub(super) state: State,
}

/// How far the call has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    /// The agent may have been called.
    Begun,
    /// It ended like this.
    Ended(Ended),
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error(transparent)]
    NoVersion(#[from] record::NoVersion),
    #[error("it has version {0}, newer than this program knows")]
    Newer(u16),
    #[error(transparent)]
    Upcast(UpcastError),
    #[error("it is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
}

pub(super) fn key(id: AttemptId) -> Vec<u8> {
    [PREFIX, id.as_bytes()].concat()
}

impl Record {
    pub(super) fn new(id: AttemptId, digest: Digest, at: Wall, state: State) -> Self {
        Self { id, digest: blake3::Hash::from(digest).to_hex().to_string(), at, state }
    }

    pub(super) fn digest(&self) -> Option<Digest> {
        blake3::Hash::from_hex(&self.digest).ok().map(Into::into)
    }

    pub(super) fn seal(&self) -> Result<Vec<u8>, serde_json::Error> {
        Ok(record::seal(record::newest(UPCASTS), &serde_json::to_vec(self)?))
    }

    pub(super) fn open(value: &[u8]) -> Result<Self, Unreadable> {
        let (found, payload) = record::open(value)?;
        let payload = record::bring_up(found, payload, UPCASTS).map_err(|error| match error {
            UpcastError::Newer { found, .. } => Unreadable::Newer(found),
            UpcastError::Zero | UpcastError::Refused { .. } => Unreadable::Upcast(error),
        })?;
        Ok(serde_json::from_slice(&payload)?)
    }
}

#[cfg(test)]
mod tests {
    use mainstay_kernel::json::Json;
    use mainstay_kernel::outcome::{Answer, Usage};
    use proptest::prelude::*;

    use super::*;
    use crate::failure;

    proptest! {
        #[test]
        fn a_record_goes_there_and_back(id: [u8; 16], digest: [u8; 32], at: i64, which in 0..3, text in ".*") {
            let answer = Answer {
                output: Json::from(&serde_json::json!({ "said": text })),
                usage: Usage { tokens_in: 1, ..Usage::default() },
                confidence_bp: Some(10_000),
                warnings: vec![text.clone()],
            };
            let state = match which {
                0 => State::Begun,
                1 => State::Ended(Ok(answer)),
                _ => State::Ended(Err(failure::agent_failed(text))),
            };
            let id = AttemptId::from_bytes(id);
            let record = Record::new(id, digest, Wall::from_millis(at), state);
            let read = Record::open(&record.seal().unwrap()).unwrap();
            prop_assert_eq!((read.id, read.digest(), read.at), (id, Some(digest), Wall::from_millis(at)));
            prop_assert_eq!(format!("{:?}", read.state), format!("{:?}", record.state));
        }
    }

    /// What a record of each state looks like, sealed by the program of the day.
    fn samples() -> [(&'static str, Record); 3] {
        let answer = Answer {
            output: Json::from(&serde_json::json!({ "paid": true })),
            usage: Usage { tokens_in: 10, tokens_out: 20, cost_nano_usd: 30, ..Usage::default() },
            confidence_bp: Some(9_000),
            warnings: vec!["late".to_owned()],
        };
        let record =
            |state| Record::new(AttemptId::from_bytes([7; 16]), [8; 32], Wall::from_millis(9), state);
        [
            ("begun", record(State::Begun)),
            ("answered", record(State::Ended(Ok(answer)))),
            ("failed", record(State::Ended(Err(failure::agent_failed("no money".to_owned()))))),
        ]
    }

    fn fixtures(schema: u16) -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/ledger/fixtures/{schema}"))
    }

    /// With `MAINSTAY_WRITE_FIXTURES=1`, those of the newest schema are written first.
    #[test]
    fn what_every_earlier_program_wrote_is_read_as_what_it_meant() {
        if std::env::var_os("MAINSTAY_WRITE_FIXTURES").is_some() {
            let folder = fixtures(record::newest(UPCASTS));
            std::fs::create_dir_all(&folder).unwrap();
            for (name, record) in samples() {
                std::fs::write(folder.join(name), record.seal().unwrap()).unwrap();
            }
        }
        for schema in 1..=record::newest(UPCASTS) {
            for (name, meant) in samples() {
                let written = std::fs::read(fixtures(schema).join(name)).unwrap();
                let read = Record::open(&written).unwrap();
                assert_eq!((read.id, read.digest(), read.at), (meant.id, meant.digest(), meant.at));
                assert_eq!(format!("{:?}", read.state), format!("{:?}", meant.state), "{schema} {name}");
            }
        }
    }

    #[test]
    fn a_record_of_a_newer_program_is_refused_by_version() {
        let error = Record::open(&record::seal(2, b"{}")).unwrap_err();
        assert_eq!(error.to_string(), "it has version 2, newer than this program knows");
    }
}
