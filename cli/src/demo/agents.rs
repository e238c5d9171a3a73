//! Four small agents that answer a question from a folder of texts, without a model and without a network.
//!
//! They are a real job in miniature: each is its own process behind its own sidecar, knows nothing of Mainstay, and gives
//! the same answer to the same input. Three serve JSON over HTTP; the reviewer is a program that reads its input and prints
//! its output, because not every agent is a server.
//!
//! - [`finder`]: passages that speak of the question ([`library`], [`passage`], [`bm25`]).
//! - [`extractor`]: sentences that answer it, and where to read on ([`sentence`]).
//! - [`writer`]: a draft in which every sentence cites its source, filed in an outbox: the one side effect.
//! - [`reviewer`]: whether the draft's sources say what it says.
//! - [`effects`]: what each of them did, for whoever wants to know whether anything was done twice.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpListener;

use self::effects::Effects;
use self::finder::Finder;
use self::server::Served;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::harness::HarnessArgs;
use crate::host;

mod bm25;
pub(super) mod effects;
mod extractor;
mod finder;
pub(super) mod library;
mod passage;
mod reviewer;
mod sentence;
mod server;
#[cfg(test)]
mod tests;
mod words;
mod writer;

/// Flags of `demo-agent`.
#[derive(Debug, Args)]
pub struct DemoAgentArgs {
    /// Which agent
    #[arg(value_enum)]
    name: AgentName,
    /// Address to serve HTTP on; port 0 takes a free one. The reviewer reads standard input instead
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Folder that the finder searches
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    docs: PathBuf,
    /// Folder in which the writer files its drafts
    #[arg(long, value_name = "FOLDER", default_value = "outbox")]
    outbox: PathBuf,
    /// File that gets a line for each effect
    #[arg(long, value_name = "FILE", env = "MAINSTAY_DEMO_EFFECTS")]
    effects: PathBuf,
    /// Give no answer before this file exists, although the work is done
    #[arg(long, value_name = "FILE")]
    hold_answer: Option<PathBuf>,
    #[command(flatten)]
    harness: HarnessArgs,
}

/// The agents of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AgentName {
    /// Finds passages
    Finder,
    /// Extracts facts and topics
    Extractor,
    /// Writes a draft and files it
    Writer,
    /// Reviews a draft; a program, not a server
    Reviewer,
}

/// What the ready file of an agent says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ready {
    /// Where HTTP is served, `HOST:PORT`.
    pub(super) http: String,
}

/// Why an agent does not answer, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal(String);

/// An agent and the list of what it did.
#[derive(Debug)]
struct Agent {
    skill: Skill,
    effects: Effects,
}

#[derive(Debug)]
enum Skill {
    Finder(Finder),
    Extractor,
    Writer { outbox: PathBuf },
    Reviewer,
}

/// Runs an agent until it is told to end; the reviewer, for one call.
pub(crate) async fn run(args: DemoAgentArgs) -> Result<(), Failure> {
    serve(args).await.map_err(|error| Failure::new(Exit::Badly, format!("{error:#}")))
}

async fn serve(args: DemoAgentArgs) -> anyhow::Result<()> {
    let signal = mainstay_sidecar::host::shutdown_signal().context("signals cannot be heard")?;
    let effects = Effects::open(&args.effects)?;
    let skill = match args.name {
        AgentName::Finder => Skill::Finder(Finder::open(&args.docs)?),
        AgentName::Extractor => Skill::Extractor,
        AgentName::Writer => Skill::Writer { outbox: args.outbox },
        AgentName::Reviewer => Skill::Reviewer,
    };
    let agent = Agent { skill, effects };
    if args.name == AgentName::Reviewer {
        return server::once(&agent, "review", host::env("MAINSTAY_IDEMPOTENCY_KEY"));
    }
    let listener = TcpListener::bind(args.listen).await.with_context(|| args.listen.to_string())?;
    let http = listener.local_addr().context("no address")?.to_string();
    if let Some(path) = &args.harness.ready_file {
        let ready = serde_json::to_string(&Ready { http })?;
        host::write_atomically(path, &ready).with_context(|| path.display().to_string())?;
    }
    let router = server::router(Served { agent, hold_answer: args.hold_answer });
    let serving = axum::serve(listener, router);
    tokio::select! {
        served = serving => served.context("serving HTTP"),
        // Calls under way are cut: an agent that is told to end is like one that crashes, and must be safe like one.
        () = args.harness.until(signal) => Ok(()),
    }
}

impl Agent {
    /// Does what `verb` names; `None` if this agent cannot.
    fn call(&self, verb: &str, input: Value, key: &str) -> Option<Result<Value, Refusal>> {
        Some(match (&self.skill, verb) {
            (Skill::Finder(finder), "find") => self.answer(input, key, "docs.find", |ask| finder.find(&ask)),
            (Skill::Extractor, "extract") => {
                self.answer(input, key, "docs.extract", |ask| Ok(extractor::extract(&ask)))
            }
            (Skill::Extractor, "topics") => {
                self.answer(input, key, "docs.topics", |ask| Ok(extractor::topics(&ask)))
            }
            (Skill::Writer { outbox }, "draft") => {
                self.answer(input, key, "docs.draft", |ask: writer::Ask| {
                    let draft = writer::draft(&ask, format!("{}.md", file_name(key)));
                    writer::file(&draft, &ask.question, outbox)
                        .map_err(|error| Refusal(format!("the outbox {}: {error}", outbox.display())))?;
                    Ok(draft)
                })
            }
            (Skill::Reviewer, "review") => {
                self.answer(input, key, "docs.review", |ask| Ok(reviewer::review(&ask)))
            }
            _ => return None,
        })
    }

    /// Parses, works, notes the effect, answers.
    fn answer<A: DeserializeOwned, O: Serialize>(
        &self,
        input: Value,
        key: &str,
        capability: &str,
        work: impl FnOnce(A) -> Result<O, Refusal>,
    ) -> Result<Value, Refusal> {
        let ask = serde_json::from_value(input).map_err(|error| Refusal(format!("the input: {error}")))?;
        let output = work(ask)?;
        self.effects
            .add(key, capability)
            .map_err(|error| Refusal(format!("the list of effects: {error}")))?;
        serde_json::to_value(output).map_err(|error| Refusal(format!("the output: {error}")))
    }
}

/// A key as the name of a file: whatever somebody sends, it stays in its folder.
fn file_name(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(100).collect()
}
