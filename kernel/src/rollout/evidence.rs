//! What a stage of a rollout has seen, and when it is looked at.

use std::time::Duration;

use super::reason::{Compared, Reason};
use super::tally::{Tally, is_slower, is_worse};
use super::{Rule, Side};
use crate::outcome::Class;

/// The evidence of a stage. Each begins with a candidate of whom nothing is known: what it did with a twentieth of the calls
/// says little about what it does with half of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    pub(super) candidate: Tally,
    pub(super) stable: Tally,
    /// What the stable version did a stage earlier. It stands in where it gets hardly any calls now.
    before: Tally,
    /// Calls of the candidate at which the two are compared next. Looking after every call would find a difference by
    /// chance sooner or later, so looks become rarer as evidence grows: a quarter more each time.
    next_look: u32,
}

impl Evidence {
    pub(super) fn count(&mut self, side: Side, class: Class, latency: Duration) {
        match side {
            Side::Candidate => self.candidate.count(class, latency),
            Side::Stable => self.stable.count(class, latency),
        }
        if self.candidate.is_full() || self.stable.is_full() {
            self.candidate.halve();
            self.stable.halve();
            self.next_look = self.candidate.ended.saturating_add(self.candidate.ended / 4 + 1);
        }
    }

    /// A stage begins.
    pub(super) fn next_stage(&mut self, rule: Rule) {
        let stable = std::mem::take(&mut self.stable);
        let before = if stable.ended >= rule.min_samples { stable } else { std::mem::take(&mut self.before) };
        *self = Self { before, ..Self::default() };
    }

    /// The calls that the candidate is measured against; `None` while there are too few.
    pub(super) fn baseline(&self, rule: Rule) -> Option<&Tally> {
        [&self.stable, &self.before].into_iter().find(|tally| tally.ended >= rule.min_samples)
    }

    /// Why the candidate has lost, if it has; asked after every call, answered when it is time to look.
    pub(super) fn look(&mut self, rule: Rule) -> Option<Reason> {
        if self.candidate.ended < self.next_look.max(rule.min_samples) {
            return None;
        }
        let lost = self.compare(rule);
        if self.baseline(rule).is_some() {
            self.next_look = self.candidate.ended.saturating_add(self.candidate.ended / 4 + 1);
        }
        lost
    }

    fn compare(&self, rule: Rule) -> Option<Reason> {
        let (candidate, stable) = (&self.candidate, self.baseline(rule)?);
        let against = |bad: u32, than: u32| Compared {
            candidate: bad,
            of: candidate.ended,
            stable: than,
            than_of: stable.ended,
        };
        let worse = |compared: Compared, slack_bp| {
            is_worse((compared.candidate, compared.of), (compared.stable, compared.than_of), slack_bp)
        };
        let breaches = against(candidate.breached, stable.breached);
        let errors = against(candidate.failed, stable.failed);
        if worse(breaches, rule.breaches_bp) {
            Some(Reason::MoreBreaches(breaches))
        } else if worse(errors, rule.errors_bp) {
            Some(Reason::MoreErrors(errors))
        } else if is_slower(candidate, stable, rule.slower_bp) {
            let millis = |tally: &Tally| {
                tally.slow().and_then(|slow| u64::try_from(slow.as_millis()).ok()).unwrap_or(u64::MAX)
            };
            Some(Reason::Slower { candidate_millis: millis(candidate), stable_millis: millis(stable) })
        } else {
            None
        }
    }
}
