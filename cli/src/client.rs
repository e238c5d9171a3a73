//! The way to the control plane.

use std::time::Duration;

use mainstay_kernel::priority::Priority;
use mainstay_proto::pb::agent_registry_client::AgentRegistryClient;
use mainstay_proto::pb::artifacts_client::ArtifactsClient;
use mainstay_proto::pb::budgets_client::BudgetsClient;
use mainstay_proto::pb::drills_client::DrillsClient;
use mainstay_proto::pb::operations_client::OperationsClient;
use mainstay_proto::pb::orchestrator_client::OrchestratorClient;
use mainstay_proto::pb::rollouts_client::RolloutsClient;
use mainstay_proto::pb::routes_client::RoutesClient;
use mainstay_proto::pb::schedules_client::SchedulesClient;
use mainstay_proto::pb::shared_context_client::SharedContextClient;
use mainstay_proto::pb::workflows_client::WorkflowsClient;
use mainstay_proto::{chain, priority};
use mainstay_transport::retry;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::host;

/// How long connecting may take: a server on this continent answers in a fraction of it.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long a plain question may take. Nothing asked with it waits for an agent.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Largest answer. A run comes with the inputs and outputs of all its steps, each up to 4 MiB.
const LARGEST_ANSWER: usize = 256 * 1024 * 1024;

/// A connection to a control plane, for one tenant.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    server: String,
    tenant: String,
}

impl Client {
    /// Connects to `server`, a URL like `http://127.0.0.1:7400`.
    ///
    /// # Errors
    /// If the URL is none, or nobody answers there.
    pub async fn connect(server: &str, tenant: &str) -> Result<Self, Failure> {
        let endpoint = endpoint(server)?;
        let channel = endpoint.connect().await.map_err(|error| {
            let root =
                std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source()).last();
            Failure::unreachable(server, &root.map(ToString::to_string).unwrap_or_default())
        })?;
        Ok(Self { channel, server: server.to_owned(), tenant: tenant.to_owned() })
    }

    /// The tenant asked for; empty means the default.
    #[must_use]
    pub fn tenant(&self) -> String {
        self.tenant.clone()
    }

    /// Runs and calls.
    #[must_use]
    pub fn orchestrator(&self) -> OrchestratorClient<Channel> {
        OrchestratorClient::new(self.channel.clone())
            .max_decoding_message_size(LARGEST_ANSWER)
            .max_encoding_message_size(LARGEST_ANSWER)
    }

    /// Agents.
    #[must_use]
    pub fn registry(&self) -> AgentRegistryClient<Channel> {
        AgentRegistryClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Workflow documents.
    #[must_use]
    pub fn workflows(&self) -> WorkflowsClient<Channel> {
        WorkflowsClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Routing documents and decisions.
    #[must_use]
    pub fn routes(&self) -> RoutesClient<Channel> {
        RoutesClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Two versions of an agent side by side.
    #[must_use]
    pub fn rollouts(&self) -> RolloutsClient<Channel> {
        RolloutsClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Budgets over time, and what was spent.
    #[must_use]
    pub fn budgets(&self) -> BudgetsClient<Channel> {
        BudgetsClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// What is run by the clock.
    #[must_use]
    pub fn schedules(&self) -> SchedulesClient<Channel> {
        SchedulesClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// The server itself.
    #[must_use]
    pub fn operations(&self) -> OperationsClient<Channel> {
        OperationsClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// What agents and people know together.
    #[must_use]
    pub fn context(&self) -> SharedContextClient<Channel> {
        SharedContextClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Large documents.
    #[must_use]
    pub fn artifacts(&self) -> ArtifactsClient<Channel> {
        ArtifactsClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Faults on purpose.
    #[must_use]
    pub fn drills(&self) -> DrillsClient<Channel> {
        DrillsClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// What a failed question means to a person.
    #[must_use]
    pub fn failure(&self, status: &Status) -> Failure {
        Failure::answered(status, &self.server)
    }
}

/// A question with the usual patience.
pub fn ask<T>(message: T) -> Request<T> {
    within(message, ANSWER_WITHIN)
}

/// A question that may take as long as `patience`.
pub fn within<T>(message: T, patience: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(patience);
    // Run by an agent that was itself called: its caller repeats what fails.
    if host::env("MAINSTAY_RETRY").as_deref() == Some(retry::FORBIDDEN) {
        retry::forbid(&mut request);
    }
    // And how urgent that is.
    if let Some(Ok(urgency)) = host::env("MAINSTAY_PRIORITY").map(|text| text.parse()) {
        priority::set(&mut request, urgency);
    }
    // And who called whom.
    if let Some(Ok(chain)) = host::env("MAINSTAY_CHAIN").map(|text| text.parse()) {
        chain::set(&mut request, &chain);
    }
    request
}

/// Says how urgent it is, where the command line does.
pub fn urgent<T>(mut request: Request<T>, urgency: Option<Priority>) -> Request<T> {
    if let Some(urgency) = urgency {
        priority::set(&mut request, urgency);
    }
    request
}

fn endpoint(server: &str) -> Result<Endpoint, Failure> {
    let bad = || {
        Failure::new(Exit::Config, format!("`--server` is {server:?}, which is not a URL of a control plane"))
            .hint("write it like http://127.0.0.1:7400")
    };
    let uri: tonic::transport::Uri = server.parse().map_err(|_| bad())?;
    if uri.scheme_str() != Some("http") || uri.authority().is_none() {
        return Err(bad());
    }
    Ok(Endpoint::from(uri).connect_timeout(CONNECT_WITHIN).tcp_nodelay(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_url_with_a_scheme_we_speak() {
        for bad in ["", "127.0.0.1:7400", "https://h:1", "http://", "unix:/run/x"] {
            assert_eq!(endpoint(bad).unwrap_err().exit, Exit::Config, "{bad}");
        }
        assert!(endpoint("http://127.0.0.1:7400").is_ok());
    }
}
