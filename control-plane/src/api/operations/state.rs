//! What is kept: backups, what is damaged, and how near the limits are.

use std::ops::ControlFlow;
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use mainstay_kernel::id::RunId;
use mainstay_kernel::retention::is_near;
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{pb, time};
use mainstay_store::ReadError;
use mainstay_store::dump::{DumpError, Report};
use tokio::sync::mpsc;
use tonic::Status;

use super::super::orchestrator::parking;
use super::{Api, MAX_LISTED};
use crate::backup::Piece;
use crate::doctor::{self, DropError};
use crate::records::falls::Fallen;
use crate::retention::Use;

/// Findings on their way to whoever asked: the examination waits for a slow reader instead of filling memory.
const AHEAD: usize = 64;

impl Api {
    pub(super) fn take_backup(
        &self,
    ) -> Result<BoxStream<'static, Result<pb::BackupResponse, Status>>, Fault> {
        let pieces = self.backup.begin().map_err(|error| Fault::new(Reason::BackupUnderWay, error))?;
        let answers = received(pieces).map(|piece| match piece {
            Ok(Piece::Bytes(data)) => Ok(backup_part(pb::backup_response::Part::Data(data))),
            Ok(Piece::Complete(report)) => Ok(backup_part(pb::backup_response::Part::Complete(view(report)))),
            Err(error) => Err(dump_fault(error).into()),
        });
        Ok(answers.take_until(self.stopping.clone().cancelled_owned()).boxed())
    }

    pub(super) fn examine_all(&self) -> BoxStream<'static, Result<pb::ExamineResponse, Status>> {
        let (told, findings) = mpsc::channel(AHEAD);
        let (store, blobs) = (Arc::clone(&self.store), self.blobs.clone());
        tokio::task::spawn_blocking(move || {
            let part = |part| Ok(pb::ExamineResponse { part: Some(part) });
            let examined = doctor::examine(&*store, &blobs, |finding| {
                let found = pb::examine_response::Part::Found(doctor::view(&finding));
                // Whoever asked may have gone.
                if told.blocking_send(part(found)).is_err() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            let end = match examined {
                Ok(doctor::Examined { sound, damaged }) => {
                    part(pb::examine_response::Part::Complete(pb::ExamineReport { sound, damaged }))
                }
                Err(error) => Err(read_fault(error).into()),
            };
            told.blocking_send(end).ok();
        });
        received(findings).take_until(self.stopping.clone().cancelled_owned()).boxed()
    }

    pub(super) async fn inspect(&self, key: &str) -> Result<pb::InspectRecordResponse, Fault> {
        let bytes = key_of(key)?;
        let (store, blobs) = (Arc::clone(&self.store), self.blobs.clone());
        let inspected = blocking(move || doctor::inspect(&*store, &blobs, &bytes)).await;
        let inspected = inspected.map_err(read_fault)?.ok_or_else(not_found)?;
        Ok(doctor::inspected_view(key, inspected))
    }

    pub(super) async fn drop_damaged(&self, key: &str) -> Result<pb::DropRecordResponse, Fault> {
        let bytes = key_of(key)?;
        let (store, blobs) = (Arc::clone(&self.store), self.blobs.clone());
        let dropped = blocking(move || doctor::drop_record(&*store, &blobs, &bytes)).await;
        let described = dropped.map_err(|error| match error {
            DropError::NotFound => not_found(),
            DropError::Sound => Fault::new(Reason::RecordSound, error),
            DropError::OutOfReach => Fault::new(Reason::RecordDamaged, error),
            DropError::Read(error) => read_fault(error),
            DropError::Commit(error) => crate::api::store_fault(error),
        })?;
        Ok(pb::DropRecordResponse { record: Some(doctor::record_view(key, &described, "")) })
    }

    pub(super) fn parked(&self) -> Vec<pb::ParkedRun> {
        let parked = self.engine.parked(MAX_LISTED).into_iter();
        let view = |(run, fallen): (RunId, Fallen)| pb::ParkedRun {
            tenant: fallen.tenant.to_string(),
            run_id: run.to_string(),
            parking: Some(parking(&fallen.falls)),
        };
        parked.map(view).collect()
    }

    pub(super) fn limits_in_use(&self) -> Vec<pb::LimitUse> {
        let view = |Use { limit, what, used, most, then }: Use| pb::LimitUse {
            limit: limit.to_owned(),
            what: what.to_owned(),
            used,
            most,
            near: is_near(used, most, false),
            then: then.to_owned(),
        };
        self.retention.limits().into_iter().map(view).collect()
    }

    pub(super) fn kept(&self) -> pb::RetentionStatus {
        let policy = self.retention.policy();
        pb::RetentionStatus {
            finished_runs: self.retention.kept(),
            keep_for: Some(time::duration(policy.keep_for)),
            keep: policy.keep,
            oldest: self.retention.oldest().map(time::timestamp),
            removed: self.retention.removed(),
        }
    }
}

fn received<T: Send + 'static>(receiver: mpsc::Receiver<T>) -> impl futures::Stream<Item = T> + Send {
    stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn key_of(text: &str) -> Result<Vec<u8>, Fault> {
    let bad =
        || Fault::invalid("key", "is not a key: give the hexadecimal digits that `mainstay doctor` shows");
    doctor::unhex(text).ok_or_else(bad)
}

fn not_found() -> Fault {
    Fault::field(Reason::RecordNotFound, "key", "names no record")
}

fn read_fault(error: ReadError) -> Fault {
    Fault::new(Reason::StoreFailed, error)
}

fn dump_fault(error: DumpError) -> Fault {
    match error {
        DumpError::Commit(error) => crate::api::store_fault(error),
        DumpError::Blob(error) => crate::api::blob_fault(&error),
        DumpError::Read(error) => read_fault(error),
        DumpError::TooFast => Fault::new(Reason::BackupOutrun, error),
        DumpError::Io(_) | DumpError::NotADump | DumpError::Damaged { .. } | DumpError::NotEmpty => {
            Fault::new(Reason::Internal, error)
        }
    }
}

fn backup_part(part: pb::backup_response::Part) -> pb::BackupResponse {
    pb::BackupResponse { part: Some(part) }
}

fn view(report: Report) -> pb::BackupReport {
    pb::BackupReport { records: report.records, documents: report.blobs, damaged: report.damaged }
}
