//! The gRPC services: parse, ask a handle, answer. No decision is taken here.

pub mod artifacts;
pub mod budgets;
pub mod context;
pub(crate) mod documents;
pub mod drills;
pub mod operations;
pub mod orchestrator;
pub mod page;
mod people;
pub mod registry;
pub mod rollouts;
pub mod routes;
pub mod schedules;
mod watcher;
pub mod workflows;

use std::time::Duration;

use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_store::CommitError;
use mainstay_store::blobs::BlobError;

use crate::records::spill::SpillError;

/// How long a client should wait while the disk recovers: about as long as the store waits between its own tries.
const STORE_RETRY: Duration = Duration::from_secs(2);

/// What a client is told of a commit that failed.
pub(crate) fn store_fault(error: CommitError) -> Fault {
    let reason = match error {
        CommitError::ReadOnly { .. } => Reason::StoreReadOnly,
        CommitError::Busy => Reason::Overloaded,
        CommitError::Unknown { .. } | CommitError::Closed => Reason::StoreFailed,
        CommitError::Damaged { .. } => Reason::RecordDamaged,
        CommitError::Conflict { .. } | CommitError::TooLarge { .. } | CommitError::WrittenTwice { .. } => {
            Reason::Internal
        }
    };
    Fault::new(reason, error).retry_after(STORE_RETRY)
}

/// What a client is told of a record that could not be written or read.
pub(crate) fn spill_fault(error: SpillError) -> Fault {
    let reason = match &error {
        SpillError::Blob(error) => return blob_fault(error),
        SpillError::BlobMissing(_) => Reason::RecordDamaged,
        SpillError::Record(_) => Reason::Internal,
    };
    Fault::new(reason, error)
}

/// What a client is told of a large document that could not be written or read.
pub(crate) fn blob_fault(error: &BlobError) -> Fault {
    let reason = match error {
        // A disk that refuses a file refuses writes, whatever the store still takes.
        BlobError::Io { .. } => Reason::StoreReadOnly,
        BlobError::TooLarge { .. } => Reason::PayloadTooLarge,
        BlobError::Damaged { .. } => Reason::RecordDamaged,
    };
    Fault::new(reason, error).retry_after(STORE_RETRY)
}
