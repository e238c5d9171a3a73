//! The story of a run: every step and attempt in the order of time, each with its place on the run's time line.
//!
//! One glance should show what ran beside what, where the run waited, and what was tried again; one more should show where
//! a failure began and what to read about it.

use std::time::Duration;

use super::paint::{Tone, paint};
use super::run::{document, spent, verdict, why};
use super::table::{Grid, cell, toned};
use super::text::{count, plain};
use crate::console::Style;
use crate::view::call::AttemptView;
use crate::view::run::{RunView, StepView, VerifiedView};
use crate::view::value::{Span, When};

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use self::tests::sample;

/// Columns of a time line: enough to tell a twentieth of the run apart.
const BAR: usize = 20;

/// The run's time, as a scale for bars.
#[derive(Debug, Clone, Copy)]
struct Scale {
    start: When,
    end: When,
}

/// The story.
#[must_use]
pub fn story(run: &RunView, style: Style) -> String {
    let mut text = head(run, style);
    let Some(scale) = Scale::of(run) else { return text };
    let mut grid = Grid::new(&["AT", "STEP", "TIME LINE", "TOOK", "WAITED", "SPENT", "WHAT HAPPENED"], style);
    for step in in_order_of_time(run) {
        step_row(&mut grid, step, scale);
        for attempt in &step.attempts {
            attempt_row(&mut grid, attempt, scale);
        }
        for verified in &step.verdicts {
            verdict_row(&mut grid, verified);
        }
    }
    text += "\n";
    text += &grid.to_string();
    text += &beginning_of_failure(run, scale, style);
    text
}

/// Inputs and outputs of the run and its steps.
#[must_use]
pub fn payloads(run: &RunView, style: Style) -> String {
    let mut text = String::new();
    let mut section = |name: String, payload: Option<&_>| {
        if let Some(payload) = payload {
            text += &format!("\n{}\n{}\n", paint(&plain(&name), Tone::Strong, style), document(payload));
        }
    };
    section("input".to_owned(), run.input.as_ref());
    for step in in_order_of_time(run) {
        section(format!("{} input", step.id), step.input.as_ref());
        section(format!("{} output", step.id), step.output.as_ref());
    }
    section("output".to_owned(), run.output.as_ref());
    text
}

fn head(run: &RunView, style: Style) -> String {
    let took = run.took.map(|took| format!(" in {took}")).unwrap_or_default();
    let id = paint(&plain(&run.run_id), Tone::Strong, style);
    let state = paint(&plain(&run.state), Tone::of(&run.state), style);
    let mut text = format!("{id}  {} v{}  {state}{took}\n", plain(&run.workflow), run.version);
    let attempts: usize = run.steps.iter().map(|step| step.attempts.len()).sum();
    let started = run.started_at.map(|at| format!("started {at}, ")).unwrap_or_default();
    let spent = spent(&run.usage);
    let spent = if spent.is_empty() { spent } else { format!(", {spent}") };
    let (steps, attempts) = (count(run.steps.len(), "step"), count(attempts, "attempt"));
    text += &format!("{started}{steps}, {attempts}{spent}\n");
    if !run.intent.is_empty() {
        text += &format!("intent  {}\n", plain(&run.intent));
    }
    text += &super::context::pins(&run.context, style);
    if let Some(parked) = &run.parked {
        let why = format!("{} falls: {}", parked.falls, plain(&parked.reason));
        text += &format!("{}  {why}; `mainstay unpark` lets it go on\n", paint("parked", Tone::Bad, style));
    }
    if !run.resumed_from.is_empty() {
        text += &format!("goes on from {}\n", plain(&run.resumed_from));
    }
    if !run.resumed_as.is_empty() {
        text += &format!("{} goes on from here\n", plain(&run.resumed_as));
    }
    if let Some(failure) = &run.failure {
        text += &format!("{}     {}\n", paint("why", Tone::Bad, style), why(failure));
    }
    if let Some(undoing) = run.undoing.as_ref().filter(|_| run.ended_at.is_none()) {
        text += &format!("undoing what was done; it will have {}\n", plain(&undoing.state));
    }
    for left in run.undoing.iter().flat_map(|undoing| &undoing.not_undone) {
        let title = paint("not undone", Tone::Bad, style);
        text += &format!("{title}  {}: {}\n", plain(&left.step), plain(&left.why));
    }
    text += &super::run::budget(&run.budget);
    for gap in &run.gaps {
        text += &format!("{}     {}\n", paint("gap", Tone::Busy, style), plain(gap));
    }
    text
}

