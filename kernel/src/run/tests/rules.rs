//! Single rules, one sentence each.

use std::collections::BTreeSet;
use std::time::Duration;

use super::golden;
use super::world::{Fate, Plan, RUN, World, answer, at, failure, id, part, plan, record, text};
use crate::effect::EffectClass;
use crate::mode::Mode;
use crate::outcome::{Began, Class};
use crate::retry::Retries;
use crate::retry::budget::Leave;
use crate::run::fold::{Happening, next_state};
use crate::run::resume::Ended;
use crate::run::{
    Attempt, AttemptRecord, Durability, EndState, Event, FoldError, Ignored, Input, Run, SkipReason, Start,
    StartError, StepState, Transition, durability, outstanding, start, urgency,
};

fn ended(attempt: Attempt, result: Result<crate::outcome::Answer, crate::outcome::Failure>) -> Input {
    Input::AttemptEnded { attempt, effect: EffectClass::ReadOnly, result, attempts: Vec::new() }
}

fn first(step: &str) -> Attempt {
    Attempt::first(RUN, step)
}

fn state(world: &World, step: &str) -> StepState {
    world.run.step(step).unwrap().1.state
}

fn code(world: &World, step: &str) -> String {
    world.run.step(step).unwrap().1.failure.clone().unwrap().code
}

#[test]
fn a_run_does_not_start_with_an_input_that_breaks_the_schema() {
    let refused = start(Start { input: text("[]"), ..golden::pipeline().start() }, at(0));
    assert!(matches!(refused, Err(StartError::Input(violations)) if !violations.is_empty()));
}

#[test]
fn a_run_does_not_start_after_its_deadline() {
    let late = |deadline| start(Start { deadline: Some(at(deadline)), ..golden::pipeline().start() }, at(5));
    assert_eq!(late(5), Err(StartError::DeadlinePassed));
    assert!(late(6).is_ok());
}

#[test]
fn the_sooner_of_the_clients_and_the_workflows_deadline_holds() {
    let deadline = |wanted: Option<i64>| {
        let plan = Plan { deadline_ms: 1_000, ..golden::pipeline() };
        let first = start(Start { deadline: wanted.map(at), ..plan.start() }, at(10)).unwrap();
        Run::begin(&first, plan.workflow(), RUN).unwrap().deadline
    };
    assert_eq!(deadline(None), at(1_010));
    assert_eq!(deadline(Some(500)), at(500));
    assert_eq!(deadline(Some(9_000)), at(1_010));
}

#[test]
fn an_input_that_cannot_be_made_fails_its_step_before_anybody_is_called() {
    let broken = part("b", &["a"]).tries(3).input(&[("x", "${steps.a.output.missing}")]);
    let mut world = World::new(plan(vec![part("a", &[]).fates(&[Fate::Answer("{}")]), broken]));
    world.go_until(at(10));
    assert_eq!((state(&world, "b"), code(&world, "b").as_str()), (StepState::Failed, "MAPPING_FAILED"));
    assert_eq!(world.run.step("b").unwrap().1.started_at, None);
    let end = world.run.end.clone().unwrap();
    assert_eq!((end.state, end.step), (EndState::Failed, Some(id("b"))));
    assert_eq!(end.failure.unwrap().code, "STEP_FAILED");
}

#[test]
fn a_result_counts_once_and_only_for_the_try_under_way() {
    let plan = plan(vec![part("a", &[]).tries(3), part("b", &[])]);
    let mut world = World::new(plan);
    let stranger = Attempt { number: 2, ..first("a") };
    assert_eq!(world.tell(ended(stranger, Ok(answer("1")))), Err(Ignored::Stale(stranger)));
    world.tell(ended(first("a"), Err(failure(Class::Transport, Began::No)))).unwrap();
    assert_eq!(
        world.tell(ended(first("a"), Ok(answer("1")))),
        Err(Ignored::Stale(first("a"))),
        "it backs off"
    );
    world.now = at(500);
    world.tell(Input::Woken).unwrap();
    assert_eq!(state(&world, "a"), StepState::Running { attempt: stranger }, "the same key, another try");
    assert_eq!(world.tell(ended(first("a"), Ok(answer("1")))), Err(Ignored::Stale(first("a"))));
    world.tell(ended(stranger, Ok(answer("1")))).unwrap();
    assert_eq!(state(&world, "a"), StepState::Completed);
}

