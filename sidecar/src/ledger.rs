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
//! under its key. A failure before the work began leaves nothing but, for a side effect, the promise that this sending will
//! not begin later: its caller may take the key to another instance.
//!
//! Work is a shared future. Whoever waits for it drives it, so a call that nobody joins costs no task and no channel;
//! when the last one who waits goes away, the future is dropped and with it the agent's work is cut. For work that must
//! not be cut with its caller, one of those who wait is a task of ours.

use std::fmt;
use std::sync::Arc;

use futures::future::{AbortHandle, BoxFuture, FutureExt, Shared};
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::id::AttemptId;
use mainstay_kernel::outcome::{Answer, Began, Failure};
use parking_lot::Mutex;

mod durable;
mod record;
mod table;
#[cfg(test)]
mod tests;

pub use self::durable::OpenError;
pub(crate) use self::durable::{Durable, RETENTION};
use self::record::State;
use self::table::{Table, replayed, reused};
use crate::failure;

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

/// What a call asks the ledger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) id: AttemptId,
    pub(crate) digest: Digest,
    pub(crate) effect: EffectClass,
    /// Grows each time the same attempt is sent again.
    pub(crate) epoch: u64,
}

/// The right to do the work of one key. Dropped before [`Claim::settle`], the key is free again: the work was cut.
#[derive(Debug)]
pub(crate) struct Claim {
    ledger: Ledger,
    ask: Ask,
    turn: u64,
    settled: bool,
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
    /// A failure if the key was used for something else, the sending was superseded, the outcome cannot be known, or the
    /// record cannot be read.
    pub(crate) fn decide(
        &self,
        ask: Ask,
        make: impl FnOnce(Claim) -> (BoxFuture<'static, Arc<Ended>>, AbortHandle),
    ) -> Result<Verdict, Failure> {
        let Ask { id, digest, effect, epoch } = ask;
        if let Some(known) = self.table.lock().find(id, digest, epoch)? {
            return Ok(known);
        }
        // Read without the lock: nothing that this process runs can be missed, since `begun` refuses a key it finds.
        if effect == EffectClass::SideEffecting
            && let Some(recorded) = self.recorded(id, digest)?
        {
            return Ok(Verdict::Answer(recorded));
        }
        let turn = self.table.lock().next_turn();
        // Made and, if need be, dropped without the lock: its claim takes the lock when it is dropped.
        let (future, cancel) = make(Claim { ledger: self.clone(), ask, turn, settled: false });
        let work = future.shared();
        let mut table = self.table.lock();
        let found = table.find(id, digest, epoch);
        if let Ok(None) = found {
            table.run(id, digest, turn, &work, cancel);
        }
        drop(table);
        Ok(found?.unwrap_or(Verdict::Wait { work, fresh: true }))
    }

    /// What is known of a key, without any consequence.
    pub(crate) fn known(&self, id: AttemptId) -> Result<Known, Failure> {
        if let Some(known) = self.table.lock().peek(id) {
            return Ok(known);
        }
        let Some(durable) = &self.durable else { return Ok(Known::Nothing) };
        Ok(match durable.get(id)?.map(|record| record.state) {
            None => Known::Nothing,
            Some(State::Begun) => self.begun(id),
            Some(State::Ended(outcome)) => Known::Ended(Arc::new(replayed(outcome))),
        })
    }

    /// What is known of a key; if that is nothing, sendings of it up to `epoch` are refused from now on, so that one that
    /// is still on the network cannot begin what was reported as not begun. Epoch 0 refuses nothing.
    ///
    /// The fence is in memory: a sending that outlives this process comes on a connection that did not.
    pub(crate) fn known_for_good(&self, id: AttemptId, epoch: u64) -> Result<Known, Failure> {
        let known = self.known(id)?;
        if !matches!(known, Known::Nothing) || epoch == 0 {
            return Ok(known);
        }
        let mut table = self.table.lock();
        // It may have begun since.
        Ok(table.peek(id).unwrap_or_else(|| {
            table.fence(id, epoch);
            Known::Nothing
        }))
    }

    /// Begun, according to the disk. The table was looked at before the disk: it may have been begun in between.
    fn begun(&self, id: AttemptId) -> Known {
        self.table.lock().peek(id).unwrap_or(Known::Lost)
    }

    /// Stops the work of a key; whether there was any.
    pub(crate) fn cancel(&self, id: AttemptId) -> bool {
        self.table.lock().cancel(id)
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
    /// A failure where it could not be recorded: then the agent must not be called.
    pub(crate) async fn begin(&self) -> Result<(), Failure> {
        match self.durable() {
            Some(durable) => durable.begin(self.ask.id, self.ask.digest).await,
            None => Ok(()),
        }
    }

    /// The work may not begin: nothing is recorded that was not recorded before.
    pub(crate) fn abandon(self, failure: Failure) -> Arc<Ended> {
        Arc::new(Err(failure))
    }

    /// Records how the work ended; for side-effecting work, returns once that is on disk.
    pub(crate) async fn settle(mut self, outcome: Ended) -> Arc<Ended> {
        let Ask { id, digest, effect, .. } = self.ask;
        let never_began = matches!(&outcome, Err(failure) if failure.began == Began::No);
        match self.durable() {
            Some(durable) if never_began => durable.forget(id).await,
            Some(durable) => durable.end(id, digest, &outcome).await,
            None => {}
        }
        let (replay, outcome) = (outcome.is_ok() || effect == EffectClass::SideEffecting, Arc::new(outcome));
        if !never_began {
            self.settled = true;
            self.ledger.table.lock().keep(id, self.turn, Arc::clone(&outcome), replay);
        }
        outcome
    }

    /// The disk, for work that must be on it.
    fn durable(&self) -> Option<&Durable> {
        self.ledger.durable.as_ref().filter(|_| self.ask.effect == EffectClass::SideEffecting)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let Ask { id, effect, epoch, .. } = self.ask;
        let mut table = self.ledger.table.lock();
        table.forget(id, self.turn);
        // Told "not begun", the caller may take the key elsewhere: a second copy of this sending must not begin it here.
        if effect == EffectClass::SideEffecting && epoch > 0 {
            table.fence(id, epoch);
        }
    }
}
