//! What takes a step's effect back, and when a run does that.

use std::time::Duration;

use super::Call;
use crate::expr::Mapping;
use crate::retry::RetryPolicy;
use crate::run::EndState;

/// How long a run may take to undo where the document does not say: as long as it takes a service to come back.
pub const DEFAULT_UNDOING: Duration = Duration::from_secs(5 * 60);

/// What takes a step's effect back.
#[derive(Debug, Clone)]
pub struct Compensate {
    /// Who does it.
    pub call: Call,
    /// What they are given; it may read what the step itself answered.
    pub input: Mapping,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Whether and when it is tried again.
    pub retry: RetryPolicy,
    /// Whether it is done although nobody can tell whether there is an effect.
    pub when_unknown: bool,
}

/// When a run undoes what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compensation {
    /// The ends before which it does.
    pub(super) on: Vec<EndState>,
    /// How long it may take.
    pub(super) within: Duration,
}

impl Compensation {
    /// Whether it undoes before it ends in `state`.
    #[must_use]
    pub fn applies(&self, state: EndState) -> bool {
        self.on.contains(&state)
    }

    /// How long it may take.
    #[must_use]
    pub const fn within(&self) -> Duration {
        self.within
    }
}

/// A run that failed or was cancelled undoes what it did; one that ran out of time has made no decision to.
impl Default for Compensation {
    fn default() -> Self {
        Self { on: vec![EndState::Failed, EndState::Cancelled], within: DEFAULT_UNDOING }
    }
}