#[test]
fn a_hedge_is_a_try_of_its_step() {
    for (allowed, hedged, tries) in [(3, false, 3), (3, true, 2), (2, true, 1)] {
        let mut world = World::new(plan(vec![part("a", &[]).tries(allowed)]));
        let mut made = 0;
        while let StepState::Running { attempt } = state(&world, "a") {
            made += 1;
            let record = |hedge_after| {
                let failed = record(attempt, world.now, Duration::ZERO, Class::Transport);
                AttemptRecord { hedge_after, ..failed }
            };
            let mut attempts = vec![record(None)];
            attempts.extend(hedged.then(|| record(Some(Duration::from_millis(5)))));
            let result = Err(failure(Class::Transport, Began::Unknown));
            let effect = EffectClass::ReadOnly;
            world.tell(Input::AttemptEnded { attempt, effect, result, attempts }).unwrap();
            world.now = at(1_000 * made);
            // An error says that the step is not to be tried again.
            world.tell(Input::Woken).ok();
        }
        assert_eq!((made, state(&world, "a")), (tries, StepState::Failed), "{allowed}, hedged: {hedged}");
    }
}

#[test]
fn nothing_happens_before_it_is_due() {
    let mut world = World::new(golden::pipeline());
    assert_eq!(world.tell(Input::Woken), Err(Ignored::NothingDue));
}

#[test]
fn an_answer_that_comes_with_the_deadline_is_recorded_and_the_run_has_timed_out() {
    let mut world = World::new(Plan { deadline_ms: 100, ..plan(vec![part("a", &[])]) });
    world.now = at(100);
    world.tell(ended(first("a"), Ok(answer("1")))).unwrap();
    assert_eq!(state(&world, "a"), StepState::Completed);
    assert_eq!(world.run.end.clone().unwrap().state, EndState::TimedOut);
}

#[test]
fn no_try_is_planned_beyond_the_deadline() {
    let mut world = World::new(Plan { deadline_ms: 1_000, ..plan(vec![part("a", &[]).tries(9)]) });
    let pushback = crate::outcome::Failure {
        retry_after: Some(Duration::from_millis(1_000)),
        ..failure(Class::Overload, Began::No)
    };
    world.tell(ended(first("a"), Err(pushback))).unwrap();
    let Event::StepFailed { reason, .. } = &world.log[1].events[0] else { panic!("{:?}", world.log[1]) };
    assert_eq!(reason, "the deadline is too near for another attempt");
}

fn last_note(world: &World, step: &str) -> String {
    world.run.step(step).unwrap().1.attempts.last().unwrap().notes.last().unwrap().clone()
}

fn fails_once() -> Vec<super::world::Part> {
    vec![part("a", &[]).tries(3).fates(&[Fate::Fail(Class::Transport, Began::No), Fate::Answer("1")])]
}

#[test]
fn a_retry_stands_in_the_journal_with_what_was_left_beside_the_call_that_failed() {
    let mut world = World::new(plan(fails_once()));
    world.go_until(at(10));
    let note = last_note(&world, "a");
    assert!(note.starts_with("tried again after "), "{note}");
    let left = "under the same key; 59.99s of the deadline and 7 of the agent's retry budget were left; retry 1 of 100 in the run";
    assert!(note.ends_with(left), "{note}");
}

