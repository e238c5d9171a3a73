//! How often an open run broke what drove it. Written when it falls; gone when the run has ended, or when a person lets it
//! go on.

use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::poison::Falls;
use serde::{Deserialize, Serialize};

use super::{RecordError, key, malformed};

const KIND: &str = "falls";
const SCHEMA: u16 = 1;

/// The falls of a run, with the tenant whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallen {
    /// The tenant.
    pub tenant: Name,
    /// What happened.
    #[serde(flatten)]
    pub falls: Falls,
}

/// Key of the falls of one run.
#[must_use]
pub fn key(tenant: &str, run: RunId) -> Vec<u8> {
    key::of_run(tenant, run, key::FALLS)
}

/// The value.
pub fn encode(fallen: &Fallen) -> Result<Vec<u8>, RecordError> {
    super::encode(KIND, SCHEMA, fallen)
}

/// A run, and what it did.
pub fn decode(key: &[u8], value: &[u8]) -> Result<(RunId, Fallen), RecordError> {
    let (_, id) = key.split_last_chunk().ok_or_else(|| malformed(KIND, "its key is cut short"))?;
    Ok((RunId::from_bytes(*id), super::decode(KIND, SCHEMA, value)?))
}

#[cfg(test)]
mod tests {
    use mainstay_kernel::time::Wall;

    use super::*;

    #[test]
    fn falls_that_the_first_program_wrote_are_read() {
        let (key, tenant) = (key("acme", RunId::from_bytes([7; 16])), Name::new("acme").unwrap());
        let mut bytes = vec![0, 1];
        bytes.extend_from_slice(
            br#"{"tenant":"acme","at_event":4,"here":2,"in_all":3,"last":1800000000000,"reason":"panicked: x"}"#,
        );
        let falls = Falls {
            at_event: 4,
            here: 2,
            in_all: 3,
            last: Wall::from_millis(1_800_000_000_000),
            reason: "panicked: x".to_owned(),
        };
        let fallen = Fallen { tenant, falls };
        assert_eq!(encode(&fallen).unwrap(), bytes);
        assert_eq!(decode(&key, &bytes).unwrap(), (RunId::from_bytes([7; 16]), fallen));
        assert!(decode(&key[..4], &bytes).is_err());
    }
}
