//! One request's way down the rungs. What is next, the kernel's [`Machine`] says; here it is carried out.
//!
//! However a request ends, its decision is told: also when its client goes away, or time runs out on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::chain::Chain;
use mainstay_kernel::id::{AttemptId, DecisionId};
use mainstay_kernel::json::Json;
use mainstay_kernel::name::Name;
use mainstay_kernel::outcome::{Answer, Class, Failure, Usage};
use mainstay_kernel::priority::Priority;
use mainstay_kernel::retry::{Retries, RetryPolicy};
use mainstay_kernel::route::{Decision, Machine, Move, Question, Routing, Target};
use mainstay_kernel::time::{Mono, Wall};

use super::live::Live;
use super::{Handle, PATIENCE, labels};
use crate::dispatch;
use crate::documents::CatalogError;
use crate::invoke::keyed;
use crate::records::decision::Decided;

/// The part of a request's time that no agent gets, so that the static response still arrives: a tenth.
const KEPT_BACK: u32 = 10;
/// The part of what is left that a router agent may take at most, so that who it names can still be called: half.
const ROUTER_SHARE: u32 = 2;
/// How much of an input is kept with the decision, in characters: enough to recognise the request.
const MAX_INPUT: usize = 256;

/// A request that names a routing document.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose request.
    pub tenant: Name,
    /// The routing document.
    pub route: Name,
    /// Its version; the newest if none is named.
    pub version: Option<u32>,
    /// What the request says.
    pub input: Json,
    /// Its labels, for rules.
    pub labels: BTreeMap<String, String>,
    /// Where its sender wants it to go: the first rung.
    pub target: Option<Target>,
}

/// What a request asks for beside being routed.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The client's own key; empty if it gave none.
    pub key: String,
    /// What the person asked for.
    pub intent: Arc<str>,
    /// How long the request may take in all.
    pub time: Duration,
    /// Whether what reaches an agent may be repeated.
    pub retries: Retries,
    /// The calls on whose behalf it is made.
    pub chain: Chain,
    /// How urgent the request is, and every call made to route it.
    pub priority: Priority,
}

/// What became of a request.
#[derive(Debug)]
pub struct Routed {
    /// Names the decision.
    pub id: DecisionId,
    /// What was decided.
    pub decision: Decision,
    /// The answer: an agent's, or the static response.
    pub result: Result<Answer, Failure>,
    /// The agent that was called; empty for the static response.
    pub agent: String,
    /// Its instance.
    pub instance: String,
    /// How many attempts the call took, with those of rungs before.
    pub attempts: u32,
}

/// Where a request was sent, before anybody was called.
#[derive(Debug)]
pub struct Found {
    /// Names the decision.
    pub id: DecisionId,
    /// What was decided.
    pub decision: Decision,
    /// The answer, if the document gives it itself.
    pub response: Option<Json>,
}

/// A request on its way. Its decision is told when it is dropped.
struct Way<'a> {
    handle: &'a Handle,
    machine: Machine,
    request: &'a Request,
    terms: &'a Terms,
    /// When the last call must have ended.
    until: Mono,
    id: DecisionId,
    version: u32,
    at: Wall,
    ended: Class,
    attempts: u32,
}

impl Handle {
    /// Routes a request and makes its call.
    ///
    /// # Errors
    /// If the routing document is not to be had. Nothing else keeps a request from its answer.
    pub async fn call(&self, request: Request, terms: Terms) -> Result<Routed, CatalogError> {
        Ok(self.set_out(&request, &terms).await?.walk().await)
    }

    /// Finds out where a request goes, and calls nobody but a router agent: whoever asks makes the call.
    ///
    /// # Errors
    /// If the routing document is not to be had.
    pub async fn decide(&self, request: Request, terms: Terms) -> Result<Found, CatalogError> {
        Ok(self.set_out(&request, &terms).await?.look().await)
    }

    async fn set_out<'a>(&'a self, request: &'a Request, terms: &'a Terms) -> Result<Way<'a>, CatalogError> {
        let until = self.clock.mono() + (terms.time - terms.time / KEPT_BACK);
        let routing = self.document(&request.tenant, &request.route, request.version).await?;
        let version = routing.version();
        let machine = self.machine(routing, request, PATIENCE.min(terms.time / 4)).await;
        Ok(Way {
            handle: self,
            machine,
            request,
            terms,
            until,
            id: self.clock.id().into(),
            version,
            at: self.clock.wall(),
            ended: Class::Cancelled,
            attempts: 0,
        })
    }

    /// What would be decided about a request now. Nobody is called; the router agent is not asked.
    ///
    /// # Errors
    /// If the routing document is not to be had.
    pub async fn explain(&self, request: &Request) -> Result<Decided, CatalogError> {
        let routing = self.document(&request.tenant, &request.route, request.version).await?;
        let version = routing.version();
        let machine = self.machine(routing, request, PATIENCE).await;
        let live = Live { registry: &self.registry, tenant: &request.tenant };
        Ok(Decided {
            id: self.clock.id().into(),
            tenant: request.tenant.clone(),
            route: request.route.clone(),
            version,
            at: self.clock.wall(),
            input: excerpt(&request.input),
            decision: machine.rehearse(&live),
            ended: None,
        })
    }

    async fn machine(&self, routing: Arc<Routing>, request: &Request, patience: Duration) -> Machine {
        let classifier = self.learning.of(&request.tenant, &routing, patience).await;
        let asked = mainstay_kernel::route::Request {
            tenant: request.tenant.clone(),
            input: request.input.clone(),
            labels: labels(&request.labels),
            target: request.target.clone(),
            mode: self.modes.mode(),
        };
        Machine::new(routing, classifier, asked)
    }
}

