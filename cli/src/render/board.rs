//! The board of a run that goes on: a line for each step, kept up to date by events.

use std::time::Duration;

use super::paint::{Tone, paint};
use super::run::{verdict, why};
use super::table::{Grid, cell, toned};
use super::text::{plain, short};
use crate::console::Style;
use crate::view::call::{AttemptView, FailureView};
use crate::view::event::EventView;
use crate::view::run::RunView;
use crate::view::value::{Span, When};

/// Most steps drawn at once. More would not fit small terminals, and moving up beyond the top of one does not work.
const MOST_LINES: usize = 16;
/// Characters of a reason on the board; all of it stands in the trace.
const REASON: usize = 60;

/// What is known of a run, and of the time its server shows.
#[derive(Debug, Clone)]
pub struct Board {
    title: String,
    state: String,
    started: Option<When>,
    now: Option<When>,
    steps: Vec<Line>,
}

#[derive(Debug, Clone, Default)]
struct Line {
    id: String,
    /// The capability it calls, or its kind if it calls none itself.
    does: String,
    /// The word for it once it is open.
    opens: &'static str,
    state: String,
    attempt: u32,
    who: String,
    started: Option<When>,
    ended: Option<When>,
    note: String,
}

impl Line {
    /// Of a step that has grown.
    fn grown(id: &str, does: &str) -> Self {
        Self {
            id: id.to_owned(),
            does: does.to_owned(),
            opens: "gathering",
            state: "pending".to_owned(),
            ..Self::default()
        }
    }
}

impl Board {
    /// A board for `run`, of which no event has been applied yet.
    #[must_use]
    pub fn new(run: RunView) -> Self {
        let title = format!("{}  {} v{}", plain(&run.run_id), plain(&run.workflow), run.version);
        let steps = run.steps.into_iter().map(|step| Line {
            id: step.id,
            opens: if matches!(step.kind.as_str(), "wait" | "approve") { "waiting" } else { "gathering" },
            does: if step.capability.is_empty() { step.kind } else { step.capability },
            state: "pending".to_owned(),
            ..Line::default()
        });
        let steps = steps.collect();
        Self { title, state: "running".to_owned(), started: run.started_at, now: run.started_at, steps }
    }

    /// The line of the step that an event is about. One that grew with a workflow inside another gets its line now.
    fn place(&mut self, event: &EventView) -> Option<usize> {
        if let Some(known) = self.steps.iter().position(|line| line.id == event.step) {
            return Some(known);
        }
        let (outside, _) = event.step.rsplit_once('/')?;
        let is_around = |line: &Line| line.id == outside || line.id.starts_with(&format!("{outside}/"));
        let last = self.steps.iter().rposition(is_around)?;
        self.steps.insert(last + 1, Line::grown(&event.step, &event.capability));
        Some(last + 1)
    }

    /// Takes an event in.
    pub fn apply(&mut self, event: &EventView) {
        self.now = event.at.max(self.now);
        if event.kind == "run-ended" {
            self.state.clone_from(&event.state);
        }
        let Some(at) = self.place(event) else { return };
        let inside = format!("{}/", event.step);
        let last = self.steps.iter().rposition(|line| line.id.starts_with(&inside)).unwrap_or(at);
        for (place, grafted) in (last + 1..).zip(&event.grafted) {
            let does = if grafted.workflow.is_empty() { &grafted.capability } else { &grafted.workflow };
            self.steps.insert(place, Line::grown(&grafted.step, does));
        }
        let line = &mut self.steps[at];
        if let Some(attempt) = AttemptView::decisive(&event.attempts) {
            line.who = who(attempt);
        }
        let state = match event.kind {
            "step-started" => "running",
            "step-opened" => line.opens,
            "step-completed" => "completed",
            "attempt-failed" => "backing-off",
            "remedy-begun" | "verification-begun" => "gathering",
            "verdict-reached" => {
                line.note = event.verified.as_ref().map(verdict).unwrap_or_default();
                return;
            }
            "step-failed" => "failed",
            "step-skipped" => "skipped",
            "step-cancelled" => "cancelled",
            _ => return,
        };
        state.clone_into(&mut line.state);
        line.note = event.failure.as_ref().map(why).unwrap_or_default();
        if !event.reason.is_empty() && event.failure.is_none() {
            line.note.clone_from(&event.reason);
        }
        if let Some(warning) = event.warnings.first() {
            line.note.clone_from(warning);
        }
        match event.kind {
            "step-started" => {
                line.attempt = event.attempt.unwrap_or_default();
                line.started = line.started.or(event.at);
            }
            "step-opened" => line.started = event.at,
            "attempt-failed" | "remedy-begun" | "verification-begun" => {}
            _ => line.ended = event.at,
        }
    }

    /// The board, `passed` after the last event.
    #[must_use]
    pub fn draw(&self, passed: Duration, style: Style) -> String {
        let now = self.now.map(|now| When(now.0 + passed));
        let elapsed = self.started.zip(now).map(|(started, now)| now.since(started).to_string());
        let state = paint(&plain(&self.state), Tone::of(&self.state), style);
        let mut text = format!("{}  {state}  {}\n", self.title, elapsed.unwrap_or_default());
        let mut grid = Grid::bare(style);
        for line in self.shown() {
            let took = line.started.zip(line.ended.or(now)).map(|(from, to)| to.since(from).to_string());
            let attempts = if line.attempt > 1 { format!("attempt {}", line.attempt) } else { String::new() };
            grid.row([
                toned(format!("  {}", line.id), Tone::Strong),
                toned(&line.state, Tone::of(&line.state)),
                cell(took.unwrap_or_default()),
                cell(if line.who.is_empty() { &line.does } else { &line.who }),
                cell(attempts),
                cell(short(&line.note, REASON)),
            ]);
        }
        text += &grid.to_string();
        let hidden = self.steps.len().saturating_sub(MOST_LINES);
        if hidden > 0 {
            text += &format!("  … and {hidden} more\n");
        }
        text
    }

