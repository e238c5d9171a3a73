//! Schedules over an engine in memory, with a clock that moves only when everybody waits. The runs call nobody: each waits
//! for time to pass.

use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::run::EndState;
use mainstay_kernel::time::Wall;

use super::*;
use crate::records::schedule::Outcome;
use crate::testbed::{Bed, name};

const HOURLY: &str = "name: hourly\nworkflow: report\nevery: 1h\ninput: { day: 1 }\n";

/// A run of this takes so long.
fn report(minutes: u32) -> String {
    format!(
        "name: report\nversion: {minutes}\ndeadline: 24h\ninput: {{ type: object, required: [day] }}\nsteps:\n  - id: rest\n    wait: {{ for: {minutes}m }}\noutput: '${{input.day}}'\n"
    )
}

/// What runs and what is scheduled, over one store.
struct Plant {
    bed: Bed,
    schedules: Handle,
    looking: tokio::task::JoinHandle<()>,
}

impl Plant {
    /// With a workflow whose runs take so many minutes.
    async fn new(minutes: u32) -> Self {
        let mut bed = Bed::new().await;
        bed.start_engine().await;
        bed.put(&report(minutes)).await;
        Self::over(bed)
    }

    fn over(bed: Bed) -> Self {
        let parts = Parts {
            clock: bed.clock.clone(),
            store: Arc::new(bed.store.clone()),
            engine: bed.engine.clone(),
            catalog: bed.catalog.clone(),
            events: bed.events.clone(),
        };
        let (schedules, service) = open(parts).unwrap();
        Self { bed, schedules, looking: tokio::spawn(service.run()) }
    }

    /// As after a crash of the reconciler, over what is on record.
    fn again(self) -> Self {
        self.looking.abort();
        Self::over(self.bed)
    }

    async fn put(&self, document: &str) -> Put {
        self.schedules.put(&tenant(), document, "ann").await.unwrap()
    }

    fn known(&self) -> Arc<Known> {
        self.schedules.get(&tenant(), &name("hourly")).unwrap()
    }

    /// Lets so much time pass, and what is due happen.
    async fn pass(&self, minutes: u64) {
        let clock = &self.bed.clock;
        clock.sleep_until(clock.mono() + Duration::from_secs(minutes * 60)).await;
        // The clock goes on only when nobody has anything left to do.
        clock.sleep_until(clock.mono() + Duration::from_millis(1)).await;
    }

    /// What the times came to, in order: the hour, and the outcome.
    fn history(&self) -> Vec<(i64, u64, String)> {
        let lines = self.schedules.history(&tenant(), &name("hourly")).unwrap();
        let word = |outcome: &Outcome| match outcome {
            Outcome::Started { .. } => "started".to_owned(),
            Outcome::Refused { why } => why.clone(),
            Outcome::LeftOut { reason } => format!("{reason:?}").to_lowercase(),
        };
        lines.iter().rev().map(|(_, line)| (hour(line.from), line.count, word(&line.outcome))).collect()
    }

    fn runs(&self) -> Vec<RunId> {
        let lines = self.schedules.history(&tenant(), &name("hourly")).unwrap();
        let run = |line: &Line| match line.outcome {
            Outcome::Started { run } => Some(run),
            Outcome::Refused { .. } | Outcome::LeftOut { .. } => None,
        };
        lines.iter().rev().filter_map(|(_, line)| run(line)).collect()
    }

    async fn end(&self, run: RunId) -> Option<EndState> {
        self.bed.engine.get(&tenant(), run).await.unwrap().end.as_ref().map(|end| end.state)
    }

    /// Every kind of event that was told.
    fn told(&self) -> Vec<String> {
        let filter = crate::events::Filter { kind: "schedule".to_owned(), ..Default::default() };
        let events = self.bed.events.list(&filter, None, 100);
        events.iter().rev().map(|event| event.event.kind.to_string()).collect()
    }
}

fn tenant() -> Name {
    name("default")
}

/// Hours since the clock of the tests began.
fn hour(at: Wall) -> i64 {
    (at.as_millis() - 1_800_000_000_000) / 3_600_000
}

fn said(hour: i64, count: u64, outcome: &str) -> (i64, u64, String) {
    (hour, count, outcome.to_owned())
}

