//! A registry to route over, and what the tests of the ladder share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::classify::{Classifier, Material};
use super::*;
use crate::json::{Json, Limits};
use crate::mode::Mode;
use crate::outcome::{Answer, Began, Class, Failure};

mod documents;
mod ladder;
mod liars;

/// A registry that a test writes down.
#[derive(Debug, Default, Clone)]
struct Town {
    /// What each agent offers.
    agents: BTreeMap<&'static str, Vec<&'static str>>,
    down: BTreeSet<&'static str>,
    forbidden: BTreeSet<&'static str>,
}

impl Registry for Town {
    fn standing(&self, target: &Target) -> Standing {
        let offers = |agent: &str| {
            self.agents.get(agent).is_some_and(|offered| offered.contains(&target.capability.as_str()))
        };
        let known = match &target.agent {
            Some(agent) => offers(agent.as_str()),
            None => self.agents.keys().any(|agent| offers(agent)),
        };
        match target.capability.as_str() {
            _ if !known => Standing::Unknown,
            name if self.down.contains(name) => Standing::Down("every breaker is open".to_owned()),
            name if self.forbidden.contains(name) => Standing::Forbidden("paused: night shift".to_owned()),
            _ => Standing::Ready,
        }
    }

    fn offers(&self, agent: &Name) -> Vec<Name> {
        self.agents.get(agent.as_str()).into_iter().flatten().map(|text| name(text)).collect()
    }

    fn capabilities(&self) -> Vec<(Name, String)> {
        let all: BTreeSet<_> = self.agents.values().flatten().collect();
        all.into_iter().map(|text| (name(text), format!("does {text}"))).collect()
    }
}

fn town() -> Town {
    let agents = [
        ("cashier", vec!["billing.refund", "billing.invoice"]),
        ("courier", vec!["shipping.track"]),
        ("dispatcher", vec!["pick"]),
        ("clerk", vec!["anything"]),
        ("sleeper", vec!["night.work"]),
        ("vault", vec!["secret.read"]),
    ];
    Town { agents: agents.into(), down: ["night.work"].into(), forbidden: BTreeSet::new() }
}

const DOCUMENT: &str = r#"
name: support
version: 2
capabilities: [billing.*, shipping.track, night.work]
rules:
  - name: big-refunds
    when: input.amount > 100 && labels.channel == "web"
    to: { capability: billing.refund, agent: cashier }
classifier: {}
router: { capability: pick, min_confidence: 0.6 }
generalist: { capability: anything }
static: { answer: "Nobody can say now; please write to us." }
"#;

fn routing(document: &str) -> Arc<Routing> {
    Arc::new(Routing::parse(document).unwrap_or_else(|problems| panic!("{problems:?}")))
}

fn classifier() -> Arc<Classifier> {
    let material = [
        ("billing.refund", ["refund", "money", "charge"]),
        ("shipping.track", ["parcel", "track", "courier"]),
    ];
    let material = material.map(|(capability, keywords)| {
        let keywords = keywords.map(str::to_owned).into();
        (name(capability), Material { keywords, ..Default::default() })
    });
    Arc::new(Classifier::learn(&material.into()))
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn target(capability: &str, agent: Option<&str>) -> Target {
    Target { capability: name(capability), agent: agent.map(name) }
}

fn asks(input: &str) -> Request {
    Request {
        tenant: name("default"),
        input: json(input),
        labels: json(r#"{"channel": "web"}"#),
        target: None,
        mode: Mode::Full,
    }
}

fn machine(request: Request) -> Machine {
    Machine::new(routing(DOCUMENT), Some(classifier()), request)
}

fn answers(output: &str) -> Answer {
    Answer {
        output: json(output),
        usage: crate::outcome::Usage::default(),
        confidence_bp: None,
        warnings: vec![],
    }
}

fn fails(class: Class, began: Began) -> Failure {
    let (code, message) = (class.as_str().to_uppercase(), "it did".to_owned());
    Failure { class, code, message, began, retry_after: None }
}

/// The rungs passed and why, in order.
fn passed(decision: &Decision) -> Vec<(Rung, Why)> {
    decision.passed.iter().map(|passed| (passed.rung, passed.why)).collect()
}
