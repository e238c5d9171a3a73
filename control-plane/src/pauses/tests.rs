use std::time::Duration;

use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::outcome::{Failure, PAUSED};
use mainstay_kernel::time::Wall;
use mainstay_store::{Blobs, MemoryStore};
use tokio::task::JoinHandle;

use super::*;
use crate::dispatch::{Call, Report};
use crate::testbed::{Act, Bed, Stub, answer, call, name, registration, settle, until};

const READ: EffectClass = EffectClass::ReadOnly;

fn entry(target: &str) -> Pause {
    Pause {
        target: target.parse().unwrap(),
        reason: "upgrade".to_owned(),
        by: "ops".to_owned(),
        since: Wall::from_millis(1),
    }
}

async fn pause(bed: &Bed, target: &str) {
    bed.registry.pause(&name("default"), entry(target)).await.unwrap();
}

async fn resume(bed: &Bed, target: &str) {
    bed.registry.resume(&name("default"), &target.parse().unwrap(), "ops").await.unwrap();
}

/// A call that serves a step, so that it waits.
fn of_a_run(bed: &Bed, key: u8) -> Call {
    let run = mainstay_kernel::id::RunId::from_bytes([key; 16]);
    Call { step: Some((run, "draft".to_owned())), ..call(bed, "work", key) }
}

fn spawn(bed: &Bed, call: Call) -> JoinHandle<Report> {
    let dispatch = bed.dispatch.clone();
    tokio::spawn(async move { dispatch.call(call).await })
}

fn waiting(bed: &Bed, key: u8) -> Option<String> {
    bed.dispatch.waiting(mainstay_kernel::id::RunId::from_bytes([key; 16]), "draft")
}

async fn one() -> (Bed, Stub) {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    bed.admit(&stub, registration("writer", "one", &[("work", READ)])).await;
    (bed, stub)
}

#[tokio::test(start_paused = true)]
async fn each_target_keeps_new_calls_away_until_it_alone_is_resumed() {
    let (bed, stub) = one().await;
    for target in ["tenant/default", "capability/work", "agent/writer", "instance/writer/one"] {
        let before = stub.log().calls.len();
        pause(&bed, target).await;
        let waits = spawn(&bed, of_a_run(&bed, 1));
        until(|| waiting(&bed, 1).is_some()).await;
        assert_eq!(waiting(&bed, 1).unwrap(), format!("paused: upgrade ({target}, by ops)"));
        settle().await;
        assert!(!waits.is_finished() && stub.log().calls.len() == before, "{target}");
        resume(&bed, target).await;
        let report = waits.await.unwrap();
        assert!(report.result.is_ok(), "{report:?}");
        let notes = report.attempts[0].notes.join("; ");
        assert!(notes.contains(&format!("paused: upgrade ({target}, by ops)")), "{notes}");
        assert_eq!(waiting(&bed, 1), None, "the wait is over");
    }
}