#[test]
fn a_spent_budget_ends_the_step_and_its_record_says_so() {
    let mut world = World::new(plan(fails_once()));
    world.leave = Leave::Refused;
    let world = world.finish();
    assert_eq!(world.begun.len(), 1, "called once");
    assert_eq!(last_note(&world, "a"), "not tried again: the agent's retry budget is spent");
}

#[test]
fn a_run_with_time_left_waits_for_its_agents_budget_instead_of_failing() {
    let mut world = World::new(plan(fails_once()));
    world.leave = Leave::Later { after: Duration::from_secs(7) };
    world.go_until(at(10));
    let StepState::BackingOff { until, .. } = state(&world, "a") else { panic!("{:?}", state(&world, "a")) };
    assert_eq!(until, at(7_010));
    assert!(last_note(&world, "a").starts_with("tried again after 7s under"), "{}", last_note(&world, "a"));
    assert_eq!(world.finish().run.end.clone().unwrap().state, EndState::Completed);
}

#[test]
fn a_run_started_for_a_call_repeats_nothing_and_the_journal_remembers() {
    let plan = plan(fails_once());
    let first = start(Start { retries: Retries::Forbidden, ..plan.start() }, at(0)).unwrap();
    let first: Transition = serde_json::from_str(&serde_json::to_string(&first).unwrap()).unwrap();
    let run = Run::begin(&first, plan.workflow(), RUN).unwrap();
    let mut world = World { run, log: vec![first], ..World::new(plan) };
    world.go_until(at(10));
    assert_eq!(state(&world, "a"), StepState::Failed);
    assert_eq!(
        last_note(&world, "a"),
        "not tried again: the call was made for another one, whose caller retries"
    );
}

#[test]
fn a_run_makes_no_more_retries_than_its_workflow_allows_over_all_steps() {
    let fails = |id| part(id, &[]).tries(9).fates(&[Fate::Fail(Class::Transport, Began::No)]).optional();
    let parts = vec![fails("a"), fails("b"), fails("c")];
    let world = World::new(Plan { max_retries: 4, ..plan(parts) }).finish();
    assert_eq!((world.run.retried, world.begun.len()), (4, 3 + 4));
    assert_eq!(
        last_note(&world, "b"),
        "not tried again: the run has made every retry that `max_retries` allows"
    );
}

#[test]
fn a_side_effect_nobody_can_tell_of_is_not_repeated_and_says_so() {
    let world = World::new(golden::critical_fails()).finish();
    assert_eq!(
        (state(&world, "book"), code(&world, "book").as_str()),
        (StepState::Failed, "OUTCOME_UNKNOWN")
    );
    assert_eq!(world.begun.keys().filter(|attempt| attempt.id == first("book").id).count(), 1);
}

#[test]
fn a_try_keeps_its_key_where_the_effect_may_have_happened() {
    let second = |effect, began| {
        let fates = [Fate::Fail(Class::Transport, began), Fate::Answer("1")];
        let world = World::new(plan(vec![part("a", &[]).tries(2).effect(effect).fates(&fates)])).finish();
        world.begun.keys().find(|attempt| attempt.number == 2).unwrap().id
    };
    assert_eq!(second(EffectClass::Idempotent, Began::Unknown), first("a").id);
    assert_eq!(second(EffectClass::SideEffecting, Began::No), first("a").id);
    assert_ne!(second(EffectClass::ReadOnly, Began::Unknown), first("a").id, "nothing to repeat by accident");
}

#[test]
fn a_step_that_backs_off_keeps_its_place_under_the_cap() {
    let parts =
        vec![part("a", &[]).tries(2).fates(&[Fate::Fail(Class::Transport, Began::No)]), part("b", &[])];
    let mut world = World::new(Plan { max_parallel: 1, ..plan(parts) });
    world.go_until(at(10));
    assert!(matches!(state(&world, "a"), StepState::BackingOff { .. }));
    assert_eq!(state(&world, "b"), StepState::Pending);
}

