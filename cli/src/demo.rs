//! `mainstay demo`: the main job on real input, on this machine, with nothing to install.
//!
//! It is the real thing in small: a control plane on its embedded store, four agents and their sidecars, each a process of
//! its own, and a durable workflow that answers a question from a folder of texts. All of them are this same binary, so a
//! newcomer needs one command. When it ends, no process and no file is left; `--keep` leaves it up to play with, and
//! `--crash` kills the control plane at the worst moment and shows that nothing was lost and nothing was done twice.
//!
//! - [`material`]: the question and the texts.
//! - [`stage`]: the processes, each a [`child`] that cannot outlive the demo; [`agents`]: what four of them do.
//! - [`performance`]: the run, watched [`live`], and the crash.
//! - [`witness`] and [`report`]: what came out, and whether anything was done twice.

use std::path::PathBuf;

use clap::Args;
use mainstay_proto::pb;
use serde_json::{Value, json};

use self::material::Material;
use self::performance::Performance;
use self::report::Answer;
use self::stage::{Setting, Stage};
use self::witness::Account;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render;
use crate::render::paint::{Tone, paint};
use crate::view::run::RunView;

pub mod agents;
mod child;
mod live;
mod material;
mod performance;
mod report;
mod stage;
mod witness;

/// Flags of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "Without --docs, the documents of Mainstay itself are asked.")]
pub struct DemoArgs {
    /// What to ask
    #[arg(long, value_name = "TEXT")]
    question: Option<String>,
    /// Folder of .md and .txt files to find the answer in
    #[arg(long, value_name = "FOLDER")]
    docs: Option<PathBuf>,
    /// Kill the control plane in the middle of the run, and start it again
    #[arg(long)]
    crash: bool,
    /// Stay up afterwards, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// What a run came to.
struct Outcome {
    run: pb::Run,
    accounts: Vec<Account>,
    drafts: usize,
    wrong: Vec<String>,
}

/// Builds the stage, plays, and leaves nothing behind.
pub(crate) async fn run(args: DemoArgs, console: &Console) -> Result<(), Failure> {
    let cwd = std::env::current_dir()
        .map_err(|error| Failure::new(Exit::Internal, format!("no folder: {error}")))?;
    let material = Material::gather(args.question.clone(), args.docs.as_deref(), &cwd);
    let material = material.map_err(|error| Failure::new(Exit::NotFound, format!("{error:#}")))?;
    // Before anything is started: whoever sees it start may already want it to end.
    let interrupt = mainstay_sidecar::host::shutdown_signal();
    let interrupt = interrupt.map_err(|error| Failure::new(Exit::Internal, format!("signals: {error}")))?;
    tokio::pin!(interrupt);
    let setting = Setting { usual_ports: args.keep, hold_answer: args.crash };
    let built = async {
        introduce(&material, console)?;
        let stage = Stage::build(&material, setting).await?;
        introduce_stage(&stage, console)?;
        anyhow::Ok(stage)
    };
    let mut stage = tokio::select! {
        built = built => built.map_err(broken)?,
        () = &mut interrupt => return Err(Failure::silent(Exit::Interrupted)),
    };
    let played = tokio::select! {
        played = play(&mut stage, &material, &args, console) => played.map_err(broken),
        () = &mut interrupt => Err(Failure::silent(Exit::Interrupted)),
    };
    if let (true, Ok(outcome)) = (args.keep, &played)
        && say(console, &invitation(&stage, &outcome.run.run_id)).is_ok()
    {
        interrupt.await;
    }
    let processes = stage.processes();
    let struck = stage.strike().await.map_err(broken);
    let outcome = played?;
    struck?;
    let left = format!("\nEnded: {processes} processes have ended, and their folder is removed.\n");
    say(console, &left).map_err(broken)?;
    verdict(&outcome)
}

/// Runs the workflow and shows what came out.
async fn play(
    stage: &mut Stage,
    material: &Material,
    args: &DemoArgs,
    console: &Console,
) -> anyhow::Result<Outcome> {
    let mut performance = Performance::begin(stage, &material.question, console).await?;
    say(console, &format!("\nWorkflow {} as {}\n", performance::NAME, performance.run_id()))?;
    if args.crash {
        performance.until_the_crash(stage).await?;
        performance.after_the_crash(stage).await?;
    }
    let run = performance.until_the_end(stage).await?;
    let account = |name: &str| anyhow::Ok(Account { agent: name.to_owned(), effects: stage.effects(name)? });
    let accounts = Stage::names().map(account).collect::<anyhow::Result<Vec<_>>>()?;
    let (drafts, mut wrong) = (stage.drafts()?, witness::contradictions(&accounts, &run, performance.keys()));
    if drafts > 1 {
        wrong.push(format!("{drafts} drafts were filed for one question"));
    }
    let outcome = Outcome { run, accounts, drafts, wrong };
    if console.json() {
        console
            .line(&outcome.view(&material.question))
            .map_err(|failure| anyhow::Error::new(Told(failure)))?;
    } else {
        show(&outcome, args.crash, console)?;
    }
    Ok(outcome)
}

fn introduce(material: &Material, console: &Console) -> anyhow::Result<()> {
    let Material { question, origin, .. } = material;
    say(console, &format!("Question  {question}\nTexts     {} from {origin}\n\n", material.count()))
}

fn introduce_stage(stage: &Stage, console: &Console) -> anyhow::Result<()> {
    let names: Vec<&str> = Stage::names().collect();
    let (server, pid) = (stage.server(), stage.control_plane_pid());
    say(
        console,
        &format!(
            "Control plane at {server}, process {pid}\nAgents {}, each behind its sidecar, all healthy\n",
            names.join(", ")
        ),
    )
}

fn show(outcome: &Outcome, crash: bool, console: &Console) -> anyhow::Result<()> {
    let Outcome { run, accounts, drafts, wrong } = outcome;
    if run.state() == pb::RunState::Completed {
        say(console, &format!("\n{}", Answer::parse(&run.output)?.page(console.style)))?;
    } else {
        say(console, "\nThe run did not complete.\n")?;
    }
    let trace = render::trace::story(&RunView::from(run.clone()), console.style);
    say(console, &format!("\n{}\n{trace}", paint("Trace", Tone::Strong, console.style)))?;
    if crash || !wrong.is_empty() {
        say(console, &format!("\n{}", report::accounts(accounts, *drafts, wrong, console.style)))?;
    }
    Ok(())
}

/// What a newcomer may do with a stage that stays up.
fn invitation(stage: &Stage, run: &str) -> String {
    let program = stage.program().display();
    let server = match stage.ready.grpc.as_str() {
        "127.0.0.1:7400" => String::new(),
        _ => format!("export MAINSTAY_SERVER={}\n  ", stage.server()),
    };
    let (admin, folder) = (&stage.ready.admin, stage.folder().display());
    format!(
        "\nIt stays up until Ctrl-C. In another terminal:\n\n  \
         alias mainstay={program}\n  {server}\
         mainstay agents\n  \
         mainstay agent writer\n  \
         mainstay run answer --input '{{\"question\": \"When does a breaker open?\"}}' --follow\n  \
         mainstay runs\n  \
         mainstay trace {run} --payloads\n  \
         curl http://{admin}/metrics\n\n\
         Its manifests, drafts and logs are in {folder}.\n"
    )
}

/// Whether the demo showed what it is there to show.
fn verdict(outcome: &Outcome) -> Result<(), Failure> {
    let completed = outcome.run.state() == pb::RunState::Completed;
    if completed && outcome.wrong.is_empty() {
        return Ok(());
    }
    if !completed {
        return Err(Failure::new(Exit::Badly, "the run did not complete"));
    }
    let wrong = outcome.wrong.join("; ");
    Err(Failure::new(Exit::Badly, format!("not every effect was seen exactly once: {wrong}")))
}

impl Outcome {
    fn view(&self, question: &str) -> Value {
        let account = |account: &Account| {
            let effect = |effect: &agents::effects::Effect| json!({ "key": effect.key, "capability": effect.capability });
            json!({ "agent": account.agent, "effects": account.effects.iter().map(effect).collect::<Vec<_>>() })
        };
        json!({
            "question": question,
            "run": RunView::from(self.run.clone()),
            "agents": self.accounts.iter().map(account).collect::<Vec<_>>(),
            "drafts": self.drafts,
            "contradictions": self.wrong,
        })
    }
}

/// Tells people; programs get one object at the end.
fn say(console: &Console, text: &str) -> anyhow::Result<()> {
    if console.json() {
        return Ok(());
    }
    console.raw(text).map_err(|failure| anyhow::Error::new(Told(failure)))
}

/// A failure on its way through code that does not look at it.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
struct Told(Failure);

fn broken(error: anyhow::Error) -> Failure {
    match error.downcast::<Told>() {
        Ok(Told(failure)) => failure,
        Err(error) => Failure::new(Exit::Internal, format!("the demo: {error:#}")),
    }
}
