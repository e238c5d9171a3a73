//! Any record, for people: what it is about, what it holds, and what is lost with it.
//!
//! One table over all kinds, read by the doctor and by a restore that verifies. A kind that is missing here still shows its
//! JSON; it only cannot say what it means.

use mainstay_kernel::id::{InstanceId, RunId};
use mainstay_kernel::name::Name;
use mainstay_kernel::run::Transition;
use mainstay_store::blobs::BlobError;
use mainstay_store::{BlobId, Blobs, record};
use serde_json::Value;

use super::spill::SpillError;
use super::{
    RecordError, artifact, breaker, budget, context, decision, document, drill, event, falls, idempotency,
    instance, key, limit, loose, mode, open_run, pause, restored, rollout, run_spend, run_summary, schedule,
    spend, spill, transition,
};

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The kind of record.
    pub kind: &'static str,
    /// What it describes.
    pub subject: String,
    /// What is lost if it is.
    pub loss: &'static str,
}

const WORKFLOW: document::Keys = document::Keys { ordinal: key::WORKFLOW, noun: "workflow" };
const ROLLOUT: document::Keys = document::Keys { ordinal: key::ROLLOUT, noun: "rollout" };
const ROUTES: document::Keys = document::Keys { ordinal: key::ROUTES, noun: "routing document" };

/// Why the server could not use a record that the store finds whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A newer program wrote it.
    #[error("{0}")]
    Newer(String),
    /// It makes no sense, or what it names is damaged or gone.
    #[error("{0}")]
    Broken(String),
}

impl From<RecordError> for Unusable {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Schema { .. } => Self::Newer(error.to_string()),
            RecordError::Malformed { .. } => Self::Broken(error.to_string()),
        }
    }
}

impl From<SpillError> for Unusable {
    fn from(error: SpillError) -> Self {
        match error {
            SpillError::Record(error) => error.into(),
            SpillError::Blob(_) | SpillError::BlobMissing(_) => Self::Broken(error.to_string()),
        }
    }
}