    /// What moves is shown before what waits, and that before what is done; each group in the order of the document.
    fn shown(&self) -> Vec<&Line> {
        let mut lines: Vec<(usize, &Line)> = self.steps.iter().enumerate().collect();
        if lines.len() > MOST_LINES {
            lines.sort_by_key(|(at, line)| {
                let rank = match line.state.as_str() {
                    "running" | "backing-off" | "failed" => 0,
                    "pending" => 1,
                    _ => 2,
                };
                (rank, *at)
            });
            lines.truncate(MOST_LINES);
            lines.sort_by_key(|(at, _)| *at);
        }
        lines.into_iter().map(|(_, line)| line).collect()
    }

    /// One event in one line, for a pipe.
    #[must_use]
    pub fn line(&self, event: &EventView, style: Style) -> String {
        let offset = self.started.zip(event.at).map(|(started, at)| at.since(started).0).unwrap_or_default();
        let at = format!("+{:.3}s", offset.as_secs_f64());
        let step = if event.step.is_empty() { String::new() } else { format!(" {}", plain(&event.step)) };
        let tone = Tone::of(event.kind.rsplit('-').next().unwrap_or_default());
        let kind = paint(&event.kind.replace('-', " "), tone, style);
        let detail = detail(event);
        let detail = if detail.is_empty() { detail } else { format!("  {}", plain(&detail)) };
        format!("{at:>10}  {kind}{step}{detail}")
    }
}

fn detail(event: &EventView) -> String {
    let failure = event.failure.as_ref().map(|failure: &FailureView| why(failure));
    let by = AttemptView::decisive(&event.attempts).map(|attempt| {
        let took = attempt.took.map(|Span(took)| format!(" in {}", Span(took))).unwrap_or_default();
        format!("{}{took}", who(attempt))
    });
    let again = event.retry_at.zip(event.at).map(|(due, at)| format!("again in {}", due.since(at)));
    let attempt = event.attempt.filter(|attempt| *attempt > 1).map(|attempt| format!("attempt {attempt}"));
    let word = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let person = word(&event.by).map(|by| format!("by {by}"));
    let (state, signal, calls) = (word(&event.state), word(&event.signal), word(&event.capability));
    let parts = [state, signal, person, by, calls, attempt, failure, word(&event.reason), again];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn who(attempt: &AttemptView) -> String {
    if attempt.agent.is_empty() { String::new() } else { format!("{}/{}", attempt.agent, attempt.instance) }
}

#[cfg(test)]
mod tests {
    use mainstay_kernel::time::Wall;

    use super::super::trace::sample;
    use super::*;

    fn event(number: u64, at: i64, kind: &'static str, step: &str) -> EventView {
        let at = Some(When(Wall::from_millis(at)));
        EventView { number, at, kind, step: step.to_owned(), ..EventView::default() }
    }

    #[test]
    fn the_board_follows_the_events() {
        let mut board = Board::new(RunView::from(sample()));
        board.apply(&event(1, 1_000, "run-started", ""));
        board.apply(&EventView { attempt: Some(1), ..event(2, 1_010, "step-started", "find") });
        board.apply(&event(3, 1_250, "step-completed", "find"));
        board.apply(&EventView { attempt: Some(2), ..event(4, 1_300, "step-started", "draft") });
        board.apply(&EventView {
            reason: "an \u{1b}[31moptional dependency".to_owned(),
            ..event(5, 1_310, "step-skipped", "facts")
        });
        insta::assert_snapshot!(board.draw(Duration::from_millis(700), Style::PLAIN));
    }

    #[test]
    fn a_large_run_shows_what_moves_and_counts_the_rest() {
        let mut run = RunView::from(sample());
        let step = run.steps[0].clone();
        run.steps =
            (0..40).map(|n| crate::view::run::StepView { id: format!("s{n}"), ..step.clone() }).collect();
        let mut board = Board::new(run);
        board.apply(&EventView { attempt: Some(1), ..event(1, 1_000, "step-started", "s39") });
        let text = board.draw(Duration::ZERO, Style::PLAIN);
        assert_eq!(text.lines().count(), MOST_LINES + 2);
        assert!(text.contains("s39"), "{text}");
        assert!(text.contains("and 24 more"), "{text}");
    }

    #[test]
    fn a_line_for_a_pipe_says_what_happened_when_and_why() {
        let board = Board::new(RunView::from(sample()));
        let failed = EventView {
            retry_at: Some(When(Wall::from_millis(1_600))),
            reason: "it may be repeated".to_owned(),
            attempts: RunView::from(sample()).steps[1].attempts[..1].to_vec(),
            ..event(4, 1_400, "attempt-failed", "draft")
        };
        insta::assert_snapshot!(board.line(&failed, Style::PLAIN));
    }

    #[test]
    fn of_several_side_by_side_the_one_that_answered_is_named() {
        let board = Board::new(RunView::from(sample()));
        let mut attempts = RunView::from(sample()).steps[1].attempts.clone();
        attempts.reverse();
        let completed = |attempts| EventView { attempts, ..event(5, 1_600, "step-completed", "draft") };
        assert_eq!(attempts[0].class, "success");
        let alone = board.line(&completed(attempts[..1].to_vec()), Style::PLAIN);
        assert_eq!(board.line(&completed(attempts), Style::PLAIN), alone);
    }
}
