//! `mainstay.v1.Operations`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mainstay_kernel::time::Wall;
use mainstay_proto::{pb, time};
use mainstay_store::{Status as StoreStatus, Store};
use tonic::{Request, Response, Status};

use crate::host::Clock;
use crate::{engine, registry};

/// Most damaged records listed in one answer.
const MAX_LISTED: usize = 100;

/// The service.
#[derive(Debug, Clone)]
pub struct Api {
    /// The clock.
    pub clock: Clock,
    /// When the server started.
    pub started_at: Wall,
    /// Name of the store's backend.
    pub backend: &'static str,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The engine.
    pub engine: engine::Handle,
    /// The registry.
    pub registry: registry::Handle,
}

#[tonic::async_trait]
impl pb::operations_server::Operations for Api {
    async fn get_server_info(
        &self,
        _request: Request<pb::GetServerInfoRequest>,
    ) -> Result<Response<pb::GetServerInfoResponse>, Status> {
        let quarantined = self.store.quarantined().into_iter().take(MAX_LISTED);
        Ok(Response::new(pb::GetServerInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: Some(time::timestamp(self.started_at)),
            store: Some(self.store_status()),
            instances: u32::try_from(self.registry.live_instances()).unwrap_or(u32::MAX),
            open_runs: u32::try_from(self.engine.open_runs()).unwrap_or(u32::MAX),
            quarantined: quarantined
                .map(|record| pb::QuarantinedRecord {
                    key: hex(&record.key),
                    reason: record.damage.to_string(),
                })
                .collect(),
        }))
    }
}

impl Api {
    fn store_status(&self) -> pb::StoreStatus {
        let backend = self.backend.to_owned();
        match self.store.status() {
            StoreStatus::Writable => {
                pb::StoreStatus { backend, writable: true, ..pb::StoreStatus::default() }
            }
            StoreStatus::ReadOnly { reason, since } => {
                let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
                let since = Wall::from_millis(i64::try_from(since.as_millis()).unwrap_or(0));
                let lasting = self.clock.wall().saturating_since(since);
                pb::StoreStatus { backend, writable: false, reason, r#for: Some(time::duration(lasting)) }
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
