//! Rules of steps that grow while a run goes on.

use std::sync::Arc;

use serde_json::json;

use super::rules::say;
use super::world::{RUN, World, answer, id, list, name, part, plan, text};
use crate::json::Json;
use crate::run::{Attempt, Event, FoldError, Graft, MAX_GRAFTED, Run};
use crate::workflow::{Call, StepId, Work};

/// A step that goes over a list, opened and not grown yet.
fn opened() -> Run {
    let mut run =
        World::new(plan(vec![part("find", &[]), part("each", &["find"]).over(list(json!([1, 2])))])).run;
    say(&mut run, vec![done("find")]).unwrap();
    let opened = Event::StepOpened { step: id("each"), input: text("[1,2]"), until: None, rounds: None };
    say(&mut run, vec![opened]).unwrap();
    run
}

fn done(step: &str) -> Event {
    Event::StepCompleted { step: path(step), answer: answer("1").into(), attempts: Vec::new() }
}

fn path(step: &str) -> StepId {
    StepId::path(step).unwrap()
}

fn grows(step: &str, grafts: &[(&str, &[&str])]) -> Event {
    let work = Work::Call(Call::of(name("do.it")));
    let graft = |(id, after): &(&str, &[&str])| Graft {
        id: path(id),
        work: work.clone(),
        after: after.iter().map(|id| path(id)).collect(),
        input: text("1"),
        optional: false,
    };
    Event::StepsGrafted { step: path(step), grafts: grafts.iter().map(graft).map(Arc::new).collect() }
}

#[test]
fn steps_grow_only_in_one_that_gathers_under_a_name_of_their_own_beside_those_they_wait_for() {
    let refused = |events: Vec<Event>| say(&mut opened(), events).unwrap_err();
    let cannot = |step: &str| FoldError::Graft { step: path(step) };
    assert_eq!(refused(vec![grows("each", &[("find/0", &[])])]), cannot("find/0"), "inside another");
    assert_eq!(refused(vec![grows("each", &[("each/0/1", &[])])]), cannot("each/0/1"), "too deep");
    assert_eq!(refused(vec![grows("each", &[("each/0", &[]), ("each/0", &[])])]), cannot("each/0"), "twice");
    assert_eq!(refused(vec![grows("each", &[("each/0", &["find"])])]), cannot("each/0"), "not beside it");
    assert_eq!(refused(vec![grows("each", &[("each/0", &["each/1"])])]), cannot("each/0"), "not there yet");
    assert!(matches!(refused(vec![grows("find", &[("find/0", &[])])]), FoldError::Illegal { .. }));
    let many: Vec<String> = (0..=MAX_GRAFTED).map(|n| format!("each/{n}")).collect();
    let many: Vec<(&str, &[&str])> = many.iter().map(|id| (id.as_str(), &[][..])).collect();
    assert_eq!(refused(vec![grows("each", &many)]), cannot("each/1000"));
    say(&mut opened(), vec![grows("each", &many[1..])]).unwrap();
}

#[test]
fn what_grew_waits_for_what_it_stands_after_and_is_given_its_input_once() {
    let mut run = opened();
    say(&mut run, vec![grows("each", &[("each/0", &[]), ("each/1", &["each/0"])])]).unwrap();
    let starts = |step: &str, input: Option<Json>| Event::StepStarted {
        step: path(step),
        attempt: Attempt::first(RUN, step),
        input,
    };
    assert_eq!(
        say(&mut run, vec![starts("each/1", None)]),
        Err(FoldError::TooEarly { step: path("each/1") })
    );
    assert_eq!(
        say(&mut run, vec![starts("each/0", Some(text("1")))]),
        Err(FoldError::WrongInput { step: path("each/0") })
    );
    assert_eq!(say(&mut run, vec![done("each")]), Err(FoldError::OpenInside { step: path("each") }));
    say(&mut run, vec![starts("each/0", None), done("each/0"), starts("each/1", None)]).unwrap();
    assert_eq!(run.step("each/1").unwrap().1.input, Some(text("1")));
    say(&mut run, vec![done("each/1"), done("each")]).unwrap();
}
