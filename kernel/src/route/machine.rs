//! One request's way down the ladder.
//!
//! [`Machine::next`] says what to do: call somebody, ask the router agent, or answer with the static response. Each rung is
//! visited once and in order, so a request ends after as many moves as there are rungs, whatever anybody answers.

use std::sync::Arc;

use serde_json::Value;

use super::answer;
use super::classify::{Classifier, Finding, MAX_CHARS, Verdict};
use super::question::{self, Question};
use super::{Decision, Routing, Rung, Target, Why};
use crate::expr::{Facts, Outputs, Scope};
use crate::id::RunId;
use crate::json::Json;
use crate::mode::Mode;
use crate::name::Name;
use crate::outcome::{Answer, Began, Class, Failure};

/// Most rules without a value that a decision names. A document whose rules read what requests do not have is mended after
/// the first few.
const MAX_ERRORS: usize = 8;

/// A request to be routed.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose request.
    pub tenant: Name,
    /// What it says.
    pub input: Json,
    /// Its labels: a JSON object of texts.
    pub labels: Json,
    /// Where its sender wants it to go.
    pub target: Option<Target>,
    /// How much of its work the system does now.
    pub mode: Mode,
}

/// The live agents, as far as routing is concerned.
pub trait Registry {
    /// Whether a call of `target` would find somebody now.
    fn standing(&self, target: &Target) -> Standing;
    /// The capabilities that `agent` offers; none if there is no such agent.
    fn offers(&self, agent: &Name) -> Vec<Name>;
    /// Every capability with a description, in the order of their names.
    fn capabilities(&self) -> Vec<(Name, String)>;
}

/// How a target stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Somebody takes calls.
    Ready,
    /// Nobody on record offers it.
    Unknown,
    /// Those who offer it cannot take a call now; the text says why.
    Down(String),
    /// An operator does not let calls go there; the text says why.
    Forbidden(String),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a move that is not made leaves the request without an answer"]
pub enum Move {
    /// Call this. If it cannot take the call, say so with [`Machine::on_failed`].
    Call(Target),
    /// Ask this, and hand over the answer with [`Machine::on_router`].
    Ask(Question),
    /// Answer with this.
    Respond(Json),
}

/// One request and how far it has come.
#[derive(Debug)]
pub struct Machine {
    routing: Arc<Routing>,
    classifier: Option<Arc<Classifier>>,
    request: Request,
    /// The rung that is tried next.
    at: Rung,
    /// What the router agent named, not yet checked.
    named: Option<(Target, u16)>,
    decision: Decision,
}

impl Machine {
    /// A request at the top of the ladder. The classifier is that of the document's capabilities, if it is learned already.
    #[must_use]
    pub fn new(routing: Arc<Routing>, classifier: Option<Arc<Classifier>>, request: Request) -> Self {
        let decision = Decision::open();
        Self { routing, classifier, request, at: Rung::Target, named: None, decision }
    }

    /// What to do now.
    pub fn next(&mut self, registry: &dyn Registry) -> Move {
        if let Some((target, confidence)) = self.named.take()
            && self.takes_allowed(Rung::Router, &target, registry)
        {
            self.decision.confidence_bp = Some(confidence);
            return Move::Call(target);
        }
        loop {
            let rung = self.at;
            let Some(next) = below(rung) else { break };
            self.at = next;
            if self.leaves_out(rung) {
                continue;
            }
            let target = match rung {
                Rung::Target => {
                    self.request.target.clone().filter(|target| self.takes(rung, target, registry))
                }
                Rung::Rules => self.rules(registry),
                Rung::Classifier => self.classify(registry),
                Rung::Router => match self.ask(registry) {
                    Some(question) => return Move::Ask(question),
                    None => None,
                },
                Rung::Generalist => {
                    self.routing.generalist().cloned().filter(|target| self.takes(rung, target, registry))
                }
                Rung::Static => None,
            };
            if let Some(target) = target {
                return Move::Call(target);
            }
        }
        self.settle(Rung::Static, None);
        Move::Respond(self.routing.response().clone())
    }

