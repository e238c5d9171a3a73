//! The operating mode: shown, set, handed back, watched.

use futures::stream::{self, Stream};
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{agent, mode, pb, time};

use super::Api;
use crate::api::store_fault;
use crate::modes::{SetError, Status};

/// Longest reason and author: a sentence for whoever wonders at night.
const MAX_REASON: usize = 256;

impl Api {
    pub(super) async fn put_mode(&self, request: pb::SetModeRequest) -> Result<pb::ModeStatus, Fault> {
        let wanted = mode::parse("mode", request.mode)?;
        if request.reason.trim().is_empty() {
            return Err(Fault::invalid("reason", "must say why"));
        }
        let reason = agent::text("reason", request.reason, MAX_REASON)?;
        let by = agent::text("by", request.by, MAX_REASON)?;
        self.modes.set(wanted, reason, by).await.map(|status| view(&status)).map_err(fault)
    }

    pub(super) async fn hand_back_mode(
        &self,
        request: pb::ReleaseModeRequest,
    ) -> Result<pb::ModeStatus, Fault> {
        let by = agent::text("by", request.by, MAX_REASON)?;
        self.modes.release(by).await.map(|status| view(&status)).map_err(fault)
    }

    /// The mode as it is, then each change.
    pub(super) fn follow_mode(&self) -> impl Stream<Item = pb::ModeStatus> + Send + use<> {
        let mut changes = self.modes.watch();
        changes.mark_changed();
        stream::unfold(changes, |mut changes| async {
            changes.changed().await.ok()?;
            let status = view(&changes.borrow_and_update());
            Some((status, changes))
        })
    }
}

pub(super) fn view(status: &Status) -> pb::ModeStatus {
    pb::ModeStatus {
        mode: mode::view(status.mode).into(),
        since: Some(time::timestamp(status.since)),
        reason: status.reason.clone(),
        by: status.by.clone(),
        by_hand: status.by_hand,
        by_rules: mode::view(status.by_rules).into(),
    }
}

fn fault(error: SetError) -> Fault {
    match error {
        SetError::Record(error) => Fault::new(Reason::Internal, error),
        SetError::Commit(error) => store_fault(error),
    }
}
