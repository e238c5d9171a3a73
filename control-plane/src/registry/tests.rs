use std::time::Duration;

use mainstay_kernel::breaker;
use mainstay_kernel::health::{PollFailure, State};
use mainstay_kernel::id::LeaseId;
use mainstay_kernel::json::Json;
use mainstay_kernel::lease::RESTART_GRACE;
use mainstay_kernel::outcome::Class;
use mainstay_store::{Batch, CommitError, MemoryStore};
use serde_json::json;

use super::*;
use crate::engine;
use crate::records::instance as record;
use crate::testbed::{Bed, name, registration, settle, until};

mod breakers;
mod resolve;
mod siblings;

const READ: &[(&str, EffectClass)] = &[("text.echo", EffectClass::ReadOnly)];

fn echo(instance: &str) -> Registration {
    registration("echo", instance, READ)
}

fn at(registration: Registration, port: u16) -> Registration {
    Registration { address: format!("http://127.0.0.1:{port}"), ..registration }
}

fn candidates(bed: &Bed, capability: &str) -> usize {
    bed.registry.route(&name("default"), &name(capability)).candidates().len()
}

/// What is on disk of an instance, decoded as the next start will.
async fn restarted(bed: &Bed) -> Bed {
    Bed::over(bed.store.clone(), Blobs::in_memory()).await
}

#[tokio::test(start_paused = true)]
async fn a_registration_is_in_routing_and_on_disk_when_it_is_acknowledged() {
    let bed = Bed::new().await;
    let granted = bed.registry.register(echo("a")).await.unwrap();
    assert_eq!((granted.epoch, candidates(&bed, "text.echo")), (1, 1));
    let key = record::key("default", granted.id);
    assert!(bed.store.get(&key).unwrap().is_some());
    assert!(bed.registry.was_ever_registered(&name("default"), &name("text.echo")));
}

