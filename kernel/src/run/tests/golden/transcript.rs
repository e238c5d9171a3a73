//! A run as a text: its events, and what was owed after each transition.

use std::fmt::Write;

use super::super::world::{Plan, World};
use super::super::{remedies, resumes, undos, verifications};
use crate::run::{Event, Run, Transition, outstanding};

pub(in crate::run::tests) fn transcript(plan: Plan) -> String {
    let world = World::new(plan).finish();
    let mut text = String::new();
    let mut run: Option<Run> = None;
    for transition in &world.log {
        write_events(&mut text, transition);
        match &mut run {
            Some(run) => run.fold(transition).unwrap(),
            None => run = Some(Run::begin(transition, world.plan.workflow(), world.run.id).unwrap()),
        }
        let owed = outstanding(run.as_ref().unwrap());
        let calls: Vec<String> = owed
            .calls
            .iter()
            .map(|call| format!("{} #{} {}", call.step, call.attempt.number, call.input))
            .collect();
        let wake = owed.wake_at.map_or("never".to_owned(), |at| format!("{at:?}"));
        writeln!(text, "          owed: [{}], wake {wake}", calls.join(", ")).unwrap();
    }
    let usage = world.run.usage;
    writeln!(text, "used: {} + {} tokens, {} n$", usage.tokens_in, usage.tokens_out, usage.cost_nano_usd)
        .unwrap();
    text
}

fn write_events(text: &mut String, transition: &Transition) {
    for (number, event) in (transition.first_event..).zip(&transition.events) {
        let line = match event {
            Event::RunStarted { workflow, input, intent, deadline, resumed, .. } => {
                let from = resumed.as_ref().map_or(String::new(), |resumed| resumes::told(resumed));
                format!(
                    "run started: {} version {}, {input}, {intent:?}, until {deadline:?}{from}",
                    workflow.name, workflow.version
                )
            }
            Event::StepStarted { step, attempt, input } => {
                let input = input.as_ref().map_or("same input".to_owned(), ToString::to_string);
                format!("{step} started: #{} {input}", attempt.number)
            }
            Event::StepOpened { step, input, until, rounds } => {
                let until = until.map_or(String::new(), |until| format!(", until {until:?}"));
                let rounds = rounds.map_or(String::new(), |rounds| format!(", at most {rounds} rounds"));
                format!("{step} opened: {input}{until}{rounds}")
            }
            Event::StepsGrafted { step, grafts } => {
                let grafts = grafts.iter().map(|graft| {
                    let barred = graft.work.call().map(|call| call.not_by.as_slice()).unwrap_or_default();
                    let barred: Vec<String> = barred.iter().map(|name| format!(" (not by {name})")).collect();
                    format!("{} {}{}", graft.id, graft.input, barred.concat())
                });
                format!("{step} grew: {}", grafts.collect::<Vec<_>>().join(", "))
            }
            Event::AttemptFailed { step, failure, next, retry_at, reason, .. } => {
                format!("{step} delayed: {}; {reason}; #{} at {retry_at:?}", failure.code, next.number)
            }
            Event::SignalReceived { name, value } => format!("signal {name}: {value}"),
            Event::StepAnswered { step, answer } => {
                format!("{step} answered: {} by {}", answer.verdict.as_str(), answer.by)
            }
            Event::StepCompleted { step, answer, .. } => {
                let warnings: Vec<String> = answer.warnings.iter().map(|text| format!(" ({text})")).collect();
                format!("{step} completed: {}{}", answer.output, warnings.concat())
            }
            Event::RemedyBegun { .. } => remedies::told(event),
            Event::UndoBegun { .. } => undos::told(event),
            Event::VerificationBegun { step, answer, repairs, .. } => {
                verifications::begun(step, answer, *repairs)
            }
            Event::VerdictReached { step, verified } => verifications::told(step, verified),
            Event::RepetitionNoticed { step, capability, times } => {
                format!("{step} repeats: {capability}, {times} times before")
            }
            Event::StepFailed { step, failure, reason, .. } => {
                format!("{step} failed: {}: {} ({reason})", failure.code, failure.message)
            }
            Event::StepSkipped { step, reason } => format!("{step} skipped: {reason}"),
            Event::StepCancelled { step } => format!("{step} cancelled"),
            Event::StepInformed { step, finding } => {
                format!("{step} informed: {}", serde_json::to_string(finding).unwrap())
            }
            Event::PlanAccepted { step, plan } => format!("{step} accepted: {plan}"),
            Event::CancelRequested { reason } => format!("cancel requested: {reason}"),
            Event::RunEnded { state, output, failure, step } => {
                let output = output.as_ref().map_or(String::new(), |output| format!(": {output}"));
                let failure =
                    failure.as_ref().map_or(String::new(), |f| format!(": {}: {}", f.code, f.message));
                let step = step.as_ref().map_or(String::new(), |step| format!(" [{step}]"));
                format!("run {}{output}{failure}{step}", state.as_str())
            }
        };
        writeln!(text, "{:>8} {number:>2}. {line}", format!("{:?}", transition.at)).unwrap();
    }
}