#[test]
fn steps_that_are_ready_begin_in_the_order_of_the_workflow() {
    let parts = ["c", "a", "b"].map(|id| part(id, &[])).to_vec();
    let world = World::new(Plan { max_parallel: 2, ..plan(parts) });
    let calls: Vec<String> = outstanding(&world.run).calls.iter().map(|call| call.step.to_string()).collect();
    assert_eq!(calls, ["c", "a"]);
}

#[test]
fn a_step_is_ready_when_the_last_of_those_it_waits_for_has_ended() {
    let world = World::new(golden::diamond()).finish();
    let ready = |step| world.run.step(step).unwrap().1.ready_at;
    assert_eq!((ready("split"), ready("left"), ready("join")), (Some(at(0)), Some(at(10)), Some(at(40))));
}

#[test]
fn an_idempotent_step_is_not_asked_again_for_an_answer_that_its_key_holds_already() {
    let breach = |effect| {
        let mut plan = golden::bad_answer_then_a_good_one();
        plan.parts[0] = plan.parts[0].clone().effect(effect);
        World::new(plan).finish()
    };
    assert_eq!(state(&breach(EffectClass::ReadOnly), "extract"), StepState::Completed);
    let stands = breach(EffectClass::Idempotent);
    assert_eq!(state(&stands, "extract"), StepState::Failed);
    assert_eq!(code(&stands, "extract"), "OUTPUT_SCHEMA_MISMATCH");
}

#[test]
fn only_a_side_effect_waits_for_the_disk() {
    assert_eq!(durability(EffectClass::ReadOnly), Durability::Buffered);
    assert_eq!(durability(EffectClass::Idempotent), Durability::Buffered);
    assert_eq!(durability(EffectClass::SideEffecting), Durability::Committed);
}

#[test]
fn only_an_end_and_a_side_effect_hurry_to_the_disk() {
    let begun = World::new(golden::pipeline());
    let owed = outstanding(&begun.run);
    assert_eq!(urgency(&begun.run, &owed, |_| EffectClass::Idempotent), Durability::Buffered);
    assert_eq!(urgency(&begun.run, &owed, |_| EffectClass::SideEffecting), Durability::Committed);
    let ended = begun.finish();
    let owed = outstanding(&ended.run);
    assert_eq!(urgency(&ended.run, &owed, |_| EffectClass::Idempotent), Durability::Committed);
}

#[test]
fn a_journal_that_is_not_this_runs_is_refused() {
    let plan = golden::pipeline();
    let log = World::new(plan.clone()).finish().log;
    let begin = |first: &Transition| Run::begin(first, plan.workflow(), RUN).map(|_| ());
    assert_eq!(begin(&log[1]), Err(FoldError::Gap { expected: 1, found: log[1].first_event }));
    assert_eq!(begin(&Transition { events: vec![], ..log[0].clone() }), Err(FoldError::Empty));
    assert_eq!(begin(&Transition { first_event: 1, ..log[1].clone() }), Err(FoldError::NoStart));
    let other = super::world::World::new(golden::diamond()).run.workflow.clone();
    assert!(matches!(Run::begin(&log[0], other, RUN), Err(FoldError::OtherWorkflow { .. })));

    let mut run = Run::begin(&log[0], plan.workflow(), RUN).unwrap();
    let skipped = run.fold(&log[2]);
    assert_eq!(skipped, Err(FoldError::Gap { expected: log[1].first_event, found: log[2].first_event }));
    run.fold(&log[1]).unwrap();
    assert!(matches!(run.fold(&log[1]), Err(FoldError::Gap { .. })), "a record is not taken twice");
}

#[test]
fn a_wait_that_rounds_up_to_the_deadline_is_not_begun() {
    let mut world = World::new(Plan { deadline_ms: 100, ..plan(vec![part("a", &[]).tries(9)]) });
    world.now = at(99);
    world.tell(ended(first("a"), Err(failure(Class::Transport, Began::No)))).unwrap();
    assert_eq!(state(&world, "a"), StepState::Failed);
}