// === impl Way ===

impl Way<'_> {
    async fn walk(mut self) -> Routed {
        let live = Live { registry: &self.handle.registry, tenant: &self.request.tenant };
        loop {
            match self.machine.next(&live) {
                Move::Ask(question) => {
                    let answer = self.ask(question).await;
                    self.machine.on_router(answer.as_ref(), &live);
                }
                Move::Call(target) => {
                    let input = self.request.input.clone();
                    let left = self.left();
                    let report = self.make(self.key(&target), target, input, left).await;
                    match report.result {
                        Err(failure) if self.machine.on_failed(&failure) => {}
                        result => {
                            let last = dispatch::decisive(&report.attempts);
                            let agent = last.map(|attempt| attempt.agent.clone()).unwrap_or_default();
                            let instance = last.map(|attempt| attempt.instance.clone()).unwrap_or_default();
                            return self.end(result, agent, instance);
                        }
                    }
                }
                Move::Respond(output) => {
                    let answer =
                        Answer { output, usage: Usage::default(), confidence_bp: None, warnings: Vec::new() };
                    return self.end(Ok(answer), String::new(), String::new());
                }
            }
        }
    }

    /// Goes down to the rung that holds, and no further.
    async fn look(mut self) -> Found {
        let live = Live { registry: &self.handle.registry, tenant: &self.request.tenant };
        let response = loop {
            match self.machine.next(&live) {
                Move::Ask(question) => {
                    let answer = self.ask(question).await;
                    self.machine.on_router(answer.as_ref(), &live);
                }
                Move::Call(_) => break None,
                Move::Respond(output) => break Some(output),
            }
        };
        self.ended = Class::Success;
        Found { id: self.id, decision: self.machine.decision().clone(), response }
    }

    async fn ask(&mut self, question: Question) -> Result<Answer, Failure> {
        let time = question.timeout.min(self.left() / ROUTER_SHARE);
        // Never under the client's key: what is asked changes with the registry, and a ledger holds a key to its input.
        let key = self.handle.clock.id().into();
        self.make(key, question.target, question.input, time).await.result
    }

    /// One call, which ends within `time`.
    async fn make(
        &mut self,
        key: AttemptId,
        target: Target,
        input: Json,
        time: Duration,
    ) -> dispatch::Report {
        let handle = self.handle;
        let report = handle.dispatch.call(dispatch::Call {
            key,
            tenant: self.request.tenant.clone(),
            capability: target.capability,
            agent: target.agent,
            not_by: Vec::new(),
            input,
            number: 1,
            step: None,
            intent: Arc::clone(&self.terms.intent),
            labels: Arc::new(self.request.labels.clone()),
            timeout: time,
            deadline: handle.clock.mono() + time,
            policy: RetryPolicy::DEFAULT,
            retries: self.terms.retries,
            chain: self.terms.chain.clone(),
            priority: self.terms.priority,
            resumed: None,
            left: Arc::default(),
        });
        let report = report.await;
        self.attempts += u32::try_from(report.attempts.len()).unwrap_or(u32::MAX);
        report
    }

    fn key(&self, target: &Target) -> AttemptId {
        match self.terms.key.as_str() {
            "" => AttemptId::from(self.handle.clock.id()),
            key => keyed(self.request.tenant.as_str(), target.capability.as_str(), key),
        }
    }

    fn left(&self) -> Duration {
        self.until - self.handle.clock.mono()
    }

    fn end(mut self, result: Result<Answer, Failure>, agent: String, instance: String) -> Routed {
        self.ended = result.as_ref().map_or_else(|failure| failure.class, |_| Class::Success);
        let decision = self.machine.decision().clone();
        Routed { id: self.id, decision, result, agent, instance, attempts: self.attempts }
    }
}

impl Drop for Way<'_> {
    fn drop(&mut self) {
        let decision = self.machine.decision().clone();
        self.handle.metrics.routed(decision.rung);
        if let Some(faults) = self.handle.dispatch.faults() {
            faults.routed(&decision);
        }
        self.handle.decisions.tell(Decided {
            id: self.id,
            tenant: self.request.tenant.clone(),
            route: self.request.route.clone(),
            version: self.version,
            at: self.at,
            input: excerpt(&self.request.input),
            decision,
            ended: Some(self.ended),
        });
    }
}

/// How an input begins.
fn excerpt(input: &Json) -> String {
    input.as_str().chars().take(MAX_INPUT).collect()
}
