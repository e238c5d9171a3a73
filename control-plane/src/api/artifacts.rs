//! `mainstay.v1.Artifacts`.

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use mainstay_kernel::artifact::{ArtifactId, DEFAULT_MEDIA_TYPE, Refused, is_media_type};
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{agent, pb, time};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use super::page::Pages;
use super::{blob_fault, store_fault};
use crate::artifacts::{GetError, Handle, Put, PutError, Reading, Upload};
use crate::records::artifact::Stored;

/// Messages of an upload that wait for the disk: one is written while the next one comes.
const AHEAD: usize = 1;

/// The service.
#[derive(Debug, Clone)]
pub struct Api {
    /// The artifacts.
    pub artifacts: Handle,
    /// Page tokens.
    pub pages: Pages,
}

#[tonic::async_trait]
impl pb::artifacts_server::Artifacts for Api {
    async fn put(
        &self,
        request: Request<Streaming<pb::PutArtifactRequest>>,
    ) -> Result<Response<pb::PutArtifactResponse>, Status> {
        let mut messages = request.into_inner();
        let Some(pb::put_artifact_request::Part::Head(head)) = messages.message().await?.and_then(|m| m.part)
        else {
            return Err(Fault::invalid("head", "must be the first message").into());
        };
        let tenant = agent::tenant(&head.tenant)?;
        let media_type = media_type(head.media_type)?;
        let expected = match &*head.expected_ref {
            "" => None,
            text => Some(reference("expected_ref", text)?),
        };
        let put = match self.artifacts.put(&tenant, media_type, expected).await.map_err(put_fault)? {
            Ok(known) => known,
            Err(upload) => receive(upload, messages).await?,
        };
        let Put { id, stored, created } = put;
        Ok(Response::new(pb::PutArtifactResponse { artifact: Some(view(id, &stored)), created }))
    }

    type GetStream = BoxStream<'static, Result<pb::GetArtifactResponse, Status>>;

    async fn get(
        &self,
        request: Request<pb::GetArtifactRequest>,
    ) -> Result<Response<Self::GetStream>, Status> {
        use pb::get_artifact_response::Part;
        let request = request.into_inner();
        let (tenant, id) = (agent::tenant(&request.tenant)?, reference("ref", &request.r#ref)?);
        let reading = self.artifacts.get(&tenant, id, request.offset).map_err(get_fault)?;
        let head = pb::GetArtifactResponse { part: Some(Part::Artifact(view(id, &reading.stored))) };
        let data = stream::try_unfold(reading, async |mut reading: Reading| {
            let next = reading.next().await.map_err(|error| Status::from(get_fault(error)))?;
            Ok(next.map(|data| (pb::GetArtifactResponse { part: Some(Part::Data(data)) }, reading)))
        });
        Ok(Response::new(stream::iter([Ok(head)]).chain(data).boxed()))
    }

    async fn list(
        &self,
        request: Request<pb::ListArtifactsRequest>,
    ) -> Result<Response<pb::ListArtifactsResponse>, Status> {
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        let page =
            self.pages.open("artifacts", &[tenant.as_str()], request.page_size, &request.page_token)?;
        let after = page.cursor_text()?.map(|text| reference("page_token", text)).transpose()?;
        let (artifacts, of, size) = (self.artifacts.clone(), tenant.clone(), page.size);
        let listing = tokio::task::spawn_blocking(move || artifacts.list(&of, after, size)).await;
        let listed = listing.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        let listed = listed.map_err(get_fault)?;
        let last = listed.last().filter(|_| listed.len() >= size);
        Ok(Response::new(pb::ListArtifactsResponse {
            next_page_token: last.map(|(id, _)| page.next(id.to_string().as_bytes())).unwrap_or_default(),
            artifacts: listed.iter().map(|(id, stored)| view(*id, stored)).collect(),
            used_bytes: self.artifacts.usage(&tenant).bytes,
            quota_bytes: self.artifacts.policy().tenant_bytes,
        }))
    }
}

/// Hands the bytes of a stream to an upload that goes on, or ends in order, whatever becomes of the stream.
async fn receive(upload: Upload, mut messages: Streaming<pb::PutArtifactRequest>) -> Result<Put, Status> {
    use pb::put_artifact_request::Part;
    let (parts, received) = mpsc::channel(AHEAD);
    let receiving = tokio::spawn(upload.receive(received));
    let broken: Option<Status> = loop {
        let part = match messages.message().await {
            Ok(None) => None,
            Ok(Some(pb::PutArtifactRequest { part: Some(Part::Data(data)) })) => Some(data),
            Ok(Some(_)) => {
                break Some(Fault::invalid("data", "must be in every message but the first").into());
            }
            Err(status) => break Some(status),
        };
        let ends = part.is_none();
        // One that listens no longer has its reason, which follows.
        if parts.send(part).await.is_err() || ends {
            break None;
        }
    };
    drop(parts);
    let received = receiving.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    match broken {
        Some(status) => Err(status),
        None => received.map_err(|error| put_fault(error).into()),
    }
}

fn view(id: ArtifactId, stored: &Stored) -> pb::Artifact {
    pb::Artifact {
        r#ref: id.to_string(),
        bytes: stored.bytes,
        media_type: stored.media_type.clone(),
        put_at: Some(time::timestamp(stored.put_at)),
    }
}

fn reference(field: &str, text: &str) -> Result<ArtifactId, Fault> {
    text.parse().map_err(|error| Fault::invalid(field, error))
}

fn media_type(text: String) -> Result<String, Fault> {
    match text {
        text if text.is_empty() => Ok(DEFAULT_MEDIA_TYPE.to_owned()),
        text if is_media_type(&text) => Ok(text),
        _ => Err(Fault::invalid(
            "media_type",
            "must be like `text/csv`, at most 128 characters without blanks",
        )),
    }
}

fn put_fault(error: PutError) -> Fault {
    match error {
        PutError::Refused(Refused::TooLarge { limit }) => {
            Fault::field(Reason::ArtifactTooLarge, "data", error).with("limit", limit)
        }
        PutError::Refused(Refused::OverQuota { used, limit }) => {
            Fault::field(Reason::ArtifactQuota, "data", error).with("used", used).with("limit", limit)
        }
        PutError::Refused(Refused::TooMany) => Fault::field(Reason::ArtifactQuota, "data", error),
        PutError::Mismatch { .. } => {
            Fault::new(Reason::ArtifactMismatch, error).violation("expected_ref", "names other bytes")
        }
        PutError::Abandoned => Fault::new(Reason::CallCancelled, error),
        PutError::Busy => Fault::new(Reason::Overloaded, error),
        PutError::Read(error) => get_fault(error),
        PutError::Record(error) => Fault::new(Reason::Internal, error),
        PutError::Blob(error) => blob_fault(&error),
        PutError::Commit(error) => store_fault(error),
    }
}

fn get_fault(error: GetError) -> Fault {
    match error {
        GetError::NotFound(id) => Fault::new(Reason::ArtifactNotFound, &error).with("ref", id),
        GetError::Offset { .. } => Fault::invalid("offset", error),
        GetError::Busy => Fault::new(Reason::Overloaded, error),
        GetError::Damaged(_) => Fault::new(Reason::RecordDamaged, error),
        GetError::Unavailable(_) => Fault::new(Reason::StoreFailed, error),
    }
}
