//! Which versions a call may go to, in which order, and what its sendings tell about them.

use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::call;
use mainstay_kernel::outcome::{Answer, Class, Failure};
use mainstay_kernel::rollout::split::{Caller, Pick};
use mainstay_kernel::run::AttemptRecord;

use super::{Call, Handle};
use crate::registry::{Candidate, Instance, Route};
use crate::rollouts::{Arranged, Division, Seen, Trial};

/// What was picked for one call. Empty, and free of cost, where nothing is rolled out.
#[derive(Debug, Default)]
pub(super) struct Versions {
    division: Division,
    is_retry: bool,
    /// Why each sending went to the version it went to: which sending, from 0, and the words.
    words: Vec<(usize, String)>,
}

/// The candidates of a call.
pub(super) struct Candidates {
    pub(super) all: Arc<[Candidate]>,
    pub(super) arranged: Option<Arc<Arranged>>,
    /// Versions are compared by what becomes of the call.
    pub(super) compared: bool,
}

/// A sending whose version a rollout chose.
pub(super) struct Chosen {
    pub(super) trial: Arc<Trial>,
    pub(super) pick: Pick,
    /// Whether how it goes says something about the versions.
    pub(super) is_evidence: bool,
}

impl Candidates {
    /// All equal.
    pub(super) const fn of(all: Arc<[Candidate]>) -> Self {
        Self { all, arranged: None, compared: false }
    }
}

impl Handle {
    /// The candidates of a call now, in the order in which they are to be asked.
    pub(super) fn candidates(
        &self,
        route: &Route,
        call: &Call,
        machine: &call::Call,
        versions: &mut Versions,
    ) -> Candidates {
        let all = route.candidates();
        if !machine.is_bound() {
            versions.is_retry = call.number > 1 || machine.attempt() > 1;
        }
        let caller = Caller {
            key: call.key,
            run: call.step.as_ref().map(|(run, _)| *run),
            intent: &call.intent,
            labels: &call.labels,
            input: &call.input,
            is_retry: versions.is_retry,
        };
        let about = (&call.tenant, &call.capability, call.agent.as_ref());
        if let Some(arranged) = self.rollouts.arrange(about, &all, caller, &mut versions.division) {
            let (all, compared) = (Arc::clone(&arranged.candidates), versions.division.is_compared());
            return Candidates { all, arranged: Some(arranged), compared };
        }
        let all = match &call.agent {
            None => all,
            Some(agent) => all.iter().filter(|c| c.instance.spec.name == *agent).cloned().collect(),
        };
        Candidates::of(all)
    }

    /// The end of a sending, for the comparison of versions.
    pub(super) fn compare(&self, chosen: &Chosen, ended: &Result<Answer, Failure>, latency: Duration) {
        if chosen.is_evidence {
            let class = ended.as_ref().map_or_else(|failure| failure.class, |_| Class::Success);
            self.rollouts.observe(&chosen.trial, Seen { side: chosen.pick.side, class, latency });
        }
    }
}

impl Versions {
    /// Writes down which version each attempt went to and why.
    pub(super) fn tell(self, attempts: &mut [AttemptRecord]) {
        for (at, words) in self.words {
            if let Some(attempt) = attempts.get_mut(at) {
                attempt.notes.insert(0, words);
            }
        }
    }

    /// Notes where a sending goes. `first` is the call's first of all, which alone is evidence: what comes later was chosen by
    /// how the first one went.
    pub(super) fn sent(&mut self, sending: u64, first: bool, instance: &Instance) -> Option<Chosen> {
        let (trial, pick) = self.division.of(&instance.spec.name)?;
        let version = &instance.spec.version;
        let at = usize::try_from(sending.saturating_sub(1)).unwrap_or(usize::MAX);
        let is_own = trial.rollout.side(version) == Some(pick.side);
        let chosen = Chosen {
            trial: Arc::clone(trial),
            pick: *pick,
            is_evidence: first && is_own && pick.is_evidence(),
        };
        self.words.push((at, trial.words(*pick, version)));
        Some(chosen)
    }
}
