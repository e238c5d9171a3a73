//! The ledger: what became of each idempotency key.
//!
//! One question decides everything: *has the work behind this key begun?* A key that is running is joined, one that
//! ended is answered from the record, and only one that was never seen starts work. So a caller may send the same call
//! again after any accident and the agent sees it once.
//!
//! - **In memory** for every call: who is running, and the newest outcomes. For read-only and idempotent work that is
//!   enough. After a crash of the sidecar the work is done again, which its declaration allows.
//! - **On disk** for side-effecting calls: `begun` is durable before the agent is called, the outcome is durable before it
//!   is answered. A `begun` without an outcome that nobody is working on is what a crash leaves behind: nobody can say
//!   whether the effect took place, and the key never starts work again.
//!
//! Failures are kept, but only those of side-effecting keys are replayed: an idempotent call that failed may run again
//! under its key, and a failure before the work began leaves no trace at all.
//!
//! Work is a shared future. Whoever waits for it drives it, so a call that nobody joins costs no task and no channel;
//! when the last one who waits goes away, the future is dropped and with it the agent's work is cut. For work that must
//! not be cut with its caller, one of those who wait is a task of ours.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{AbortHandle, BoxFuture, Shared, WeakShared};
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::id::AttemptId;
use mainstay_kernel::outcome::{Answer, Began, Failure};
use mainstay_proto::reason::Reason;
use parking_lot::Mutex;
use tokio::time::Instant;

mod durable;
mod record;

pub(crate) use self::durable::Durable;
pub use self::durable::OpenError;
use self::record::State;
use crate::failure;

/// How long an outcome in memory may be asked for. Longer than any deadline of a call, so whoever still waits finds it.
const KEPT_FOR: Duration = Duration::from_secs(3600);
/// Most outcomes in memory: enough for a minute of a busy agent, little enough to be forgotten in the size of a sidecar.
const MAX_KEPT: usize = 8192;
/// Most bytes of outcomes in memory. A sidecar is to stay small; what has to survive is on disk anyway.
const MAX_KEPT_BYTES: usize = 8 * 1024 * 1024;
/// What an outcome costs beside its texts.
const OVERHEAD: usize = 256;

/// How a call ended.
pub(crate) type Ended = Result<Answer, Failure>;
/// Work under way. Clones wait for the same work; when the last one is dropped, the work is.
pub(crate) type Work = Shared<BoxFuture<'static, Arc<Ended>>>;
/// What is asked under a key: the same key with another digest is a mistake of the caller.
pub(crate) type Digest = [u8; 32];

/// What the ledger knows of a key.
#[derive(Debug)]
pub(crate) enum Known {
    /// Never seen, or so long ago that it was forgotten.
    Nothing,
    Running,
    Ended(Arc<Ended>),
    /// Begun, and a crash hides how it ended.
    Lost,
}

/// What to do about a call.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Wait for this. `fresh` if it has just been made.
    Wait { work: Work, fresh: bool },
    /// This is how it ended.
    Answer(Arc<Ended>),
}

/// See the module's page. Clones share their contents.
#[derive(Clone)]
pub(crate) struct Ledger {
    table: Arc<Mutex<Table>>,
    durable: Option<Durable>,
}

/// The right to do the work of one key. Dropped before [`Claim::settle`], the key is free again: the work was cut.
#[derive(Debug)]
pub(crate) struct Claim {
    ledger: Ledger,
    id: AttemptId,
    turn: u64,
    effect: EffectClass,
    settled: bool,
}

#[derive(Default)]
struct Table {
    slots: HashMap<AttemptId, Slot>,
    /// Ended slots by last use.
    order: BTreeMap<u64, AttemptId>,
    bytes: usize,
    /// Grows with every use; orders slots and tells one claim of a key from the next.
    turn: u64,
}

struct Slot {
    digest: Digest,
    turn: u64,
    state: Stage,
}

enum Stage {
    Running { work: WeakShared<BoxFuture<'static, Arc<Ended>>>, cancel: AbortHandle },
    Ended { outcome: Arc<Ended>, replay: bool, bytes: usize, at: Instant },
}

// === impl Ledger ===

impl Ledger {
    pub(crate) fn new(durable: Option<Durable>) -> Self {
        Self { table: Arc::default(), durable }
    }

