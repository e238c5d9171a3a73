//! The part of the ledger that is in memory: who is running, and the newest outcomes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{AbortHandle, BoxFuture, WeakShared};
use mainstay_kernel::id::AttemptId;
use mainstay_kernel::outcome::{Began, Class, Failure};
use mainstay_proto::reason::Reason;
use tokio::time::Instant;

use super::{Digest, Ended, Known, Verdict, Work};
use crate::failure;

/// How long an outcome in memory may be asked for. Longer than any deadline of a call, so whoever still waits finds it.
const KEPT_FOR: Duration = Duration::from_secs(3600);
/// Most outcomes in memory: enough for a minute of a busy agent, little enough to be forgotten in the size of a sidecar.
pub(super) const MAX_KEPT: usize = 8192;
/// Most bytes of outcomes in memory. A sidecar is to stay small; what has to survive is on disk anyway.
pub(super) const MAX_KEPT_BYTES: usize = 8 * 1024 * 1024;
/// What a slot costs beside its texts.
const OVERHEAD: usize = 256;

/// Keys by id, and those at rest by last use.
#[derive(Default)]
pub(super) struct Table {
    slots: HashMap<AttemptId, Slot>,
    /// Slots at rest by their turn, the least recently used first.
    order: BTreeMap<u64, AttemptId>,
    bytes: usize,
    /// Grows with every use; orders slots, and tells one claim of a key from the next.
    turn: u64,
}

struct Slot {
    turn: u64,
    stage: Stage,
}

enum Stage {
    Running {
        digest: Digest,
        work: WeakShared<BoxFuture<'static, Arc<Ended>>>,
        cancel: AbortHandle,
    },
    Ended {
        digest: Digest,
        outcome: Arc<Ended>,
        replay: bool,
        bytes: usize,
        at: Instant,
    },
    /// It was reported as never seen, or refused: sendings up to this epoch are stragglers.
    Fenced {
        epoch: u64,
        at: Instant,
    },
}

// === impl Table ===

impl Table {
    /// What a call finds; `None` if it has to start work.
    pub(super) fn find(
        &mut self,
        id: AttemptId,
        digest: Digest,
        epoch: u64,
    ) -> Result<Option<Verdict>, Failure> {
        self.expire(id);
        let Some(slot) = self.slots.get(&id) else { return Ok(None) };
        match &slot.stage {
            Stage::Fenced { epoch: fence, .. } if epoch <= *fence => return Err(superseded(epoch)),
            Stage::Running { digest: known, .. } | Stage::Ended { digest: known, .. } if *known != digest => {
                return Err(reused());
            }
            Stage::Running { work, .. } => {
                // Work that cannot be joined any more was cut a moment ago; its claim is about to free the key.
                return Ok(work.upgrade().map(|work| Verdict::Wait { work, fresh: false }));
            }
            Stage::Ended { replay: true, outcome, .. } => {
                let verdict = Verdict::Answer(told(outcome));
                self.touch(id);
                return Ok(Some(verdict));
            }
            Stage::Ended { replay: false, .. } | Stage::Fenced { .. } => {}
        }
        self.remove(id);
        Ok(None)
    }

    /// What is known of a key, without any consequence; `None` where the disk has to be asked.
    pub(super) fn peek(&mut self, id: AttemptId) -> Option<Known> {
        self.expire(id);
        match &self.slots.get(&id)?.stage {
            Stage::Running { .. } => Some(Known::Running),
            Stage::Ended { outcome, .. } => Some(Known::Ended(told(outcome))),
            Stage::Fenced { .. } => None,
        }
    }

    /// The turn under which the next claim is made.
    pub(super) fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    pub(super) fn run(&mut self, id: AttemptId, digest: Digest, turn: u64, work: &Work, cancel: AbortHandle) {
        // Only a future that has ended has nothing to refer to, and nobody has polled this one.
        let Some(work) = work.downgrade() else { return };
        self.slots.insert(id, Slot { turn, stage: Stage::Running { digest, work, cancel } });
    }

    /// Tells the work of a key to stop; whether there was any.
    pub(super) fn cancel(&self, id: AttemptId) -> bool {
        let Some(Slot { stage: Stage::Running { cancel, .. }, .. }) = self.slots.get(&id) else {
            return false;
        };
        cancel.abort();
        true
    }

