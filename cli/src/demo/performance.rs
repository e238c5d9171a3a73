//! The performance: the workflow is put, run and watched, and in the harder version the control plane is killed under it.
//!
//! The moment of the crash is the worst there is: the writer has filed its draft, the world has changed, and the answer is
//! not given yet. Nobody who lives on knows of it but the writer and its sidecar. There is no timing in it: the writer
//! holds its answer until the control plane is dead.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use mainstay_proto::pb;
use mainstay_proto::pb::run_event::Event;
use serde_json::json;
use tokio::time::timeout;

use super::child;
use super::live::Live;
use super::stage::Stage;
use crate::client::ask;
use crate::commands::trace;
use crate::console::Console;

/// The workflow, as anyone could write it.
pub(super) const WORKFLOW: &str = include_str!("../../../examples/workflows/answer.yaml");
/// Its name.
pub(super) const NAME: &str = "answer";
/// The step that changes something.
const SIDE_EFFECT: &str = "draft";
/// The agent that does it.
const WRITER: &str = "writer";
/// How long the run may take, restarts included: the deadline of the workflow and a little.
const END_WITHIN: Duration = Duration::from_secs(130);
/// How long the writer may take to file its draft once it was called.
const FILED_WITHIN: Duration = Duration::from_secs(30);

/// A run that is on its way.
#[derive(Debug)]
pub(super) struct Performance<'a> {
    console: &'a Console,
    run_id: String,
    live: Live,
}

impl<'a> Performance<'a> {
    /// Puts the workflow and starts a run of it.
    ///
    /// # Errors
    /// If the control plane refuses.
    pub(super) async fn begin(stage: &Stage, question: &str, console: &'a Console) -> anyhow::Result<Self> {
        let client = stage.client().await?;
        let put = pb::PutWorkflowRequest { tenant: client.tenant(), document: WORKFLOW.to_owned() };
        client.workflows().put_workflow(ask(put)).await.context("putting the workflow")?;
        let run = pb::RunSpec {
            tenant: client.tenant(),
            workflow: NAME.to_owned(),
            input: json!({ "question": question }).to_string().into_bytes().into(),
            intent: question.to_owned(),
            ..Default::default()
        };
        let submitted = client.orchestrator().submit(ask(pb::SubmitRequest { run: Some(run) })).await;
        let run_id = submitted.context("starting the run")?.into_inner().run_id;
        let live = Live::new(fetch(stage, &run_id).await?, console.style);
        Ok(Self { console, run_id, live })
    }

    /// The run.
    pub(super) fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Under which key each step was called.
    pub(super) fn keys(&self) -> &BTreeMap<String, String> {
        &self.live.keys
    }

    /// Shows the run until its end.
    ///
    /// # Errors
    /// If the watch breaks, or the run takes longer than it may.
    pub(super) async fn until_the_end(&mut self, stage: &Stage) -> anyhow::Result<pb::Run> {
        let watched = timeout(END_WITHIN, self.watch(stage, |_| false)).await;
        watched.with_context(|| format!("the run did not end within {END_WITHIN:?}"))??;
        ensure!(self.live.ended, "the control plane ended the watch before the run ended");
        fetch(stage, &self.run_id).await
    }

    /// Shows the run until the world has changed and nobody was told, and kills the control plane there.
    ///
    /// # Errors
    /// If the run never comes there.
    pub(super) async fn until_the_crash(&mut self, stage: &mut Stage) -> anyhow::Result<()> {
        let called = |event: &Event| matches!(event, Event::StepStarted(step) if step.step_id == SIDE_EFFECT);
        let watched = timeout(END_WITHIN, self.watch(stage, called)).await;
        watched.with_context(|| format!("step {SIDE_EFFECT} was not called within {END_WITHIN:?}"))??;
        ensure!(!self.live.ended, "the run ended before step {SIDE_EFFECT} was called");
        let filed = async {
            let mut looks = child::looks();
            while stage.effects(WRITER)?.is_empty() {
                looks.tick().await;
            }
            anyhow::Ok(())
        };
        timeout(FILED_WITHIN, filed).await.context("the writer did not file its draft")??;
        let pid = stage.control_plane_pid();
        stage.crash().await?;
        self.say(&format!(
            "\n  ✗ The draft is filed and its answer is on the way: SIGKILL to the control plane, process {pid}.\n"
        ))
    }

    /// Starts the control plane again, and lets the writer give its answer.
    ///
    /// # Errors
    /// If the control plane does not come back.
    pub(super) async fn after_the_crash(&self, stage: &mut Stage) -> anyhow::Result<()> {
        // While nobody is there to hear it: only the sidecar's ledger keeps what the writer says.
        stage.let_answer_go()?;
        stage.restart().await?;
        let (pid, server) = (stage.control_plane_pid(), stage.server());
        self.say(&format!("  ✓ Started again on the same data as process {pid}, at {server}.\n\n"))
    }

    /// Shows events as they come, until one is `enough` or the run has ended.
    async fn watch(&mut self, stage: &Stage, enough: impl Fn(&Event) -> bool) -> anyhow::Result<()> {
        let client = stage.client().await?;
        let request = pb::WatchRunRequest {
            tenant: client.tenant(),
            run_id: self.run_id.clone(),
            from_event: self.live.seen + 1,
        };
        let mut events =
            client.orchestrator().watch_run(request).await.context("watching the run")?.into_inner();
        while let Some(response) = events.message().await.context("watching the run")? {
            let Some(event) = response.event else { bail!("the control plane sent no event") };
            let last = event.event.as_ref().is_some_and(&enough);
            let line = self.live.line(event);
            self.say(&line)?;
            if last || self.live.ended {
                break;
            }
        }
        Ok(())
    }

    fn say(&self, text: &str) -> anyhow::Result<()> {
        super::say(self.console, text)
    }
}

async fn fetch(stage: &Stage, run: &str) -> anyhow::Result<pb::Run> {
    trace::fetch(&stage.client().await?, run).await.map_err(|failure| anyhow::anyhow!(failure.message))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mainstay_kernel::workflow::Workflow;

    use super::*;

    #[test]
    fn every_workflow_of_the_examples_is_sound() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/workflows");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let workflow = Workflow::parse(&std::fs::read_to_string(&path).unwrap())
                .unwrap_or_else(|problems| panic!("{}: {problems:?}", path.display()));
            assert!(workflow.lint().is_empty(), "{}: {:?}", path.display(), workflow.lint());
            assert_eq!(path.file_stem().unwrap().to_str(), Some(workflow.name().as_str()));
            seen += 1;
        }
        assert!(seen >= 2);
    }

    #[test]
    fn the_workflow_is_a_diamond_with_the_step_that_is_crashed_after_it() {
        let workflow = Workflow::parse(WORKFLOW).unwrap();
        assert_eq!(workflow.name().as_str(), NAME);
        let step = |id: &str| workflow.step(id).unwrap();
        assert_eq!((step("facts").after.clone(), step("topics").after.clone()), (vec![0], vec![0]));
        assert!(step("topics").optional && step(SIDE_EFFECT).after.len() == 2);
    }

    #[test]
    fn the_readme_shows_the_first_agent_as_it_is() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
        for file in ["agents/first_agent.py", "agents/first_agent.yaml", "workflows/hello.yaml"] {
            let text = std::fs::read_to_string(root.join("examples").join(file)).unwrap();
            assert!(readme.contains(&text), "README.md shows another examples/{file}");
        }
    }
}
