//! Which workflows may run each other.

use std::sync::Arc;

use crate::workflow::{LinkError, Linked, MAX_SUB_DEPTH, Sub, Workflow};

fn workflow(name: &str, version: u32, runs: &[&str]) -> Arc<Workflow> {
    let own = "- {id: own, call: {capability: c}}".to_owned();
    let sub = |(at, of): (usize, &&str)| format!("- {{id: s{at}, sub: {{workflow: {of}}}}}");
    let steps: Vec<String> = std::iter::once(own).chain(runs.iter().enumerate().map(sub)).collect();
    let text = format!("name: {name}\nversion: {version}\nsteps:\n{}\n", steps.join("\n"));
    Arc::new(Workflow::parse(&text).unwrap_or_else(|problems| panic!("{problems:#?}")))
}

fn link(known: &[Arc<Workflow>]) -> Result<Linked, LinkError<&'static str>> {
    Linked::new(Arc::clone(&known[0]), |sub: &Sub| {
        let called = known.iter().filter(|workflow| *workflow.name() == sub.workflow);
        called.max_by_key(|workflow| workflow.version()).cloned().ok_or("it is not stored")
    })
}

fn says(known: &[Arc<Workflow>]) -> String {
    link(known).unwrap_err().to_string()
}

#[test]
fn each_is_found_once_and_the_newest_is_meant_where_no_version_is_named() {
    let known = [
        workflow("top", 1, &["left", "right"]),
        workflow("left", 1, &["leaf"]),
        workflow("right", 1, &["leaf"]),
        workflow("leaf", 1, &[]),
        workflow("leaf", 2, &[]),
    ];
    let linked = link(&known).unwrap();
    let names: Vec<String> = linked.subs().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["left v1", "leaf v2", "right v1"]);
    let mut sub = linked.subs()[0].steps()[1].kind.subs()[0].clone();
    assert_eq!(linked.find(&sub).unwrap().version(), 2);
    sub.version = Some(1);
    assert!(linked.find(&sub).is_none(), "not the one the run is pinned to");
}

#[test]
fn one_that_runs_itself_however_far_is_refused_with_the_circle() {
    let known = [workflow("a", 1, &["b"]), workflow("b", 1, &["c"]), workflow("c", 1, &["a"])];
    assert_eq!(says(&known), "workflows run each other in a circle: a → b → c → a");
    assert_eq!(says(&[workflow("a", 1, &["a"])]), "workflows run each other in a circle: a → a");
}

#[test]
fn one_that_is_not_there_is_named_with_the_step_that_runs_it() {
    let known = [workflow("a", 1, &["b"]), workflow("b", 4, &["ghost"])];
    assert_eq!(says(&known), "step `s0` of b v4 runs workflow `ghost`, and it is not stored");
}

#[test]
fn they_lie_so_deep_and_are_so_many_and_no_more() {
    let names = ["a", "b", "c", "d", "e"];
    let chain = |deep: usize| -> Vec<Arc<Workflow>> {
        (0..=deep)
            .map(|at| workflow(names[at], 1, if at < deep { &names[at + 1..=at + 1] } else { &[] }))
            .collect()
    };
    assert!(link(&chain(MAX_SUB_DEPTH)).is_ok());
    assert!(matches!(link(&chain(MAX_SUB_DEPTH + 1)), Err(LinkError::TooDeep(path)) if path.len() == 5));

    // Ten times ten times ten: a small tree of names, and no run could hold what it grows to.
    let wide = [
        workflow("a", 1, &["b"; 10]),
        workflow("b", 1, &["c"; 10]),
        workflow("c", 1, &["d"; 10]),
        workflow("d", 1, &[]),
    ];
    assert!(matches!(link(&wide), Err(LinkError::TooLarge { .. })));
}
