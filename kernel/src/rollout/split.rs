//! Which version a call belongs to: consistent hashing of its key.
//!
//! A keyed BLAKE3 of the call's key gives a place from 0 to 9,999; below the weight it is the candidate's. A key keeps its
//! place for as long as the rollout tries the same version, so raising the weight moves keys towards the candidate and
//! none away from it, and nothing needs to be remembered for any of them. Another candidate shuffles the places anew: it
//! is not always the same customers who meet what is new first.

use std::collections::BTreeMap;
use std::fmt;

use super::{Rollout, Side, Sticky};
use crate::expr::Scope;
use crate::id::{AttemptId, RunId};
use crate::json::Json;
use crate::share::{Human, WHOLE};

/// What may be known of a call.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The idempotency key of its first attempt.
    pub key: AttemptId,
    /// Its run; none for a direct call.
    pub run: Option<RunId>,
    /// What the person asked for.
    pub intent: &'a str,
    /// Labels of its run.
    pub labels: &'a BTreeMap<String, String>,
    /// What the agent is given.
    pub input: &'a Json,
    /// Whether an earlier try of it failed.
    pub is_retry: bool,
}

/// Divides calls. Made once for a rollout, asked for each call.
#[derive(Clone)]
pub struct Split {
    main: [u8; 32],
    shadow: [u8; 32],
}

/// Which version a call belongs to, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// The version.
    pub side: Side,
    /// Why.
    pub why: Why,
}

/// Why a call belongs to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its key has this place, of ten thousand, and the candidate's weight is that.
    Key {
        /// The place, from 0.
        place: u32,
        /// The weight, in basis points.
        weight_bp: u32,
    },
    /// It failed before: the version that is trusted tries it again.
    Retry,
}

impl Pick {
    /// Whether how the call goes says something about the two versions: its key chose, and nothing else.
    #[must_use]
    pub const fn is_evidence(&self) -> bool {
        matches!(self.why, Why::Key { .. })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { place, weight_bp } => {
                write!(
                    f,
                    "its key is at {}, the candidate's share ends at {}",
                    Human(*place),
                    Human(*weight_bp)
                )
            }
            Self::Retry => f.write_str("it is tried again"),
        }
    }
}

impl Split {
    /// The split of a rollout.
    #[must_use]
    pub fn of(rollout: &Rollout) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("mainstay rollout split v1");
        for part in [rollout.agent().as_str(), rollout.of(Side::Stable), rollout.of(Side::Candidate)] {
            hash.update(&(part.len() as u64).to_be_bytes()).update(part.as_bytes());
        }
        let main: [u8; 32] = hash.finalize().into();
        Self { main, shadow: blake3::keyed_hash(&main, b"shadow").into() }
    }

    /// Which version a call belongs to while the candidate has this weight.
    #[must_use]
    pub fn pick(&self, rollout: &Rollout, caller: Caller<'_>, weight_bp: u32) -> Pick {
        if caller.is_retry {
            return Pick { side: Side::Stable, why: Why::Retry };
        }
        let place = with_key(rollout.sticky(), caller, |key| place(&self.main, key));
        let side = if place < weight_bp { Side::Candidate } else { Side::Stable };
        Pick { side, why: Why::Key { place, weight_bp } }
    }

    /// Whether a call is one of this share of calls that are copied. Another draw than the version's, and by the call
    /// itself: a sample of all of them, not of some customers.
    #[must_use]
    pub fn is_shadowed(&self, call: AttemptId, share_bp: u32) -> bool {
        share_bp > 0 && place(&self.shadow, call.as_bytes()) < share_bp
    }
}

impl fmt::Debug for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Split")
    }
}

/// Where a key lies, from 0 to 9,999.
fn place(split: &[u8; 32], key: &[u8]) -> u32 {
    let hash = blake3::keyed_hash(split, key);
    let head = hash.as_bytes().iter().take(8).fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    // Multiply and shift: 10,000 divides 2⁶⁴ to within 10⁻¹⁵.
    u32::try_from((u128::from(head) * u128::from(WHOLE)) >> 64).unwrap_or(0)
}

/// Hands the key of a call on. A call that lacks what it should go by goes by its run, or by itself.
fn with_key<T>(sticky: &Sticky, caller: Caller<'_>, then: impl FnOnce(&[u8]) -> T) -> T {
    match sticky {
        Sticky::Intent if !caller.intent.is_empty() => return then(caller.intent.as_bytes()),
        Sticky::Label(label) => {
            if let Some(value) = caller.labels.get(label) {
                return then(value.as_bytes());
            }
        }
        Sticky::Input(mapping) => {
            let nothing = BTreeMap::<String, Json>::new();
            let run = caller.run.unwrap_or(RunId::from_bytes([0; 16]));
            let (input, intent) = (caller.input, caller.intent);
            // Which reads nothing but `input`, as the document was checked.
            let scope = Scope { input, run, intent, context: input, outputs: &nothing };
            if let Ok(value) = mapping.eval(&scope) {
                return then(value.as_str().as_bytes());
            }
        }
        Sticky::Intent | Sticky::Run => {}
    }
    match caller.run {
        Some(run) => then(run.as_bytes()),
        None => then(caller.key.as_bytes()),
    }
}