    pub(crate) fn durable(&self) -> Option<&Durable> {
        self.durable.as_ref()
    }

    /// Decides about a call: join, answer from the record, or start the work that `make` describes.
    ///
    /// # Errors
    /// A failure if the key was used for something else, its outcome cannot be known, or the record cannot be read.
    pub(crate) fn decide(
        &self,
        id: AttemptId,
        digest: Digest,
        effect: EffectClass,
        make: impl FnOnce(Claim) -> (BoxFuture<'static, Arc<Ended>>, AbortHandle),
    ) -> Result<Verdict, Failure> {
        if let Some(known) = self.table.lock().find(id, digest)? {
            return Ok(known);
        }
        // Read without the lock: nothing that this process runs can be missed, since `begun` refuses a key it finds.
        if effect == EffectClass::SideEffecting
            && let Some(recorded) = self.recorded(id, digest)?
        {
            return Ok(Verdict::Answer(recorded));
        }
        let mut table = self.table.lock();
        if let Some(known) = table.find(id, digest)? {
            return Ok(known);
        }
        table.turn += 1;
        let turn = table.turn;
        let claim = Claim { ledger: self.clone(), id, turn, effect, settled: false };
        let (future, cancel) = make(claim);
        let work = futures::FutureExt::shared(future);
        // Only a future that has ended has nothing to refer to, and nobody has polled this one.
        if let Some(weak) = work.downgrade() {
            table.slots.insert(id, Slot { digest, turn, state: Stage::Running { work: weak, cancel } });
        }
        Ok(Verdict::Wait { work, fresh: true })
    }

    /// What is known of a key, without any consequence.
    pub(crate) fn known(&self, id: AttemptId) -> Result<Known, Failure> {
        if let Some(known) = self.table.lock().peek(id) {
            return Ok(known);
        }
        let Some(durable) = &self.durable else { return Ok(Known::Nothing) };
        Ok(match durable.get(id)?.map(|record| record.state) {
            None => Known::Nothing,
            Some(State::Begun) => Known::Lost,
            Some(State::Ended(outcome)) => Known::Ended(Arc::new(replayed(outcome))),
        })
    }

    /// Stops the work of a key; whether there was any.
    pub(crate) fn cancel(&self, id: AttemptId) -> bool {
        let table = self.table.lock();
        match table.slots.get(&id).map(|slot| &slot.state) {
            Some(Stage::Running { cancel, .. }) => {
                cancel.abort();
                true
            }
            Some(Stage::Ended { .. }) | None => false,
        }
    }

    /// The outcome on disk.
    fn recorded(&self, id: AttemptId, digest: Digest) -> Result<Option<Arc<Ended>>, Failure> {
        let Some(durable) = &self.durable else { return Ok(None) };
        let Some(record) = durable.get(id)? else { return Ok(None) };
        if record.digest() != Some(digest) {
            return Err(reused());
        }
        match record.state {
            State::Begun => Err(failure::unknown(format_args!(
                "{id} was begun by an earlier process of this sidecar, which ended before it could record the outcome"
            ))),
            State::Ended(outcome) => Ok(Some(Arc::new(replayed(outcome)))),
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("durable", &self.durable).finish_non_exhaustive()
    }
}

// === impl Claim ===

impl Claim {
    /// Records that the work begins; for side-effecting work, returns once that is on disk.
    ///
    /// # Errors
    /// A failure with [`Began::No`] where it could not be recorded: then the agent must not be called.
    pub(crate) async fn begin(&self, digest: Digest) -> Result<(), Failure> {
        match &self.ledger.durable {
            Some(durable) if self.effect == EffectClass::SideEffecting => {
                durable.begin(self.id, digest).await
            }
            _ => Ok(()),
        }
    }

    /// The work may not begin: nothing is recorded that was not recorded before.
    pub(crate) fn abandon(self, failure: Failure) -> Arc<Ended> {
        Arc::new(Err(failure))
    }

    /// Records how the work ended; for side-effecting work, returns once that is on disk.
    pub(crate) async fn settle(mut self, digest: Digest, outcome: Ended) -> Arc<Ended> {
        let never_began = matches!(&outcome, Err(failure) if failure.began == Began::No);
        let side_effecting = self.effect == EffectClass::SideEffecting;
        if side_effecting && let Some(durable) = &self.ledger.durable {
            if never_began {
                durable.forget(self.id).await;
            } else {
                durable.end(self.id, digest, &outcome).await;
            }
        }
        self.settled = true;
        let (replay, outcome) = (outcome.is_ok() || side_effecting, Arc::new(outcome));
        let mut table = self.ledger.table.lock();
        if never_began {
            table.forget(self.id, self.turn);
        } else {
            table.keep(self.id, self.turn, Arc::clone(&outcome), replay);
        }
        outcome
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            self.ledger.table.lock().forget(self.id, self.turn);
        }
    }
}

// === impl Table ===

impl Table {
    /// What a call with this key finds; `None` if it has to start work.
    fn find(&mut self, id: AttemptId, digest: Digest) -> Result<Option<Verdict>, Failure> {
        let Some(slot) = self.slots.get_mut(&id) else { return Ok(None) };
        match &slot.state {
            Stage::Ended { at, .. } if at.elapsed() >= KEPT_FOR => {
                self.drop_ended(id);
                return Ok(None);
            }
            _ if slot.digest != digest => return Err(reused()),
            Stage::Running { work, .. } => {
                // Work that cannot be joined any more was cut a moment ago; its claim is about to free the key.
                return Ok(work.upgrade().map(|work| Verdict::Wait { work, fresh: false }));
            }
            Stage::Ended { replay: false, .. } => {
                self.drop_ended(id);
                return Ok(None);
            }
            Stage::Ended { .. } => {}
        }
        self.turn += 1;
        self.order.remove(&slot.turn);
        slot.turn = self.turn;
        self.order.insert(slot.turn, id);
        let Stage::Ended { outcome, .. } = &slot.state else { return Ok(None) };
        Ok(Some(Verdict::Answer(told(outcome))))
    }

