//! Following a run: its events from any point on, then new ones as they reach the disk, to its end.
//!
//! The watch begins before the read, so nothing falls between them; what both have is told once, because events are
//! numbered. A follower that is slower than the run is not buffered for: it reads the journal again where it stopped.

use std::collections::{HashMap, VecDeque};

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::run::{Event, Run, Transition};
use mainstay_kernel::workflow::Step;
use mainstay_proto::{pb, run as wire};
use mainstay_store::Watch;
use tokio::sync::watch;

use crate::engine::{Handle, LoadError};

/// Events of one run, from the disk, to one client.
#[derive(Debug)]
struct Follower {
    engine: Handle,
    tenant: Name,
    id: RunId,
    /// What each step calls; those that grow are looked up when they begin.
    capabilities: HashMap<String, String>,
    changes: Watch,
    parkings: watch::Receiver<()>,
    /// Number of the last event queued.
    told: u64,
    /// First event of the last transition read.
    last_read: Option<u64>,
    queue: VecDeque<pb::RunEvent>,
    ended: bool,
}

/// The events of a run from number `from` on (0 means 1), ending with the run.
pub async fn follow(
    engine: Handle,
    tenant: Name,
    id: RunId,
    from: u64,
) -> Result<BoxStream<'static, Result<pb::RunEvent, LoadError>>, LoadError> {
    let (changes, parkings) = (engine.watch(&tenant, id), engine.parkings());
    // Also says whether there is such a run, and what its steps call.
    let run = engine.get(&tenant, id).await?;
    let capabilities = capabilities(&run);
    let mut follower = Follower {
        engine,
        tenant,
        id,
        capabilities,
        changes,
        parkings,
        told: from.max(1) - 1,
        last_read: None,
        queue: VecDeque::new(),
        ended: false,
    };
    follower.read().await?;
    Ok(stream::unfold(follower, |mut follower| async { follower.next().await.map(|next| (next, follower)) })
        .boxed())
}

impl Follower {
    async fn next(&mut self) -> Option<Result<pb::RunEvent, LoadError>> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(Ok(event));
            }
            if self.ended {
                return None;
            }
            if let Some(falls) = self.engine.parking(self.id) {
                self.ended = true;
                return Some(Err(LoadError::Parked(falls)));
            }
            tokio::select! {
                change = self.changes.next() => drop(change?),
                parked = self.parkings.changed() => parked.ok()?,
            }
            // Whatever the news is, the journal says it in full.
            while self.changes.try_next().is_some() {}
            if let Err(error) = self.read().await {
                self.ended = true;
                return Some(Err(error));
            }
        }
    }

    /// Queues the events that were not told yet.
    async fn read(&mut self) -> Result<(), LoadError> {
        for transition in self.engine.transitions(&self.tenant, self.id, self.last_read).await? {
            self.last_read = Some(transition.first_event);
            self.ended |= transition.ends_run();
            self.learn(&transition).await?;
            let capability = |step: &str| self.capabilities.get(step).cloned().unwrap_or_default();
            let events = wire::events(&transition, capability);
            self.queue.extend(events.filter(|event| event.number > self.told));
            self.told = self.told.max(transition.last_event());
        }
        Ok(())
    }

    /// Looks up what steps call that have grown since the run was looked at.
    async fn learn(&mut self, transition: &Transition) -> Result<(), LoadError> {
        let begun = transition.events.iter().filter(|event| matches!(event, Event::StepStarted { .. }));
        let unknown =
            begun.filter_map(Event::step).any(|step| !self.capabilities.contains_key(step.as_str()));
        if unknown {
            self.capabilities = capabilities(&self.engine.get(&self.tenant, self.id).await?);
        }
        Ok(())
    }
}

/// What each step of a run calls.
fn capabilities(run: &Run) -> HashMap<String, String> {
    let call = |step: &Step| Some((step.id.to_string(), step.kind.call()?.capability.to_string()));
    // What undoes a step is known before it grows.
    let undo = |step: &Step| {
        let compensate = step.recourse.compensate.as_ref()?;
        Some((step.id.inside("undo")?.to_string(), compensate.call.capability.to_string()))
    };
    let undos = run.each().filter_map(|(step, _)| undo(step));
    undos.chain(run.each().filter_map(|(step, _)| call(step))).collect()
}
