//! Drills: one command injects a fault, and everything that happens is watched, judged and kept.
//!
//! The order of things makes the promises. A drill is on disk before its fault acts, so one that the server did not survive
//! is found at the next start and closed as interrupted; the fault itself is in memory only, and cannot outlive the process.
//! A task watches to the end whoever leaves; the client that began the drill is listened to while the fault acts, and its
//! going away ends the fault.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::drill::{Drill, Ended, Event, Kind, Part, Phase, Plan, PlanError};
use mainstay_kernel::event as log;
use mainstay_kernel::id::DrillId;
use mainstay_kernel::name::Name;
use mainstay_kernel::pause::Target;
use mainstay_kernel::time::Wall;
use mainstay_store::{Batch, CommitError, ReadError, Store};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::faults::Faults;
use crate::host::Clock;
use crate::metrics::Metrics;
use crate::records::RecordError;
use crate::records::drill::{self as record, StoredDrill};
use crate::{engine, events, modes, registry};

mod parts;
mod runs;
mod task;

/// Drills that are kept: years of practice, and few enough to be read at a start.
pub const MAX_KEPT: usize = 200;

/// Events that may wait for a client that does not read. A drill has five.
const EVENTS: usize = 16;

/// Drills. Cheap to clone; there is one only if the server was started with `--allow-drills`.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: Parts,
    /// The newest first.
    kept: Mutex<VecDeque<StoredDrill>>,
    active: Mutex<Option<Active>>,
}

/// What drills act on.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The clock.
    pub clock: Clock,
    /// The fault layer.
    pub faults: Faults,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Agents.
    pub registry: registry::Handle,
    /// Runs.
    pub engine: engine::Handle,
    /// The operating mode.
    pub modes: modes::Handle,
    /// Metrics.
    pub metrics: Metrics,
    /// Where decisions are told.
    pub events: events::Handle,
}

/// What is to be drilled.
#[derive(Debug, Clone)]
pub struct Order {
    /// Which fault.
    pub kind: Kind,
    /// Whose target.
    pub tenant: Name,
    /// Where.
    pub target: Option<Target>,
    /// The share of sendings that is struck, in basis points.
    pub share_bp: u32,
    /// How long the fault lasts.
    pub lasts: Duration,
    /// How long a slow agent's calls are held back.
    pub delay: Option<Duration>,
    /// Decides which sendings are struck; `None` draws one.
    pub seed: Option<u64>,
    /// Who wants it.
    pub by: String,
}

/// A drill as it is now.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What it is and what happened so far.
    pub drill: StoredDrill,
    /// How far it is; `None` once it is no longer watched.
    pub phase: Option<Phase>,
}

/// A drill that has begun.
#[derive(Debug)]
pub struct Running {
    /// The drill, as it began.
    pub drill: StoredDrill,
    /// What happens, to the scorecard. Dropping it ends the fault.
    pub events: mpsc::Receiver<(Wall, Event)>,
}

#[derive(Debug)]
struct Active {
    drill: StoredDrill,
    phase: Phase,
    stop: mpsc::Sender<Ended>,
}

/// Why a drill did not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A field of the order is out of its bounds.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Another one is under way.
    #[error("drill {0} is under way or still watched")]
    UnderWay(DrillId),
    /// Nobody is there to be drilled.
    #[error("names {0}, which no instance with a lease is or offers")]
    Nobody(Target),
    /// What is broken already cannot show how it breaks.
    #[error("{}", unwell(.0))]
    Unwell(Vec<Part>),
    /// It could not be encoded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store refused its record.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Reads the drills on record, and closes those that a server did not survive. Blocks.
///
/// # Errors
/// If the store cannot be read.
pub fn open(parts: Parts) -> Result<Handle, ReadError> {
    let mut kept = VecDeque::new();
    let mut from: Option<Vec<u8>> = None;
    loop {
        let page = parts.store.scan(&record::prefix(), from.as_deref(), MAX_KEPT)?;
        for (_, entry) in &page.entries {
            match record::decode(&entry.value) {
                Ok(drill) => kept.push_front(drill),
                Err(error) => tracing::error!(%error, "a drill cannot be read and is not listed"),
            }
        }
        match page.next {
            Some(next) => from = Some(next.to_vec()),
            None => break,
        }
    }
    let handle = Handle(Arc::new(Shared { parts, kept: Mutex::new(kept), active: Mutex::default() }));
    handle.close_interrupted();
    Ok(handle)
}

// === impl Handle ===

