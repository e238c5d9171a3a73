//! Asking ledgers what became of an attempt.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
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
        let everyone = route.everyone();
        let asked = everyone.iter().map(|c| ask_at(handle, c.instance.channel.clone(), call.key, TIMEOUT));
        match inquiry(join_all(asked).await, handle.clock.mono() >= call.deadline) {
            Inquiry::Settled(result) => return Some(result),
            Inquiry::Send => return None,
            Inquiry::AskAgain => tokio::time::sleep(AGAIN).await,
        }
    }
}