    fn peek(&self, id: AttemptId) -> Option<Known> {
        match &self.slots.get(&id)?.state {
            Stage::Running { .. } => Some(Known::Running),
            Stage::Ended { at, .. } if at.elapsed() >= KEPT_FOR => None,
            Stage::Ended { outcome, .. } => Some(Known::Ended(told(outcome))),
        }
    }

    fn keep(&mut self, id: AttemptId, turn: u64, outcome: Arc<Ended>, replay: bool) {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.turn == turn) else { return };
        let bytes = OVERHEAD + size(&outcome);
        self.turn += 1;
        slot.turn = self.turn;
        slot.state = Stage::Ended { outcome, replay, bytes, at: Instant::now() };
        self.order.insert(self.turn, id);
        self.bytes += bytes;
        while self.order.len() > MAX_KEPT || self.bytes > MAX_KEPT_BYTES {
            let Some((_, oldest)) = self.order.first_key_value() else { break };
            let oldest = *oldest;
            self.drop_ended(oldest);
        }
    }

    /// Frees a key whose work did not begin or was cut, unless somebody else has claimed it since.
    fn forget(&mut self, id: AttemptId, turn: u64) {
        if self.slots.get(&id).is_some_and(|slot| slot.turn == turn) {
            self.slots.remove(&id);
        }
    }

    fn drop_ended(&mut self, id: AttemptId) {
        if let Some(Slot { turn, state: Stage::Ended { bytes, .. }, .. }) = self.slots.remove(&id) {
            self.order.remove(&turn);
            self.bytes -= bytes;
        }
    }
}

fn reused() -> Failure {
    failure::caller_fault(
        Reason::AttemptReused,
        "this attempt id came before with another capability or input",
    )
}

/// A recorded failure that left open whether the work was done: asking again has not made it clearer.
fn replayed(outcome: Ended) -> Ended {
    match outcome {
        Err(failure) if failure.began == Began::Unknown => {
            let text =
                format!("the recorded outcome leaves open whether the work was done: {}", failure.message);
            Err(Failure { code: Reason::OutcomeUnknown.as_str().to_owned(), message: text, ..failure })
        }
        other => other,
    }
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

#[cfg(test)]
mod tests;
