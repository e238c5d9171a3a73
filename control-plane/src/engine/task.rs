//! One task drives one run: a reconciler between what the kernel says is owed and what is under way.
//!
//! The loop knows no policy. It starts calls that are owed, lets go of calls that no longer are, waits for the first
//! thing that happens, asks the kernel what follows, writes that down and folds it. A run taken up after a crash enters
//! the same loop with an empty set of calls under way; there is nothing else to recovery.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::{AbortHandle, Abortable, Aborted, BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::name::Name;
use mainstay_kernel::retry::budget::Leave;
use mainstay_kernel::run::{
    self, Asked, Attempt, Call, Durability, Ignored, Input, Inquiry, Run, Transition,
};
use mainstay_kernel::time::Wall;
use mainstay_kernel::workflow::{Step, StepId};
use mainstay_store::Commit;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::inquire::Asker;
use super::journal::AppendError;

/// What other tasks tell a run.
#[derive(Debug)]
pub(super) struct Command {
    /// What.
    pub(super) input: Input,
    /// Told what came of it, once that is on disk; dropped if the run was left first.
    pub(super) done: oneshot::Sender<Result<(), Ignored>>,
}

/// The questions of a run that wait for people, kept by its task for whoever lists them.
pub(super) type Questions = Arc<Mutex<Vec<Asked>>>;

/// How a task ended.
#[derive(Debug)]
pub(super) enum Left {
    /// The run has ended and its end is on disk.
    Ended,
    /// A transition was not written: what is on disk is the truth, and recovery takes the run up again.
    Unwritten(AppendError),
    /// The server stops; recovery takes the run up at the next start.
    Stopped,
}

/// What the task of a run shares with others.
#[derive(Debug)]
pub(super) struct Seat {
    /// Taken in before anything is done for the run.
    pub(super) first: Option<Command>,
    /// What others tell the run.
    pub(super) commands: mpsc::Receiver<Command>,
    /// What the run asks people.
    pub(super) questions: Questions,
    /// How far it has got: its last event that was handed to the store.
    pub(super) reached: Arc<AtomicU64>,
}

/// Drives `run` until it ends or must be left to recovery.
pub(super) async fn drive(
    shared: Arc<Shared>,
    run: Run,
    resuming: bool,
    seat: Seat,
    stop: CancellationToken,
) -> Left {
    let Seat { first, mut commands, questions, reached } = seat;
    let asks = run.workflow.all_steps().any(Step::asks);
    let questions = asks.then_some(questions);
    let mut driver =
        Driver { shared, run, questions, calls: Calls::default(), last_commit: None, resuming, reached };
    let left = driver.until_left(first, &mut commands, &stop).await;
    if !matches!(left, Left::Ended) {
        driver.calls.leave_to_recovery();
    }
    left
}

struct Driver {
    shared: Arc<Shared>,
    run: Run,
    /// Only of a workflow that asks people.
    questions: Option<Questions>,
    calls: Calls,
    /// The newest transition handed to the store and not yet known to be on disk.
    last_commit: Option<Commit>,
    /// The run was taken up again, and the calls it is owed now may have been sent before.
    resuming: bool,
    reached: Arc<AtomicU64>,
}

impl Driver {
    async fn until_left(
        &mut self,
        first: Option<Command>,
        commands: &mut mpsc::Receiver<Command>,
        stop: &CancellationToken,
    ) -> Left {
        if let Some(Command { input, done }) = first
            && let Err(error) = self.take(input, Some(done)).await
        {
            return Left::Unwritten(error);
        }
        loop {
            match self.turn(commands, stop).await {
                Ok(None) => {}
                Ok(Some(left)) => return left,
                Err(error) => return Left::Unwritten(error),
            }
        }
    }

