use std::sync::atomic::Ordering::Relaxed;

use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::hedge::Policy;
use mainstay_kernel::outcome::{Began, Class};
use mainstay_kernel::rollout::Phase;
use mainstay_store::Blobs;

use super::*;
use crate::dispatch::{Call, Report};
use crate::registry::Registration;
use crate::testbed::{Act, Bed, Stub, answer, call, failure, name, registration, settle, until};

const READ: EffectClass = EffectClass::ReadOnly;

/// A rollout of agent `a` from version 1 to 2.
fn document(lines: &str) -> String {
    format!("name: r\nversion: 1\nagent: a\nstable: \"1\"\ncandidate: \"2\"\nsticky: intent\n{lines}\n")
}

fn of(version: &str, effect: EffectClass) -> Registration {
    let mut registration = registration("a", &format!("v{version}"), &[("work", effect)]);
    registration.spec.version = version.to_owned();
    registration.spec.capabilities[0].max_concurrency = 64;
    // The comparison is to notice by itself.
    for (setting, value) in [("in_a_row", "100"), ("min_calls", "1000")] {
        registration.spec.capabilities[0].breaker.set(setting, value).unwrap();
    }
    registration
}

/// A stub of each version; they answer with theirs.
async fn versions(bed: &Bed, effect: EffectClass) -> [Stub; 2] {
    let stubs = [Stub::start().await, Stub::start().await];
    for (stub, version) in stubs.iter().zip(["1", "2"]) {
        stub.always(Act::Send(vec![answer(version)]));
        bed.admit(stub, of(version, effect)).await;
    }
    stubs
}

async fn put(bed: &Bed, lines: &str) -> Arc<Trial> {
    bed.rollouts.put(&name("default"), &document(lines), "olga", &bed.registry).await.unwrap().trial
}

async fn send(bed: &Bed, intent: &str) -> Report {
    // Keys of their own: the intent is what is sticky.
    bed.dispatch
        .call(Call { intent: intent.into(), key: bed.clock.id().into(), ..call(bed, "work", 1) })
        .await
}

fn version(report: &Report) -> &str {
    &report.attempts[0].version
}

