//! The agent under the sidecars. Its input says how it behaves; a file says what it did.
//!
//! Input: `{"x": 1}` answers `{"x": 2}`. Beside `x`: `sleep_ms` (works that long), `fail` (answers 500 with this text),
//! `fail_times` (fails so often for the same run and step, then works), `bad` (answers what breaks its schema), `garbage`
//! (answers what is not JSON), `gate` (works until a test opens the gate of that name), `abort` (the process dies),
//! `cost_usd` and `tokens` (says that this is what it used), `bad_in` (answers
//! what breaks a schema in the step of this name, and in no other).
//! Asked as a router agent, it does what `router` in the request's input says: `say` (answers this very text), `fill` (answers
//! so many bytes), `sleep_ms`. Told nothing, it names the first of the `candidates`, nine tenths sure.
//! Asked as a supervisor or a planner (its input has a `goal`), it says the goal's `says`, one text a round; asked as a judge
//! (it is shown `answers`), it chooses the one with the greatest `x`, nine tenths sure.
//! `POST /sick` and `POST /well` change what `GET /health` says; `POST /open/NAME` opens a gate; `POST /fail/PERCENT` makes so
//! many of a hundred works fail, whatever their input says; `POST /price/NANO` makes every answer cost so many 10⁻⁹ US dollars
//! for each byte it was asked with, unless its input names a cost.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path as Segment, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use mainstay_kernel::budget;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// 10⁻⁹ US dollars in one.
const NANO: u64 = 1_000_000_000;

/// One line of the agent's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The idempotency key.
    pub key: String,
    /// The run.
    pub run: String,
    /// The step.
    pub step: String,
    /// The input, as it came.
    pub body: String,
    /// What was answered; `None` in the row that is written when work begins, and if it failed.
    pub output: Option<String>,
    /// Whether the row was written because work failed.
    #[serde(default)]
    pub failed: bool,
    /// What the answer cost, as the agent said with it, in 10⁻⁹ US dollars; 0 in the row that is written when work begins.
    #[serde(default)]
    pub nano_usd: u64,
}

#[derive(Debug)]
struct Agent {
    ledger: Mutex<File>,
    failed: Mutex<HashMap<String, u32>>,
    sick: AtomicBool,
    /// How many of a hundred works fail, and how many there were.
    failing: AtomicU32,
    works: AtomicU32,
    /// What a byte of input costs, in 10⁻⁹ US dollars.
    price: AtomicU64,
    /// Names of the gates that are open.
    gates: watch::Sender<BTreeSet<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    x: i64,
    sleep_ms: u64,
    fail: Option<String>,
    fail_times: u32,
    bad_in: String,
    bad: bool,
    garbage: bool,
    gate: Option<String>,
    abort: bool,
    cost_usd: String,
    tokens: u64,
    candidates: Vec<Candidate>,
    input: Asked,
    goal: Option<Goal>,
    answers: Vec<Shown>,
}

/// What a supervisor or a planner is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Goal {
    /// What it says, round by round; the last one repeats.
    says: Vec<serde_json::Value>,
}

/// An answer that a judge is shown.
#[derive(Debug, Deserialize)]
struct Shown {
    label: String,
    answer: Worked,
}

/// What this agent answers.
#[derive(Debug, Default, Deserialize)]
struct Worked {
    #[serde(default)]
    x: i64,
}

/// Where a router agent may send a request.
#[derive(Debug, Deserialize)]
struct Candidate {
    capability: String,
}

/// The request about which a router agent is asked.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    router: Option<Told>,
}

/// How a router agent is to answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    say: String,
    fill: usize,
    sleep_ms: u64,
}

/// Serves the agent, writing to a ledger at `path`.
///
/// # Errors
/// If the ledger cannot be opened or the listener fails.
pub async fn serve(listener: TcpListener, path: &Path) -> std::io::Result<()> {
    let agent = Agent {
        ledger: Mutex::new(File::options().create(true).append(true).open(path)?),
        failed: Mutex::default(),
        sick: AtomicBool::new(false),
        failing: AtomicU32::new(0),
        works: AtomicU32::new(0),
        price: AtomicU64::new(0),
        gates: watch::Sender::default(),
    };
    let routes = Router::new()
        .route("/", post(work))
        .route("/health", get(health))
        .route(
            "/sick",
            post(|State(agent): State<Arc<Agent>>| async move { agent.sick.store(true, Ordering::SeqCst) }),
        )
        .route(
            "/well",
            post(|State(agent): State<Arc<Agent>>| async move { agent.sick.store(false, Ordering::SeqCst) }),
        )
        .route("/open/{gate}", post(open))
        .route("/fail/{percent}", post(fail))
        .route("/price/{nano}", post(price))
        .with_state(Arc::new(agent));
    axum::serve(listener, routes).await
}

/// Reads what began and what was answered out of a ledger.
#[must_use]
pub fn ledger(path: &Path) -> Vec<Row> {
    let mut rows = whole_ledger(path);
    rows.retain(|row| !row.failed);
    rows
}