    /// One turn: reconcile, wait for the first thing that happens, write down what follows.
    async fn turn(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
        stop: &CancellationToken,
    ) -> Result<Option<Left>, AppendError> {
        let owed = run::outstanding(&self.run);
        if self.run.end.is_some() {
            self.calls.let_go_of_all();
            self.settle().await?;
            self.count_end();
            return Ok(Some(Left::Ended));
        }
        if let Some(questions) = &self.questions {
            *questions.lock() = run::asked(&self.run);
        }
        self.inquire(owed.inquiries);
        self.reconcile(owed.calls).await?;
        self.resuming = false;
        let (input, asker) = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(Some(Left::Stopped)),
            Some(Command { input, done }) = commands.recv() => (input, Some(done)),
            Some(input) = self.calls.next() => (input, None),
            () = sleep_until(&self.shared, owed.wake_at) => (Input::Woken, None),
        };
        self.take(input, asker).await?;
        Ok(None)
    }

    /// Takes in what happened: writes down what follows.
    async fn take(
        &mut self,
        input: Input,
        asker: Option<oneshot::Sender<Result<(), Ignored>>>,
    ) -> Result<(), AppendError> {
        #[cfg(test)]
        self.shared.plant(&self.run, Some(&input));
        let leave = |agent: &str, patience| self.leave(agent, patience);
        let (now, mode) = (self.shared.clock.wall(), self.shared.modes.mode());
        let told = match run::step(&self.run, input, now, mode, leave) {
            Ok(transition) => {
                self.happen(&transition).await?;
                Ok(())
            }
            Err(Ignored::Illegal(error)) => return Err(error.into()),
            Err(ignored) => {
                tracing::trace!(run = %self.run.id, %ignored, "nothing follows");
                Err(ignored)
            }
        };
        if let Some(asker) = asker {
            self.settle().await?;
            // Whoever told it may have gone; what followed stands all the same.
            asker.send(told).ok();
        }
        Ok(())
    }

    /// Folds a transition and hands it to the store.
    async fn happen(&mut self, transition: &Transition) -> Result<(), AppendError> {
        self.run.fold(transition)?;
        self.shared.budgets.record(&self.run, transition);
        // One that failed must not be followed by one that the healed store would take: the journal would have a gap.
        if let Some(Err(error)) = self.last_commit.as_mut().and_then(|commit| commit.now_or_never()) {
            return Err(error.into());
        }
        let owed = run::outstanding(&self.run);
        let urgency = run::urgency(&self.run, &owed, |call| self.effect(call));
        self.last_commit = Some(self.shared.journal.append(&self.run, transition, urgency).await?);
        self.reached.store(self.run.last_event, Ordering::Relaxed);
        Ok(())
    }

    /// Counts the end once it is on disk: before, the run may be taken up and end again.
    fn count_end(&self) {
        if let Some(end) = &self.run.end {
            self.shared.metrics.run_ended(end.state);
            self.shared.budgets.ended(self.run.id);
            for left in self.run.not_undone() {
                tracing::warn!(run = %self.run.id, step = %left.step, why = left.why, "what the run did stands");
            }
        }
    }

    /// Finds out what is asked and not being found out; what is no longer asked is let go.
    fn inquire(&mut self, asked: Vec<Inquiry>) {
        self.calls.keep_only_inquiries(&asked);
        for inquiry in asked {
            if !self.calls.inquires(&inquiry.step) {
                self.calls.find_out(&self.shared, Asker::of(&self.run), inquiry);
            }
        }
    }

    /// Starts what is owed and not under way, drops what is under way and not owed.
    async fn reconcile(&mut self, owed: Vec<Call>) -> Result<(), AppendError> {
        self.calls.keep_only(&owed);
        for call in owed {
            if self.calls.has(call.attempt) {
                continue;
            }
            if run::durability(self.effect(&call)) == Durability::Committed {
                // The world will notice this call: what led to it must be on disk first.
                self.settle().await?;
            }
            let forgotten = self.shared.config.restored_at.is_some_and(|at| self.run.started_at <= at);
            let resumed = (self.resuming || forgotten).then_some(self.run.started_at);
            self.calls.start(&self.shared, (self.run.workflow.name(), call), resumed);
        }
        Ok(())
    }

    fn effect(&self, call: &Call) -> EffectClass {
        self.shared.registry.strictest_effect(&self.run.tenant, &call.capability)
    }

    /// Asks the budget of an agent for a retry.
    fn leave(&self, agent: &str, patience: Duration) -> Leave {
        let fleet =
            Name::new(agent).ok().and_then(|agent| self.shared.registry.fleet(&self.run.tenant, &agent));
        self.shared.dispatch.leave(fleet.as_deref(), patience)
    }

    /// Waits until everything handed over so far is on disk: commits are in order, so the last one says it for all.
    async fn settle(&mut self) -> Result<(), AppendError> {
        if let Some(commit) = self.last_commit.take() {
            commit.await?;
        }
        Ok(())
    }
}