/// By when a step became ready; what never did comes last.
fn in_order_of_time(run: &RunView) -> Vec<&StepView> {
    let mut steps: Vec<&StepView> = run.steps.iter().collect();
    steps.sort_by_key(|step| {
        let at = step.ready_at.or(step.started_at).or(step.ended_at);
        (at.is_none(), at, step.started_at.is_none(), step.started_at, step.ended_at)
    });
    steps
}

fn step_row(grid: &mut Grid, step: &StepView, scale: Scale) {
    let at = step.ready_at.or(step.started_at).or(step.ended_at);
    let mut happened = step.state.clone();
    if step.optional {
        happened += " (optional)";
    }
    if step.carried {
        happened += " before, and carried over";
    }
    if !step.waiting.is_empty() {
        happened += &format!(", waits: {}", step.waiting);
    }
    if !step.remedy.is_empty() {
        happened += &format!(", {}", step.remedy);
    }
    if !step.skipped.is_empty() {
        happened += &format!(": {}", step.skipped);
    }
    // What the attempts below say need not be said here.
    if let Some(failure) = step.failure.as_ref().filter(|_| step.attempts.is_empty()) {
        happened += &format!(": {}", why(failure));
    }
    for warning in &step.warnings {
        happened += &format!("; {warning}");
    }
    let waited =
        if step.waited.0 < Duration::from_millis(1) { String::new() } else { step.waited.to_string() };
    grid.row([
        cell(at.map(|at| scale.offset(at)).unwrap_or_default()),
        toned(format!("{}  {}", step.id, does(step)), Tone::Strong),
        toned(scale.step(step), Tone::of(&step.state)),
        cell(step.took.map(|took| took.to_string()).unwrap_or_default()),
        cell(waited),
        cell(spent(&step.usage)),
        toned(happened, Tone::of(&step.state)),
    ]);
}

/// What a step does: the capability it calls, or its kind if it is made of something else.
fn does(step: &StepView) -> &str {
    if step.capability.is_empty() { &step.kind } else { &step.capability }
}

fn attempt_row(grid: &mut Grid, attempt: &AttemptView, scale: Scale) {
    let who = match (attempt.agent.as_str(), attempt.instance.as_str()) {
        ("", _) => "nobody".to_owned(),
        (agent, instance) => format!("{agent}/{instance}"),
    };
    let mut happened = match &attempt.failure {
        Some(failure) => format!("{}: {}", attempt.class, why(failure)),
        None => attempt.class.clone(),
    };
    for note in &attempt.notes {
        happened += &format!("; {note}");
    }
    let waited = attempt.waited.filter(|waited| waited.0 >= Duration::from_millis(1));
    grid.row([
        cell(attempt.started_at.map(|at| scale.offset(at)).unwrap_or_default()),
        cell(format!("  #{} {who}", attempt.number)),
        toned(scale.attempt(attempt), Tone::of(&attempt.class)),
        cell(attempt.took.map(|took| took.to_string()).unwrap_or_default()),
        cell(waited.map(|waited| waited.to_string()).unwrap_or_default()),
        cell(spent(&attempt.usage)),
        toned(happened, Tone::of(&attempt.class)),
    ]);
}

/// A verdict, below the attempts whose answer it is about.
fn verdict_row(grid: &mut Grid, verified: &VerifiedView) {
    let by = if verified.by.is_empty() { String::new() } else { format!(" {}", verified.by) };
    let tone = match verified.verdict.as_str() {
        "passed" => Tone::Good,
        "unverified" => Tone::Busy,
        _ => Tone::Bad,
    };
    grid.row([
        cell(String::new()),
        cell(format!("  verdict{by}")),
        cell(String::new()),
        cell(String::new()),
        cell(String::new()),
        cell(String::new()),
        toned(verdict(verified), tone),
    ]);
}

