//! Runs that broke what drives them, and those that wait for a person because they did so too often.
//!
//! [`mainstay_kernel::poison`] decides when. Here are the falls, in memory and on record: a restart must not give a run
//! that took the task down with it all its tries again, or a server that restarts often would never be rid of it.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use mainstay_kernel::event::Kind;
use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::poison::Falls;
use mainstay_kernel::run::Run;
use mainstay_store::{Batch, CommitError};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::journal::read_error;
use super::task::Command;
use super::{Handle, LoadError, Shared, blocking};
use crate::records::falls::{self, Fallen};
use crate::records::key;

/// Records read at once.
const PAGE: usize = 500;

/// The falls of open runs. Parked runs count as open, so there are no more of them than runs may be open.
#[derive(Debug, Default)]
pub(super) struct Parking {
    fallen: Mutex<HashMap<RunId, Fallen>>,
    /// Changes when a run is parked, for those who follow it.
    parked: watch::Sender<()>,
}

/// Why a run is still parked.
#[derive(Debug, thiserror::Error)]
pub enum UnparkError {
    /// It never was, or is not any more.
    #[error("the run is not parked")]
    NotParked,
    /// That it is not could not be put on record.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// It cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl Parking {
    /// How many runs wait for a person.
    pub(super) fn count(&self) -> usize {
        self.fallen.lock().values().filter(|fallen| fallen.falls.is_parked()).count()
    }

    /// The falls of a run that waits for a person.
    pub(super) fn of(&self, id: RunId) -> Option<Fallen> {
        self.fallen.lock().get(&id).filter(|fallen| fallen.falls.is_parked()).cloned()
    }
}

impl Handle {
    /// The falls of a run that nobody drives because of them.
    #[must_use]
    pub fn parking(&self, id: RunId) -> Option<Falls> {
        self.0.parking.of(id).filter(|_| !self.drives(id)).map(|fallen| fallen.falls)
    }

    /// How many runs wait for a person to let them go on.
    #[must_use]
    pub fn parked_runs(&self) -> usize {
        self.0.parking.count()
    }

    /// Follows which runs are parked.
    #[must_use]
    pub fn parkings(&self) -> watch::Receiver<()> {
        self.0.parking.parked.subscribe()
    }

    /// At most `most` of the runs that are parked, of all tenants, the oldest first.
    #[must_use]
    pub fn parked(&self, most: usize) -> Vec<(RunId, Fallen)> {
        let fallen = self.0.parking.fallen.lock();
        let mut parked: Vec<_> = fallen.iter().filter(|(_, fallen)| fallen.falls.is_parked()).collect();
        parked.sort_unstable_by_key(|(id, _)| **id);
        parked.into_iter().take(most).map(|(id, fallen)| (*id, fallen.clone())).collect()
    }

    /// Lets a parked run go on, with all its tries.
    pub async fn unpark(&self, tenant: &Name, id: RunId, by: &str) -> Result<(), UnparkError> {
        let fallen = self.0.parking.of(id).filter(|fallen| fallen.tenant == *tenant);
        let fallen = fallen.ok_or(UnparkError::NotParked)?;
        let key = falls::key(tenant.as_str(), id);
        self.0.journal.store().commit(Batch::new().delete(key)).await?;
        self.0.parking.fallen.lock().remove(&id);
        self.0.events.tell_by(by, tenant, Kind::RunUnparked, id, fallen.falls.reason);
        let taken = take_up(&self.0, tenant, id, None).await;
        if taken.is_err() {
            // Recovery comes back to it, when the disk can be read again.
            self.0.fell.notify_one();
        }
        Ok(taken?)
    }
}

/// A run broke what drove it: counts that, and says what becomes of the run.
pub(super) async fn fell(shared: &Shared, tenant: &Name, id: RunId, at_event: u64, reason: &str) {
    let fallen = {
        let mut all = shared.parking.fallen.lock();
        let before = all.get(&id).map(|fallen| &fallen.falls);
        let falls = Falls::after(before, at_event, reason, shared.clock.wall());
        let fallen = Fallen { tenant: tenant.clone(), falls };
        all.insert(id, fallen.clone());
        fallen
    };
    if let Err(error) = put(shared, id, &fallen).await {
        tracing::warn!(run = %id, %error, "that a run fell is not on record: after a restart it is counted anew");
    }
    let Falls { here, in_all, reason, .. } = &fallen.falls;
    if !fallen.falls.is_parked() {
        tracing::error!(run = %id, %tenant, at_event, here, in_all, %reason, "a run fell and is taken up again soon");
        shared.fell.notify_one();
        return;
    }
    tracing::error!(run = %id, %tenant, at_event, here, in_all, %reason, "a run fell too often and is parked");
    shared.metrics.run_parked();
    shared.events.tell_of(tenant, Kind::RunParked, id, format_args!("fell {in_all} times: {reason}"));
    shared.parking.parked.send_replace(());
}

async fn put(
    shared: &Shared,
    id: RunId,
    fallen: &Fallen,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let key = falls::key(fallen.tenant.as_str(), id);
    shared.journal.store().commit(Batch::new().put(key, falls::encode(fallen)?)).await?;
    Ok(())
}

/// A run has ended: what it did on the way no longer matters.
pub(super) async fn ended(shared: &Shared, tenant: &Name, id: RunId) {
    if shared.parking.fallen.lock().remove(&id).is_none() {
        return;
    }
    let delete = Batch::new().delete(falls::key(tenant.as_str(), id));
    if let Err(error) = shared.journal.store().commit(delete).await {
        // Recovery removes what is left of runs that have ended.
        tracing::debug!(run = %id, %error, "the falls of a run that has ended stay for now");
    }
}

/// Reads the falls on record, and removes those of runs that are no longer open. Blocks on the disk.
pub(super) fn recall(shared: &Shared, open: &HashSet<RunId>) -> Result<(), LoadError> {
    let store = shared.journal.store();
    let prefix = key::of_runs(key::FALLS);
    let mut from = None;
    loop {
        let page = store.scan(&prefix, from.as_deref(), PAGE).map_err(read_error)?;
        for (key, entry) in &page.entries {
            match falls::decode(key, &entry.value) {
                Ok((id, fallen)) if open.contains(&id) => {
                    // What is in memory is as new, and may be newer.
                    shared.parking.fallen.lock().entry(id).or_insert(fallen);
                }
                Ok(_) => drop(store.commit(Batch::new().delete(key.clone()))),
                Err(error) => {
                    tracing::error!(%error, "the falls of a run cannot be read; they are counted anew")
                }
            }
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(()),
        }
    }
}

/// Reads a run and gives it its task, with something to take in before it does anything. A run that makes reading it
/// panic has fallen, and whoever asked for it goes on.
pub(super) async fn take_up(
    shared: &Arc<Shared>,
    tenant: &Name,
    id: RunId,
    first: Option<Command>,
) -> Result<(), LoadError> {
    let loading = tenant.clone();
    let taken = async {
        let load = move |shared: &Shared| shared.journal.load(&loading, id, &shared.catalog);
        let run: Run = blocking(shared, load).await?;
        shared.spawn(run, true, first);
        Ok(())
    };
    match AssertUnwindSafe(taken).catch_unwind().await {
        Ok(taken) => taken,
        Err(panic) => {
            fell(shared, tenant, id, 0, &message(&*panic)).await;
            Err(LoadError::Fell)
        }
    }
}

/// What a panic said.
pub(super) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a word"))
}

#[cfg(test)]
mod tests;
