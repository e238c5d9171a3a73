//! The life of one call: check the input, ask the ledger, take a permit, call the agent, check the output, record, answer.
//!
//! The order is the point. A call that is wrong or cannot be taken leaves no trace; a call that leaves a trace has a
//! permit; what the agent said is looked at before anyone else sees it, and recorded before anyone is told.
//!
//! Read-only work is driven by those who wait for it and is cut when nobody does. Everything else is given to a task of
//! its own: its caller may be a control plane that was just killed and that will ask again under the same key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{AbortHandle, Abortable};
use mainstay_kernel::agent::AgentSpec;
use mainstay_kernel::chain::Chain;
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::id::AttemptId;
use mainstay_kernel::json::{self, Json, JsonError};
use mainstay_kernel::name::Name;
use mainstay_kernel::outcome::{Answer, Began, Class, Failure};
use mainstay_kernel::priority::Priority;
use mainstay_kernel::schema::Violation;
use mainstay_proto::reason::Reason;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;

use crate::adapter::{Adapter, Body, Call, Reply};
use crate::failure::{self, caller_fault};
use crate::ledger::{Ask, Claim, Digest, Ended, Known, Ledger, Verdict};
use crate::manifest::{Contract, Limits, Manifest};
use crate::vitals::Vitals;

mod window;

use self::window::{Summaries, Window};

/// What a busy agent asks for: about the time in which one of several calls ends. Callers add jitter of their own.
const BUSY_FOR: Duration = Duration::from_millis(100);
/// The share of the remaining time that is kept for the way back, and the most of it: enough for the answer to arrive
/// before the caller's own clock gives up, so that it hears "timed out" and not silence.
const WAY_BACK_SHARE: u32 = 10;
const MAX_WAY_BACK: Duration = Duration::from_millis(200);

/// A call as it came in, its shape checked.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) id: AttemptId,
    pub(crate) capability: String,
    pub(crate) input: Bytes,
    pub(crate) run: String,
    pub(crate) step: String,
    pub(crate) intent: String,
    pub(crate) traceparent: Option<String>,
    /// The caller repeats what fails, so nobody below may.
    pub(crate) retry_forbidden: bool,
    /// How urgent it is.
    pub(crate) priority: Priority,
    /// Who called whom, down to this call.
    pub(crate) chain: Chain,
    /// Grows each time the same attempt is sent again; 0 if its caller does not count.
    pub(crate) epoch: u64,
    /// When the caller gives up, if it said so.
    pub(crate) deadline: Option<Instant>,
}

/// Why a call was not taken at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The sidecar is shutting down.
    Draining,
    /// The caller's deadline has passed.
    DeadlinePassed,
}

/// Where calls are taken. Clones are the same desk.
#[derive(Debug, Clone)]
pub(crate) struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    agent: AgentSpec,
    services: BTreeMap<Name, Arc<Service>>,
    adapter: Adapter,
    ledger: Ledger,
    summaries: Summaries,
    limits: json::Limits,
    vitals: Vitals,
    draining: AtomicBool,
    in_flight: AtomicUsize,
    idle: Notify,
}

/// A capability and who may use it at once.
#[derive(Debug)]
struct Service {
    contract: Contract,
    permits: Semaphore,
}

/// One call under way, counted from its making to its end or its cut.
struct InFlight(Desk);

// === impl Desk ===

impl Desk {
    pub(crate) fn new(manifest: &Manifest, ledger: Ledger, vitals: Vitals, control_plane: Channel) -> Self {
        let Limits { payload } = manifest.limits;
        let service = |contract: &Contract| {
            let permits = Semaphore::new(contract.spec.max_concurrency as usize);
            Arc::new(Service { contract: contract.clone(), permits })
        };
        Self(Arc::new(Inner {
            agent: manifest.agent.clone(),
            services: manifest
                .contracts
                .iter()
                .map(|(name, contract)| (name.clone(), service(contract)))
                .collect(),
            adapter: Adapter::new(&manifest.adapter, payload),
            ledger,
            summaries: Summaries {
                control_plane,
                tenant: manifest.tenant.as_ref().map(Name::to_string).unwrap_or_default(),
            },
            limits: json::Limits { max_bytes: payload, ..json::Limits::default() },
            vitals,
            draining: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            idle: Notify::new(),
        }))
    }

