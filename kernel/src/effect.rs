//! What a call may do to the world, as its agent declares it. Everything about repeating a call follows from this.

use serde::{Deserialize, Serialize};

/// The effect class of a capability. They order by strictness: what must be ready for one is ready for all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EffectClass {
    /// Changes nothing. May be repeated, hedged and abandoned at will.
    ReadOnly,
    /// Changes something, but the same key twice is the same as once. May be repeated with its key.
    Idempotent,
    /// Changes something each time. Never repeated while its outcome is unknown.
    SideEffecting,
}

impl EffectClass {
    /// The name used in documents and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::Idempotent => "idempotent",
            Self::SideEffecting => "side-effecting",
        }
    }
}
