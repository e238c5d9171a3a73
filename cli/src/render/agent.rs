//! Agents as tables.

use mainstay_kernel::share::Human as Share;

use super::paint::{Tone, paint};
use super::pause;
use super::table::{Grid, cell, toned};
use super::text::plain;
use crate::console::Style;
use crate::view::agent::{AgentView, InstanceView};

/// All agents, a line each.
#[must_use]
pub fn list(agents: &[AgentView], style: Style) -> String {
    if agents.is_empty() {
        return "No agents. Start one's sidecar with `mainstay sidecar --manifest FILE`.\n".to_owned();
    }
    let mut grid = Grid::new(&["AGENT", "VERSION", "CAPABILITIES", "INSTANCES", "HEALTH", "PAUSED"], style);
    for agent in agents {
        let names: Vec<&str> = agent.capabilities.iter().map(|capability| capability.name.as_str()).collect();
        let (live, health) = health(agent);
        grid.row([
            toned(&agent.name, Tone::Strong),
            cell(&agent.version),
            cell(names.join(", ")),
            cell(live.to_string()),
            toned(&health, Tone::of(health.split(' ').next_back().unwrap_or_default())),
            cell(agent.pauses.iter().map(|pause| pause.target.as_str()).collect::<Vec<_>>().join(", ")),
        ]);
    }
    grid.to_string()
}

/// Live instances, and how they are.
fn health(agent: &AgentView) -> (usize, String) {
    let live: Vec<&str> =
        agent.instances.iter().filter(|instance| instance.leased).map(InstanceView::condition).collect();
    let well = live.iter().filter(|health| **health == "healthy").count();
    let health = match (live.len(), well) {
        (0, _) => "gone".to_owned(),
        (all, well) if all == well => "healthy".to_owned(),
        (_, 0) if live.iter().all(|health| *health == "unknown") => "unknown".to_owned(),
        (all, well) => format!("{} of {all} not healthy", all - well),
    };
    let health = if agent.panicking.is_empty() { health } else { format!("panic, {health}") };
    (live.len(), health)
}

/// One agent, in full.
#[must_use]
pub fn one(agent: &AgentView, style: Style) -> String {
    let labels: Vec<String> = agent.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let name = paint(&plain(&agent.name), Tone::Strong, style);
    let mut text = format!("{name}  version {}  {}\n", plain(&agent.version), plain(&labels.join(" ")));
    text += &pause::lines(&agent.pauses, style);
    for capability in &agent.panicking {
        let panic = paint("panic", Tone::Bad, style);
        text += &format!("{panic}  {}: most instances look unusable, so all are used\n", plain(capability));
    }
    text += "\n";
    text += &capabilities(agent, style);
    text += "\n";
    text += &instances(agent, style);
    for more in [breakers(agent, style), shares(agent, style)] {
        if !more.is_empty() {
            text += "\n";
            text += &more;
        }
    }
    text
}

fn capabilities(agent: &AgentView, style: Style) -> String {
    let mut grid = Grid::new(&["CAPABILITY", "EFFECT", "SLA", "AT ONCE", "WHAT IT DOES"], style);
    for capability in &agent.capabilities {
        grid.row([
            toned(&capability.name, Tone::Strong),
            cell(&capability.effect),
            cell(capability.sla.map(|sla| sla.to_string()).unwrap_or_default()),
            cell(capability.max_concurrency.to_string()),
            cell(&capability.description),
        ]);
    }
    let mut text = grid.to_string();
    for capability in &agent.capabilities {
        for (code, meaning) in &capability.failure_modes {
            let name = plain(&capability.name);
            text += &format!("{name} may fail with {}: {}\n", plain(code), plain(meaning));
        }
        if !capability.may_call.is_empty() {
            let callees: Vec<_> = capability.may_call.iter().map(|name| plain(name).to_string()).collect();
            text += &format!("{} may call {}\n", plain(&capability.name), callees.join(", "));
        }
        if let Some(budget) = &capability.context_budget {
            let (name, over) = (plain(&capability.name), plain(&budget.over));
            let by = if budget.by.is_empty() { String::new() } else { format!(" by {}", plain(&budget.by)) };
            text += &format!(
                "{name} takes inputs of at most {} tokens; over that: {over}{by}\n",
                budget.max_tokens
            );
        }
        if let Some(hedge) = &capability.hedge {
            let (name, after) = (plain(&capability.name), plain(&hedge.after));
            let share = Share(hedge.share_bp.unwrap_or_default());
            let most = hedge.max.unwrap_or_default();
            text += &format!(
                "{name} is hedged after {after}: at most {most} an attempt, {share} of the calls that go well\n"
            );
        }
    }
    text
}

fn instances(agent: &AgentView, style: Style) -> String {
    if agent.instances.is_empty() {
        return "No instances.\n".to_owned();
    }
    let mut grid = Grid::new(&["INSTANCE", "ADDRESS", "HEALTH", "SINCE", "IN FLIGHT", "WHY"], style);
    for instance in &agent.instances {
        grid.row([
            toned(&instance.name, Tone::Strong),
            cell(&instance.address),
            toned(instance.condition(), Tone::of(instance.condition())),
            cell(instance.health_since.map(|at| at.to_string()).unwrap_or_default()),
            cell(instance.in_flight.to_string()),
            cell(&instance.health_reason),
        ]);
    }
    grid.to_string()
}

/// Breakers that have something to tell; one that has always been closed has not.
fn breakers(agent: &AgentView, style: Style) -> String {
    let mut grid = Grid::new(&["BREAKER", "CAPABILITY", "STATE", "OPENED", "SINCE", "WHY"], style);
    let mut empty = true;
    for instance in &agent.instances {
        for breaker in instance.breakers.iter().filter(|it| it.has_something_to_tell()) {
            empty = false;
            grid.row([
                toned(&instance.name, Tone::Strong),
                cell(&breaker.capability),
                toned(&breaker.state, Tone::of(&breaker.state)),
                cell(format!("{}×", breaker.opened)),
                cell(breaker.changed_at.map(|at| at.to_string()).unwrap_or_default()),
                cell(&breaker.reason),
            ]);
        }
    }
    if empty { String::new() } else { grid.to_string() }
}

/// Instances that do not get their full share: ejected, or starting slowly.
fn shares(agent: &AgentView, style: Style) -> String {
    let mut grid = Grid::new(&["SHARE", "CAPABILITY", "STATE", "UNTIL", "WHY"], style);
    let mut empty = true;
    let when = |at: Option<crate::view::value::When>| cell(at.map(|at| at.to_string()).unwrap_or_default());
    for instance in &agent.instances {
        for ejection in &instance.ejections {
            empty = false;
            grid.row([
                toned(&instance.name, Tone::Strong),
                cell(&ejection.capability),
                toned("ejected", Tone::Bad),
                when(ejection.until),
                cell(&ejection.reason),
            ]);
        }
        for start in &instance.slow_starts {
            empty = false;
            grid.row([
                toned(&instance.name, Tone::Strong),
                cell(&start.capability),
                cell("slow start"),
                when(start.until),
                cell("new or back: its share grows"),
            ]);
        }
    }
    if empty { String::new() } else { grid.to_string() }
}