    pub(crate) fn agent(&self) -> &AgentSpec {
        &self.0.agent
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    pub(crate) fn adapter(&self) -> &Adapter {
        &self.0.adapter
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Acquire)
    }

    /// Takes no new work from now on. What is under way can still be joined, and what ended can still be asked for.
    pub(crate) fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Resolves once nothing is under way.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.0.idle.notified();
            if self.in_flight() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Does the work of `order`, joins it, or answers from the record.
    pub(crate) async fn call(&self, order: Order) -> Result<Arc<Ended>, Refused> {
        if order.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(Refused::DeadlinePassed);
        }
        let (service, input) = match self.check(&order) {
            Ok(checked) => checked,
            Err(failure) => return Ok(Arc::new(Err(failure))),
        };
        let effect = service.contract.spec.effect;
        let ask = Ask { id: order.id, digest: digest(&order), effect, epoch: order.epoch };
        if self.is_draining() && matches!(self.0.ledger.known(ask.id), Ok(Known::Nothing)) {
            return Err(Refused::Draining);
        }
        let verdict = self.0.ledger.decide(ask, |claim| {
            let (cancel, registration) = AbortHandle::new_pair();
            let mut call = service.call(order, input);
            let under_way = self.count();
            let work = async move {
                let desk = &under_way.0;
                let outcome = desk.work(&service, &mut call, claim, registration).await;
                drop(under_way);
                outcome
            };
            (work.boxed(), cancel)
        });
        match verdict {
            Err(failure) => Ok(Arc::new(Err(failure))),
            Ok(Verdict::Answer(outcome)) => Ok(outcome),
            Ok(Verdict::Wait { work, fresh }) => {
                if fresh && effect != EffectClass::ReadOnly {
                    drop(tokio::spawn(work.clone()));
                }
                Ok(work.await)
            }
        }
    }

    fn check(&self, order: &Order) -> Result<(Arc<Service>, Json), Failure> {
        let Some(service) = self.0.services.get(order.capability.as_str()) else {
            let text = format!("{:?} is not a capability of {}", order.capability, self.0.agent.name);
            return Err(caller_fault(Reason::CapabilityNotServed, text));
        };
        let input =
            if order.input.is_empty() { Ok(Json::null()) } else { Json::parse(&order.input, &self.0.limits) };
        let input = input.map_err(|error| {
            let too_long = matches!(error, JsonError::TooLong { .. });
            let reason = if too_long { Reason::PayloadTooLarge } else { Reason::JsonInvalid };
            caller_fault(reason, format_args!("input {error}"))
        })?;
        service.contract.input.check(&input).map_err(|violations| {
            let text = format!("input breaks its schema: {}", list(&violations));
            caller_fault(Reason::InputSchemaMismatch, text)
        })?;
        Ok((Arc::clone(service), input))
    }

    /// From the permit to the record.
    async fn work(
        &self,
        service: &Service,
        call: &mut Call,
        claim: Claim,
        cancelled: futures::future::AbortRegistration,
    ) -> Arc<Ended> {
        let Ok(_permit) = service.permits.try_acquire() else {
            return claim.abandon(busy(&service.contract));
        };
        let window = match self.window(service, call).await {
            Ok(window) => window,
            Err(failure) => return claim.abandon(failure),
        };
        if let Err(failure) = claim.begin().await {
            return claim.abandon(failure);
        }
        let started = Instant::now();
        if started >= call.cut_at {
            let text = "the time allowed was over before the agent was called";
            let late = failure::failure(Class::Timeout, Reason::AgentTimeout, Began::No, text);
            return claim.settle(Err(late)).await;
        }
        let agent = Abortable::new(self.0.adapter.call(call), cancelled);
        let outcome = match timeout_at(call.cut_at, agent).await {
            Err(_) => Err(timed_out(started)),
            Ok(Err(_)) => Err(failure::failure(
                Class::Cancelled,
                Reason::CallCancelled,
                Began::Unknown,
                "cancelled by its caller",
            )),
            Ok(Ok(Err(failure))) => Err(failure),
            Ok(Ok(Ok(reply))) => {
                self.checked(reply, &service.contract, started).map(|answer| window.noted(answer))
            }
        };
        self.0.vitals.called(&outcome);
        claim.settle(outcome).await
    }

    /// Makes the input fit the capability's context budget, if it has one.
    async fn window(&self, service: &Service, call: &mut Call) -> Result<Window, Failure> {
        let Some(budget) = &service.contract.spec.context_budget else { return Ok(Window::default()) };
        let mut window = window::fit(budget, call, &self.0.summaries, &self.0.limits).await?;
        if let Some(input) = window.input.take() {
            call.input = input;
        }
        Ok(window)
    }

    /// The answer, if the reply holds to its contract.
    fn checked(&self, reply: Reply, contract: &Contract, started: Instant) -> Ended {
        let output = match reply.body {
            Body::Checked(output) => output,
            Body::Raw(bytes) => Json::parse(&bytes, &self.0.limits).map_err(|error| {
                failure::breach(format_args!("the answer is not JSON that is taken here: it {error}"))
            })?,
        };
        contract.output.check(&output).map_err(|violations| {
            failure::breach(format_args!("the answer breaks its schema: {}", list(&violations)))
        })?;
        let mut usage = reply.usage;
        usage.agent_micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(Answer { output, usage, confidence_bp: reply.confidence_bp, warnings: reply.warnings })
    }

    fn count(&self) -> InFlight {
        self.0.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(self.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let inner = &self.0.0;
        if inner.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 && inner.draining.load(Ordering::Relaxed) {
            inner.idle.notify_waiters();
        }
    }
}

