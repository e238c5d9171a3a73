//! What the control plane decided lately: kept across its death, told in order, asked for by name.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_tests::wait::until;
use mainstay_tests::world::World;

async fn list(world: &World, filter: pb::EventFilter) -> Vec<pb::Event> {
    let request = pb::ListEventsRequest { filter: Some(filter), ..Default::default() };
    world.operations().list_events(request).await.unwrap().into_inner().events
}

fn kind(kind: &str) -> pb::EventFilter {
    pb::EventFilter { kind: kind.into(), ..Default::default() }
}

async fn turn(world: &World, agent: &str, reason: &str) {
    let breakers = Some(pb::BreakerSelector { agent: agent.into(), ..Default::default() });
    let request = pb::TripBreakersRequest { breakers, reason: reason.into() };
    world.operations().trip_breakers(request).await.unwrap();
}

#[tokio::test]
async fn what_was_decided_outlives_a_kill_and_is_told_in_order_to_who_goes_on() {
    let mut world = World::start().await;
    let _agent = world.agent("shaky", &[("fragile", "effect: read-only")]).await;
    turn(&world, "shaky", "it writes nonsense").await;
    let tripped = until("the trip to be on record", || async {
        list(&world, kind("breaker.opened")).await.into_iter().find(|event| event.on_record)
    })
    .await;
    assert_eq!(tripped.subject, "breaker/shaky/one/fragile");
    assert_eq!(tripped.reason, "opened by hand: it writes nonsense");

    world.kill();
    world.restart().await;
    let starts = until("the second start to be told", || async {
        Some(list(&world, kind("server.started")).await).filter(|starts| starts.len() == 2)
    })
    .await;
    assert_eq!(list(&world, kind("breaker")).await, std::slice::from_ref(&tripped));
    assert!(starts[1].number < tripped.number && tripped.number < starts[0].number);

    let request = pb::WatchEventsRequest { filter: None, after: Some(tripped.number - 1) };
    let mut told = world.operations().watch_events(request).await.unwrap().into_inner();
    let reset = pb::ResetBreakersRequest {
        breakers: Some(pb::BreakerSelector { agent: "shaky".into(), ..Default::default() }),
        reason: "mended".into(),
    };
    world.operations().reset_breakers(reset).await.unwrap();
    let mut next = tripped.number;
    loop {
        let event = told.message().await.unwrap().unwrap().event.unwrap();
        assert_eq!(event.number, next, "none is left out, none is told twice");
        next += 1;
        if event.kind == "breaker.closed" {
            break;
        }
    }
}

#[tokio::test]
async fn the_command_shows_them_and_a_wrong_question_is_refused_by_field() {
    let world = World::start().await;
    let _agent = world.agent("shaky", &[("fragile", "effect: read-only")]).await;
    turn(&world, "shaky", "why not").await;
    until("the trip to be told", || async { list(&world, kind("breaker")).await.pop() }).await;
    let mut command = tokio::process::Command::new(mainstay_tests::process::mainstay());
    let server = format!("http://{}", world.grpc);
    command.args(["--server", &server, "-o", "json", "events", "--about", "fragile"]);
    let output = command.output().await.unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&shown["events"][0]["kind"], &shown["more"]), (&"breaker.opened".into(), &false.into()));

    for (filter, page_token, field) in [
        (kind("breaker.exploded"), "", "filter.kind"),
        (kind("break"), "", "filter.kind"),
        (pb::EventFilter { about: "../x".into(), ..Default::default() }, "", "filter.about"),
        (pb::EventFilter::default(), "forged", "page_token"),
    ] {
        let request = pb::ListEventsRequest {
            filter: Some(filter),
            page_token: page_token.into(),
            ..Default::default()
        };
        let refused = Seen::of(&world.operations().list_events(request).await.unwrap_err());
        assert_eq!(refused.violations[0].0, field);
    }
}
