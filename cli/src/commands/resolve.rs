//! `mainstay resolve CAPABILITY`: where a call could go, for those who make it themselves.

use clap::Args;
use mainstay_proto::pb;
use serde::Serialize;

use crate::client::{Client, ask};
use crate::console::{Console, Style};
use crate::failure::Failure;
use crate::render::paint::Tone;
use crate::render::table::{Grid, cell, toned};
use crate::view::value::{Span, word};

/// Flags of `resolve`.
#[derive(Debug, Args)]
pub struct ResolveArgs {
    /// The capability
    capability: String,
    /// Only this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// How many instances, the most advisable first
    #[arg(long, value_name = "N", default_value_t = 1)]
    limit: u32,
}

/// An instance that a call could go to.
#[derive(Debug, Serialize)]
struct ResolvedView {
    agent: String,
    instance: String,
    address: String,
    version: String,
    effect: String,
    #[serde(skip_serializing_if = "Option::is_none", rename = "sla_ms")]
    sla: Option<Span>,
    /// Most instances look unusable, so that this one may be unwell.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    panicking: bool,
}

pub(crate) async fn run(args: ResolveArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let request = pb::ResolveRequest {
        tenant: client.tenant(),
        capability: args.capability,
        agent: args.agent.unwrap_or_default(),
        limit: args.limit,
    };
    let answer = client.registry().resolve(ask(request)).await;
    let answer = answer.map_err(|status| client.failure(&status))?.into_inner();
    let found: Vec<ResolvedView> = answer
        .instances
        .into_iter()
        .map(|instance| ResolvedView { panicking: answer.panicking, ..instance.into() })
        .collect();
    console.show(&found, |found, style| table(found, style))
}

fn table(found: &[ResolvedView], style: Style) -> String {
    let mut grid = Grid::new(&["AGENT", "INSTANCE", "ADDRESS", "VERSION", "EFFECT", "SLA"], style);
    for instance in found {
        grid.row([
            toned(&instance.agent, Tone::Strong),
            cell(&instance.instance),
            cell(&instance.address),
            cell(&instance.version),
            cell(&instance.effect),
            cell(instance.sla.map(|sla| sla.to_string()).unwrap_or_default()),
        ]);
    }
    let mut text = grid.to_string();
    if found.iter().any(|instance| instance.panicking) {
        text += "panic: most instances look unusable, so all that hold a lease are used\n";
    }
    text
}

impl From<pb::ResolvedInstance> for ResolvedView {
    fn from(instance: pb::ResolvedInstance) -> Self {
        let effect = pb::EffectClass::try_from(instance.effect).ok().map(|effect| effect.as_str_name());
        Self {
            agent: instance.agent,
            instance: instance.instance,
            address: instance.address,
            version: instance.version,
            effect: word(effect, "EFFECT_CLASS_"),
            sla: Span::of(instance.sla.as_ref()),
            panicking: false,
        }
    }
}