    /// Refuses sendings of a key that nobody knows up to `epoch` from now on.
    pub(super) fn fence(&mut self, id: AttemptId, epoch: u64) {
        match self.slots.get(&id).map(|slot| &slot.stage) {
            Some(Stage::Running { .. } | Stage::Ended { .. }) => return,
            Some(Stage::Fenced { epoch: fence, .. }) if *fence >= epoch => return,
            Some(Stage::Fenced { .. }) | None => {}
        }
        self.remove(id);
        self.rest(id, Stage::Fenced { epoch, at: Instant::now() });
    }

    /// The work that was claimed under `turn` has ended.
    pub(super) fn keep(&mut self, id: AttemptId, turn: u64, outcome: Arc<Ended>, replay: bool) {
        let Some(Slot { turn: current, stage: Stage::Running { digest, .. } }) = self.slots.get(&id) else {
            return;
        };
        if *current == turn {
            let (digest, bytes) = (*digest, size(&outcome));
            self.rest(id, Stage::Ended { digest, outcome, replay, bytes, at: Instant::now() });
        }
    }

    /// Frees a key whose work did not begin or was cut, unless somebody else has claimed it since.
    pub(super) fn forget(&mut self, id: AttemptId, turn: u64) {
        if self.slots.get(&id).is_some_and(|slot| slot.turn == turn) {
            self.slots.remove(&id);
        }
    }

    /// Puts a slot to rest, and makes room for it.
    fn rest(&mut self, id: AttemptId, stage: Stage) {
        let turn = self.next_turn();
        self.bytes += stage.bytes();
        self.slots.insert(id, Slot { turn, stage });
        self.order.insert(turn, id);
        while self.order.len() > MAX_KEPT || self.bytes > MAX_KEPT_BYTES {
            let Some(oldest) = self.order.values().next().copied() else { break };
            self.remove(oldest);
        }
    }

    fn touch(&mut self, id: AttemptId) {
        let turn = self.next_turn();
        if let Some(slot) = self.slots.get_mut(&id) {
            self.order.remove(&slot.turn);
            slot.turn = turn;
            self.order.insert(turn, id);
        }
    }

    /// Removes a slot at rest that has been kept for long enough.
    fn expire(&mut self, id: AttemptId) {
        let Some(slot) = self.slots.get(&id) else { return };
        let (Stage::Ended { at, .. } | Stage::Fenced { at, .. }) = &slot.stage else { return };
        if at.elapsed() >= KEPT_FOR {
            self.remove(id);
        }
    }

    /// Removes a slot at rest.
    fn remove(&mut self, id: AttemptId) {
        if let Some(slot) = self.slots.remove(&id) {
            self.order.remove(&slot.turn);
            self.bytes -= slot.stage.bytes();
        }
    }
}

impl Stage {
    fn bytes(&self) -> usize {
        match self {
            Self::Running { .. } => 0,
            Self::Ended { bytes, .. } => OVERHEAD + bytes,
            Self::Fenced { .. } => OVERHEAD,
        }
    }
}

/// A recorded failure that left open whether the work was done: asking again has not made it clearer.
pub(super) fn replayed(outcome: Ended) -> Ended {
    match outcome {
        Err(failure) if failure.began == Began::Unknown => {
            let message =
                format!("the recorded outcome leaves open whether the work was done: {}", failure.message);
            Err(Failure { code: Reason::OutcomeUnknown.as_str().to_owned(), message, ..failure })
        }
        other => other,
    }
}

pub(super) fn reused() -> Failure {
    failure::caller_fault(
        Reason::AttemptReused,
        "this attempt id came before with another capability or input",
    )
}

/// "Busy" rather than "failed": it says nothing about the agent, and whoever is still there sends again under a new epoch.
fn superseded(epoch: u64) -> Failure {
    let text =
        format!("sending {epoch} of this attempt comes after it was reported as not begun; send it anew");
    failure::failure(Class::Overload, Reason::AgentBusy, Began::No, text)
}

/// An outcome in memory, as it is told to somebody who asks later.
fn told(outcome: &Arc<Ended>) -> Arc<Ended> {
    match outcome.as_ref() {
        Err(failure) => Arc::new(replayed(Err(failure.clone()))),
        Ok(_) => Arc::clone(outcome),
    }
}

fn size(outcome: &Ended) -> usize {
    match outcome {
        Ok(answer) => answer.output.as_str().len() + answer.warnings.iter().map(String::len).sum::<usize>(),
        Err(failure) => failure.message.len(),
    }
}
