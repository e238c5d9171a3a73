//! Identities, as prefixed newtypes over 128 bits.
//!
//! A prefix makes an id recognisable in a log and impossible to pass for another kind. Ids that must order by creation
//! are UUIDv7, made by the shell. An [`AttemptId`] is *derived* from run, step and logical attempt: re-deciding the
//! same attempt after a crash gives the same id, and that id is the idempotency key the sidecar's ledger knows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `{prefix}` followed by 32 lower-case hexadecimal digits")]
pub struct ParseIdError {
    /// The prefix the id should have had.
    pub prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// What the text form of this id starts with.
            pub const PREFIX: &'static str = $prefix;

            /// From 16 raw bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 raw bytes, big-endian: they order as the ids do.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid.into_bytes())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = Uuid::encode_buffer();
                write!(f, "{}{}", $prefix, Uuid::from_bytes(self.0).simple().encode_lower(&mut text))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let error = ParseIdError { prefix: $prefix };
                let hex = text.strip_prefix($prefix).ok_or(error.clone())?;
                let canonical = hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                if !canonical {
                    return Err(error);
                }
                Uuid::try_parse(hex).map(Self::from).map_err(|_| error)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

ids! {
    /// One run of a workflow. UUIDv7: orders by the time it was accepted.
    RunId = "run_";
    /// One logical attempt of one step of one run, or of one direct call: the idempotency key of the work.
    AttemptId = "att_";
    /// One registered instance of an agent. Derived from tenant, agent and instance name: survives re-registration.
    InstanceId = "ins_";
    /// One decision on a routed request. UUIDv7: orders by the time the request came.
    DecisionId = "dec_";
    /// One lease. Whoever holds the id may renew and end the registration.
    LeaseId = "lse_";
    /// One drill. UUIDv7: orders by the time it began.
    DrillId = "drl_";
}

impl AttemptId {
    /// The id of logical attempt `attempt` (from 1) of `step` in `run`.
    #[must_use]
    pub fn derive(run: RunId, step: &str, attempt: u32) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("mainstay attempt id v1");
        hash.update(run.as_bytes()).update(&attempt.to_be_bytes()).update(step.as_bytes());
        Self(first_16(&hash))
    }
}

impl InstanceId {
    /// The id of `instance` of `agent` in `tenant`.
    #[must_use]
    pub fn derive(tenant: &str, agent: &str, instance: &str) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("mainstay instance id v1");
        for part in [tenant, agent, instance] {
            // Length first, so that ("ab","c") and ("a","bc") differ.
            hash.update(&(part.len() as u64).to_be_bytes()).update(part.as_bytes());
        }
        Self(first_16(&hash))
    }
}

fn first_16(hash: &blake3::Hasher) -> [u8; 16] {
    let mut out = [0; 16];
    hash.finalize_xof().fill(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(n: u8) -> RunId {
        RunId::from_bytes([n; 16])
    }

    #[test]
    fn text_form_goes_there_and_back() {
        let text = run(0xab).to_string();
        assert_eq!(text, "run_abababababababababababababababab");
        assert_eq!(text.parse::<RunId>(), Ok(run(0xab)));
    }

    #[test]
    fn another_kind_of_id_is_refused() {
        let err = "att_abababababababababababababababab".parse::<RunId>().unwrap_err();
        assert_eq!(err.to_string(), "expected `run_` followed by 32 lower-case hexadecimal digits");
        assert!("run_ABABABABABABABABABABABABABABABAB".parse::<RunId>().is_err());
        assert!("run_abab".parse::<RunId>().is_err());
    }

    #[test]
    fn an_attempt_decided_again_has_the_same_id_and_any_other_another() {
        let id = AttemptId::derive(run(1), "draft", 1);
        assert_eq!(id, AttemptId::derive(run(1), "draft", 1));
        for other in [
            AttemptId::derive(run(2), "draft", 1),
            AttemptId::derive(run(1), "review", 1),
            AttemptId::derive(run(1), "draft", 2),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn parts_of_an_instance_id_do_not_run_together() {
        assert_ne!(InstanceId::derive("t", "ab", "c"), InstanceId::derive("t", "a", "bc"));
    }
}
