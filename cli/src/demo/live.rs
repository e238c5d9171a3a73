//! A run as it goes: one line for each event of its journal, the same as `mainstay run --follow` prints into a pipe.
//!
//! Lines, not a board that is redrawn: what happened before the crash stays on the screen.

use std::collections::BTreeMap;

use mainstay_proto::pb;
use mainstay_proto::pb::run_event::Event;

use crate::console::Style;
use crate::render::board::Board;
use crate::view::event::EventView;
use crate::view::run::RunView;

/// Turns events into lines, and remembers where the run stands.
#[derive(Debug)]
pub(super) struct Live {
    /// Number of the last event that was seen.
    pub(super) seen: u64,
    /// Whether the run has ended.
    pub(super) ended: bool,
    /// Under which key each step was called last.
    pub(super) keys: BTreeMap<String, String>,
    board: Board,
    style: Style,
}

impl Live {
    /// For `run`, of which nothing has been shown yet.
    pub(super) fn new(run: pb::Run, style: Style) -> Self {
        let board = Board::new(RunView::from(run));
        Self { seen: 0, ended: false, keys: BTreeMap::new(), board, style }
    }

    /// Takes an event in, and gives its line.
    pub(super) fn line(&mut self, event: pb::RunEvent) -> String {
        self.seen = event.number;
        let mut note = "";
        match &event.event {
            Some(Event::StepStarted(started)) => {
                self.keys.insert(started.step_id.clone(), started.attempt_id.clone());
            }
            // Nobody was called for it: the call was made before a crash, and its answer was waiting.
            Some(Event::StepCompleted(completed)) if completed.attempts.is_empty() => {
                note = "  as the ledger of its sidecar knew";
            }
            Some(Event::RunEnded(_)) => self.ended = true,
            _ => {}
        }
        let event = EventView::from(event);
        let line = self.board.line(&event, self.style);
        self.board.apply(&event);
        format!("{line}{note}\n")
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn event(number: u64, event: Event) -> pb::RunEvent {
        let at = Timestamp { seconds: 100, nanos: 1_000_000 * i32::try_from(number).unwrap() };
        pb::RunEvent { number, at: Some(at), event: Some(event) }
    }

    #[test]
    fn events_become_lines_and_are_remembered() {
        let run = pb::Run { started_at: Some(Timestamp { seconds: 100, nanos: 0 }), ..Default::default() };
        let mut live = Live::new(run, Style::PLAIN);
        let started = pb::run_event::StepStarted {
            step_id: "draft".into(),
            capability: "docs.draft".into(),
            attempt: 1,
            attempt_id: "att_1".into(),
        };
        assert_eq!(
            live.line(event(2, Event::StepStarted(started))).trim(),
            "+0.002s  step started draft  docs.draft"
        );
        let completed = pb::run_event::StepCompleted { step_id: "draft".into(), ..Default::default() };
        let line = live.line(event(3, Event::StepCompleted(completed)));
        assert_eq!(line.trim(), "+0.003s  step completed draft  as the ledger of its sidecar knew");
        assert!(!live.ended);
        live.line(event(4, Event::RunEnded(pb::run_event::RunEnded::default())));
        assert!(live.ended && live.seen == 4);
        assert_eq!(live.keys, BTreeMap::from([("draft".into(), "att_1".into())]));
    }
}
