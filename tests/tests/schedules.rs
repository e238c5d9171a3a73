//! Schedules across kills of the control plane: no time comes to two runs, and each comes to something.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use mainstay_proto::fault::Seen;
use mainstay_proto::pb;
use mainstay_tests::process::mainstay;
use mainstay_tests::wait::until;
use mainstay_tests::world::World;
use pb::schedules_client::SchedulesClient;
use tonic::transport::Channel;

const TICK: &str = "
name: tick
version: 1
steps:
  - id: work
    call: { capability: work }
    input: { x: 1 }
output: { x: '${steps.work.output.x}' }
";

const EVERY_SECOND: &str = "name: pulse\nworkflow: tick\nevery: 1s\nmissed: catch_up\nmax_catch_up: 32\noverlap: allow\nmax_running: 32\n";

/// Kills in the middle of it.
const KILLS: usize = 6;

fn schedules(world: &World) -> SchedulesClient<Channel> {
    SchedulesClient::new(world.channel())
}

async fn put(world: &World, document: &str) -> Result<pb::PutScheduleResponse, tonic::Status> {
    let request =
        pb::PutScheduleRequest { document: document.to_owned(), by: "ann".to_owned(), ..Default::default() };
    schedules(world).put_schedule(request).await.map(tonic::Response::into_inner)
}

async fn show(world: &World, name: &str) -> pb::GetScheduleResponse {
    let request = pb::GetScheduleRequest { name: name.to_owned(), ..Default::default() };
    schedules(world).get_schedule(request).await.unwrap().into_inner()
}

/// Waits until the history has lines of these outcomes, `least` of them.
async fn until_lines(
    world: &World,
    name: &str,
    outcome: pb::FiringOutcome,
    least: usize,
) -> Vec<pb::ScheduleFiring> {
    let enough = move || async move {
        let history = show(world, name).await.history;
        let lines: Vec<_> = history.into_iter().filter(|line| line.outcome() == outcome).collect();
        (lines.len() >= least).then_some(lines)
    };
    until("enough lines of the history", enough).await
}

fn seconds(at: Option<&prost_types::Timestamp>) -> i64 {
    at.unwrap().seconds
}

#[tokio::test]
async fn kills_between_and_in_the_middle_of_firings_start_no_time_twice_and_lose_none() {
    let mut world = World::start().await;
    let agent = world.agent("worker", &[("work", "effect: side-effecting, max_concurrency: 64")]).await;
    world.put(TICK).await;
    put(&world, EVERY_SECOND).await.unwrap();
    for round in 1..=KILLS {
        until_lines(&world, "pulse", pb::FiringOutcome::Started, round * 2).await;
        world.kill();
        world.restart().await;
    }
    until_lines(&world, "pulse", pb::FiringOutcome::Started, KILLS * 2 + 2).await;
    let request = pb::PauseScheduleRequest {
        name: "pulse".to_owned(),
        reason: "the test counts".to_owned(),
        ..Default::default()
    };
    schedules(&world).pause_schedule(request).await.unwrap();

    let history = show(&world, "pulse").await.history;
    let mut runs = BTreeMap::new();
    let mut times: Vec<i64> = Vec::new();
    for line in history.iter().rev() {
        let (from, to) = (seconds(line.scheduled_at.as_ref()), seconds(line.until.as_ref()));
        assert_eq!(to - from + 1, i64::try_from(line.count).unwrap(), "{line:?}");
        times.extend(from..=to);
        if line.outcome() == pb::FiringOutcome::Started {
            assert_eq!(runs.insert(line.run_id.clone(), from), None, "one run for one time");
        }
    }
    let gapless = (times[0]..).take(times.len()).collect::<Vec<i64>>();
    assert_eq!(times, gapless, "each second came to one thing, in order");

    for run in runs.keys() {
        world.until_ended(run).await;
    }
    let listed = world.orchestrator().list_runs(pb::ListRunsRequest::default()).await.unwrap().into_inner();
    let of_schedule: Vec<_> = listed.runs.iter().filter(|run| run.labels.contains_key("schedule")).collect();
    assert_eq!(of_schedule.len(), runs.len(), "there is no run that the history does not know");
    assert_eq!(agent.begun(), runs.len(), "and each was done once");
}

#[tokio::test]
async fn a_schedule_is_refused_shown_paused_and_deleted_by_the_command_line() {
    let mut world = World::start().await;
    let _agent = world.agent("worker", &[("work", "effect: read-only")]).await;
    let refused = put(&world, "name: nightly\nworkflow: tick\ncron: '0 3 * * *'\n").await.unwrap_err();
    assert_eq!(Seen::of(&refused).reason, "WORKFLOW_NOT_FOUND");
    world.put(TICK).await;
    let refused = put(&world, "name: nightly\nworkflow: tick\ncron: '0 33 * * *'\n").await.unwrap_err();
    assert_eq!(Seen::of(&refused).reason, "FIELD_RANGE", "the only problem gives its own code");

    let file = world.folder().join("nightly.yaml");
    std::fs::write(&file, "name: nightly\nworkflow: tick\ncron: '0 3 * * *'\n").unwrap();
    let server = format!("http://{}", world.grpc);
    let cli = |args: &[&str]| {
        let output = std::process::Command::new(mainstay())
            .args(["--server", &server, "schedules"])
            .args(args)
            .output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let said = |args: &[&str], code: i32, words: &[&str]| {
        let (exit, text) = cli(args);
        assert_eq!(exit, Some(code), "{args:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{args:?}: {word}: {text}");
        }
    };
    said(&["lint", file.to_str().unwrap()], 0, &["0 errors"]);
    said(&["put", file.to_str().unwrap()], 0, &["nightly", "cron 0 3 * * *", "next at", "T03:00:00"]);
    said(&["put", file.to_str().unwrap()], 0, &["unchanged"]);
    said(&["pause", "nightly", "--reason", "holidays"], 0, &["paused since", "holidays"]);
    world.kill();
    world.restart().await;
    said(&["list"], 0, &["nightly", "tick", "paused"]);
    said(&["resume", "nightly"], 0, &["next at"]);
    said(&["show", "nightly", "--output", "json"], 0, &["\"times\": \"cron 0 3 * * *\"", "\"history\": []"]);
    said(&["delete", "nightly"], 0, &["deleted"]);
    said(&["show", "nightly"], 66, &[]);
}
