//! The faults that can be drilled: a closed catalogue, each entry with what it does and what must notice it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Answers are held back.
    SlowAgent,
    /// The agent answers that it failed.
    FailingAgent,
    /// Nothing answers: calls, polls and questions to the ledger find nobody.
    DeadAgent,
    /// The agent answers that it is busy.
    Overload,
    /// A router agent's answers are replaced by lies.
    LyingRouter,
    /// The disk refuses every sync, as a full or broken one does.
    StoreReadOnly,
    /// The server's memory looks used up.
    EmergencyMode,
}

/// What has to notice a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A part of the system must turn: a breaker opens, an instance becomes unhealthy, the store
    /// read-only, the mode another.
    Part,
    /// Calls must be seen as pushed back, and no part may turn for it: busy is not dead.
    Pushback,
    /// Answers must be refused by whoever asked for them. No part turns: the answers are good JSON.
    Disbelief,
}

/// A text that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {}", Kind::ALL.map(Kind::as_str).join(", "))]
pub struct UnknownKind;

impl Kind {
    /// Every kind, in the order of the catalogue.
    pub const ALL: [Self; 7] = [
        Self::SlowAgent,
        Self::FailingAgent,
        Self::DeadAgent,
        Self::Overload,
        Self::LyingRouter,
        Self::StoreReadOnly,
        Self::EmergencyMode,
    ];

    /// The name, as it is typed and kept.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SlowAgent => "slow-agent",
            Self::FailingAgent => "failing-agent",
            Self::DeadAgent => "dead-agent",
            Self::Overload => "overload",
            Self::LyingRouter => "lying-router",
            Self::StoreReadOnly => "store-read-only",
            Self::EmergencyMode => "emergency-mode",
        }
    }

    /// What is done to the world, in a sentence.
    #[must_use]
    pub const fn does(self) -> &'static str {
        match self {
            Self::SlowAgent => {
                "holds calls back before they are sent, a quarter beyond the promised time unless told"
            }
            Self::FailingAgent => "answers calls in the agent's place: it failed",
            Self::DeadAgent => "refuses connections: calls, health polls and ledgers find nobody",
            Self::Overload => "answers calls in the agent's place: it is busy, come again",
            Self::LyingRouter => {
                "answers in a router agent's place: ghosts, look-alike letters, garbage, a megabyte, false confidence"
            }
            Self::StoreReadOnly => "refuses every sync of the disk, as a full one does",
            Self::EmergencyMode => "reports the server's memory as used up, whatever is in use",
        }
    }

    /// What a sound system does about it, in a sentence.
    #[must_use]
    pub const fn expects(self) -> &'static str {
        match self {
            Self::SlowAgent | Self::FailingAgent => "the breaker opens, and closes behind good probes",
            Self::DeadAgent => "the breaker opens or the instance becomes unhealthy, and is taken back",
            Self::Overload => "calls are pushed back and tried elsewhere or later; no breaker opens",
            Self::LyingRouter => "routing believes none of it, says so on record, and the next rung answers",
            Self::StoreReadOnly => {
                "the store turns read-only, nothing is acknowledged, and it reopens by itself"
            }
            Self::EmergencyMode => {
                "the rules set the mode to emergency, what can wait is told when to come again, and full returns by itself"
            }
        }
    }

    /// Whether it happens to an agent, an instance or a capability; if not, to the server as a whole.
    #[must_use]
    pub const fn has_target(self) -> bool {
        !matches!(self, Self::StoreReadOnly | Self::EmergencyMode)
    }

    /// What has to notice it.
    #[must_use]
    pub const fn notice(self) -> Notice {
        match self {
            Self::Overload => Notice::Pushback,
            Self::LyingRouter => Notice::Disbelief,
            Self::SlowAgent
            | Self::FailingAgent
            | Self::DeadAgent
            | Self::StoreReadOnly
            | Self::EmergencyMode => Notice::Part,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}