impl From<BlobError> for Unusable {
    fn from(error: BlobError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<record::NoVersion> for Unusable {
    fn from(error: record::NoVersion) -> Self {
        Self::Broken(error.to_string())
    }
}

/// The parts of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place<'a> {
    OfRun { kind: u8, tenant: &'a str, run: RunId, first_event: Option<u64> },
    Global { kind: u8, tenant: &'a str, rest: &'a [u8] },
    Nowhere,
}

/// What the record under `key` is about.
#[must_use]
pub fn describe(key: &[u8]) -> Described {
    let (kind, subject, loss) = match place(key) {
        Place::OfRun { kind: key::TRANSITION, tenant, run, first_event } => {
            let from = first_event.map(|first| format!(" from event {first}")).unwrap_or_default();
            let loss = "this run: its journal has a hole, so it can no longer be read, and does not go on if it was open; \
                        dropped, all of it goes";
            ("transition", format!("{run} of tenant {tenant}{from}"), loss)
        }
        Place::OfRun { kind: key::OPEN_RUN, tenant, run, .. } => {
            let loss = "the mark that this run is open: it is not taken up after a restart";
            ("open run", format!("{run} of tenant {tenant}"), loss)
        }
        Place::OfRun { kind: key::FALLS, tenant, run, .. } => {
            let loss = "how often this run broke what drives it: one that is parked is taken up again at the next start";
            ("falls", format!("{run} of tenant {tenant}"), loss)
        }
        Place::OfRun { kind: key::NAMED, tenant, run, .. } => {
            let loss = "which artifacts this run names: they may go before it does";
            ("named artifacts", format!("{run} of tenant {tenant}"), loss)
        }
        Place::Global { kind, tenant, rest } => global(kind, tenant, rest),
        Place::OfRun { tenant, run, .. } => ("unknown", format!("{run} of tenant {tenant}"), "not known"),
        Place::Nowhere => ("unknown", "not a key of ours".to_owned(), "not known"),
    };
    Described { kind, subject, loss }
}

/// What the record under `key` holds, as JSON: decoded as the server would decode it, with what it keeps in a blob.
///
/// # Errors
/// Why the server could not use it.
pub fn read(key: &[u8], value: &[u8], blobs: &Blobs) -> Result<Value, Unusable> {
    let json = match place(key) {
        Place::OfRun { kind: key::TRANSITION, .. } => {
            let transition = spill::decode::<Transition>(transition::KIND, value, blobs);
            serde_json::to_value(transition.map_err(Unusable::from)?)
        }
        Place::OfRun { kind: key::OPEN_RUN, .. } => {
            let (tenant, run) = open_run::decode(key, value).map_err(Unusable::from)?;
            Ok(serde_json::json!({ "tenant": tenant, "run": run.to_string() }))
        }
        Place::OfRun { kind: key::FALLS, .. } => {
            serde_json::to_value(falls::decode(key, value).map_err(Unusable::from)?.1)
        }
        Place::OfRun { kind: key::NAMED, .. } => {
            let named = artifact::decode_named(value).map_err(Unusable::from)?;
            Ok(named.iter().map(ToString::to_string).collect())
        }
        Place::Global { kind, rest, .. } => return read_global(kind, rest, value, blobs),
        Place::OfRun { .. } | Place::Nowhere => return untyped(value),
    };
    json.map_err(|error| Unusable::Broken(error.to_string()))
}

/// The run in whose journal a record is.
#[must_use]
pub fn journal_of(key: &[u8]) -> Option<(Name, RunId)> {
    match place(key) {
        Place::OfRun { kind: key::TRANSITION, tenant, run, .. } => Some((Name::new(tenant).ok()?, run)),
        Place::OfRun { .. } | Place::Global { .. } | Place::Nowhere => None,
    }
}

/// The documents that this record alone names, so that they go with it. Documents of workflows may be shared.
#[must_use]
pub fn own_blobs(key: &[u8], value: &[u8]) -> Vec<BlobId> {
    let spilled = |kind| spill::blob(kind, value).ok().flatten().into_iter().collect();
    match place(key) {
        Place::OfRun { kind: key::TRANSITION, .. } => spilled(transition::KIND),
        Place::Global { kind: key::INSTANCE, .. } => spilled(instance::KIND),
        Place::Global { kind: key::ARTIFACT, .. } => {
            artifact::Stored::decode(value).map_or_else(|_| Vec::new(), |stored| stored.pieces)
        }
        Place::Global { kind: key::UPLOAD, .. } => {
            artifact::Upload::decode(value).map_or_else(|_| Vec::new(), |upload| upload.pieces)
        }
        Place::Global { .. } | Place::OfRun { .. } | Place::Nowhere => Vec::new(),
    }
}

fn global(kind: u8, tenant: &str, rest: &[u8]) -> (&'static str, String, &'static str) {
    let of = |what: String| format!("{what} of tenant {tenant}");
    let id = |bytes: &[u8]| bytes.try_into().map(InstanceId::from_bytes).ok();
    match kind {
        key::INSTANCE => {
            let loss = "a registration: the sidecar registers again by itself";
            ("instance", of(id(rest).map_or_else(|| text(rest), |id| id.to_string())), loss)
        }
        key::WORKFLOW => {
            let loss =
                "a version of a workflow: runs of it cannot be read until the same document is put again";
            (WORKFLOW.noun, of(version_of(rest)), loss)
        }
        key::ROUTES => {
            let loss = "a version of a routing document: put the same document again";
            (ROUTES.noun, of(version_of(rest)), loss)
        }
        key::RUN_SUMMARY => {
            let run = <[u8; 16]>::try_from(rest).map(|id| RunId::from_bytes(id.map(|byte| !byte)));
            let loss = "the line of this run in the listing: the run itself can be read by its id";
            ("run summary", of(run.map_or_else(|_| text(rest), |run| run.to_string())), loss)
        }
        key::IDEMPOTENCY => {
            let loss = "what an idempotency key started: used again, it starts a second run";
            ("idempotency key", of("a hashed key".to_owned()), loss)
        }
        key::BREAKER => {
            let (instance, capability) = rest.split_at_checked(16).unwrap_or((rest, b""));
            let instance = id(instance).map_or_else(|| text(instance), |id| id.to_string());
            let loss = "what a breaker remembered: it starts closed";
            ("breaker", of(format!("{instance}, capability {}", text(capability))), loss)
        }
        key::DECISION => ("decision", of(text(rest)), "why one routed request went where it went"),
        key::LIMIT => ("limit", of(text(rest)), "a rate that was set: it is as declared again"),
        key::BUDGET => {
            ("budget", of(text(rest)), "a budget over time that was set: it does not hold any more")
        }
        key::RUN_SPEND => {
            let run = run_spend::run(rest).map_or_else(|| text(rest), |run| run.to_string());
            (
                "run spend",
                of(run),
                "what a run used: it is missing in the spend of its days, and not in the run",
            )
        }
        key::SPEND => {
            let what = spend::place(rest).map_or_else(
                || text(rest),
                |(workflow, it)| format!("{} by {workflow} at {} for {}", it.day, it.agent, it.capability),
            );
            ("spend", of(what), "what was spent so on that day")
        }
        key::ROLLOUT => {
            let loss = "a version of a rollout: put the same document again";
            (ROLLOUT.noun, of(version_of(rest)), loss)
        }
        key::ROLLOUT_CHANGE => {
            let loss = "a change of a rollout: what the changes after it say stands";
            ("rollout change", of(text(rest)), loss)
        }
        key::MODE => {
            ("mode", "of this server".to_owned(), "the mode that a person set: the rules decide again")
        }
        key::DRILL => ("drill", "of this server".to_owned(), "what a drill did and how it went"),
        key::PAUSE => ("pause", of(text(rest)), "a pause: what it named is in service"),
        key::EVENT => {
            let number = event::number(rest).map_or_else(|| text(rest), |number| number.to_string());
            ("event", format!("number {number}"), "one line of `mainstay events`")
        }
        key::RESTORED => ("restore", "of this store".to_owned(), "that this store was restored, and when"),
        key::LOOSE => {
            let loss = "which documents of removed records go next: they stay, and cost space";
            ("loose documents", "of removed records".to_owned(), loss)
        }
        key::ARTIFACT => {
            let name = artifact::id(rest).map_or_else(|| text(rest), |id| id.to_string());
            ("artifact", of(name), "a document that was put: put it again")
        }
        key::UPLOAD => {
            let loss = "what an upload left that broke off: its pieces stay, and cost space";
            ("upload", of("that has not ended".to_owned()), loss)
        }
        key::CONTEXT => {
            let loss = "who owns a key of the shared context and its versions: put the value again";
            ("context entry", of(text(rest)), loss)
        }
        key::CONTEXT_VALUE => {
            let what = context::value_parts(rest)
                .map_or_else(|| text(rest), |(key, version)| format!("{key} version {version}"));
            ("context value", of(what), "one version of a value in the shared context: put it again")
        }
        key::SECRET => (
            "secret",
            "of this server".to_owned(),
            "the secret of page tokens: those made before are refused",
        ),
        key::SCHEDULE => ("schedule", of(text(rest)), "a schedule: it fires nothing until it is put again"),
        key::SCHEDULE_LINE => {
            let line = named(rest).and_then(|(name, number)| {
                Some(format!("{name} line {}", u64::from_be_bytes(number.try_into().ok()?)))
            });
            ("schedule history", of(line.unwrap_or_else(|| text(rest))), "what a time of a schedule came to")
        }
        _ => ("unknown", of(format!("kind {kind:#04x}, {}", text(rest))), "not known"),
    }
}

fn read_global(kind: u8, rest: &[u8], value: &[u8], blobs: &Blobs) -> Result<Value, Unusable> {
    let json = match kind {
        key::INSTANCE => {
            let stored = spill::decode::<instance::StoredInstance>(instance::KIND, value, blobs);
            serde_json::to_value(stored.map_err(Unusable::from)?)
        }
        key::WORKFLOW => return read_document(WORKFLOW, value, blobs),
        key::ROUTES => return read_document(ROUTES, value, blobs),
        key::DECISION => serde_json::to_value(decision::decode(value).map_err(Unusable::from)?),
        key::LIMIT => serde_json::to_value(limit::decode(value).map_err(Unusable::from)?),
        key::BUDGET => serde_json::to_value(budget::decode(value).map_err(Unusable::from)?),
        key::RUN_SPEND => serde_json::to_value(run_spend::decode(value).map_err(Unusable::from)?),
        key::SPEND => serde_json::to_value(spend::decode(value).map_err(Unusable::from)?),
        key::ROLLOUT => return read_document(ROLLOUT, value, blobs),
        key::ROLLOUT_CHANGE => {
            serde_json::to_value(rollout::StoredChange::decode(value).map_err(Unusable::from)?)
        }
        key::MODE => serde_json::to_value(mode::decode(value).map_err(Unusable::from)?),
        key::DRILL => serde_json::to_value(drill::decode(value).map_err(Unusable::from)?),
        key::RUN_SUMMARY => {
            serde_json::to_value(run_summary::RunSummary::decode(value).map_err(Unusable::from)?)
        }
        key::IDEMPOTENCY => {
            serde_json::to_value(idempotency::Started::decode(value).map_err(Unusable::from)?)
        }
        key::BREAKER => {
            let (_, _, snapshot) = breaker::decode(rest, value).map_err(Unusable::from)?;
            serde_json::to_value(snapshot)
        }
        key::PAUSE => serde_json::to_value(pause::decode(value).map_err(Unusable::from)?),
        key::EVENT => serde_json::to_value(event::decode(value).map_err(Unusable::from)?),
        key::RESTORED => serde_json::to_value(restored::Restored::decode(value).map_err(Unusable::from)?),
        key::SCHEDULE => {
            serde_json::to_value(schedule::StoredSchedule::decode(value).map_err(Unusable::from)?)
        }
        key::SCHEDULE_LINE => serde_json::to_value(schedule::Line::decode(value).map_err(Unusable::from)?),
        key::LOOSE => {
            let documents = loose::decode(value).map_err(Unusable::from)?;
            Ok(documents.iter().map(ToString::to_string).collect())
        }
        key::ARTIFACT => return read_artifact(value, blobs),
        key::UPLOAD => serde_json::to_value(artifact::Upload::decode(value).map_err(Unusable::from)?),
        key::CONTEXT => serde_json::to_value(context::decode(value).map_err(Unusable::from)?),
        key::CONTEXT_VALUE => serde_json::to_value(context::decode_value(value).map_err(Unusable::from)?),
        // Never shown: whoever has it makes page tokens.
        key::SECRET if value.len() == 32 => Ok(Value::from("32 secret bytes")),
        key::SECRET => return Err(broken(format!("it has {} bytes instead of 32", value.len()))),
        _ => return untyped(value),
    };
    json.map_err(|error| Unusable::Broken(error.to_string()))
}

/// An artifact, each of its pieces verified.
fn read_artifact(value: &[u8], blobs: &Blobs) -> Result<Value, Unusable> {
    let stored = artifact::Stored::decode(value)?;
    for piece in &stored.pieces {
        if blobs.get(*piece)?.is_none() {
            return Err(broken(format!("its piece {piece} is missing")));
        }
    }
    serde_json::to_value(stored).map_err(|error| broken(error.to_string()))
}

fn read_document(kind: document::Keys, value: &[u8], blobs: &Blobs) -> Result<Value, Unusable> {
    let stored = kind.decode(value)?;
    let document = stored.document.parse();
    let document = document.map_err(|_| broken("the name of its document is malformed"))?;
    match blobs.get(document)? {
        Some(_) => serde_json::to_value(stored).map_err(|error| broken(error.to_string())),
        None => Err(broken(format!("its document {document} is missing"))),
    }
}

/// A record of a kind without an entry here.
fn untyped(value: &[u8]) -> Result<Value, Unusable> {
    let (_, payload) = record::open(value).map_err(Unusable::from)?;
    Ok(serde_json::from_slice(payload).unwrap_or_else(|_| Value::from(text(payload))))
}

fn place(key: &[u8]) -> Place<'_> {
    let of_run = || {
        let (head, rest) = key.split_at_checked(3)?;
        let (tenant, rest) = named(rest)?;
        let (run, rest) = rest.split_first_chunk()?;
        let first_event = rest.try_into().ok().map(u64::from_be_bytes);
        Some(Place::OfRun { kind: head[2], tenant, run: RunId::from_bytes(*run), first_event })
    };
    let global = || {
        let (tenant, rest) = named(&key[1..])?;
        let (kind, rest) = rest.split_first()?;
        Some(Place::Global { kind: *kind, tenant, rest })
    };
    match key.first() {
        Some(&key::GLOBAL) => global().unwrap_or(Place::Nowhere),
        Some(first) if *first < key::GLOBAL => of_run().unwrap_or(Place::Nowhere),
        Some(_) | None => Place::Nowhere,
    }
}

/// The name before a zero byte, and what follows it.
fn named(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

fn broken(what: impl Into<String>) -> Unusable {
    Unusable::Broken(what.into())
}

fn version_of(rest: &[u8]) -> String {
    match named(rest) {
        Some((name, version)) => {
            let version = <[u8; 4]>::try_from(version).map(|version| !u32::from_be_bytes(version));
            version.map_or_else(|_| name.to_owned(), |version| format!("{name} version {version}"))
        }
        None => text(rest),
    }
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: RunId = RunId::from_bytes([7; 16]);

    #[test]
    fn every_kind_there_is_has_an_entry() {
        for ordinal in key::ALL {
            let described = describe(&key::sample(ordinal));
            assert!(described.kind != "unknown" && described.loss != "not known", "{ordinal:#04x}");
        }
    }

    #[test]
    fn every_kind_of_key_says_what_it_is_about() {
        let capability = Name::new("work").unwrap();
        let target = "agent/writer".parse().unwrap();
        let prices = "market/prices".parse().unwrap();
        let keys = [
            transition::key("acme", RUN, 3),
            open_run::key("acme", RUN),
            instance::key("acme", InstanceId::from_bytes([1; 16])),
            WORKFLOW.key("acme", "quote", 12),
            run_summary::key("acme", RUN),
            idempotency::key("acme", "k"),
            breaker::key("acme", InstanceId::from_bytes([1; 16]), &capability),
            pause::key("acme", &target),
            event::key(9),
            restored::key(),
            context::key("acme", &prices),
            context::value_key("acme", &prices, 7),
            key::global("default", key::SECRET),
        ];
        let lines: Vec<String> =
            keys.iter().map(|key| describe(key)).map(|d| format!("{}: {}", d.kind, d.subject)).collect();
        assert_eq!(
            lines,
            [
                &format!("transition: {RUN} of tenant acme from event 3"),
                &format!("open run: {RUN} of tenant acme"),
                "instance: ins_01010101010101010101010101010101 of tenant acme",
                "workflow: quote version 12 of tenant acme",
                &format!("run summary: {RUN} of tenant acme"),
                "idempotency key: a hashed key of tenant acme",
                "breaker: ins_01010101010101010101010101010101, capability work of tenant acme",
                "pause: agent/writer of tenant acme",
                "event: number 9",
                "restore: of this store",
                "context entry: market/prices of tenant acme",
                "context value: market/prices version 7 of tenant acme",
                "secret: of this server",
            ]
        );
    }

    #[test]
    fn no_bytes_are_too_strange_to_be_described_and_read() {
        let blobs = Blobs::in_memory();
        let strange: [&[u8]; 7] =
            [b"", b"\0", b"\0\0\x01", b"\xf0", b"\xf0a\0", b"\xf0a\0\x11", b"\xff\xff\xff"];
        let mut named = Vec::new();
        for key in strange {
            drop(describe(key));
            for value in strange {
                drop(read(key, value, &blobs));
                named.extend(own_blobs(key, value));
            }
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let shown = read(&key::global("default", key::SECRET), &[0x5a; 32], &Blobs::in_memory()).unwrap();
        assert_eq!(shown, "32 secret bytes");
    }
}