impl Handle {
    /// Begins a drill: on disk, and its fault acts, when this returns. It is carried through even if the caller leaves.
    pub async fn run(&self, order: Order) -> Result<Running, RunError> {
        let handle = self.clone();
        let begun = tokio::spawn(async move { handle.begin(order).await }).await;
        begun.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Ends the fault of the drill under way, if it is this one. `None` if none is.
    #[must_use]
    pub fn stop(&self, id: Option<DrillId>) -> Option<Seen> {
        let active = self.0.active.lock();
        let active = active.as_ref().filter(|active| active.phase == Phase::Underway)?;
        if id.is_some_and(|id| id != active.drill.plan.id) {
            return None;
        }
        // Full means that it was told already.
        active.stop.try_send(Ended::Stopped).ok();
        Some(active.seen())
    }

    /// The drill under way or still watched.
    #[must_use]
    pub fn active(&self) -> Option<Seen> {
        self.0.active.lock().as_ref().map(Active::seen)
    }

    /// Drills of the past, newest first.
    #[must_use]
    pub fn history(&self, limit: usize) -> Vec<Seen> {
        let kept = self.0.kept.lock();
        kept.iter().take(limit).map(|drill| Seen { drill: drill.clone(), phase: None }).collect()
    }

    async fn begin(&self, order: Order) -> Result<Running, RunError> {
        let Parts { clock, faults, store, metrics, .. } = &self.0.parts;
        let plan = Plan {
            id: DrillId::from(clock.id()),
            kind: order.kind,
            tenant: order.tenant,
            target: order.target,
            share_bp: order.share_bp,
            lasts: order.lasts,
            delay: order.delay,
            seed: order.seed.unwrap_or_else(|| clock.dice().roll()),
            by: order.by,
        };
        plan.check()?;
        let look = self.0.parts.look(&plan);
        if look.parts.is_empty()
            && let Some(target) = &plan.target
        {
            return Err(RunError::Nobody(target.clone()));
        }
        let (stop, stopped) = mpsc::channel(1);
        let stored = StoredDrill {
            plan: plan.clone(),
            began_at: clock.wall(),
            events: Vec::new(),
            interrupted_at: None,
        };
        self.take_the_place(Active { drill: stored.clone(), phase: Phase::Underway, stop })?;
        let place = task::Place(self.clone());
        // Before it is on record: what is refused here must leave none.
        let drill = Drill::begin(plan.clone(), look, clock.mono()).map_err(RunError::Unwell)?;
        store.commit(Batch::new().put(record::key(plan.id), record::encode(&stored)?)).await?;
        let (tell, events) = mpsc::channel(EVENTS);
        let watched = faults.begin(plan.clone(), self.0.parts.offers(&plan));
        metrics.drill(true);
        tracing::warn!(
            drill = %plan.id, kind = %plan.kind, target = plan.target.as_ref().map(tracing::field::display),
            share_bp = plan.share_bp, lasts = ?plan.lasts, seed = plan.seed, by = plan.by, "a drill begins"
        );
        let baseline = task::Baseline { store: self.0.parts.store.stats(), shed: metrics.shed_so_far() };
        let runs = runs::Runs::default();
        let watch =
            task::Watch { handle: self.clone(), place, drill, watched, runs, baseline, tell, stopped };
        tokio::spawn(watch.run());
        Ok(Running { drill: stored, events })
    }

    fn take_the_place(&self, new: Active) -> Result<(), RunError> {
        let mut active = self.0.active.lock();
        match &*active {
            Some(active) => Err(RunError::UnderWay(active.drill.plan.id)),
            None => {
                *active = Some(new);
                Ok(())
            }
        }
    }

    /// Puts an end to drills whose server ended in the middle.
    fn close_interrupted(&self) {
        let Parts { clock, store, events, .. } = &self.0.parts;
        let now = clock.wall();
        for drill in self.0.kept.lock().iter_mut().filter(|drill| !drill.is_over()) {
            drill.interrupted_at = Some(now);
            let text =
                format_args!("{}: the server ended in the middle, and the fault with it", drill.plan.id);
            events.tell_of(&drill.plan.tenant, log::Kind::DrillInterrupted, subject(&drill.plan), text);
            tracing::warn!(drill = %drill.plan.id, kind = %drill.plan.kind, "a drill was interrupted; its fault is over");
            let written = record::encode(drill)
                .map(|value| store.commit(Batch::new().put(record::key(drill.plan.id), value)));
            if let Err(error) = written {
                tracing::error!(%error, "the end of a drill is not on record");
            }
        }
    }

    /// Keeps a drill that is over, and forgets the oldest beyond [`MAX_KEPT`].
    async fn keep(&self, drill: StoredDrill) -> Result<(), RunError> {
        let mut batch = Batch::new().put(record::key(drill.plan.id), record::encode(&drill)?);
        {
            let mut kept = self.0.kept.lock();
            kept.push_front(drill);
            while kept.len() > MAX_KEPT {
                let oldest = kept.pop_back().map(|oldest| record::key(oldest.plan.id));
                batch = oldest.into_iter().fold(batch, Batch::delete);
            }
        }
        self.0.parts.store.commit(batch).await?;
        Ok(())
    }
}

impl Active {
    fn seen(&self) -> Seen {
        Seen { drill: self.drill.clone(), phase: Some(self.phase) }
    }
}

impl StoredDrill {
    /// Whether nothing more happens in it.
    fn is_over(&self) -> bool {
        self.interrupted_at.is_some() || matches!(self.events.last(), Some((_, Event::Judged(_))))
    }
}

/// What a drill is about, as events name it.
fn subject(plan: &Plan) -> String {
    match &plan.target {
        Some(target) => format!("drill/{}/{target}", plan.kind),
        None => format!("drill/{}", plan.kind),
    }
}

fn unwell(parts: &[Part]) -> String {
    let named: Vec<_> = parts.iter().take(3).map(|part| format!("{} ({})", part.name, part.reason)).collect();
    format!("is not well before the drill: {}", named.join(", "))
}

#[cfg(test)]
mod tests;
