//! Golden traces, one of them hostile.

use mainstay_kernel::time::Wall;
use mainstay_proto::{pb, time};

use super::*;

fn at(ms: i64) -> Option<prost_types::Timestamp> {
    Some(time::timestamp(Wall::from_millis(ms)))
}

fn span(ms: u64) -> Option<prost_types::Duration> {
    Some(time::duration(Duration::from_millis(ms)))
}

fn failure(class: pb::OutcomeClass, code: &str, message: &str) -> pb::Failure {
    let (code, message) = (code.to_owned(), message.to_owned());
    pb::Failure { class: class.into(), code, message, began: pb::Began::No.into(), retry_after: None }
}

fn attempt(number: u32, agent: &str, started: i64, took: u64, failed: Option<pb::Failure>) -> pb::Attempt {
    let class = failed.as_ref().map_or(pb::OutcomeClass::Success.into(), |failure| failure.class);
    pb::Attempt {
        attempt_id: format!("att_{number:032x}"),
        number,
        agent: agent.to_owned(),
        instance: format!("{agent}-0"),
        started_at: at(started),
        duration: span(took),
        class,
        failure: failed,
        usage: Some(pb::Usage { tokens_in: 120, tokens_out: 80, cost_nano_usd: 1_200_000, agent_micros: 0 }),
        waited: span(0),
        version: String::new(),
        hedge_after: None,
        notes: vec![],
    }
}

fn step(id: &str, capability: &str, state: pb::StepState) -> pb::Step {
    let (id, capability) = (id.to_owned(), capability.to_owned());
    pb::Step { id, capability, state: state.into(), ..pb::Step::default() }
}

/// Three steps: one straight, one tried twice, one optional and skipped.
pub(crate) fn sample() -> pb::Run {
    let unreachable = failure(pb::OutcomeClass::Transport, "AGENT_UNREACHABLE", "connection refused");
    pb::Run {
        run_id: "run_00000000000000000000000000000001".to_owned(),
        tenant: "default".to_owned(),
        workflow: "answer".to_owned(),
        version: 2,
        state: pb::RunState::Completed.into(),
        intent: "How is a crash survived?".to_owned(),
        started_at: at(1_000),
        ended_at: at(2_000),
        steps: vec![
            pb::Step {
                ready_at: at(1_000),
                started_at: at(1_010),
                ended_at: at(1_250),
                attempts: vec![attempt(1, "finder", 1_010, 240, None)],
                ..step("find", "docs.find", pb::StepState::Completed)
            },
            pb::Step {
                ready_at: at(1_250),
                started_at: at(1_300),
                ended_at: at(2_000),
                attempts: vec![
                    attempt(1, "writer", 1_300, 100, Some(unreachable)),
                    attempt(2, "writer", 1_600, 400, None),
                ],
                ..step("draft", "text.draft", pb::StepState::Completed)
            },
            pb::Step {
                optional: true,
                ready_at: at(1_250),
                ended_at: at(1_310),
                failure: Some(failure(
                    pb::OutcomeClass::Unavailable,
                    "NO_INSTANCE",
                    "nobody offers facts.extract",
                )),
                ..step("facts", "facts.extract", pb::StepState::Skipped)
            },
        ],
        usage: Some(pb::Usage { tokens_in: 360, tokens_out: 240, cost_nano_usd: 3_600_000, agent_micros: 0 }),
        ..pb::Run::default()
    }
}

/// The same, but the second step fails for good, in words that a terminal would obey.
fn hostile() -> pb::Run {
    let mut run = sample();
    let evil = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\nrun_1 completed\u{202e}\u{9b}31m";
    run.state = pb::RunState::Failed.into();
    run.intent = evil.to_owned();
    run.failure = Some(failure(pb::OutcomeClass::AgentError, "STEP_FAILED", evil));
    let step = &mut run.steps[1];
    step.state = pb::StepState::Failed.into();
    step.failure = Some(failure(pb::OutcomeClass::AgentError, "AGENT_FAILED", evil));
    step.attempts[1] =
        attempt(2, "writer", 1_600, 400, Some(failure(pb::OutcomeClass::AgentError, "AGENT_FAILED", evil)));
    step.attempts[1].notes = vec![evil.to_owned()];
    run.steps[0].id = evil.to_owned();
    run
}

fn told(run: pb::Run) -> String {
    story(&RunView::from(run), Style::PLAIN)
}

#[test]
fn the_story_shows_steps_attempts_waits_and_spend() {
    insta::assert_snapshot!(told(sample()));
}

#[test]
fn verdicts_stand_below_the_attempts_they_are_about() {
    let mut run = sample();
    let refused = pb::Verified {
        verdict: "refused".to_owned(),
        score: Some(0.4),
        grounds: vec!["no sources".to_owned(), "too short".to_owned()],
        by: "checker".to_owned(),
    };
    let passed = pb::Verified { verdict: "passed".to_owned(), ..pb::Verified::default() };
    run.steps[1].verdicts = vec![refused, passed];
    let text = story(&RunView::from(run), Style { width: 240, colour: false });
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("verdict")).collect();
    assert!(lines[0].contains("verdict checker"), "{text}");
    assert!(lines[0].contains("refused 0.40: no sources; too short"), "{text}");
    assert!(lines[1].trim().starts_with("verdict") && lines[1].trim().ends_with("passed"), "{text}");
}

#[test]
fn a_failed_run_says_where_the_failure_began_and_hostile_text_stays_text() {
    let text = told(hostile());
    assert!(!text.chars().any(|c| super::super::text::is_active(c) && c != '\n'), "{text:?}");
    insta::assert_snapshot!(text);
}

#[test]
fn colours_are_all_that_a_terminal_is_told() {
    let coloured = story(&RunView::from(hostile()), Style { width: 120, colour: true });
    assert!(coloured.contains("\u{1b}[31m"), "{coloured:?}");
    for sequence in coloured.split('\u{1b}').skip(1) {
        let end = sequence.find(|c: char| !c.is_ascii_digit() && !"[;".contains(c)).unwrap();
        assert_eq!(sequence.chars().nth(end), Some('m'), "{sequence:?}");
    }
}

#[test]
fn a_run_of_which_nothing_is_known_can_be_told() {
    assert!(told(pb::Run::default()).contains("0 steps"));
}

#[test]
fn times_that_cannot_be_do_not_break_the_story() {
    let mut run = sample();
    run.steps[0].started_at = at(i64::MAX);
    run.steps[1].ended_at = at(-5);
    run.steps[1].attempts[0].duration = Some(prost_types::Duration { seconds: i64::MIN, nanos: -1 });
    assert!(told(run).contains("draft"));
}

#[test]
fn a_step_that_waits_says_for_what() {
    let waiting = pb::Step {
        started_at: at(0),
        waiting: "paused: new model \u{1b}[2J (agent/writer)".to_owned(),
        ..step("draft", "text.draft", pb::StepState::Running)
    };
    let run = pb::Run { started_at: at(0), steps: vec![waiting], ..pb::Run::default() };
    let text = story(&RunView::from(run), Style { width: 200, ..Style::PLAIN });
    assert!(text.contains("running, waits: paused: new model \\u{1b}[2J (agent/writer)"), "{text}");
}
