//! Priorities: who is served first, and who is turned away first, when not everybody can be.
//!
//! The four words are Google's criticality (Site Reliability Engineering, 2016, chapter 21, "Handling Overload"), because
//! each says what a request may count on. `high` and `low` only say that one goes before the other, so everybody asks for
//! `high`; whoever writes `critical-plus` says that a person notices at once, and whoever writes `sheddable` says that
//! nothing is lost if it comes back in an hour. What says nothing is [`Priority::Critical`]: the system is built to carry it.
//!
//! A priority is inherited: what an agent asks for while it works on a request is as urgent as the request.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The header that carries a priority from a call to the calls made for it.
pub const HEADER: &str = "mainstay-priority";

/// How urgent a request is. The greater one goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// May be refused for an hour and nobody minds: backfills, evaluations.
    Sheddable,
    /// May be refused for minutes and is tried again: batches that somebody waits for.
    SheddablePlus,
    /// A person or a program is disturbed if it fails. What the system is built to carry.
    #[default]
    Critical,
    /// A person notices at once: the few requests that must not fail.
    CriticalPlus,
}

/// Text that names no priority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be critical-plus, critical, sheddable-plus or sheddable")]
pub struct UnknownPriority;

impl Priority {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 4] = [Self::CriticalPlus, Self::Critical, Self::SheddablePlus, Self::Sheddable];

    /// The name used on the wire, in records, tables and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sheddable => "sheddable",
            Self::SheddablePlus => "sheddable-plus",
            Self::Critical => "critical",
            Self::CriticalPlus => "critical-plus",
        }
    }

    /// Whether it is what holds where nothing is said, and need not be written down.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Priority {
    type Err = UnknownPriority;

    fn from_str(text: &str) -> Result<Self, UnknownPriority> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == text).ok_or(UnknownPriority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_read_back_from_its_name_and_the_urgent_goes_first() {
        for priority in Priority::ALL {
            assert_eq!(priority.as_str().parse(), Ok(priority));
            assert_eq!(serde_json::to_value(priority).unwrap(), priority.as_str());
        }
        assert!(Priority::ALL.is_sorted_by(|a, b| a > b));
        assert_eq!("high".parse::<Priority>(), Err(UnknownPriority));
        assert_eq!(Priority::default(), Priority::Critical);
    }
}
