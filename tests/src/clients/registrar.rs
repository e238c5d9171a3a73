//! Registers the same instance of an agent again and again, and reads it back: what was acknowledged must be there, under
//! an epoch that only grows.

use std::sync::Arc;
use std::time::Duration;

use mainstay_proto::pb;
use pb::agent_registry_client::AgentRegistryClient;
use tonic::transport::Channel;

use super::Log;
use crate::history::Epoch;

/// How long it waits between two registrations: one before and one after most kills is what is wanted.
const PACE: Duration = Duration::from_millis(100);
/// The agent, which nothing calls.
const NAME: &str = "visitor";

/// Registers until all runs have ended.
pub(super) async fn register(mut registry: AgentRegistryClient<Channel>, log: Arc<Log>) {
    let mut looks = tokio::time::interval(PACE);
    let mut lease_id = String::new();
    while !log.is_over() {
        looks.tick().await;
        let granted = registry.register(registration(&lease_id)).await;
        if let Ok(granted) = granted {
            let granted = granted.into_inner();
            log.seen().epochs.push(Epoch::Granted(granted.epoch));
            lease_id = granted.lease_id;
        }
        let request = pb::GetAgentRequest { name: NAME.to_owned(), ..Default::default() };
        let Ok(read) = registry.get_agent(request).await else { continue };
        let instances = read.into_inner().agent.map(|agent| agent.instances).unwrap_or_default();
        if let Some(instance) = instances.first() {
            log.seen().epochs.push(Epoch::Read(instance.epoch));
        }
    }
}

fn registration(lease_id: &str) -> pb::RegisterRequest {
    let capability = pb::Capability {
        name: "visit".to_owned(),
        input_schema: "{}".into(),
        output_schema: "{}".into(),
        effect: pb::EffectClass::ReadOnly.into(),
        sla: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        max_concurrency: 1,
        ..Default::default()
    };
    pb::RegisterRequest {
        agent: Some(pb::AgentSpec {
            name: NAME.to_owned(),
            version: "1".to_owned(),
            capabilities: vec![capability],
            ..Default::default()
        }),
        instance: "one".to_owned(),
        // Port 9 discards: nobody listens, and nobody calls.
        address: "http://127.0.0.1:9".to_owned(),
        lease_id: lease_id.to_owned(),
        ..Default::default()
    }
}
