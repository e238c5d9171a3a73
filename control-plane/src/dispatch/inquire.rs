//! Asking ledgers what became of an attempt.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use mainstay_kernel::call::{Inquiry, Ledger, inquiry};
use mainstay_kernel::id::{AttemptId, InstanceId};
use mainstay_kernel::outcome::{Answer, Failure};
use mainstay_proto::pb;
use mainstay_transport::channel::Channel;
use mainstay_transport::deadline;
use pb::agent_sidecar_client::AgentSidecarClient;
use pb::outcome_response::State;

use super::{Call, Handle, exchange};
use crate::registry::Route;

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
        Some(instance) => ask_at(handle, instance.channel.clone(), key, timeout).await,
        None => Ledger::Unreachable,
    }
}

async fn ask_at(handle: &Handle, channel: Channel, key: AttemptId, timeout: Duration) -> Ledger {
    let mut request =
        tonic::Request::new(pb::OutcomeRequest { attempt_id: key.to_string(), epoch: handle.epoch(0) });
    deadline::set(&mut request, timeout);
    let mut client = AgentSidecarClient::new(channel);
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

/// Finds out what became of a call that may have been sent before a crash, by asking everyone who could have got it.
/// `None` means that nobody did, and nobody will: it can be made now.
pub(super) async fn settle(
    handle: &Handle,
    route: &Arc<Route>,
    call: &Call,
) -> Option<Result<Answer, Failure>> {
    loop {
        let asked = route.everyone().into_iter().map(|candidate| async move {
            let left = call.deadline - handle.clock.mono();
            ask_at(handle, candidate.instance.channel.clone(), call.key, left.clamp(LEAST, TIMEOUT)).await
        });
        let answers = stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
        match inquiry(answers, handle.clock.mono() >= call.deadline) {
            Inquiry::Settled(result) => return Some(result),
            Inquiry::Send => return None,
            Inquiry::AskAgain => {
                handle.clock.sleep_until(call.deadline.min(handle.clock.mono() + AGAIN)).await;
            }
        }
    }
}
