//! `mainstay.v1.SharedContext`.

use std::time::Duration;

use mainstay_kernel::context::{
    AsOf, Entry, Found, Key, MAX_VALUE_BYTES, NotKept, PutRefused, ReadRefused, Stale, Stamp,
};
use mainstay_kernel::json::Limits;
use mainstay_proto::context::{key, max_age, owner, view};
use mainstay_proto::fault::Fault;
use mainstay_proto::reason::Reason;
use mainstay_proto::{agent, outcome, pb, time};
use tonic::{Request, Response, Status};

use super::page::Pages;
use crate::api::store_fault;
use crate::context::{GetError, Handle, Write, WriteError};

/// The service.
#[derive(Debug, Clone)]
pub struct Api {
    /// What is known.
    pub context: Handle,
    /// Page tokens.
    pub pages: Pages,
}

#[tonic::async_trait]
impl pb::shared_context_server::SharedContext for Api {
    async fn put(
        &self,
        request: Request<pb::PutContextRequest>,
    ) -> Result<Response<pb::PutContextResponse>, Status> {
        let request = request.into_inner();
        let (tenant, key) = (agent::tenant(&request.tenant)?, key(&request.key)?);
        let limits = Limits { max_bytes: MAX_VALUE_BYTES, ..Limits::default() };
        if request.value.len() > MAX_VALUE_BYTES {
            let text =
                format_args!("is {} bytes long; at most {MAX_VALUE_BYTES} are allowed", request.value.len());
            let fault = Fault::field(Reason::PayloadTooLarge, "value", text);
            return Err(fault.hint("put the document elsewhere, and its address into the context").into());
        }
        let write = Write {
            by: owner("by", &request.by)?,
            expected: request.expected_version,
            max_age: max_age(request.max_age.as_ref())?,
            value: outcome::payload("value", &request.value, &limits)?,
        };
        let by = write.by.clone();
        let stamp = self.context.put(&tenant, &key, write).await.map_err(write_fault)?;
        let written = view(&key, &by, Found { stamp, age: Duration::ZERO, stale: false });
        Ok(Response::new(pb::PutContextResponse { written: Some(written) }))
    }

    async fn get(
        &self,
        request: Request<pb::GetContextRequest>,
    ) -> Result<Response<pb::GetContextResponse>, Status> {
        use pb::get_context_request::AsOf as Wire;
        let request = request.into_inner();
        let (tenant, key) = (agent::tenant(&request.tenant)?, key(&request.key)?);
        let as_of = match &request.as_of {
            None => AsOf::Now,
            Some(Wire::Version(version)) => AsOf::Version(*version),
            Some(Wire::Time(then)) => AsOf::Time(time::wall(then)),
        };
        let max_age = max_age(request.max_age.as_ref())?;
        let found = self.context.get(&tenant, &key, as_of, max_age).map_err(get_fault)?;
        let value = outcome::bytes(&found.value);
        let found = pb::ContextVersion { value, ..view(&key, &found.owner, found.found) };
        Ok(Response::new(pb::GetContextResponse { found: Some(found) }))
    }

    async fn history(
        &self,
        request: Request<pb::ContextHistoryRequest>,
    ) -> Result<Response<pb::ContextHistoryResponse>, Status> {
        let request = request.into_inner();
        let (tenant, key) = (agent::tenant(&request.tenant)?, key(&request.key)?);
        let entry = self.context.entry(&tenant, &key).map_err(get_fault)?;
        let versions = entry.versions().iter().rev().map(|stamp| self.listed(&key, &entry, *stamp));
        Ok(Response::new(pb::ContextHistoryResponse { versions: versions.collect() }))
    }

