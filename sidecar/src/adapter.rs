//! Adapters: the last step to the agent. One call in, one reply out, and nothing of Mainstay beyond it.
//!
//! An adapter is a future and nothing else: **dropping it cancels the agent's work** (a connection is closed, a process
//! group is killed). Timeouts, cancellation and callers that went away are therefore all the same to it, and none of them
//! can be forgotten. It decides one more thing that only it can know: whether the agent had begun when a call failed.

use bytes::Bytes;
use mainstay_kernel::chain::Chain;
use mainstay_kernel::json::Json;
use mainstay_kernel::outcome::{Failure, Usage};
use mainstay_kernel::priority::Priority;
use mainstay_transport::retry;
use tokio::time::Instant;

use crate::manifest::AdapterConfig;

mod command;
mod http;
mod report;

use self::command::Command;
pub(crate) use self::command::spawn as spawn_command;
use self::http::Http;
pub(crate) use self::report::MAX_WARNINGS;

/// How the agent is reached.
#[derive(Debug)]
pub(crate) enum Adapter {
    Http(Box<Http>),
    Command(Command),
    Echo,
}

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The capability's addition to the agent's URL.
    pub(crate) path: String,
    /// Checked JSON.
    pub(crate) input: Json,
    /// The idempotency key as text.
    pub(crate) key: String,
    /// Empty for a direct call.
    pub(crate) run: String,
    /// Empty for a direct call.
    pub(crate) step: String,
    /// What the person asked for, in words; may be empty.
    pub(crate) intent: String,
    /// W3C trace context, if the caller sent one.
    pub(crate) traceparent: Option<String>,
    /// The agent is told not to repeat calls of its own, and to send that along.
    pub(crate) retry_forbidden: bool,
    /// The agent is told, and asked to send it along.
    pub(crate) priority: Priority,
    /// The agent is told, and asked to send it along.
    pub(crate) chain: Chain,
    /// When the call is cut.
    pub(crate) cut_at: Instant,
    /// Whether the call changes something each time, so that "maybe sent" must be avoided at any price.
    pub(crate) side_effecting: bool,
}

/// What the agent answered, before anyone looked whether it holds to its contract.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) body: Body,
    pub(crate) usage: Usage,
    pub(crate) confidence_bp: Option<u16>,
    pub(crate) warnings: Vec<String>,
}

/// An answer's body.
#[derive(Debug)]
pub(crate) enum Body {
    /// Bytes off a wire or a pipe.
    Raw(Bytes),
    /// JSON that was checked before.
    Checked(Json),
}

// === impl Adapter ===

impl Adapter {
    pub(crate) fn new(config: &AdapterConfig, max_payload: usize) -> Self {
        match config {
            AdapterConfig::Http(config) => Self::Http(Box::new(Http::new(config.clone(), max_payload))),
            AdapterConfig::Command(config) => Self::Command(Command::new(config.clone(), max_payload)),
            AdapterConfig::Echo => Self::Echo,
        }
    }

    /// Does the work. Drop the future to cancel it.
    pub(crate) async fn call(&self, call: &Call) -> Result<Reply, Failure> {
        match self {
            Self::Http(http) => http.call(call).await,
            Self::Command(command) => command.call(call).await,
            Self::Echo => Ok(Reply::of(Body::Checked(call.input.clone()))),
        }
    }

    /// Closes what has been idle for too long. Called at every look at the agent.
    pub(crate) fn tidy(&self) {
        if let Self::Http(http) = self {
            http.tidy();
        }
    }
}

impl Call {
    /// Milliseconds left for the agent, for the header and variable that tell it.
    fn deadline_ms(&self) -> u128 {
        self.cut_at.saturating_duration_since(Instant::now()).as_millis()
    }

    /// What the agent is told about repeating; nothing if it may.
    fn retry(&self) -> &'static str {
        if self.retry_forbidden { retry::FORBIDDEN } else { "" }
    }
}

impl Reply {
    fn of(body: Body) -> Self {
        Self { body, usage: Usage::default(), confidence_bp: None, warnings: Vec::new() }
    }
}