#[test]
fn no_step_begins_before_its_turn_by_whatever_a_record_says() {
    let parts = vec![part("a", &[]), part("b", &["a"]), part("c", &[])];
    for (max_parallel, early) in [(4, "b"), (1, "c")] {
        let mut world = World::new(Plan { max_parallel, ..plan(parts.clone()) });
        let event = Event::StepStarted { step: id(early), attempt: first(early), input: Some(text("1")) };
        assert_eq!(say(&mut world.run, vec![event]), Err(FoldError::TooEarly { step: id(early) }));
    }
}

#[test]
fn nothing_goes_on_after_a_critical_failure_by_whatever_a_record_says() {
    let mut world = World::new(plan(vec![part("a", &[]), part("b", &["a"])]));
    let failed = Event::StepFailed {
        effect_stands: false,
        step: id("a"),
        failure: failure(Class::AgentError, Began::Yes),
        reason: String::new(),
        attempts: Vec::new(),
    };
    say(&mut world.run, vec![failed]).unwrap();
    let goes_on = Event::StepStarted { step: id("b"), attempt: first("b"), input: Some(text("1")) };
    assert_eq!(say(&mut world.run, vec![goes_on]), Err(FoldError::TooEarly { step: id("b") }));
    let skipped = Event::StepSkipped { step: id("b"), reason: SkipReason::RunEnded };
    let end = |state| Event::RunEnded { state, output: None, failure: None, step: None };
    assert_eq!(say(&mut world.run, vec![end(EndState::Failed)]), Err(FoldError::OpenSteps));
    let completed = vec![skipped.clone(), end(EndState::Completed)];
    assert_eq!(say(&mut world.run, completed), Err(FoldError::OpenSteps));
    say(&mut world.run, vec![skipped, end(EndState::Failed)]).unwrap();
    let cancel = Event::CancelRequested { reason: "late".into() };
    assert_eq!(say(&mut world.run, vec![cancel]), Err(FoldError::AfterEnd));
}

#[test]
fn what_was_left_out_stays_left_out_in_another_mode() {
    let plan = golden::left_out_by_the_mode();
    let whole = World::new(plan.clone()).finish();
    let skipped = |transition: &Transition| {
        transition.events.iter().any(|event| matches!(event, Event::StepSkipped { .. }))
    };
    let until = whole.log.iter().position(skipped).unwrap();
    let begun = whole.begun.iter().filter(|(_, at)| **at <= whole.log[until].at);
    let begun = begun.map(|(attempt, at)| (*attempt, *at)).collect();
    let full = Plan { mode: Mode::Full, ..plan };
    let again = World::recovered(full, whole.log[..=until].to_vec(), begun).finish();
    assert_eq!(again.history(), whole.history());
}

#[test]
fn a_mode_leaves_out_what_the_workflow_says_and_when_its_turn_has_come() {
    let parts = vec![
        part("needed", &[]),
        part("nice", &["needed"]).drop_in(Mode::Degraded),
        part("dear", &[]).drop_in(Mode::Emergency),
    ];
    let mut world = World::new(plan(parts));
    for (step, mode) in [("needed", Mode::Emergency), ("nice", Mode::Degraded), ("dear", Mode::Degraded)] {
        let skipped = Event::StepSkipped { step: id(step), reason: SkipReason::Mode(mode) };
        let told = say(&mut world.run, vec![skipped]);
        assert_eq!(told, Err(FoldError::TooEarly { step: id(step) }), "{step} in {mode}");
    }
}

/// Lets `events` happen to `run` as if they stood in its journal.
pub(super) fn say(run: &mut Run, events: Vec<Event>) -> Result<(), FoldError> {
    let first_event = run.last_event + 1;
    run.fold(&Transition { first_event, at: at(1), events })
}

