//! What the rules of modes look at.

use std::fmt;
use std::time::Duration;

use crate::share::Human;

/// What rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Calls that wait for an agent, as a share of the calls that may be under way at once, in basis points; may be more
    /// than all.
    Queue,
    /// The 99th percentile of the time that attempts took lately, in microseconds.
    Latency,
    /// Attempts that failed lately, in basis points.
    Errors,
    /// Memory in use, in basis points of the soft limit; may be more than all.
    Memory,
}

/// One look at all signals. What nobody can tell now is `None`, and a rule over it stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readings {
    /// See [`Signal::Queue`].
    pub queue: Option<u64>,
    /// See [`Signal::Latency`].
    pub latency: Option<u64>,
    /// See [`Signal::Errors`].
    pub errors: Option<u64>,
    /// See [`Signal::Memory`].
    pub memory: Option<u64>,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Queue, Self::Latency, Self::Errors, Self::Memory];

    /// Whether only traffic tells it.
    pub(super) const fn is_of_traffic(self) -> bool {
        matches!(self, Self::Latency | Self::Errors)
    }

    /// The name used in errors and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Latency => "latency",
            Self::Errors => "errors",
            Self::Memory => "memory",
        }
    }

    /// A reading, for people.
    pub(super) fn show(self, reading: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency => write!(f, "{:?}", Duration::from_micros(reading)),
            Self::Queue | Self::Errors | Self::Memory => {
                write!(f, "{}", Human(u32::try_from(reading).unwrap_or(u32::MAX)))
            }
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Readings {
    /// The reading of one signal.
    #[must_use]
    pub const fn of(&self, signal: Signal) -> Option<u64> {
        match signal {
            Signal::Queue => self.queue,
            Signal::Latency => self.latency,
            Signal::Errors => self.errors,
            Signal::Memory => self.memory,
        }
    }
}