#[tokio::test(start_paused = true)]
async fn overlapping_pauses_must_all_be_lifted() {
    let (bed, stub) = one().await;
    pause(&bed, "agent/writer").await;
    pause(&bed, "capability/work").await;
    let waits = spawn(&bed, of_a_run(&bed, 1));
    until(|| waiting(&bed, 1).is_some()).await;
    resume(&bed, "capability/work").await;
    until(|| waiting(&bed, 1).is_some_and(|why| why.contains("agent/writer"))).await;
    assert!(stub.log().calls.is_empty());
    resume(&bed, "agent/writer").await;
    assert!(waits.await.unwrap().result.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_step_waits_until_its_deadline_and_fails_as_paused() {
    let (bed, stub) = one().await;
    pause(&bed, "capability/work").await;
    let began = bed.clock.mono();
    let report = bed.dispatch.call(of_a_run(&bed, 1)).await;
    let Failure { code, message, .. } = report.result.unwrap_err();
    assert_eq!(code, PAUSED);
    assert!(message.contains("paused: upgrade (capability/work"), "{message}");
    assert!(bed.clock.mono() - began >= Duration::from_secs(9), "it waited");
    assert!(stub.log().calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_direct_call_fails_at_once_also_when_it_had_begun_to_wait() {
    let (bed, stub) = one().await;
    pause(&bed, "agent/writer").await;
    let began = bed.clock.mono();
    let failure = bed.dispatch.call(call(&bed, "work", 1)).await.result.unwrap_err();
    assert_eq!((&*failure.code, bed.clock.mono()), (PAUSED, began));
    assert!(failure.retry_after.is_some());
    // One that waits for an instance to appear hears of a pause, too.
    let waits = spawn(&bed, call(&bed, "nobody", 2));
    settle().await;
    pause(&bed, "capability/nobody").await;
    assert_eq!(waits.await.unwrap().result.unwrap_err().code, PAUSED);
    assert!(stub.log().calls.is_empty());
}

#[tokio::test(start_paused = true)]
async fn calls_go_to_whom_no_pause_names() {
    let (bed, stub) = one().await;
    let other = Stub::start().await;
    bed.admit(&other, registration("writer", "two", &[("work", READ)])).await;
    pause(&bed, "instance/writer/one").await;
    for key in 1..20 {
        assert_eq!(bed.dispatch.call(call(&bed, "work", key)).await.attempts[0].instance, "two");
    }
    assert!(stub.log().calls.is_empty());
    // Another tenant's pause of the same names is not ours.
    resume(&bed, "instance/writer/one").await;
    bed.registry.pause(&name("other"), entry("agent/writer")).await.unwrap();
    assert!(bed.dispatch.call(call(&bed, "work", 30)).await.result.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_ends_as_it_would_and_is_counted_until_then() {
    let (bed, stub) = one().await;
    stub.always(Act::Hang);
    let under_way = spawn(&bed, of_a_run(&bed, 1));
    stub.until(|log| log.calls.len() == 1).await;
    pause(&bed, "agent/writer").await;
    let default = name("default");
    for target in ["tenant/default", "capability/work", "agent/writer", "instance/writer/one"] {
        assert_eq!(bed.registry.calls_under_way(&default, &target.parse().unwrap()), 1, "{target}");
    }
    settle().await;
    assert!(!under_way.is_finished() && stub.log().cancelled.is_empty(), "a pause cuts nothing");
    under_way.abort();
    until(|| bed.registry.calls_under_way(&default, &"agent/writer".parse().unwrap()) == 0).await;
}

#[tokio::test(start_paused = true)]
async fn pauses_are_back_after_a_restart_and_resumed_ones_are_not() {
    let (store, blobs) = (MemoryStore::new(), Blobs::in_memory());
    let bed = Bed::over(store.clone(), blobs.clone()).await;
    pause(&bed, "agent/writer").await;
    pause(&bed, "capability/work").await;
    bed.registry.pause(&name("other"), entry("workflow/w")).await.unwrap();
    resume(&bed, "capability/work").await;
    drop(bed);
    let bed = Bed::over(store, blobs).await;
    let all = bed.registry.pauses().all(None);
    let all: Vec<_> = all.iter().map(|(tenant, pause)| format!("{tenant} {pause}")).collect();
    assert_eq!(
        all,
        ["default paused: upgrade (agent/writer, by ops)", "other paused: upgrade (workflow/w, by ops)"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_store_refuses_does_not_hold() {
    let (bed, _stub) = one().await;
    bed.store.fail_commits("full");
    let refused = bed.registry.pause(&name("default"), entry("agent/writer")).await;
    assert!(matches!(refused, Err(PauseError::Commit(_))), "{refused:?}");
    assert!(bed.registry.pauses().all(None).is_empty());
    assert!(bed.dispatch.call(call(&bed, "work", 1)).await.result.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_paused_cannot_be_resumed() {
    let (bed, _stub) = one().await;
    let lifted = bed.registry.resume(&name("default"), &"agent/writer".parse().unwrap(), "").await;
    assert!(matches!(lifted, Err(PauseError::NotPaused(_))));
}

/// A pause that comes between a call's look and its permit: the permit is given back.
#[tokio::test(start_paused = true)]
async fn a_look_that_is_out_of_date_is_noticed() {
    let (bed, _stub) = one().await;
    let default = name("default");
    let pauses = bed.registry.pauses();
    let look = pauses.look(&default);
    assert!(pauses.since(&look, &default).is_none());
    pause(&bed, "agent/writer").await;
    let newer = pauses.since(&look, &default).unwrap();
    assert!(newer.candidate(&name("writer"), &name("one")).is_some());
    assert!(look.candidate(&name("writer"), &name("one")).is_none(), "a look does not change");
}

#[tokio::test(start_paused = true)]
async fn a_paused_workflow_or_tenant_refuses_new_runs_only() {
    let (mut bed, stub) = one().await;
    stub.always(Act::Send(vec![answer("{}")]));
    bed.start_engine().await;
    bed.put("name: w\nversion: 1\nsteps:\n  - { id: a, call: { capability: work } }\n").await;
    let start = |key: Option<&str>| crate::engine::StartRequest {
        tenant: name("default"),
        workflow: name("w"),
        version: None,
        input: mainstay_kernel::json::Json::from(&serde_json::json!({})),
        idempotency_key: key.map(str::to_owned),
        intent: String::new(),
        deadline: None,
        labels: Default::default(),
        retries: mainstay_kernel::retry::Retries::Allowed,
        chain: Default::default(),
        priority: mainstay_kernel::priority::Priority::default(),
    };
    let first = bed.engine.start(start(Some("k"))).await.unwrap();
    for target in ["workflow/w", "tenant/default"] {
        pause(&bed, target).await;
        let refused = bed.engine.start(start(None)).await.unwrap_err();
        assert!(
            matches!(&refused, crate::engine::StartError::Paused(pause) if pause.target.to_string() == target)
        );
        assert_eq!(bed.engine.start(start(Some("k"))).await.unwrap().id, first.id, "not a new run");
        resume(&bed, target).await;
        assert!(bed.engine.start(start(None)).await.unwrap().created);
    }
    let exposition = bed.exposition();
    assert!(exposition.contains("mainstay_paused{kind=\"tenant\"} 0"), "{exposition}");
    pause(&bed, "tenant/default").await;
    assert!(bed.exposition().contains("mainstay_paused{kind=\"tenant\"} 1"));
}