// === impl Service ===

impl Service {
    fn call(&self, order: Order, input: Json) -> Call {
        let spec = &self.contract.spec;
        let now = Instant::now();
        Call {
            path: self.contract.path.clone(),
            input,
            key: order.id.to_string(),
            run: order.run,
            step: order.step,
            intent: order.intent,
            traceparent: order.traceparent,
            retry_forbidden: order.retry_forbidden,
            priority: order.priority,
            chain: order.chain,
            cut_at: cut_at(now, spec.sla, order.deadline),
            side_effecting: spec.effect == EffectClass::SideEffecting,
        }
    }
}

/// When the agent is cut: at its promise, or before the caller gives up.
fn cut_at(now: Instant, sla: Duration, deadline: Option<Instant>) -> Instant {
    let promised = now + sla;
    let Some(deadline) = deadline else { return promised };
    let left = deadline.saturating_duration_since(now);
    promised.min(deadline - (left / WAY_BACK_SHARE).min(MAX_WAY_BACK))
}

fn busy(contract: &Contract) -> Failure {
    let spec = &contract.spec;
    let text = format!("{} is at its limit of {} calls at once", spec.name, spec.max_concurrency);
    Failure {
        retry_after: Some(BUSY_FOR),
        ..failure::failure(Class::Overload, Reason::AgentBusy, Began::No, text)
    }
}

fn timed_out(started: Instant) -> Failure {
    let text =
        format!("the agent did not answer within {:.3} s and was cut", started.elapsed().as_secs_f64());
    failure::failure(Class::Timeout, Reason::AgentTimeout, Began::Unknown, text)
}

/// What is asked: the same key must always come with the same.
fn digest(order: &Order) -> Digest {
    let mut hash = blake3::Hasher::new();
    hash.update(&(order.capability.len() as u64).to_le_bytes());
    hash.update(order.capability.as_bytes()).update(&order.input);
    hash.finalize().into()
}

fn list(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
