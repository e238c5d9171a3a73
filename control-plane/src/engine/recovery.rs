//! Taking up runs again: after a start, and after the store has healed.
//!
//! The marks of open runs are scanned, each journal is folded, and each run gets a task. A run whose
//! journal is damaged is left alone and reported; all others go on. There is no other way in which a run is resumed, so
//! this way is exercised all the time.

use std::collections::HashSet;
use std::sync::Arc;

use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;

use super::journal::read_error;
use super::{LoadError, Shared, blocking, parking};
use crate::documents::CatalogError;
use crate::records::{key, open_run};

/// Marks read at once.
const PAGE: usize = 500;

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
    for (tenant, id) in marked {
        if shared.has(id) {
            continue;
        }
        if shared.parking.of(id).is_some() {
            recovered.parked += 1;
            continue;
        }
        match parking::take_up(shared, &tenant, id, None).await {
            Ok(()) => recovered.resumed += 1,
            Err(error @ (LoadError::Unavailable(_) | LoadError::Workflow(CatalogError::Unavailable(_)))) => {
                return Err(error);
            }
            // It was counted and told of where it fell.
            Err(LoadError::Fell) => {}
            Err(error) => {
                tracing::error!(run = %id, %tenant, %error, "an open run cannot be read and is left alone");
                recovered.unreadable += 1;
            }
        }
    }
    Ok(recovered)
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