    async fn list(
        &self,
        request: Request<pb::ListContextRequest>,
    ) -> Result<Response<pb::ListContextResponse>, Status> {
        let request = request.into_inner();
        let tenant = agent::tenant(&request.tenant)?;
        let page = self.pages.open("context", &[tenant.as_str()], request.page_size, &request.page_token)?;
        let after = page.cursor_text()?.map(key).transpose()?;
        let (context, size) = (self.context.clone(), page.size);
        let listing = tokio::task::spawn_blocking(move || context.list(&tenant, after.as_ref(), size)).await;
        let listed = listing.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        let listed = listed.map_err(get_fault)?;
        let last = listed.last().filter(|_| listed.len() >= size);
        let next_page_token = last.map(|(key, _)| page.next(key.as_str().as_bytes())).unwrap_or_default();
        let keys = listed.iter().map(|(key, entry)| self.listed(key, entry, entry.newest())).collect();
        Ok(Response::new(pb::ListContextResponse { keys, next_page_token }))
    }

    async fn remove(
        &self,
        request: Request<pb::RemoveContextRequest>,
    ) -> Result<Response<pb::RemoveContextResponse>, Status> {
        let request = request.into_inner();
        let (tenant, key) = (agent::tenant(&request.tenant)?, key(&request.key)?);
        let by = owner("by", &request.by)?;
        let removed = self.context.remove(&tenant, &key, by, request.expected_version).await;
        removed.map_err(write_fault)?;
        Ok(Response::new(pb::RemoveContextResponse {}))
    }
}

impl Api {
    /// A version as it stands now.
    fn listed(&self, key: &Key, entry: &Entry, stamp: Stamp) -> pb::ContextVersion {
        let age = self.context.now().saturating_since(stamp.at);
        let stale = stamp.max_age.is_some_and(|limit| age > limit);
        view(key, &entry.owner, Found { stamp, age, stale })
    }
}

fn write_fault(error: WriteError) -> Fault {
    match error {
        WriteError::Refused { ref key, refused: PutRefused::NotOwner { ref owner, .. } } => {
            let fault = Fault::field(Reason::ContextNotOwner, "by", &error);
            fault.with("key", key).with("owner", owner)
        }
        WriteError::Refused { ref key, refused: PutRefused::Conflict { found, .. } } => {
            let fault = Fault::field(Reason::ContextConflict, "expected_version", &error);
            fault.with("key", key).with("version", found)
        }
        WriteError::NotFound(key) => get_fault(GetError::NotFound(key)),
        WriteError::Full => Fault::new(Reason::ContextFull, error),
        WriteError::Overtaken(_) => Fault::new(Reason::Overloaded, error),
        WriteError::Read(error) => get_fault(error),
        WriteError::Record(error) => Fault::new(Reason::Internal, error),
        WriteError::Commit(error) => store_fault(error),
    }
}

/// What a client is told of a key that could not be read.
pub(crate) fn get_fault(error: GetError) -> Fault {
    match error {
        GetError::NotFound(ref key) => Fault::new(Reason::ContextNotFound, &error).with("key", key),
        GetError::Refused { ref key, refused: ReadRefused::NotKept(not_kept) } => {
            let fault = Fault::new(Reason::ContextVersionNotKept, &error).with("key", key);
            match not_kept {
                NotKept::Never { newest, .. } => fault.with("newest", newest),
                NotKept::Forgotten { oldest } => fault.with("oldest", oldest),
                NotKept::NotYet => fault,
            }
        }
        GetError::Refused { ref key, refused: ReadRefused::Stale(ref stale) } => {
            let Stale { version, age, limit, .. } = stale;
            let fault = Fault::new(Reason::ContextStale, stale).with("key", key).with("version", version);
            fault.with("age_ms", age.as_millis()).with("max_age_ms", limit.as_millis())
        }
        GetError::TooMany { .. } => Fault::new(Reason::ContextFull, error),
        GetError::Damaged(_) => Fault::new(Reason::RecordDamaged, error),
        GetError::Unavailable(_) => Fault::new(Reason::StoreFailed, error),
    }
}