    /// The router agent has answered, or not.
    pub fn on_router(&mut self, answer: Result<&Answer, &Failure>, registry: &dyn Registry) {
        match answer::read(answer, &self.routing, registry) {
            Ok(named) => self.named = Some(named),
            Err(refused) => self.decision.pass(Rung::Router, refused.target, refused.why, &refused.detail),
        }
    }

    /// What would be decided if everybody took their call. Nobody is called; the router agent is not asked.
    #[must_use]
    pub fn rehearse(mut self, registry: &dyn Registry) -> Decision {
        while let Move::Ask(question) = self.next(registry) {
            self.decision.pass(Rung::Router, Some(question.target), Why::NotAsked, "would be asked");
        }
        self.decision
    }

    /// The call has failed. True if it never reached an agent, so that the next rung may be tried; otherwise the failure is
    /// the request's answer.
    #[must_use]
    pub fn on_failed(&mut self, failure: &Failure) -> bool {
        let nobody =
            matches!(failure.class, Class::Unavailable | Class::Overload | Class::Transport | Class::Timeout)
                && failure.began == Began::No;
        if nobody {
            let detail = format!("{}: {}", failure.code, failure.message);
            let target = self.decision.target.take();
            self.decision.pass(self.decision.rung, target, Why::Unserved, &detail);
            self.settle(Rung::Static, None);
        }
        nobody
    }

    /// What has been decided so far, and on which grounds.
    #[must_use]
    pub const fn decision(&self) -> &Decision {
        &self.decision
    }

    /// The record.
    #[must_use]
    pub fn into_decision(self) -> Decision {
        self.decision
    }

    /// Whether this rung is left out in the present mode; if there is one, with a note.
    fn leaves_out(&mut self, rung: Rung) -> bool {
        let mode = self.request.mode;
        let dropped = self.routing.drops(rung, mode);
        if dropped && (self.routing.has(rung) || rung == Rung::Target && self.request.target.is_some()) {
            let detail = format!("is left out while the system is in {mode} mode");
            self.decision.pass(
                rung,
                self.request.target.clone().filter(|_| rung == Rung::Target),
                Why::Mode,
                &detail,
            );
        }
        dropped
    }

    fn rules(&mut self, registry: &dyn Registry) -> Option<Target> {
        let routing = Arc::clone(&self.routing);
        if routing.rules().is_empty() {
            return None;
        }
        let (mut matched, mut errors) = (false, 0);
        for rule in routing.rules() {
            let tenant = self.request.tenant.as_str();
            let facts = Facts { input: &self.request.input, labels: &self.request.labels, tenant };
            match rule.when.holds(facts) {
                Ok(false) => {}
                // A field that is not there is what most errors are: the rule is not about this request.
                Err(error) => {
                    errors += 1;
                    if errors <= MAX_ERRORS {
                        let detail = format!("rule {}: {error}", rule.name);
                        self.decision.pass(Rung::Rules, None, Why::Error, &detail);
                    }
                }
                Ok(true) => {
                    matched = true;
                    if self.takes(Rung::Rules, &rule.to, registry) {
                        self.decision.rule = Some(rule.name.clone());
                        return Some(rule.to.clone());
                    }
                }
            }
        }
        if !matched {
            self.decision.pass(Rung::Rules, None, Why::NoMatch, "no rule holds");
        }
        None
    }

    fn classify(&mut self, registry: &dyn Registry) -> Option<Target> {
        let routing = Arc::clone(&self.routing);
        let thresholds = routing.classifier()?;
        let text = match self.text() {
            Ok(text) => text,
            Err(detail) => {
                self.decision.pass(Rung::Classifier, None, Why::Error, &detail);
                return None;
            }
        };
        let Some(classifier) = self.classifier.clone() else {
            self.decision.pass(Rung::Classifier, None, Why::Nothing, "nothing has been learned yet");
            return None;
        };
        let verdict = classifier.judge(&text, thresholds);
        let first = verdict.ranked.first().map(|ranked| ranked.capability.clone());
        let told = self.told(&verdict);
        self.decision.verdict = Some(verdict);
        let target = first.map(|capability| Target { capability, agent: None });
        match (told, target) {
            (None, Some(target)) => self.takes_allowed(Rung::Classifier, &target, registry).then_some(target),
            (None, None) => None,
            (Some((why, detail)), target) => {
                self.decision.pass(Rung::Classifier, target, why, &detail);
                None
            }
        }
    }