#[tokio::test(start_paused = true)]
async fn each_time_comes_to_one_run_with_its_time_on_it() {
    let plant = Plant::new(1).await;
    let put = plant.put(HOURLY).await;
    assert!(put.created && !plant.put(HOURLY).await.created);
    assert_eq!(hour(put.known.next().unwrap()), 1);
    plant.pass(60).await;
    plant.pass(60).await;
    assert_eq!(plant.history(), [said(1, 1, "started"), said(2, 1, "started")]);
    let runs = plant.runs();
    assert_ne!(runs[0], runs[1]);
    let run = plant.bed.engine.get(&tenant(), runs[0]).await.unwrap();
    assert_eq!(run.labels["schedule"], "hourly");
    assert_eq!(run.labels["scheduled-at"], "2027-01-15T09:00:00Z");
    assert_eq!(run.idempotency_key.as_deref(), Some("schedule/hourly/2027-01-15T09:00:00Z"));
    assert_eq!(plant.end(runs[0]).await, Some(EndState::Completed));
}

#[tokio::test(start_paused = true)]
async fn what_was_being_started_when_it_crashed_is_one_run_whatever_the_policy_says_by_then() {
    let plant = Plant::new(1).await;
    plant.put(&format!("{HOURLY}missed: skip\n")).await;
    plant.looking.abort();
    // The start is on disk, and so is the run; that it was started is not.
    let entry = plant.schedules.entry(&tenant(), &name("hourly")).unwrap();
    let at = Wall::from_millis(1_800_000_000_000 + 3_600_000);
    let mut known = (*entry.known()).clone();
    known.stored.standing.starting.push(at);
    known.stored.standing.until = at;
    plant.schedules.keep(&entry, known.clone(), Vec::new()).await.unwrap();
    plant.pass(60).await;
    let request = crate::engine::StartRequest {
        tenant: tenant(),
        workflow: name("report"),
        version: None,
        input: known.schedule.input.clone(),
        idempotency_key: Some(known.schedule.key(at)),
        intent: String::new(),
        deadline: None,
        labels: [("schedule", "hourly"), ("scheduled-at", "2027-01-15T09:00:00Z")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        retries: mainstay_kernel::retry::Retries::Allowed,
        chain: Default::default(),
        priority: mainstay_kernel::priority::Priority::default(),
    };
    let first = plant.bed.engine.start(request).await.unwrap();
    // Much later: that time is missed by now, and would be left out.
    plant.pass(30).await;
    let plant = plant.again();
    plant.pass(1).await;
    assert_eq!(plant.runs(), [first.id], "the run that is there, and no other");
    assert_eq!(plant.history(), [said(1, 1, "started")]);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_was_there_for_is_missed_as_the_policy_says() {
    for (policy, expected) in [
        ("missed: skip\n", vec![said(1, 3, "missed")]),
        ("missed: run_once\n", vec![said(1, 2, "missed"), said(3, 1, "started")]),
        (
            "missed: catch_up\nmax_catch_up: 2\noverlap: allow\n",
            vec![said(1, 1, "missed"), said(2, 1, "started"), said(3, 1, "started")],
        ),
    ] {
        let plant = Plant::new(1).await;
        plant.put(&format!("{HOURLY}{policy}")).await;
        plant.looking.abort();
        plant.pass(3 * 60 + 20).await;
        let plant = plant.again();
        plant.pass(1).await;
        assert_eq!(plant.history(), expected, "{policy}");
        assert_eq!(plant.told(), ["schedule.put", "schedule.missed"], "{policy}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_overlaps_is_left_out_and_told_of_once() {
    let plant = Plant::new(150).await;
    plant.put(HOURLY).await;
    plant.pass(5 * 60).await;
    assert_eq!(
        plant.history(),
        [said(1, 1, "started"), said(2, 2, "overlap"), said(4, 1, "started"), said(5, 1, "overlap")]
    );
    assert_eq!(plant.told(), ["schedule.put", "schedule.overlapped", "schedule.overlapped"]);
}

#[tokio::test(start_paused = true)]
async fn what_overlaps_waits_in_a_queue_and_runs_when_its_turn_comes() {
    let plant = Plant::new(90).await;
    plant.put(&format!("{HOURLY}overlap: queue\n")).await;
    // The second is due at two and begins when the first has ended, at half past two; the third waits then.
    plant.pass(140).await;
    assert_eq!(plant.known().stored.standing.queued.len(), 1);
    plant.pass(15).await;
    assert_eq!(plant.history(), [said(1, 1, "started"), said(2, 1, "started")]);
    assert_eq!(plant.end(plant.runs()[1]).await, None);
    plant.pass(30).await;
    assert_eq!(plant.known().stored.standing.queued.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_run_cancels_the_one_before_where_that_is_wanted() {
    let plant = Plant::new(150).await;
    plant.put(&format!("{HOURLY}overlap: cancel_previous\n")).await;
    plant.pass(125).await;
    let runs = plant.runs();
    assert_eq!(runs.len(), 2);
    assert_eq!((plant.end(runs[0]).await, plant.end(runs[1]).await), (Some(EndState::Cancelled), None));
}

#[tokio::test(start_paused = true)]
async fn while_it_is_paused_nothing_is_started_and_a_pause_is_one_line() {
    let plant = Plant::new(1).await;
    plant.put(HOURLY).await;
    let pause =
        |reason: &str| Paused { since: plant.bed.clock.wall(), reason: reason.to_owned(), by: String::new() };
    plant.schedules.pause(&tenant(), &name("hourly"), Some(pause("holidays")), "ann").await.unwrap();
    assert_eq!(plant.known().next(), None);
    plant.pass(150).await;
    let plant = plant.again();
    assert!(plant.known().stored.paused.is_some(), "it outlives a restart");
    plant.schedules.pause(&tenant(), &name("hourly"), None, "ann").await.unwrap();
    plant.pass(60).await;
    assert_eq!(plant.history(), [said(1, 2, "paused"), said(3, 1, "started")]);
    assert_eq!(plant.told(), ["schedule.put", "schedule.paused", "schedule.resumed"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_cannot_be_started_is_a_line_with_the_reason() {
    let plant = Plant::new(1).await;
    plant.put(HOURLY).await;
    // A newer version wants another input.
    plant.bed.put(&report(2).replace("required: [day]", "required: [night]")).await;
    plant.pass(120).await;
    let history = plant.history();
    let [(1, 2, why)] = &*history else { panic!("{history:?}") };
    assert!(why.contains("night"), "{why}");
    assert_eq!(plant.told(), ["schedule.put", "schedule.refused"]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_document_holds_from_now_on_and_a_deleted_one_is_gone_with_its_history() {
    let plant = Plant::new(1).await;
    plant.put(HOURLY).await;
    plant.pass(60).await;
    plant.put(&HOURLY.replace("1h", "2h")).await;
    plant.pass(60).await;
    assert_eq!(plant.history().len(), 2, "one at one, one at two");
    plant.pass(60).await;
    assert_eq!(plant.history().len(), 2, "and none at three");
    plant.schedules.delete(&tenant(), &name("hourly"), "ann").await.unwrap();
    assert!(plant.schedules.get(&tenant(), &name("hourly")).is_none());
    plant.pass(120).await;
    assert!(plant.history().is_empty());
    let plant = plant.again();
    assert!(plant.schedules.list(&tenant()).is_empty());
    assert!(matches!(
        plant.schedules.delete(&tenant(), &name("hourly"), "ann").await,
        Err(ChangeError::NotFound(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_history_keeps_its_newest_lines() {
    let plant = Plant::new(1).await;
    plant.put(&HOURLY.replace("1h", "2m")).await;
    plant.pass(2 * (MAX_LINES + 10)).await;
    let lines = plant.schedules.history(&tenant(), &name("hourly")).unwrap();
    assert_eq!((lines.len() as u64, lines[0].0), (MAX_LINES, MAX_LINES + 10));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_meant_is_refused_before_it_is_put() {
    let plant = Plant::new(1).await;
    let put = async |document: &str| plant.schedules.put(&tenant(), document, "").await.unwrap_err();
    assert!(matches!(put("name: x").await, PutError::Invalid(_)));
    assert!(matches!(put(&HOURLY.replace("report", "nothing")).await, PutError::Workflow(_)));
    assert!(matches!(put(&HOURLY.replace("day: 1", "night: 1")).await, PutError::Input(_)));
    let long = format!("{HOURLY}description: {}\n", "x".repeat(MAX_DOCUMENT));
    assert!(matches!(put(&long).await, PutError::TooLong(_)));
    assert!(plant.schedules.list(&tenant()).is_empty());
}
