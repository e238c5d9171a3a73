//! Asking ledgers what became of an attempt.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use mainstay_kernel::call::{Inquiry, Ledger, inquiry};
use mainstay_kernel::id::{AttemptId, InstanceId};
use mainstay_kernel::outcome::{Answer, Class, Failure};
use mainstay_kernel::run::AttemptRecord;
use mainstay_kernel::time::{Now, Wall};
use mainstay_proto::pb;
use mainstay_transport::deadline;
use pb::agent_sidecar_client::AgentSidecarClient;
use pb::outcome_response::State;

use super::{Call, Handle, exchange};
use crate::registry::{Instance, Route};

/// Time for one ledger to answer: it looks into memory or one record.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Shortest time that is worth asking for: a round trip within a network.
const LEAST: Duration = Duration::from_millis(20);

/// Ledgers asked at once. A capability may have thousands of instances on record, and after a crash many calls ask.
const AT_ONCE: usize = 32;

/// Wait before ledgers that did not know yet are asked again.
const AGAIN: Duration = Duration::from_millis(250);

/// Asks one instance's ledger.
pub(super) async fn ask(handle: &Handle, instance: InstanceId, key: AttemptId, timeout: Duration) -> Ledger {
    match handle.registry.instance(instance) {
        Some(instance) => ask_at(handle, &instance, key, timeout).await,
        None => Ledger::Unreachable,
    }
}

async fn ask_at(handle: &Handle, instance: &Instance, key: AttemptId, timeout: Duration) -> Ledger {
    if handle.faults.as_ref().is_some_and(|faults| faults.is_silent(instance)) {
        return Ledger::Unreachable;
    }
    let mut request =
        tonic::Request::new(pb::OutcomeRequest { attempt_id: key.to_string(), epoch: handle.epoch(0) });
    deadline::set(&mut request, timeout);
    let mut client = AgentSidecarClient::new(instance.channel.clone());
    match tokio::time::timeout(timeout, client.outcome(request)).await {
        Ok(Ok(answer)) => match answer.into_inner().state {
            Some(State::Ended(ended)) => Ledger::Ended(exchange::read(ended, &handle.limits)),
            Some(State::Running(_)) => Ledger::Running,
            Some(State::NeverSeen(_)) => Ledger::NeverSeen,
            Some(State::Lost(_)) => Ledger::Lost,
            None => Ledger::Unreachable,
        },
        Ok(Err(_)) | Err(_) => Ledger::Unreachable,
    }
}

/// Finds out what became of a call that may have been sent before a crash, by asking everyone who could have got it since
/// `since`. `None` means that nobody did, and nobody will: it can be made now.
pub(super) async fn settle(handle: &Handle, route: &Arc<Route>, call: &Call, since: Wall) -> Option<Settled> {
    let began = handle.clock.now();
    loop {
        let mut everyone = route.everyone();
        everyone.retain(|candidate| candidate.instance.lapsed_at().is_none_or(|lapsed| lapsed >= since));
        let instances: Vec<_> = everyone.iter().map(|candidate| Arc::clone(&candidate.instance)).collect();
        let asked = instances.into_iter().map(|instance| async move {
            let left = call.deadline - handle.clock.mono();
            ask_at(handle, &instance, call.key, left.clamp(LEAST, TIMEOUT)).await
        });
        // In the order of the questions, so that an answer tells whose it is.
        let answers = stream::iter(asked).buffered(AT_ONCE).collect().await;
        match inquiry(answers, handle.clock.mono() >= call.deadline) {
            Inquiry::Settled { result, by } => {
                let by = by.map(|at| &everyone[at].instance);
                return Some(Settled { record: record(handle, call, began, by, &result), result });
            }
            Inquiry::Send => return None,
            Inquiry::AskAgain => {
                handle.clock.sleep_until(call.deadline.min(handle.clock.mono() + AGAIN)).await;
            }
        }
    }
}

/// A call that had ended before it was made again.
pub(super) struct Settled {
    pub(super) result: Result<Answer, Failure>,
    pub(super) record: AttemptRecord,
}

fn record(
    handle: &Handle,
    call: &Call,
    began: Now,
    by: Option<&Arc<Instance>>,
    result: &Result<Answer, Failure>,
) -> AttemptRecord {
    AttemptRecord {
        attempt: call.key,
        number: call.number,
        agent: by.map(|instance| instance.spec.name.to_string()).unwrap_or_default(),
        instance: by.map(|instance| instance.name.to_string()).unwrap_or_default(),
        version: by.map(|instance| instance.spec.version.clone()).unwrap_or_default(),
        started_at: began.wall,
        duration: handle.clock.mono() - began.mono,
        class: result.as_ref().map_or_else(|failure| failure.class, |_| Class::Success),
        failure: result.as_ref().err().cloned(),
        refused: String::new(),
        side_effecting: false,
        usage: result.as_ref().map(|answer| answer.usage).unwrap_or_default(),
        waited: Duration::ZERO,
        hedge_after: None,
        notes: vec!["sent before a restart of the control plane; its end is what the ledgers say".to_owned()],
    }
}
