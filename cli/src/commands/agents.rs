//! `mainstay agents` and `mainstay agent NAME`.

use clap::Args;
use mainstay_proto::pb;

use crate::client::{Client, ask};
use crate::console::Console;
use crate::failure::Failure;
use crate::render;
use crate::view::agent::AgentView;

/// Agents asked for at once; the answer is read page by page.
const PAGE: i32 = 500;

/// Flags of `agents`.
#[derive(Debug, Args)]
pub struct AgentsArgs {
    /// Only agents that offer this capability
    #[arg(long, value_name = "NAME")]
    capability: Option<String>,
}

/// Flags of `agent`.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// The agent
    name: String,
}

pub(crate) async fn list(args: AgentsArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    super::drill::warn(client).await;
    let agents = all(args.capability, client).await?;
    console.show(&agents, |agents, style| render::agent::list(agents, style))
}

/// Every agent, or every one that offers a capability.
pub(crate) async fn all(capability: Option<String>, client: &Client) -> Result<Vec<AgentView>, Failure> {
    let (mut agents, mut page_token) = (Vec::<AgentView>::new(), String::new());
    loop {
        let request = pb::ListAgentsRequest {
            tenant: client.tenant(),
            capability: capability.clone().unwrap_or_default(),
            page_size: PAGE,
            page_token,
        };
        let page = client.registry().list_agents(ask(request)).await;
        let page = page.map_err(|status| client.failure(&status))?.into_inner();
        agents.extend(page.agents.into_iter().map(AgentView::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(agents);
        }
    }
}

pub(crate) async fn show(args: AgentArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    super::drill::warn(client).await;
    let request = pb::GetAgentRequest { tenant: client.tenant(), name: args.name };
    let answer = client.registry().get_agent(ask(request)).await;
    let agent = answer.map_err(|status| client.failure(&status))?.into_inner().agent.unwrap_or_default();
    console.show(&AgentView::from(agent), render::agent::one)
}
