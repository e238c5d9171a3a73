//! Whether a side effect happened is not known: how long, and how often, its ledger is asked.

use std::time::Duration;

use super::record::Sent;
use crate::dice::Dice;
use crate::id::InstanceId;
use crate::outcome::{Began, Failure, OUTCOME_UNKNOWN};
use crate::time::Mono;

/// How long one question to the ledger may take: it reads one record.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// The first pause between two questions: a few round trips. Each next is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two questions: what a caller who waits would not mind to lose.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Closer to the end than this, nothing more is asked: an answer could not come in time.
const TOO_LATE: Duration = Duration::from_millis(1);

/// How long the ledger is asked beyond the attempt's own time: by then its sidecar has cut the work, and a sidecar that
/// crashed has been started again or will not be soon.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub(super) struct Doubt {
    /// Whose ledger is asked.
    pub(super) instance: InstanceId,
    /// The failure that left the doubt.
    pub(super) failure: Failure,
    /// When asking ends.
    pub(super) until: Mono,
    /// How often it was asked.
    pub(super) asked: u32,
}

impl Doubt {
    pub(super) fn about(sent: &Sent, failure: Failure, deadline: Mono) -> Self {
        let until = (sent.started + sent.timeout + PATIENCE).min(deadline);
        Self { instance: sent.instance, failure, until, asked: 0 }
    }

    /// When to ask next, having learnt nothing. Near the end the pauses halve, so that the last moments are used.
    pub(super) fn pause(&mut self, now: Mono, dice: &mut Dice) -> Mono {
        let left = self.until - now;
        if left < TOO_LATE {
            self.until = now;
            return now;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.asked.saturating_sub(1).min(16)).min(MAX_PAUSE);
        now + dice.half_jitter(pause).min(left / 2)
    }

    pub(super) fn ask_timeout(&self, now: Mono) -> Duration {
        ASK_TIMEOUT.min(self.until - now)
    }

    /// The doubt stays: the failure says so, and forbids that the call is repeated.
    pub(super) fn unresolved(self) -> Failure {
        let Self { instance, failure, .. } = self;
        let message =
            format!("{}; the ledger of {instance} could not tell whether it happened", failure.message);
        Failure { code: OUTCOME_UNKNOWN.into(), message, began: Began::Unknown, ..failure }
    }
}