/// Reads a ledger, with what failed.
#[must_use]
pub fn whole_ledger(path: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

async fn health(State(agent): State<Arc<Agent>>) -> StatusCode {
    if agent.sick.load(Ordering::SeqCst) { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

async fn open(State(agent): State<Arc<Agent>>, Segment(gate): Segment<String>) {
    agent.gates.send_if_modified(|open| open.insert(gate));
}

async fn fail(State(agent): State<Arc<Agent>>, Segment(percent): Segment<u32>) {
    agent.failing.store(percent, Ordering::SeqCst);
}

async fn price(State(agent): State<Arc<Agent>>, Segment(nano): Segment<u64>) {
    agent.price.store(nano, Ordering::SeqCst);
}

async fn work(
    State(agent): State<Arc<Agent>>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, [(&'static str, String); 2], String) {
    let wanted: Wanted = serde_json::from_str(&body).unwrap_or_default();
    let by_length = agent.price.load(Ordering::SeqCst) * body.len() as u64;
    let nano_usd = budget::nano_usd(&wanted.cost_usd).unwrap_or(by_length);
    let cost = format!("{}.{:09}", nano_usd / NANO, nano_usd % NANO);
    let used = [("mainstay-cost-usd", cost), ("mainstay-tokens-in", wanted.tokens.to_string())];
    let (status, output) = answer(agent, &headers, body, wanted, nano_usd).await;
    (status, used, output)
}

async fn answer(
    agent: Arc<Agent>,
    headers: &HeaderMap,
    body: String,
    wanted: Wanted,
    nano_usd: u64,
) -> (StatusCode, String) {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let mut row = Row {
        key: header("idempotency-key"),
        run: header("mainstay-run"),
        step: header("mainstay-step"),
        body: body.clone(),
        output: None,
        failed: false,
        nano_usd: 0,
    };
    agent.write(&row);
    row.nano_usd = nano_usd;
    if let Some(told) = wanted.input.router {
        tokio::time::sleep(Duration::from_millis(told.sleep_ms)).await;
        let fill = serde_json::json!({ "capability": "anything", "why": "x".repeat(told.fill) });
        return (StatusCode::OK, if told.fill > 0 { fill.to_string() } else { told.say });
    }
    if wanted.sleep_ms > 0 {
        tokio::time::sleep(Duration::from_millis(wanted.sleep_ms)).await;
    }
    if let Some(gate) = &wanted.gate {
        agent.gates.subscribe().wait_for(|open| open.contains(gate)).await.map(drop).unwrap_or_default();
    }
    if wanted.abort {
        std::process::abort();
    }
    if let Some(why) = agent.failure(&row, &wanted) {
        agent.write(&Row { failed: true, ..row });
        return (StatusCode::INTERNAL_SERVER_ERROR, serde_json::json!({ "error": why }).to_string());
    }
    if let Some(said) =
        wanted.goal.and_then(|goal| says(&goal, &row.step)).or_else(|| judges(&wanted.answers))
    {
        row.output = Some(said.clone());
        agent.write(&row);
        return (StatusCode::OK, said);
    }
    let is_bad = wanted.bad || (!row.step.is_empty() && row.step == wanted.bad_in);
    let output = match (wanted.garbage, is_bad, wanted.candidates.first()) {
        (_, _, Some(first)) => {
            serde_json::json!({ "capability": first.capability, "confidence": 0.9 }).to_string()
        }
        (true, ..) => "{\"x\":".to_owned(),
        (_, true, _) => r#"{"x":"no number"}"#.to_owned(),
        _ => format!("{{\"x\":{}}}", wanted.x + 1),
    };
    row.output = Some(output.clone());
    agent.write(&row);
    (StatusCode::OK, output)
}

/// What a supervisor or a planner says in the round that its step's name ends with.
fn says(goal: &Goal, step: &str) -> Option<String> {
    let round: usize = step.rsplit('/').next()?.parse().ok()?;
    let last = goal.says.len().checked_sub(1)?;
    Some(goal.says[last.min(round.checked_sub(1)?)].to_string())
}

/// Which of the answers a judge chooses.
fn judges(answers: &[Shown]) -> Option<String> {
    let best = answers.iter().max_by_key(|shown| shown.answer.x)?;
    Some(serde_json::json!({ "choice": best.label, "confidence": 0.9, "grounds": "more" }).to_string())
}

impl Row {
    /// Whether it was written when work began.
    #[must_use]
    pub const fn begins(&self) -> bool {
        self.output.is_none() && !self.failed
    }
}

impl Agent {
    /// On disk when this returns, so that a kill forgets nothing that happened.
    fn write(&self, row: &Row) {
        let line = serde_json::to_string(row).unwrap_or_default() + "\n";
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        if ledger.write_all(line.as_bytes()).and_then(|()| ledger.sync_data()).is_err() {
            std::process::abort();
        }
    }

    /// Why this work fails, if it does.
    fn failure(&self, row: &Row, wanted: &Wanted) -> Option<String> {
        if let Some(text) = &wanted.fail {
            return Some(text.clone());
        }
        if self.fails_now() {
            return Some("a bad version".to_owned());
        }
        self.fails_once_more(row, wanted.fail_times).then(|| "not yet".to_owned())
    }

    fn fails_now(&self) -> bool {
        let (percent, n) = (self.failing.load(Ordering::SeqCst), self.works.fetch_add(1, Ordering::SeqCst));
        // The n-th fails where the line of that slope passes a whole number.
        (n + 1) * percent / 100 > n * percent / 100
    }

    fn fails_once_more(&self, row: &Row, times: u32) -> bool {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = failed.entry(format!("{}/{}", row.run, row.step)).or_default();
        *failed += 1;
        *failed <= times
    }
}