#[tokio::test(start_paused = true)]
async fn calls_are_divided_by_key_and_the_record_says_why() {
    let bed = Bed::new().await;
    let _stubs = versions(&bed, READ).await;
    put(&bed, "weight: 30%").await;
    let mut candidates = 0;
    for n in 0..60 {
        let (first, again) = (send(&bed, &format!("i{n}")).await, send(&bed, &format!("i{n}")).await);
        assert_eq!(version(&first), version(&again), "the same key stays with its version");
        assert_eq!(first.result.unwrap().output.as_str(), version(&again));
        let side = if version(&again) == "2" { "candidate" } else { "stable" };
        assert!(first.attempts[0].notes[0].starts_with(&format!("rollout r: {} ({side})", version(&again))));
        candidates += usize::from(side == "candidate");
    }
    assert!((6..32).contains(&candidates), "{candidates} of 60");
    let text = bed.exposition();
    assert!(text.contains("mainstay_rollout_weight_basis_points{rollout=\"r\"} 3000"), "{text}");
    assert!(
        text.contains("mainstay_version_calls_total{rollout=\"r\",side=\"candidate\",class=\"success\"}"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_stable_version_takes_what_the_candidate_cannot_and_never_the_other_way_round() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    bed.admit(&stub, of("1", READ)).await;
    put(&bed, "weight: 100%").await;
    let report = send(&bed, "x").await;
    assert_eq!(version(&report), "1");
    let why = "rollout r: 1 (stable), because no instance of 2 could take it";
    assert_eq!(report.attempts[0].notes[0], why);

    let bed = Bed::new().await;
    bed.admit(&stub, of("2", READ)).await;
    put(&bed, "weight: 0%").await;
    assert_eq!(send(&bed, "x").await.result.unwrap_err().code, "NO_INSTANCE");
    let both = document("weight: 0%\nfallback: both").replace("version: 1", "version: 2");
    bed.rollouts.put(&name("default"), &both, "", &bed.registry).await.unwrap();
    assert_eq!(version(&send(&bed, "x").await), "2");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_no_document_names_is_asked_last() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    bed.admit(&stub, of("3", READ)).await;
    put(&bed, "weight: 50%").await;
    let report = send(&bed, "x").await;
    assert_eq!(version(&report), "3");
    assert!(report.attempts[0].notes[0].contains("which it does not name"), "{report:?}");
    let _stubs = versions(&bed, READ).await;
    for n in 0..20 {
        assert_ne!(version(&send(&bed, &format!("i{n}")).await), "3");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_candidate_is_rolled_back_and_stays_so_over_a_restart() {
    let bed = Bed::new().await;
    let [_stable, bad] = versions(&bed, READ).await;
    bad.always(Act::Send(vec![failure(Class::AgentError, Began::Yes)]));
    let trial = put(&bed, "weight: 50%\nroll_back: { breaker: false }").await;
    let mut calls = 0;
    while trial.status().phase != Phase::RolledBack {
        calls += 1;
        assert!(calls < 400, "it should have been noticed: {trial:?}");
        drop(send(&bed, &format!("i{calls}")).await);
    }
    let seen = bad.log().calls.len();
    for n in 0..50 {
        assert!(send(&bed, &format!("j{n}")).await.result.is_ok());
    }
    assert_eq!(bad.log().calls.len(), seen, "the candidate gets no calls any more");

    let again = Bed::over(bed.store.clone(), Blobs::in_memory()).await;
    assert!(
        again.rollouts.get(&name("default"), &name("r")).is_none(),
        "without its document it divides nothing"
    );
    let again = Bed::over(bed.store.clone(), bed.blobs.clone()).await;
    let trial = again.rollouts.get(&name("default"), &name("r")).unwrap();
    assert_eq!((trial.status().phase, trial.weight_bp()), (Phase::RolledBack, 0));
    let reasons: Vec<String> = trial.history().iter().map(|change| change.reason.to_string()).collect();
    assert!(reasons[0].contains("was put") && reasons[1].starts_with("the candidate failed"), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn a_good_candidate_climbs_the_ladder_to_the_end() {
    let bed = Bed::new().await;
    let _stubs = versions(&bed, READ).await;
    let ladder = "steps: [{ weight: 50%, samples: 20, for: 10s }, { weight: 100%, samples: 20, for: 10s }]";
    let trial = put(&bed, ladder).await;
    for n in 0..300 {
        drop(send(&bed, &format!("i{n}")).await);
        tokio::time::advance(Duration::from_millis(200)).await;
    }
    assert_eq!(trial.status().phase, Phase::Promoted, "{}", trial.awaited(bed.clock.mono()));
    assert_eq!(trial.history().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn copies_never_change_an_answer_and_are_compared_with_it() {
    let bed = Bed::new().await;
    let [stable, candidate] = versions(&bed, READ).await;
    let trial = put(&bed, "weight: 0%\nshadow: 100%").await;
    for n in 0..10 {
        assert_eq!(send(&bed, &format!("i{n}")).await.result.unwrap().output.as_str(), "1");
    }
    until(|| trial.shadowed.different.load(Relaxed) == 10).await;
    assert_eq!((stable.log().calls.len(), candidate.log().calls.len()), (10, 10));
    candidate.always(Act::Hang);
    assert_eq!(send(&bed, "slow").await.result.unwrap().output.as_str(), "1", "nobody waits for a copy");
    assert_eq!(trial.tally(Side::Candidate).ended, 0, "copies are no evidence of calls");
}

#[tokio::test(start_paused = true)]
async fn what_versions_are_compared_by_is_not_hedged() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    stub.always(Act::Hang);
    for (instance, version) in [("one", "1"), ("two", "1"), ("new", "2")] {
        let mut offer = Registration { instance: name(instance), ..of(version, READ) };
        offer.spec.capabilities[0].hedge = Policy::read("300ms", None, None).ok();
        bed.admit(&stub, offer).await;
    }
    let trial = put(&bed, "weight: 50%").await;
    assert_eq!(send(&bed, "x").await.attempts.len(), 1);
    let (tenant, rollout) = (name("default"), name("r"));
    bed.rollouts.turn(&tenant, &rollout, Hand::RollBack, "enough".into(), "olga").await.unwrap();
    assert!(trial.status().phase.is_over());
    assert_eq!(send(&bed, "x").await.attempts.len(), 2, "nothing is compared any more");
}

#[tokio::test(start_paused = true)]
async fn nothing_that_may_change_the_world_is_copied() {
    for effect in [EffectClass::Idempotent, EffectClass::SideEffecting] {
        let bed = Bed::new().await;
        let [_stable, candidate] = versions(&bed, effect).await;
        put(&bed, "weight: 0%\nshadow: 100%").await;
        for n in 0..20 {
            let report = send(&bed, &format!("i{n}")).await;
            assert!(report.result.is_ok(), "{report:?}");
        }
        settle().await;
        assert_eq!(candidate.log().calls.len(), 0, "{effect:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_candidate_whose_contract_breaks_the_stable_one_s_is_refused() {
    let bed = Bed::new().await;
    let stub = Stub::start().await;
    bed.admit(&stub, of("1", READ)).await;
    let mut strict = of("2", READ);
    let schema = serde_json::json!({"type": "object", "required": ["tone"]});
    strict.spec.capabilities[0].input_schema = mainstay_kernel::json::Json::from(&schema);
    bed.admit(&stub, strict).await;
    let refused =
        bed.rollouts.put(&name("default"), &document("weight: 5%"), "", &bed.registry).await.unwrap_err();
    assert!(refused.to_string().contains("must have `tone`"), "{refused}");
    assert!(bed.rollouts.list(&name("default")).is_empty(), "nothing changed");
}

#[tokio::test(start_paused = true)]
async fn a_document_is_put_once_and_overlaps_with_no_other() {
    let bed = Bed::new().await;
    let tenant = name("default");
    let put = async |text: String| bed.rollouts.put(&tenant, &text, "", &bed.registry).await;
    let first = put(document("weight: 5%")).await.unwrap();
    assert!(first.created && first.notes.len() == 2, "{:?}", first.notes);
    assert!(!put(document("weight: 5%")).await.unwrap().created);
    assert!(matches!(put(document("weight: 6%")).await, Err(PutError::Document(_))));
    let other = document("weight: 5%").replace("name: r", "name: s");
    assert!(matches!(put(other.clone()).await, Err(PutError::Overlaps { .. })));
    assert!(put(other.replace("agent: a", "agent: b")).await.unwrap().created);
    let newer = put(document("weight: 6%").replace("version: 1", "version: 2")).await.unwrap();
    assert_eq!(newer.trial.history().len(), 2, "the history goes on");
    assert!(matches!(put(document("weight: 5%")).await, Err(PutError::Older { version: 2, .. })));
}

#[tokio::test(start_paused = true)]
async fn a_person_s_word_is_on_record_with_the_name_and_the_reason() {
    let bed = Bed::new().await;
    let tenant = name("default");
    put(&bed, "weight: 5%").await;
    let turn = async |hand| bed.rollouts.turn(&tenant, &name("r"), hand, "because".into(), "olga").await;
    assert!(matches!(turn(Hand::Pause).await, Err(TurnError::Refused(Refusal::Held))));
    assert_eq!(turn(Hand::RollBack).await.unwrap().weight_bp(), 0);
    assert!(matches!(
        turn(Hand::Promote { fully: true }).await,
        Err(TurnError::Refused(Refusal::RolledBack))
    ));
    let missing = bed.rollouts.turn(&tenant, &name("q"), Hand::Pause, String::new(), "").await;
    assert!(matches!(missing, Err(TurnError::NotFound(_))));
    let again = Bed::over(bed.store.clone(), bed.blobs.clone()).await;
    let newest = again.rollouts.get(&tenant, &name("r")).unwrap().newest();
    assert_eq!((&*newest.by, newest.reason.to_string()), ("olga", "rolled back by hand: because".into()));
    until(|| {
        bed.events.list(&events::Filter { kind: "rollout".into(), ..Default::default() }, None, 9).len() == 2
    })
    .await;
}
