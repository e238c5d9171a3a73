//! Schedules as lines and tables.

use super::paint::{Tone, paint};
use super::table::{Grid, cell, toned};
use super::text::plain;
use crate::console::Style;
use crate::view::schedule::{DeletedView, FiringView, PutView, ScheduleView, ShowView};
use crate::view::value::When;

/// Every schedule, a line each.
#[must_use]
pub fn list(schedules: &[ScheduleView], style: Style) -> String {
    if schedules.is_empty() {
        return "No schedules. Store one with `mainstay schedules put FILE`.\n".to_owned();
    }
    let mut grid =
        Grid::new(&["SCHEDULE", "WORKFLOW", "TIMES", "NEXT", "MISSED", "OVERLAP", "RUNNING"], style);
    for it in schedules {
        grid.row([
            toned(&it.name, Tone::Strong),
            cell(workflow(it)),
            cell(&it.times),
            if it.paused.is_some() { toned("paused", Tone::Busy) } else { cell(time(it.next)) },
            cell(&it.missed),
            cell(&it.overlap),
            cell(it.running.len().to_string()),
        ]);
    }
    grid.to_string()
}

/// One schedule in a line, and why it is paused.
#[must_use]
pub fn one(it: &ScheduleView, style: Style) -> String {
    let mut text = format!(
        "{}  {} {}; missed: {}, overlap: {}\n",
        paint(&plain(&it.name), Tone::Strong, style),
        plain(&workflow(it)),
        plain(&it.times),
        plain(&it.missed),
        plain(&it.overlap)
    );
    match (&it.paused, it.next) {
        (Some(paused), _) => {
            let by = if paused.by.is_empty() { String::new() } else { format!(" by {}", plain(&paused.by)) };
            let word = paint("paused", Tone::Busy, style);
            text += &format!("  {word} since {}{by}: {}\n", time(paused.since), plain(&paused.reason));
        }
        (None, Some(next)) => text += &format!("  next at {next}\n"),
        (None, None) => text += "  never again\n",
    }
    text
}

/// One schedule with its history.
#[must_use]
pub fn show(view: &ShowView, style: Style) -> String {
    let mut text = one(&view.schedule, style);
    for run in &view.schedule.running {
        text += &format!("  running: {}\n", plain(run));
    }
    if view.schedule.queued > 0 {
        text += &format!("  waiting for a run to end: {}\n", view.schedule.queued);
    }
    if view.history.is_empty() {
        return text;
    }
    let mut grid = Grid::new(&["#", "TIME", "UNTIL", "COUNT", "OUTCOME", "RUN OR REASON"], style);
    for firing in &view.history {
        grid.row([
            cell(firing.number.to_string()),
            cell(time(firing.scheduled_at)),
            cell(time(firing.until)),
            cell(firing.count.to_string()),
            toned(&firing.outcome, tone(firing)),
            cell(if firing.run_id.is_empty() { &firing.reason } else { &firing.run_id }),
        ]);
    }
    text + &grid.to_string()
}

/// What was put just now.
#[must_use]
pub fn put(view: &PutView, style: Style) -> String {
    let unchanged = if view.created { "" } else { "unchanged: " };
    unchanged.to_owned() + &one(&view.schedule, style)
}

/// What is gone.
#[must_use]
pub fn deleted(view: &DeletedView, style: Style) -> String {
    format!("{}  deleted; its runs go on\n", paint(&plain(&view.name), Tone::Strong, style))
}

fn workflow(it: &ScheduleView) -> String {
    if it.version == 0 { it.workflow.clone() } else { format!("{} v{}", it.workflow, it.version) }
}

fn time(at: Option<When>) -> String {
    at.map(|at| at.to_string()).unwrap_or_default()
}

fn tone(firing: &FiringView) -> Tone {
    match firing.outcome.as_str() {
        "started" => Tone::Good,
        "refused" => Tone::Bad,
        _ => Tone::Busy,
    }
}
