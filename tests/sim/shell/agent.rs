//! An agent behind a sidecar, on the simulated network: answers over real HTTP/2, with a ledger that outlives the control
//! plane. It adds one to `x`, after a time, unless it fails first.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use mainstay_kernel::dice::Dice;
use mainstay_kernel::outcome::{Began, Class, Failure};
use mainstay_proto::pb;
use mainstay_tests::agent::Row;
use pb::agent_sidecar_invoke_response::Event;
use pb::agent_sidecar_server::{AgentSidecar, AgentSidecarServer};
use pb::outcome_response::{NeverSeen, Running, State};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::Planted;
use super::signal::Signal;
use super::world::Log;

/// What the agent offers, each with its effect.
pub(crate) const CAPABILITIES: [(&str, pb::EffectClass); 3] = [
    ("read", pb::EffectClass::ReadOnly),
    ("keep", pb::EffectClass::Idempotent),
    ("charge", pb::EffectClass::SideEffecting),
];

/// How long a call is promised to take.
pub(crate) const SLA: Duration = Duration::from_secs(1);

/// Everything about an agent that outlives the control plane.
#[derive(Debug, Clone)]
pub(crate) struct Agent(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    addr: SocketAddr,
    planted: Option<Planted>,
    log: Log,
    state: Mutex<Memory>,
    changed: Signal,
}

#[derive(Debug)]
struct Memory {
    dice: Dice,
    /// Work that began: its rows, and whether it has ended.
    work: BTreeMap<String, (Row, bool)>,
    /// Sendings up to which a key is refused.
    fences: BTreeMap<String, u64>,
    rows: Vec<Row>,
}

impl Agent {
    pub(crate) fn new(number: u8, seed: u64, planted: Option<Planted>, log: Log) -> Self {
        let (work, fences, rows) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self(Arc::new(Inner {
            name: format!("agent{number}"),
            addr: SocketAddr::from(([127, 0, 0, number], 7_410)),
            planted,
            log,
            state: Mutex::new(Memory { dice: Dice::seeded(seed), work, fences, rows }),
            changed: Signal::default(),
        }))
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.addr
    }

    pub(crate) fn routes(&self) -> Routes {
        Routes::new(AgentSidecarServer::new(self.clone()))
            .add_service(HealthServer::new(self.clone()))
            .prepare()
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.0.state.lock().unwrap().rows.clone()
    }

    pub(crate) fn registration(&self) -> pb::RegisterRequest {
        let capability = |(name, effect): (&str, pb::EffectClass)| pb::Capability {
            name: name.to_owned(),
            input_schema: "{}".into(),
            output_schema: "{}".into(),
            effect: effect.into(),
            sla: Some(prost_types::Duration { seconds: SLA.as_secs() as i64, nanos: 0 }),
            max_concurrency: 8,
            hedge: (effect == pb::EffectClass::ReadOnly)
                .then(|| pb::HedgePolicy { after: "p50".to_owned(), ..Default::default() }),
            ..Default::default()
        };
        pb::RegisterRequest {
            agent: Some(pb::AgentSpec {
                name: self.0.name.clone(),
                version: "1".to_owned(),
                capabilities: CAPABILITIES.map(capability).into(),
                ..Default::default()
            }),
            instance: "one".to_owned(),
            address: format!("http://{}", self.0.addr),
            ..Default::default()
        }
    }

    /// The control plane died, and with its runtime the timers of work under way: it ends now.
    pub(crate) fn outlives(&self) {
        let open: Vec<String> = {
            let memory = self.0.state.lock().unwrap();
            memory.work.iter().filter(|(_, (_, ended))| !ended).map(|(key, _)| key.clone()).collect()
        };
        open.iter().for_each(|key| self.ends(key));
    }

    fn ends(&self, key: &str) {
        let mut memory = self.0.state.lock().unwrap();
        let Some((row, ended @ false)) = memory.work.get_mut(key) else { return };
        *ended = true;
        let row = row.clone();
        memory.rows.push(row);
        drop(memory);
        self.0.changed.tell();
    }

