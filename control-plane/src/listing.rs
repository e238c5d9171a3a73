//! The listing of runs: small records, newest first, filtered while they are read.

use std::sync::Arc;

use mainstay_kernel::name::Name;
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{pb, run as wire, time};
use mainstay_store::Store;

use crate::records::run_summary::{self, RunSummary};

/// Most rows looked at for one page. A filter that matches little ends its page early, with a token to go on from,
/// instead of reading the whole store for one request.
const MAX_SCANNED: usize = 20_000;

/// Rows read from the store at once.
const BATCH: usize = 500;

/// Reads the listing. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Listing(Arc<dyn Store>);

/// Which runs are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only runs of this workflow.
    pub workflow: Option<Name>,
    /// Only runs in one of these states; empty means all.
    pub states: Vec<pb::RunState>,
}

/// One page.
#[derive(Debug, Default)]
pub struct Rows {
    /// The runs, newest first.
    pub runs: Vec<pb::Run>,
    /// Where the next page begins; `None` at the end.
    pub cursor: Option<Vec<u8>>,
}

impl Listing {
    /// A listing over a store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// Up to `size` runs behind `cursor`.
    pub async fn page(
        &self,
        tenant: &Name,
        filter: &Filter,
        cursor: Option<&[u8]>,
        size: usize,
    ) -> Result<Rows, Fault> {
        let (store, tenant, filter) = (Arc::clone(&self.0), tenant.clone(), filter.clone());
        let cursor = cursor.map(<[u8]>::to_vec);
        let read = tokio::task::spawn_blocking(move || read(&*store, &tenant, &filter, cursor, size)).await;
        read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}

fn read(
    store: &dyn Store,
    tenant: &Name,
    filter: &Filter,
    mut cursor: Option<Vec<u8>>,
    size: usize,
) -> Result<Rows, Fault> {
    let prefix = run_summary::prefix(tenant.as_str());
    let mut rows = Rows::default();
    let mut scanned = 0;
    loop {
        let page = store.scan(&prefix, cursor.as_deref(), BATCH);
        let page = page.map_err(|error| Fault::new(Reason::StoreFailed, error))?;
        for damaged in &page.damaged {
            tracing::warn!(%damaged, "a line of the listing is damaged and left out");
        }
        for (key, entry) in page.entries {
            if rows.runs.len() == size || scanned == MAX_SCANNED {
                rows.cursor = cursor;
                return Ok(rows);
            }
            scanned += 1;
            match RunSummary::decode(&entry.value) {
                Ok(summary) if filter.wants(&summary) => rows.runs.push(view(tenant, summary)),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "a line of the listing cannot be read and is left out"),
            }
            cursor = Some(key.to_vec());
        }
        match page.next {
            Some(next) => cursor = Some(next.to_vec()),
            None => return Ok(rows),
        }
    }
}

impl Filter {
    fn wants(&self, summary: &RunSummary) -> bool {
        let state = wire::state(summary.end);
        self.workflow.as_ref().is_none_or(|workflow| *workflow == summary.workflow)
            && (self.states.is_empty() || self.states.contains(&state))
    }
}

fn view(tenant: &Name, summary: RunSummary) -> pb::Run {
    pb::Run {
        run_id: summary.run.to_string(),
        tenant: tenant.to_string(),
        workflow: summary.workflow.to_string(),
        version: summary.version,
        state: wire::state(summary.end).into(),
        intent: summary.intent,
        labels: summary.labels.into_iter().collect(),
        started_at: Some(time::timestamp(summary.started_at)),
        ended_at: summary.ended_at.map(time::timestamp),
        deadline: Some(time::timestamp(summary.deadline)),
        failure: summary.failure.as_ref().map(Into::into),
        usage: Some(summary.usage.into()),
        ..pb::Run::default()
    }
}

#[cfg(test)]
mod tests;
