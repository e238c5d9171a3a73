//! What is different on a store that was restored from a backup.

use std::sync::Arc;

use mainstay_kernel::lease::RESTART_GRACE;
use mainstay_store::{Batch, ReadError, Store};

use super::StartError;
use crate::host::Clock;
use crate::records::restored::{self as record, Restored};

/// Whether and when the store was restored from a backup.
pub(super) fn mark(store: &dyn Store, clock: &Clock) -> Result<Option<Restored>, StartError> {
    let found = match store.get(&record::key()) {
        Ok(found) => found,
        Err(error @ ReadError::Damaged { .. }) => {
            tracing::warn!(%error, "when the store was restored is not known: taken for now");
            return Ok(Some(Restored { at: clock.wall(), first_start: None }));
        }
        Err(error) => return Err(StartError::Records(error.to_string())),
    };
    let mark = found.map(|entry| Restored::decode(&entry.value)).transpose();
    mark.map_err(|error| StartError::Records(error.to_string()))
}

/// Before the first runs on a restored store go on: sidecars that it does not know must have registered, so that their
/// ledgers are asked about what is not on record.
pub(super) async fn first_start(restored: Option<Restored>, clock: Clock, store: Arc<dyn Store>) {
    let Some(mark @ Restored { first_start: None, .. }) = restored else { return };
    tracing::warn!(grace = ?RESTART_GRACE, "the store was restored from a backup; runs go on when sidecars had time to register");
    tokio::time::sleep(RESTART_GRACE).await;
    let mark = Restored { first_start: Some(clock.wall()), ..mark };
    let written = match mark.encode() {
        Ok(value) => {
            store.commit(Batch::new().put(record::key(), value)).await.err().map(|error| error.to_string())
        }
        Err(error) => Some(error.to_string()),
    };
    if let Some(error) = written {
        tracing::warn!(error, "the next start waits once more");
    }
}
