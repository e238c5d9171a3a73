//! `mainstay workflows test`: workflows, off-line, against canned agents.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use mainstay_kernel::rehearsal::Rehearsal;
use mainstay_kernel::workflow::Workflow;

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
        Failure::new(Exit::Refused, format!("{file}: {error}")).hint("docs/testing-workflows.md lists every field")
    };
    let rehearsal = Rehearsal::parse(&input::document(file)?).map_err(|error| refused(&error))?;
    let beside = Path::new(file).parent().unwrap_or(Path::new("")).join(&rehearsal.workflow);
    let beside = beside.to_string_lossy().into_owned();
    let workflow = match Workflow::parse(&input::document(&beside)?) {
        Ok(workflow) => Arc::new(workflow),
        Err(problems) => {
            let findings = vec![LintView { file: beside, findings: FindingView::errors(&problems) }];
            console.show(&findings, |findings, style| render::finding::lint(findings, style))?;
            return Err(Failure::silent(Exit::Badly));
        }
    };
    let verdicts = rehearsal.play(&workflow).into_iter().filter(|verdict| verdict.name.contains(only));
    Ok(RehearsalView {
        file: file.to_owned(),
        workflow: workflow.to_string(),
        cases: verdicts.map(CaseView::from).collect(),
    })
}
