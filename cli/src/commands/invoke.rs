//! `mainstay invoke CAPABILITY`: one routed call, without a run.

use std::time::Duration;

use clap::Args;
use mainstay_kernel::priority::Priority;
use mainstay_kernel::time::text;
use mainstay_proto::pb;

use super::run::label;
use crate::client::{Client, urgent, within};
use crate::console::Console;
use crate::failure::Failure;
use crate::render;
use crate::view::call::AnswerView;

/// Flags of `invoke`.
#[derive(Debug, Args)]
pub struct InvokeArgs {
    /// The capability; may be left out with --route, which then decides
    #[arg(required_unless_present = "route")]
    capability: Option<String>,
    /// Route the request by this document: rules, classifier, router agent, generalist, static response
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// A label that the document's rules read, KEY=VALUE; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label, requires = "route")]
    labels: Vec<(String, String)>,
    /// JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON")]
    pub(crate) input: Option<String>,
    /// Only this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Key that makes a repeated call return the first one's outcome
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// What is asked for, in words, for the agent
    #[arg(long, value_name = "TEXT")]
    intent: Option<String>,
    /// How urgent it is: critical-plus, critical, sheddable-plus or sheddable [default: critical]
    #[arg(long, value_name = "PRIORITY")]
    priority: Option<Priority>,
    /// How long it may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = text::parse)]
    deadline: Duration,
}

pub(crate) async fn run(
    args: InvokeArgs,
    input: Vec<u8>,
    client: &Client,
    console: &Console,
) -> Result<(), Failure> {
    let request = pb::InvokeRequest {
        tenant: client.tenant(),
        capability: args.capability.unwrap_or_default(),
        agent: args.agent.unwrap_or_default(),
        input: input.into(),
        idempotency_key: args.key.unwrap_or_default(),
        intent: args.intent.unwrap_or_default(),
        route: args.route.unwrap_or_default(),
        labels: args.labels.into_iter().collect(),
        ..Default::default()
    };
    let answer = client.orchestrator().invoke(urgent(within(request, args.deadline), args.priority)).await;
    let answer = answer.map_err(|status| client.failure(&status))?.into_inner();
    console.show(&AnswerView::from(answer), render::run::answer)
}