/// Where a failure began, and what to read about it.
fn beginning_of_failure(run: &RunView, scale: Scale, style: Style) -> String {
    let Some(step) = run.first_failure() else { return String::new() };
    let last = step.attempts.iter().rev().find(|attempt| attempt.failure.is_some());
    let failure = last.and_then(|attempt| attempt.failure.as_ref()).or(step.failure.as_ref());
    let at = step.ended_at.map(|at| format!(" at {}", scale.offset(at))).unwrap_or_default();
    let by = last
        .filter(|attempt| !attempt.agent.is_empty())
        .map(|attempt| format!(" on {}/{}", plain(&attempt.agent), plain(&attempt.instance)))
        .unwrap_or_default();
    let tries = match step.attempts.len() {
        0 => String::new(),
        tries => format!(", after {}", count(tries, "attempt")),
    };
    let title = paint("The failure began in step", Tone::Bad, style);
    let mut text = format!("\n{title} {}{by}{at}{tries}.\n", plain(&step.id));
    if let Some(failure) = failure {
        text += &format!("  {}\n", why(failure));
        if !failure.code.is_empty() {
            text += &format!("  more: mainstay explain {}\n", plain(&failure.code));
        }
    }
    text
}

// === impl Scale ===

impl Scale {
    /// From the run's start to its end, or to the last thing that is known of it.
    fn of(run: &RunView) -> Option<Self> {
        let start = run.started_at?;
        let of_steps = run.steps.iter().flat_map(|step| {
            let of_attempts = step.attempts.iter().filter_map(end_of);
            [step.ready_at, step.started_at, step.ended_at].into_iter().flatten().chain(of_attempts)
        });
        let end = run.ended_at.or_else(|| of_steps.max()).unwrap_or(start);
        Some(Self { start, end: end.max(start) })
    }

    fn offset(self, at: When) -> String {
        format!("+{:.3}s", at.since(self.start).0.as_secs_f64())
    }

    /// The column of a point; the numbers beside the bar are exact.
    fn column(self, at: When) -> usize {
        let whole = self.end.since(self.start).0.as_micros();
        let part = at.since(self.start).0.as_micros().min(whole);
        let column = part.saturating_mul(BAR as u128).checked_div(whole);
        column.and_then(|column| usize::try_from(column).ok()).unwrap_or_default()
    }

    /// `·` while it waited, `░` between attempts, `█` while somebody worked.
    fn step(self, step: &StepView) -> String {
        let mut bar = [' '; BAR];
        let end = step.ended_at.unwrap_or(self.end);
        if let Some(ready) = step.ready_at {
            self.fill(&mut bar, ready, step.started_at.unwrap_or(end), '·');
        }
        if let Some(started) = step.started_at {
            self.fill(&mut bar, started, end, '░');
        }
        for attempt in &step.attempts {
            if let (Some(started), Some(ended)) = (attempt.started_at, end_of(attempt)) {
                self.fill(&mut bar, started, ended, '█');
            }
        }
        bar.iter().collect()
    }

    fn attempt(self, attempt: &AttemptView) -> String {
        let mut bar = [' '; BAR];
        if let (Some(started), Some(ended)) = (attempt.started_at, end_of(attempt)) {
            self.fill(&mut bar, started, ended, '▄');
        }
        bar.iter().collect()
    }

    /// At least one column wide: what happened is to be seen.
    fn fill(self, bar: &mut [char; BAR], from: When, to: When, with: char) {
        let from = self.column(from).min(BAR - 1);
        let to = self.column(to).clamp(from + 1, BAR);
        if let Some(part) = bar.get_mut(from..to) {
            part.fill(with);
        }
    }
}

fn end_of(attempt: &AttemptView) -> Option<When> {
    let Span(took) = attempt.took?;
    attempt.started_at.map(|started| When(started.0 + took))
}