const NEXT: Attempt = Attempt { number: 2, id: crate::id::AttemptId::from_bytes([0; 16]) };
const HAPPENINGS: [Happening; 13] = [
    Happening::Opened(None),
    Happening::Started(NEXT),
    Happening::Delayed(NEXT, at(1)),
    Happening::Remedied(None),
    Happening::Verifying,
    Happening::Completed,
    Happening::Failed,
    Happening::Skipped,
    Happening::Cancelled,
    Happening::Carried(Ended::Completed),
    Happening::Carried(Ended::Failed),
    Happening::Carried(Ended::Skipped),
    Happening::Carried(Ended::Cancelled),
];

/// Every (state, happening) that may be.
const LEGAL: [(&str, &str, &str); 27] = [
    ("pending", "started", "running"),
    ("pending", "failed", "failed"),
    ("pending", "skipped", "skipped"),
    ("running", "delayed", "backing-off"),
    ("running", "completed", "completed"),
    ("running", "failed", "failed"),
    ("running", "cancelled", "cancelled"),
    ("backing-off", "started", "running"),
    ("backing-off", "cancelled", "cancelled"),
    ("backing-off", "failed", "failed"),
    ("pending", "opened", "gathering"),
    ("pending", "remedied", "gathering"),
    ("running", "remedied", "gathering"),
    ("gathering", "remedied", "gathering"),
    ("running", "verified", "gathering"),
    ("gathering", "verified", "gathering"),
    ("gathering", "completed", "completed"),
    ("gathering", "failed", "failed"),
    ("gathering", "cancelled", "cancelled"),
    ("pending", "carried", "completed"),
    ("pending", "carried", "failed"),
    ("pending", "carried", "skipped"),
    ("pending", "carried", "cancelled"),
    ("gathering", "carried", "completed"),
    ("gathering", "carried", "failed"),
    ("gathering", "carried", "skipped"),
    ("gathering", "carried", "cancelled"),
];

#[test]
fn the_law_of_steps_is_this_table() {
    let states = [
        StepState::Pending,
        StepState::Running { attempt: first("a") },
        StepState::BackingOff { next: NEXT, until: at(1) },
        StepState::Gathering { until: None },
        StepState::Completed,
        StepState::Failed,
        StepState::Skipped,
        StepState::Cancelled,
    ];
    let mut legal = BTreeSet::new();
    for state in states {
        for happening in HAPPENINGS {
            if let Some(next) = next_state(state, happening) {
                legal.insert((state.as_str(), happening.as_str(), next.as_str()));
            }
        }
    }
    assert_eq!(legal, BTreeSet::from(LEGAL));
}

#[test]
fn the_golden_runs_take_every_way_there_is() {
    let mut taken = BTreeSet::new();
    let mut note = |plan: Plan| {
        let whole = World::new(plan.clone()).finish();
        let steps = |run: &Run| run.steps.iter().map(|step| step.state.as_str()).collect::<Vec<_>>();
        let events: Vec<Event> = whole.log.iter().flat_map(|t| t.events.clone()).collect();
        let single = |(n, event): (usize, &Event)| Transition {
            first_event: n as u64 + 1,
            at: at(0),
            events: vec![event.clone()],
        };
        let mut log = events.iter().enumerate().map(single);
        let mut run = Run::begin(&log.next().unwrap(), plan.workflow(), RUN).unwrap();
        for transition in log {
            let before = steps(&run);
            run.fold(&transition).unwrap();
            for (from, to) in before.into_iter().zip(steps(&run)).filter(|(from, to)| from != to) {
                taken.insert((from, to));
            }
        }
    };
    golden::all().into_iter().for_each(|(_, plan)| note(plan));
    note(plan(vec![part("unmapped", &[]).input(&[("x", "${input.missing}")])]));
    // What is carried over happens in the very first event.
    let moves = LEGAL.iter().filter(|(from, event, to)| from != to && *event != "carried");
    let every: BTreeSet<_> = moves.map(|&(from, _, to)| (from, to)).collect();
    assert_eq!(taken, every);
}
