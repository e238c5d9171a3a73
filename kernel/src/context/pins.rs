//! What a run read of the shared context when it was accepted, and has seen ever since.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::to_raw_value;

use super::Key;
use crate::json::Json;
use crate::time::Wall;
use crate::workflow::Workflow;

/// A key that a workflow reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// What its expressions call it: `context.<name>`.
    pub name: Arc<str>,
    /// The key.
    pub key: Key,
    /// How old the value may be; nothing to leave that to its owner.
    pub max_age: Option<Duration>,
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The workflow that reads it, like `quote v3`; empty for the run's own, and not for one that a step of it runs.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub of: Arc<str>,
    /// What expressions call it.
    pub name: Arc<str>,
    /// The key.
    pub key: Key,
    /// Its version.
    pub version: u64,
    /// When that was written.
    pub at: Wall,
    /// The value.
    pub value: Json,
}

/// Everything that a run read. Cheap to clone, and nothing at all for a run that reads none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pins(Option<Arc<Pinned>>);

#[derive(Debug, PartialEq, Eq)]
struct Pinned {
    pins: Vec<Pin>,
    /// For each workflow its values by their names, as its expressions see them.
    values: BTreeMap<Arc<str>, Json>,
}

impl Pins {
    /// What was read, each under a name of its own in its workflow.
    #[must_use]
    pub fn new(pins: Vec<Pin>) -> Self {
        let own: BTreeSet<&Arc<str>> = pins.iter().map(|pin| &pin.of).collect();
        let values = own.into_iter().map(|of| (Arc::clone(of), object(&pins, of))).collect();
        Self((!pins.is_empty()).then(|| Arc::new(Pinned { pins, values })))
    }

    /// Whether nothing was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Each value that was read, in the order of the document.
    #[must_use]
    pub fn all(&self) -> &[Pin] {
        self.0.as_ref().map_or(&[], |pinned| &pinned.pins)
    }

    /// The values as one object, as expressions of `workflow` see them: one that a step runs, or none for the run's own.
    #[must_use]
    pub fn values(&self, workflow: Option<&Workflow>) -> &Json {
        static NONE: LazyLock<Json> = LazyLock::new(|| object(&[], ""));
        let Some(pinned) = &self.0 else { return &NONE };
        let of = workflow.map(ToString::to_string).unwrap_or_default();
        pinned.values.get(&*of).unwrap_or(&NONE)
    }
}

fn object(pins: &[Pin], of: &str) -> Json {
    let own = pins.iter().filter(|pin| *pin.of == *of);
    let values: BTreeMap<&str, &Json> = own.map(|pin| (&*pin.name, &pin.value)).collect();
    // Texts as keys and checked JSON as values: writing them cannot fail.
    to_raw_value(&values).ok().and_then(|raw| Json::deserialize(&*raw).ok()).unwrap_or_default()
}

impl Serialize for Pins {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.all().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Pins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::new)
    }
}