#[tokio::test(start_paused = true)]
async fn a_refused_registration_changes_nothing() {
    let config = Config { max_instances: 1, ..Config::default() };
    let bed = Bed::with(MemoryStore::new(), Blobs::in_memory(), Default::default(), config).await;
    let granted = bed.registry.register(echo("a")).await.unwrap();
    let key = record::key("default", granted.id);
    let before = bed.store.get(&key).unwrap();

    let refused = |registration: Registration| {
        let registry = bed.registry.clone();
        async move { registry.register(registration).await.unwrap_err() }
    };
    let held = refused(at(echo("a"), 10)).await;
    assert!(matches!(&held, RegisterError::Held { holder, .. } if holder == "http://127.0.0.1:9"), "{held}");
    let stolen = Registration { lease: Some(granted.lease), ..echo("b") };
    assert!(matches!(refused(stolen).await, RegisterError::NotYours));
    assert!(matches!(refused(echo("b")).await, RegisterError::Full { known: 1 }));
    let outside = Registration { address: "http://10.0.0.1:80".to_owned(), ..echo("a") };
    assert!(matches!(refused(outside).await, RegisterError::Address(_)));
    let mut bad = echo("a");
    bad.spec.capabilities[0].output_schema = Json::from(&json!({"type": 7}));
    let bad = refused(bad).await;
    assert!(matches!(bad, RegisterError::Schema { index: 0, field: "output_schema", .. }), "{bad}");

    assert_eq!(bed.store.get(&key).unwrap(), before);
    assert_eq!((candidates(&bed, "text.echo"), bed.registry.live_instances()), (1, 1));
    assert!(bed.registry.renew(granted.lease, Some(granted.id)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn registering_again_takes_over_with_the_next_epoch_and_the_breakers_as_they_were() {
    let bed = Bed::new().await;
    let first = bed.registry.register(echo("a")).await.unwrap();
    let lane = Arc::clone(bed.registry.instance(first.id).unwrap().lane("text.echo").unwrap());
    let tripped = lane.lock().breaker_mut().trip("by hand".to_owned(), bed.clock.mono());
    assert_eq!(tripped.to, breaker::State::Open);
    let moved = Registration { lease: Some(first.lease), ..at(echo("a"), 10) };
    let second = bed.registry.register(moved).await.unwrap();

    assert_eq!((second.id, second.epoch), (first.id, 2));
    let instance = bed.registry.instance(first.id).unwrap();
    let state = instance.lane("text.echo").unwrap().lock().breaker().snapshot(bed.clock.now()).state;
    assert_eq!((state, instance.address.as_str()), (breaker::State::Open, "http://127.0.0.1:10"));
    assert!(matches!(bed.registry.renew(first.lease, None), Err(LeaseError::Unknown)));
    assert!(bed.registry.renew(second.lease, Some(second.id)).is_ok());
    assert_eq!(candidates(&bed, "text.echo"), 1);
}

#[tokio::test(start_paused = true)]
async fn who_knocks_with_the_lease_it_holds_stays_in_routing_and_a_new_process_proves_itself_first() {
    let bed = Bed::new().await;
    let first = bed.registry.register(echo("a")).await.unwrap();
    bed.healthy(first.id);
    let again = bed.registry.register(Registration { lease: Some(first.lease), ..echo("a") }).await.unwrap();
    let state = |granted: Registered| bed.registry.instance(granted.id).unwrap().verdict().state;
    assert_eq!(state(again), State::Healthy);
    let anew = bed.registry.register(echo("a")).await.unwrap();
    assert_eq!(state(anew), State::Unknown);
    assert_eq!(anew.epoch, 3);
}

#[tokio::test(start_paused = true)]
async fn a_capability_that_is_no_longer_offered_leaves_routing() {
    let bed = Bed::new().await;
    let both = [("text.echo", EffectClass::ReadOnly), ("text.shout", EffectClass::ReadOnly)];
    bed.registry.register(registration("echo", "a", &both)).await.unwrap();
    bed.registry.register(echo("a")).await.unwrap();
    assert_eq!((candidates(&bed, "text.echo"), candidates(&bed, "text.shout")), (1, 0));
    assert!(!bed.registry.was_ever_registered(&name("default"), &name("text.shout")));
}

#[tokio::test(start_paused = true)]
async fn of_two_that_register_one_identity_at_once_memory_and_disk_keep_the_same_one() {
    let bed = Bed::new().await;
    bed.store.hold_commits();
    let registering: Vec<_> = [1000, 1001]
        .map(|port| {
            let registry = bed.registry.clone();
            tokio::spawn(async move { registry.register(at(echo("a"), port)).await })
        })
        .into();
    until(|| bed.store.stats().queued > 0).await;
    settle().await;
    assert_eq!(bed.store.stats().queued, 1, "the other waits for its turn");
    bed.store.release_commits();
    let mut granted = Vec::new();
    for registering in registering {
        granted.extend(registering.await.unwrap());
    }
    let [granted] = granted[..] else { panic!("{} were granted the name", granted.len()) };
    let here = bed.registry.instance(granted.id).unwrap();
    let there = restarted(&bed).await.registry.instance(granted.id).unwrap();
    assert_eq!((&here.address, here.epoch), (&there.address, there.epoch));
    assert!(bed.registry.renew(granted.lease, Some(granted.id)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_in_the_middle_leaves_memory_and_disk_agreeing() {
    let bed = Bed::new().await;
    bed.store.hold_commits();
    let registry = bed.registry.clone();
    let client = tokio::spawn(async move { registry.register(echo("a")).await });
    until(|| bed.store.stats().queued == 1).await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    assert_eq!(bed.registry.live_instances(), 0);
    bed.store.release_commits();
    until(|| bed.registry.live_instances() == 1).await;
    assert_eq!((bed.registry.live_instances(), candidates(&bed, "text.echo")), (1, 1));
    assert_eq!(restarted(&bed).await.registry.live_instances(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_disk_did_not_take_is_not_in_routing() {
    let bed = Bed::new().await;
    bed.store.hold_commits();
    let registry = bed.registry.clone();
    let client = tokio::spawn(async move { registry.register(echo("a")).await });
    until(|| bed.store.stats().queued == 1).await;
    bed.store.fail_commits("planted");
    let error = client.await.unwrap().unwrap_err();
    assert!(matches!(error, RegisterError::Commit(CommitError::Unknown { .. })), "{error}");
    let error = bed.registry.register(echo("a")).await.unwrap_err();
    assert!(matches!(error, RegisterError::Commit(CommitError::ReadOnly { .. })), "{error}");
    assert_eq!((bed.registry.live_instances(), candidates(&bed, "text.echo")), (0, 0));
    bed.store.heal();
    assert_eq!(bed.registry.register(echo("a")).await.unwrap().epoch, 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_holder_leaves_routing_stays_as_history_and_the_lapse_is_on_disk() {
    let mut bed = Bed::new().await;
    tokio::spawn(bed.registry_service.take().unwrap().run());
    let granted = bed.registry.register(echo("a")).await.unwrap();
    bed.healthy(granted.id);
    let mut changes = bed.registry.watch();
    let granted_at = bed.clock.mono();
    while bed.registry.live_instances() == 1 {
        changes.recv().await.unwrap();
    }
    let silent = bed.clock.mono() - granted_at;
    assert!(silent >= Ttl::DEFAULT.as_duration() && silent <= Ttl::DEFAULT.as_duration() + 2 * SWEEP);
    assert_eq!(candidates(&bed, "text.echo"), 0);
    let instance = bed.registry.instance(granted.id).unwrap();
    assert_eq!((instance.verdict().state, instance.is_leased()), (State::Unhealthy, false));
    assert_eq!(instance.poll_due(), None);
    assert_eq!(bed.registry.route(&name("default"), &name("text.echo")).everyone().len(), 1);
    assert!(matches!(bed.registry.renew(granted.lease, None), Err(LeaseError::Unknown)));

    settle().await;
    let next = restarted(&bed).await;
    assert_eq!((next.registry.live_instances(), candidates(&next, "text.echo")), (0, 0));
    assert!(next.registry.agent(&name("default"), &name("echo")).is_some(), "history survives");
}

#[tokio::test(start_paused = true)]
async fn one_that_renews_does_not_lapse() {
    let mut bed = Bed::new().await;
    tokio::spawn(bed.registry_service.take().unwrap().run());
    let granted = bed.registry.register(echo("a")).await.unwrap();
    for _ in 0..20 {
        tokio::time::advance(Ttl::DEFAULT.renewal_interval()).await;
        settle().await;
        bed.registry.renew(granted.lease, Some(granted.id)).unwrap();
    }
    assert_eq!(candidates(&bed, "text.echo"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_farewell_to_an_old_registration_does_not_take_out_the_new_one() {
    let bed = Bed::new().await;
    let first = bed.registry.register(echo("a")).await.unwrap();
    let old = bed.registry.instance(first.id).unwrap();
    bed.registry.register(echo("a")).await.unwrap();
    // The sweep found the old one lapsed just before it was replaced.
    assert!(!leases::end(&bed.registry, &old));
    leases::forget(&bed.registry, &old).await;
    assert_eq!((candidates(&bed, "text.echo"), bed.registry.live_instances()), (1, 1));
    assert_eq!(restarted(&bed).await.registry.live_instances(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_given_back_is_over_in_memory_and_on_disk() {
    let bed = Bed::new().await;
    let (a, b) = (echo("a"), echo("b"));
    let (a, b) = (bed.registry.register(a).await.unwrap(), bed.registry.register(b).await.unwrap());
    let wrong = bed.registry.deregister(a.lease, Some(b.id), "").await;
    assert!(matches!(wrong, Err(LeaseError::NotYours)));
    bed.registry.deregister(a.lease, Some(a.id), "done").await.unwrap();
    assert_eq!((candidates(&bed, "text.echo"), restarted(&bed).await.registry.live_instances()), (1, 1));
    assert!(matches!(bed.registry.deregister(a.lease, None, "").await, Err(LeaseError::Unknown)));
    assert_eq!(bed.registry.register(echo("a")).await.unwrap().epoch, 2);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_leases_hold_under_their_old_ids_with_a_grace() {
    let bed = Bed::new().await;
    let granted = bed.registry.register(echo("a")).await.unwrap();
    let mut next = restarted(&bed).await;
    tokio::spawn(next.registry_service.take().unwrap().run());
    tokio::time::advance(RESTART_GRACE).await;
    settle().await;
    assert_eq!(candidates(&next, "text.echo"), 1);
    assert!(next.registry.renew(granted.lease, Some(granted.id)).is_ok());
    let instance = next.registry.instance(granted.id).unwrap();
    assert_eq!((instance.epoch, instance.verdict().state), (1, State::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_registration_hides_no_other_and_is_replaced_by_the_next() {
    let bed = Bed::new().await;
    let a = bed.registry.register(Registration { tenant: name("acme"), ..echo("a") }).await.unwrap();
    let b = bed.registry.register(Registration { tenant: name("beta"), ..echo("b") }).await.unwrap();
    bed.store.damage(&record::key("acme", a.id));
    let next = restarted(&bed).await;
    assert!(next.registry.instance(a.id).is_none());
    assert!(next.registry.instance(b.id).is_some(), "the tenant behind the damage is read");
    next.registry.register(Registration { tenant: name("acme"), ..echo("a") }).await.unwrap();
    assert!(restarted(&bed).await.registry.instance(a.id).is_some());
}

#[tokio::test(start_paused = true)]
async fn history_is_forgotten_after_a_week_and_its_names_with_it() {
    let mut bed = Bed::new().await;
    tokio::spawn(bed.registry_service.take().unwrap().run());
    let granted = bed.registry.register(echo("a")).await.unwrap();
    bed.registry.deregister(granted.lease, None, "").await.unwrap();
    let mut changes = bed.registry.watch();
    tokio::time::advance(HISTORY + Duration::from_secs(1)).await;
    changes.recv().await.unwrap();
    assert!(bed.registry.instance(granted.id).is_none());
    assert!(bed.registry.agent(&name("default"), &name("echo")).is_none());
    assert!(bed.registry.0.routes.get(&name("default"), &name("text.echo")).is_none());
    assert_eq!(bed.store.get(&record::key("default", granted.id)).unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn many_registrations_cost_one_rebuild_of_a_route() {
    let bed = Bed::new().await;
    let route = bed.registry.route(&name("default"), &name("text.echo"));
    for n in 0..100 {
        bed.registry.register(echo(&format!("i{n}"))).await.unwrap();
    }
    let snapshot = route.candidates();
    assert_eq!(snapshot.len(), 100);
    assert!(Arc::ptr_eq(&snapshot, &route.candidates()), "calls share what one of them built");
    bed.registry.register(echo("one-more")).await.unwrap();
    assert_eq!(route.candidates().len(), 101);
}

#[tokio::test(start_paused = true)]
async fn evidence_that_changes_nothing_wakes_nobody() {
    let bed = Bed::new().await;
    let granted = bed.registry.register(echo("a")).await.unwrap();
    bed.healthy(granted.id);
    let mut changes = bed.registry.watch();
    let instance = bed.registry.instance(granted.id).unwrap();
    bed.registry.observe(&instance, Evidence::PollPassed);
    bed.registry.observe(&instance, Evidence::Call(Class::Success));
    bed.registry.observe(&instance, Evidence::PollFailed(PollFailure::TimedOut));
    assert!(changes.try_recv().is_err());
    bed.registry.observe(&instance, Evidence::PollFailed(PollFailure::TimedOut));
    bed.registry.observe(&instance, Evidence::PollFailed(PollFailure::TimedOut));
    assert_eq!(changes.try_recv().unwrap(), (name("default"), name("echo")));
}

#[tokio::test(start_paused = true)]
async fn an_agent_lists_after_a_name_and_only_of_its_tenant() {
    let bed = Bed::new().await;
    for (tenant, agent) in [("acme", "x"), ("default", "a"), ("default", "b"), ("zeta", "y")] {
        let registration = registration(agent, "i", READ);
        bed.registry.register(Registration { tenant: name(tenant), ..registration }).await.unwrap();
    }
    let names = |after: Option<&Name>, limit| {
        let agents = bed.registry.agents(&name("default"), after, limit);
        agents.iter().map(|agent| agent.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 9), ["a", "b"]);
    assert_eq!(names(None, 1), ["a"]);
    assert_eq!(names(Some(&name("a")), 9), ["b"]);
    assert!(names(Some(&name("b")), 9).is_empty());
    assert!(bed.registry.agents(&name("nobody"), None, 9).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_lease_is_refused_whatever_is_claimed() {
    let bed = Bed::new().await;
    let granted = bed.registry.register(echo("a")).await.unwrap();
    let unknown = LeaseId::from_bytes([9; 16]);
    assert!(matches!(bed.registry.renew(unknown, Some(granted.id)), Err(LeaseError::Unknown)));
    let stranger = InstanceId::from_bytes([9; 16]);
    assert!(matches!(bed.registry.renew(granted.lease, Some(stranger)), Err(LeaseError::NotYours)));
    let deleted = bed.store.commit(Batch::new().delete(record::key("default", granted.id)));
    deleted.await.unwrap();
    assert!(bed.registry.deregister(granted.lease, None, "").await.is_ok(), "nothing on disk to end");
}
