//! Taking up runs again: after a start, and after the store has healed.
//!
//! The marks of open runs are scanned, each journal is folded, and each run gets a task. A run whose
//! journal is damaged is left alone and reported; all others go on. There is no other way in which a run is resumed, so
//! this way is exercised all the time.

use std::collections::HashSet;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;

use super::journal::read_error;
use super::{LoadError, Shared, blocking, parking};
use crate::documents::CatalogError;
use crate::records::{key, open_run};

/// Marks read at once.
const PAGE: usize = 500;

/// Journals read at once. A journal that nobody has read lately is on the disk, and what reads it waits: a few at once
/// keep the disk busy, and many would take it from what is served meanwhile.
const LOADS: usize = 8;

/// What recovery found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Runs that go on.
    pub resumed: usize,
    /// Runs that wait for a person.
    pub parked: usize,
    /// Runs that cannot be read and are left alone.
    pub unreadable: usize,
}

/// Reads every open run and hands it to a task, unless it has one.
///
/// # Errors
/// What cannot be read *now*: everything is looked at again later. Runs taken up by then go on.
pub(super) async fn recover(shared: &Arc<Shared>) -> Result<Recovered, LoadError> {
    let (marked, unreadable) = blocking(shared, open_runs).await?;
    let open: HashSet<_> = marked.iter().map(|(_, id)| *id).collect();
    blocking(shared, move |shared| parking::recall(shared, &open)).await?;
    let mut recovered = Recovered { resumed: 0, parked: 0, unreadable };
    let mut loads =
        stream::iter(marked).map(|(tenant, id)| look_at(shared, tenant, id)).buffer_unordered(LOADS);
    while let Some(found) = loads.next().await {
        match found? {
            Found::Driven | Found::Fell => {}
            Found::Resumed => recovered.resumed += 1,
            Found::Parked => recovered.parked += 1,
            Found::Unreadable => recovered.unreadable += 1,
        }
    }
    Ok(recovered)
}

/// What became of a marked run.
enum Found {
    /// It has its task already.
    Driven,
    Resumed,
    Parked,
    Unreadable,
    /// It broke what read it. It was counted and told of there.
    Fell,
}

/// Takes up a marked run, unless it has its task or waits for a person.
async fn look_at(shared: &Arc<Shared>, tenant: Name, id: RunId) -> Result<Found, LoadError> {
    if shared.has(id) {
        return Ok(Found::Driven);
    }
    if shared.parking.of(id).is_some() {
        return Ok(Found::Parked);
    }
    match parking::take_up(shared, &tenant, id, None).await {
        Ok(()) => Ok(Found::Resumed),
        Err(LoadError::Fell) => Ok(Found::Fell),
        Err(error @ (LoadError::Unavailable(_) | LoadError::Workflow(CatalogError::Unavailable(_)))) => {
            Err(error)
        }
        Err(error) => {
            tracing::error!(run = %id, %tenant, %error, "an open run cannot be read and is left alone");
            Ok(Found::Unreadable)
        }
    }
}

/// The marked runs, and the number of marks that cannot be read.
fn open_runs(shared: &Shared) -> Result<(Vec<(Name, RunId)>, usize), LoadError> {
    let mut runs = Vec::new();
    let mut unreadable = 0;
    let prefix = key::of_runs(key::OPEN_RUN);
    let mut from = None;
    loop {
        let page = shared.journal.store().scan(&prefix, from.as_deref(), PAGE).map_err(read_error)?;
        unreadable += page.damaged.len();
        for damaged in &page.damaged {
            tracing::error!(%damaged, "the mark of an open run is damaged and left alone");
        }
        for (key, entry) in &page.entries {
            match open_run::decode(key, &entry.value) {
                Ok(run) => runs.push(run),
                Err(error) => {
                    tracing::error!(%error, "the mark of an open run cannot be read");
                    unreadable += 1;
                }
            }
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok((runs, unreadable)),
        }
    }
}
