//! `mainstay workflows test`: workflows, off-line, against canned agents.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use mainstay_kernel::rehearsal::Rehearsal;
use mainstay_kernel::workflow::{Linked, Sub, Workflow};

use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::view::finding::{FindingView, LintView};
use crate::view::rehearsal::{CaseView, RehearsalView};
use crate::{input, render};

/// Flags of `workflows test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Documents of cases, YAML or JSON, each beside the workflow it names
    #[arg(required = true)]
    files: Vec<String>,
    /// Only cases whose name has this in it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    only: String,
}

pub(crate) fn run(args: &TestArgs, console: &Console) -> Result<(), Failure> {
    let mut views = Vec::new();
    for file in &args.files {
        views.push(play(file, &args.only, console)?);
    }
    console.show(&views, |views, style| render::rehearsal::results(views, style))?;
    let cases = || views.iter().flat_map(|view| &view.cases);
    if cases().next().is_none() {
        let message = format!("no case has `{}` in its name", args.only);
        return Err(Failure::new(Exit::NotFound, message).hint("leave --only out to play all of them"));
    }
    if cases().all(CaseView::passed) { Ok(()) } else { Err(Failure::silent(Exit::Badly)) }
}

/// Plays the cases of one document.
fn play(file: &str, only: &str, console: &Console) -> Result<RehearsalView, Failure> {
    let refused = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Refused, format!("{file}: {error}"))
            .hint("docs/testing-workflows.md lists every field")
    };
    let rehearsal = Rehearsal::parse(&input::document(file)?).map_err(|error| refused(&error))?;
    let Some(workflow) = parse(file, &rehearsal.workflow, console)? else {
        return Err(Failure::silent(Exit::Badly));
    };
    let mut subs = Vec::new();
    for sub in &rehearsal.subs {
        subs.push(parse(file, sub, console)?.ok_or_else(|| Failure::silent(Exit::Badly))?);
    }
    let find = |sub: &Sub| {
        let called = |known: &&Arc<Workflow>| {
            *known.name() == sub.workflow && sub.version.is_none_or(|version| known.version() == version)
        };
        subs.iter().find(called).cloned().ok_or("no file under `subs` is that workflow")
    };
    let workflow = Linked::new(workflow, find).map_err(|error| refused(&error))?;
    let verdicts = rehearsal.play(&workflow).into_iter().filter(|verdict| verdict.name.contains(only));
    Ok(RehearsalView {
        file: file.to_owned(),
        workflow: workflow.own().to_string(),
        cases: verdicts.map(CaseView::from).collect(),
    })
}

/// A workflow beside a document of cases; nothing if it has errors, which are shown.
fn parse(cases: &str, file: &str, console: &Console) -> Result<Option<Arc<Workflow>>, Failure> {
    let beside = Path::new(cases).parent().unwrap_or(Path::new("")).join(file).to_string_lossy().into_owned();
    match Workflow::parse(&input::document(&beside)?) {
        Ok(workflow) => Ok(Some(Arc::new(workflow))),
        Err(problems) => {
            let findings = vec![LintView { file: beside, findings: FindingView::errors(&problems) }];
            console.show(&findings, |findings, style| render::finding::lint(findings, style))?;
            Ok(None)
        }
    }
}