async fn sleep_until(shared: &Shared, at: Option<Wall>) {
    match at {
        Some(at) => tokio::time::sleep(at.saturating_since(shared.clock.wall())).await,
        None => std::future::pending().await,
    }
}

type Work = Abortable<BoxFuture<'static, (Key, Input)>>;

/// What is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Call(Attempt),
    Inquiry(StepId),
}

/// The calls and inquiries under way for one run.
#[derive(Default)]
struct Calls {
    running: FuturesUnordered<Work>,
    by_attempt: HashMap<Attempt, AbortHandle>,
    inquiries: HashMap<StepId, AbortHandle>,
    /// Set when the calls are dropped although their work is still owed.
    left: Arc<AtomicBool>,
}

impl Calls {
    fn has(&self, attempt: Attempt) -> bool {
        self.by_attempt.contains_key(&attempt)
    }

    fn keep_only(&mut self, owed: &[Call]) {
        self.by_attempt.retain(|attempt, abort| {
            let still_owed = owed.iter().any(|call| call.attempt == *attempt);
            if !still_owed {
                abort.abort();
            }
            still_owed
        });
    }

    fn start(&mut self, shared: &Arc<Shared>, (workflow, call): (&Name, Call), resumed: Option<Wall>) {
        let (abort, registration) = AbortHandle::new_pair();
        self.by_attempt.insert(call.attempt, abort);
        let work =
            super::call::perform(Arc::clone(shared), workflow.clone(), call, resumed, Arc::clone(&self.left));
        let work = work.map(|(attempt, input)| (Key::Call(attempt), input));
        self.running.push(Abortable::new(work.boxed(), registration));
    }

    fn inquires(&self, step: &StepId) -> bool {
        self.inquiries.contains_key(step)
    }

    fn keep_only_inquiries(&mut self, asked: &[Inquiry]) {
        self.inquiries.retain(|step, abort| {
            let still_asked = asked.iter().any(|inquiry| inquiry.step == *step);
            if !still_asked {
                abort.abort();
            }
            still_asked
        });
    }

    fn find_out(&mut self, shared: &Arc<Shared>, asker: Asker, inquiry: Inquiry) {
        let (abort, registration) = AbortHandle::new_pair();
        let step = inquiry.step.clone();
        self.inquiries.insert(step.clone(), abort);
        let work = super::inquire::find_out(Arc::clone(shared), asker, inquiry);
        let work = work.map(|input| (Key::Inquiry(step), input));
        self.running.push(Abortable::new(work.boxed(), registration));
    }

    /// The next one that ended; pending for ever while there is none.
    async fn next(&mut self) -> Option<Input> {
        loop {
            match self.running.next().await {
                Some(Ok((key, input))) => {
                    match key {
                        Key::Call(attempt) => self.by_attempt.remove(&attempt),
                        Key::Inquiry(step) => self.inquiries.remove(&step),
                    };
                    return Some(input);
                }
                Some(Err(Aborted)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Drops all calls; each tells its sidecar that the work is no longer wanted.
    fn let_go_of_all(&mut self) {
        self.running.clear();
    }

    /// Drops all calls without a word to the sidecars: the work is still owed, and recovery will ask for it again.
    fn leave_to_recovery(&mut self) {
        self.left.store(true, Ordering::Relaxed);
        self.running.clear();
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.leave_to_recovery();
        }
    }
}