    /// Takes a call: joins its work, begins it, or says why not.
    fn takes(&self, request: &pb::AgentSidecarInvokeRequest) -> Result<(), Failure> {
        let key = &request.attempt_id;
        let mut memory = self.0.state.lock().unwrap();
        if memory.work.contains_key(key) && self.0.planted != Some(Planted::NoLedger) {
            return Ok(());
        }
        let fails = |class, began| Failure {
            class,
            code: "SIMULATED".into(),
            message: class.as_str().into(),
            began,
            retry_after: None,
        };
        if memory.fences.get(key).is_some_and(|fence| request.epoch <= *fence) {
            return Err(fails(Class::Overload, Began::No));
        }
        let repeatable = request.capability != "charge";
        match memory.dice.below(20) {
            0 if repeatable => return Err(fails(Class::AgentError, Began::Yes)),
            1 => {
                let fence = memory.fences.entry(key.clone()).or_default();
                *fence = (*fence).max(request.epoch);
                return Err(fails(Class::Overload, Began::No));
            }
            _ => {}
        }
        let body = String::from_utf8_lossy(&request.input).into_owned();
        let x = serde_json::from_str(&body)
            .map_or(0, |input: serde_json::Value| input["x"].as_i64().unwrap_or(0));
        let begins = Row {
            key: key.clone(),
            run: request.run_id.clone(),
            step: request.step_id.clone(),
            body,
            output: None,
            failed: false,
            nano_usd: 0,
        };
        memory.rows.push(begins.clone());
        let ends = Row { output: Some(format!("{{\"x\":{}}}", x + 1)), ..begins };
        memory.work.insert(key.clone(), (ends, false));
        let takes = Duration::from_millis(2) + memory.dice.jitter(Duration::from_millis(60));
        drop(memory);
        self.0.log.line(format_args!("{} begins {} of {}", self.0.name, request.step_id, request.run_id));
        let (agent, key) = (self.clone(), key.clone());
        tokio::spawn(async move {
            tokio::time::sleep(takes).await;
            agent.ends(&key);
        });
        Ok(())
    }

    /// The answer to a key, once there is one.
    async fn answered(&self, key: &str) -> pb::Outcome {
        self.0.changed.until(|| self.answer(key)).await
    }

    fn answer(&self, key: &str) -> Option<pb::Outcome> {
        let memory = self.0.state.lock().unwrap();
        let (row, _) = memory.work.get(key).filter(|(_, ended)| *ended)?;
        let output = row.output.clone().unwrap_or_default().into();
        let answer = pb::Answer { output, ..Default::default() };
        Some(pb::Outcome { result: Some(pb::outcome::Result::Answer(answer)) })
    }
}

#[tonic::async_trait]
impl AgentSidecar for Agent {
    type InvokeStream = BoxStream<'static, Result<pb::AgentSidecarInvokeResponse, Status>>;

    async fn describe(
        &self,
        _: Request<pb::DescribeRequest>,
    ) -> Result<Response<pb::DescribeResponse>, Status> {
        Ok(Response::new(pb::DescribeResponse::default()))
    }

    async fn invoke(
        &self,
        request: Request<pb::AgentSidecarInvokeRequest>,
    ) -> Result<Response<Self::InvokeStream>, Status> {
        let request = request.into_inner();
        let outcome = match self.takes(&request) {
            Ok(()) => self.answered(&request.attempt_id).await,
            Err(failure) => pb::Outcome { result: Some(pb::outcome::Result::Failure((&failure).into())) },
        };
        let event = pb::AgentSidecarInvokeResponse { event: Some(Event::Outcome(outcome)) };
        Ok(Response::new(stream::iter([Ok(event)]).boxed()))
    }

    async fn outcome(
        &self,
        request: Request<pb::OutcomeRequest>,
    ) -> Result<Response<pb::OutcomeResponse>, Status> {
        let pb::OutcomeRequest { attempt_id, epoch } = request.into_inner();
        let forgets = self.0.planted == Some(Planted::NoLedger);
        let answer = self.answer(&attempt_id).filter(|_| !forgets);
        let mut memory = self.0.state.lock().unwrap();
        let state = match answer {
            Some(ended) => State::Ended(ended),
            None if memory.work.contains_key(&attempt_id) && !forgets => State::Running(Running {}),
            None => {
                let fence = memory.fences.entry(attempt_id).or_default();
                *fence = (*fence).max(epoch);
                State::NeverSeen(NeverSeen {})
            }
        };
        Ok(Response::new(pb::OutcomeResponse { state: Some(state) }))
    }

    async fn cancel(&self, _: Request<pb::CancelRequest>) -> Result<Response<pb::CancelResponse>, Status> {
        Ok(Response::new(pb::CancelResponse::default()))
    }
}

#[tonic::async_trait]
impl Health for Agent {
    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("the poller does not watch"))
    }
}
