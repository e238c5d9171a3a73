//! The workflows that clients start: one for each kind of step, all of them small. Each takes a number and comes out at one,
//! which follows from what went in and from what people and the shared context said. So a result that was lost, taken twice,
//! or taken from somebody else shows.

use mainstay_proto::pb;
use serde_json::{Value, json};

use crate::world::World;

/// What the agents of a mix do, with their effect.
pub const CAPABILITIES: [(&str, &str); 3] = [
    (KEEPS, "effect: idempotent, max_concurrency: 200"),
    ("pay", "effect: side-effecting, max_concurrency: 200"),
    (READS, "effect: read-only, max_concurrency: 200"),
];

/// What may be begun again under its key once it has failed, because twice is the same as once.
pub const KEEPS: &str = "work";

/// What may be begun twice under one key, because nothing changes by it.
pub const READS: &str = "look";

/// The key that [`Mix::all`] reads of the shared context.
pub const TALLY: &str = "mix/tally";

/// The signal that runs wait for.
pub const SIGNAL: &str = "go";

/// What a client does about its run, beyond waiting for its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Nothing.
    None,
    /// It sends [`SIGNAL`], with what [`amount`] says.
    Signal,
    /// It cancels it.
    Cancel,
}

/// A workflow that clients start.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    document: &'static str,
    /// What a client does about a run of it.
    pub word: Word,
    /// What a run that was given `x` comes out at.
    comes_to: fn(run: &pb::Run, x: i64) -> i64,
}

/// Some kinds, and where their requests are routed.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    kinds: &'static [Kind],
    /// Routing documents.
    doors: &'static [&'static str],
}

macro_rules! document {
    ($name:literal) => {
        include_str!(concat!("../fixtures/mix/", $name, ".yaml"))
    };
}

macro_rules! kind {
    ($name:literal, $comes_to:expr) => {
        kind!($name, $comes_to, Word::None)
    };
    ($name:literal, $comes_to:expr, $word:expr) => {
        Kind { name: $name, document: document!($name), word: $word, comes_to: $comes_to }
    };
}

/// Steps one after the other, and side by side.
const PIPELINE: Kind = kind!("mixed", |_, x| 2 * x + 5);

const KINDS: [Kind; 16] = [
    PIPELINE,
    kind!("inner", |_, x| x + 2),
    kind!("each", |_, x| 3 * x + 6),
    kind!("choice", |_, x| if x % 2 == 0 { x + 2 } else { 8 }),
    kind!("signalled", |run, _| amount(&run.run_id) + 1, Word::Signal),
    kind!("asked", |run, x| said(&run.run_id, x + 1) + 1),
    kind!("fallback", |_, x| x + 1),
    kind!("escalated", |run, _| said(&run.run_id, 5) + 1),
    kind!("outer", |_, x| x + 3),
    kind!("vote", |_, x| x + 1),
    kind!("team", |_, x| x),
    kind!("planned", |_, x| x + 2),
    kind!("routed", |_, x| x + 1),
    kind!("budgeted", |_, x| x + 2),
    kind!("informed", |run, x| x + 2 + tally(run)),
    kind!("cancelled", |_, _| 0, Word::Cancel),
];

impl Mix {
    /// Pipelines of calls, and nothing else.
    #[must_use]
    pub const fn pipelines() -> Self {
        Self { kinds: &[PIPELINE], doors: &[] }
    }

    /// Every kind of step.
    #[must_use]
    pub const fn all() -> Self {
        Self { kinds: &KINDS, doors: &[document!("door")] }
    }

    /// What clients start.
    #[must_use]
    pub const fn kinds(&self) -> &'static [Kind] {
        self.kinds
    }

    /// The kind of this name.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<&'static Kind> {
        self.kinds.iter().find(|kind| kind.name == name)
    }

    /// Every workflow document.
    pub fn workflows(&self) -> impl Iterator<Item = &'static str> {
        self.kinds.iter().map(|kind| kind.document)
    }

    /// Whether its runs need people who answer and a shared context that they read.
    #[must_use]
    pub const fn is_social(&self) -> bool {
        self.kinds.len() > 1
    }

    /// Stores its documents.
    ///
    /// # Panics
    /// If one is refused.
    pub async fn put(&self, world: &World) {
        let mut routes = pb::routes_client::RoutesClient::new(world.channel());
        for document in self.doors {
            let request = pb::PutRoutesRequest { document: (*document).to_owned(), ..Default::default() };
            routes.put_routes(request).await.expect("a good routing document");
        }
        for document in self.workflows() {
            world.put(document).await;
        }
    }
}

impl Kind {
    /// What a run of it is given: the number, and for those who plan and lead also what they are to say.
    #[must_use]
    pub fn input(&self, x: i64) -> String {
        let says = match self.name {
            "team" => {
                let tasks = ["pay", "inner"].map(|worker| json!({ "worker": worker, "input": { "x": x } }));
                json!([{ "tasks": tasks }, { "answer": { "x": x } }])
            }
            "planned" => {
                let step = |id: &str, x: Value| json!({ "id": id, "capability": "pay", "input": { "x": x } });
                let mut second = step("b", "${steps.a.output.x}".into());
                second["after"] = json!(["a"]);
                let good = json!({ "steps": [step("a", x.into()), second], "output": "${steps.b.output.x}" });
                json!([{ "steps": [{ "id": "a", "capability": "ghost" }] }, good])
            }
            _ => return json!({ "x": x }).to_string(),
        };
        json!({ "x": x, "says": says }).to_string()
    }

    /// How a run of it ends.
    #[must_use]
    pub const fn end(&self) -> pb::RunState {
        match self.word {
            Word::Cancel => pb::RunState::Cancelled,
            Word::None | Word::Signal => pb::RunState::Completed,
        }
    }

    /// What is wrong with the output of a run of it that completed.
    #[must_use]
    pub fn wrong(&self, run: &pb::Run) -> Option<String> {
        let x = |json: &[u8]| serde_json::from_slice::<Value>(json).ok().and_then(|json| json["x"].as_i64());
        let wanted = (self.comes_to)(run, x(&run.input)?);
        let found = x(&run.output);
        (found != Some(wanted)).then(|| format!("it came to {found:?} instead of {wanted}"))
    }
}

/// What the signal to a run carries: the same, however often it is sent.
#[must_use]
pub fn amount(run: &str) -> i64 {
    1 + mark(run) % 100
}

/// What a person says to every question of a run: always the same.
#[must_use]
pub fn verdict(run: &str) -> (pb::Verdict, Option<i64>) {
    match mark(run) % 4 {
        0 => (pb::Verdict::Rejected, None),
        1 => (pb::Verdict::Corrected, Some(1_000)),
        2 => (pb::Verdict::Clarified, None),
        _ => (pb::Verdict::Approved, None),
    }
}

/// The number that goes on after a person was asked about `shown`.
fn said(run: &str, shown: i64) -> i64 {
    match verdict(run) {
        (pb::Verdict::Rejected, _) => 0,
        (_, correction) => correction.unwrap_or(shown),
    }
}

/// What a run read of the shared context.
fn tally(run: &pb::Run) -> i64 {
    let pin = run.context.first();
    let value = pin.and_then(|pin| serde_json::from_slice::<Value>(&pin.value).ok());
    value.and_then(|value| value["x"].as_i64()).unwrap_or(-1)
}

/// A number that a run's id decides.
fn mark(run: &str) -> i64 {
    let last = run.get(run.len().saturating_sub(4)..).unwrap_or_default();
    i64::from_str_radix(last, 16).unwrap_or_default()
}