    /// Why a verdict is none.
    fn told(&self, verdict: &Verdict) -> Option<(Why, String)> {
        let percent = |bp: Option<u16>| f64::from(bp.unwrap_or_default()) / 100.0;
        let names: Vec<&str> =
            verdict.ranked.iter().take(2).map(|ranked| ranked.capability.as_str()).collect();
        match verdict.finding {
            Finding::Sure => None,
            Finding::Ambiguous => {
                Some((Why::Ambiguous, format!("{} are too close to call", names.join(" and "))))
            }
            Finding::OutOfScope if verdict.fit_bp.is_some() => Some((
                Why::OutOfScope,
                format!("only {}% of the known requests look as little like theirs", percent(verdict.fit_bp)),
            )),
            Finding::OutOfScope => {
                Some((Why::OutOfScope, "too few of its words speak for any capability".to_owned()))
            }
            Finding::Nothing => Some((Why::Nothing, "none of its words is known".to_owned())),
        }
    }

    fn ask(&mut self, registry: &dyn Registry) -> Option<Question> {
        let router = self.routing.router()?.target.clone();
        if !self.stands(Rung::Router, &router, registry) {
            return None;
        }
        let text = self.text().unwrap_or_default();
        question::ask(&self.routing, &self.request, &text, registry)
    }

    /// What the classifier reads and the router agent is shown.
    fn text(&self) -> Result<String, String> {
        let Some(mapping) = &self.routing.text else { return Ok(strings(&self.request.input.value())) };
        let scope = Scope {
            input: &self.request.input,
            run: RunId::from_bytes([0; 16]),
            intent: "",
            context: &Json::null(),
            outputs: &NoSteps,
        };
        mapping.eval(&scope).map(|json| strings(&json.value())).map_err(|error| format!("text: {error}"))
    }

    /// Takes `target` if the document allows it and it stands.
    fn takes_allowed(&mut self, rung: Rung, target: &Target, registry: &dyn Registry) -> bool {
        if self.routing.allows(&target.capability) {
            return self.takes(rung, target, registry);
        }
        self.decision.pass(rung, Some(target.clone()), Why::Forbidden, "the document does not route there");
        false
    }

    fn takes(&mut self, rung: Rung, target: &Target, registry: &dyn Registry) -> bool {
        let stands = self.stands(rung, target, registry);
        if stands {
            self.settle(rung, Some(target.clone()));
        }
        stands
    }

    fn stands(&mut self, rung: Rung, target: &Target, registry: &dyn Registry) -> bool {
        let (why, detail) = match registry.standing(target) {
            Standing::Ready => return true,
            Standing::Unknown => (Why::Unknown, format!("no agent on record offers {target}")),
            Standing::Down(detail) => (Why::Down, detail),
            Standing::Forbidden(detail) => (Why::Forbidden, detail),
        };
        self.decision.pass(rung, Some(target.clone()), why, &detail);
        false
    }

    fn settle(&mut self, rung: Rung, target: Option<Target>) {
        self.decision.rung = rung;
        self.decision.target = target;
        self.decision.rule = None;
        self.decision.confidence_bp = None;
    }
}

const fn below(rung: Rung) -> Option<Rung> {
    match rung {
        Rung::Target => Some(Rung::Rules),
        Rung::Rules => Some(Rung::Classifier),
        Rung::Classifier => Some(Rung::Router),
        Rung::Router => Some(Rung::Generalist),
        Rung::Generalist => Some(Rung::Static),
        Rung::Static => None,
    }
}

/// A request has no steps.
struct NoSteps;

impl Outputs for NoSteps {
    fn output(&self, _: &str) -> Option<&Json> {
        None
    }
}

/// Every text in a value, in order, as far as the classifier reads.
fn strings(value: &Value) -> String {
    let mut found = String::new();
    gather(value, &mut found);
    found
}

fn gather(value: &Value, found: &mut String) {
    // A character takes up to four bytes.
    if found.len() >= 4 * MAX_CHARS {
        return;
    }
    match value {
        Value::String(text) => {
            if !found.is_empty() {
                found.push('\n');
            }
            found.extend(text.chars().take(MAX_CHARS));
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| gather(field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
