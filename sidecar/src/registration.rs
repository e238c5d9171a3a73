//! Makes the agent known, and keeps it known through whatever happens to the control plane.
//!
//! There is one loop with one question: *do we hold a lease?* If so, renew it; if not, or if renewing fails for any
//! reason, register. That covers a control plane that is not there yet, one that restarted, one that forgot us, and a
//! network that was away, with the same few lines. Waits have full jitter, so that ten thousand sidecars that lost the
//! same control plane do not come back in step.
//!
//! An outage is told once when it begins and once when it ends. A refusal is different: nobody will be able to call this
//! agent until a person changes something, so it is told with the field at fault and the way out, and tried again slowly
//! (the control plane's own configuration may be what changes).

use std::time::Duration;

use mainstay_kernel::dice::Dice;
use mainstay_kernel::id::LeaseId;
use mainstay_kernel::time::text::Human;
use mainstay_proto::fault::Seen;
use mainstay_proto::pb::agent_registry_client::AgentRegistryClient;
use mainstay_proto::reason::Reason;
use mainstay_proto::{pb, time};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;
use tonic::{Code, Status};

#[cfg(test)]
mod tests;

/// The ceiling of the first wait after a failure: a restarted control plane is back within a second.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The highest ceiling: with full jitter 10,000 sidecars knock 2,500 times a second in all, and none waits for long.
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// The ceiling while another sidecar holds our name: about the time in which a dead one's lease lapses.
const HELD_WAIT: Duration = Duration::from_secs(10);
/// The ceiling after a refusal, which only a person can mend.
const REFUSED_WAIT: Duration = Duration::from_secs(60);
/// How long one request may take. The control plane answers from memory and one commit.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long giving the lease back may take. It lapses by itself anyway.
const FAREWELL_WITHIN: Duration = Duration::from_secs(2);
/// The shortest interval between renewals that is believed: a broken answer must not become a storm.
const FASTEST_RENEWAL: Duration = Duration::from_millis(100);

/// What is registered, and where.
#[derive(Debug)]
pub(crate) struct Registration {
    client: AgentRegistryClient<Channel>,
    request: pb::RegisterRequest,
    control_plane: String,
    dice: Dice,
    lease: Option<Lease>,
    mood: Mood,
    /// Failures in a row.
    failures: u32,
}

#[derive(Debug)]
struct Lease {
    id: String,
    instance: String,
    renew_every: Duration,
}

/// What was told last, so that nothing is told twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Fresh,
    Registered,
    Away(Instant),
    Held,
    Refused,
}

// === impl Registration ===

impl Registration {
    pub(crate) fn new(
        channel: Channel,
        control_plane: String,
        request: pb::RegisterRequest,
        dice: Dice,
    ) -> Self {
        let client = AgentRegistryClient::new(channel);
        Self { client, request, control_plane, dice, lease: None, mood: Mood::Fresh, failures: 0 }
    }

    /// Registers and renews for as long as it is polled. May be dropped at any await and continued.
    pub(crate) async fn keep(&mut self) {
        loop {
            let wait = self.step().await;
            sleep(wait).await;
        }
    }

    /// Gives the lease back, so that routing forgets the instance at once instead of at the lapse.
    pub(crate) async fn give_back(&mut self, reason: &str) {
        let Some(lease) = self.lease.take() else { return };
        let request = pb::DeregisterRequest {
            lease_id: lease.id,
            instance_id: lease.instance,
            reason: reason.to_owned(),
        };
        match timeout(FAREWELL_WITHIN, self.client.deregister(request)).await {
            Ok(Ok(_)) => tracing::info!("deregistered"),
            Ok(Err(status)) => {
                tracing::info!(error = status.message(), "not deregistered; the lease will lapse")
            }
            Err(_) => tracing::info!("not deregistered in time; the lease will lapse"),
        }
    }

    /// Renews or registers once; how long to wait before the next time.
    async fn step(&mut self) -> Duration {
        if let Some(lease) = &self.lease {
            let renew_every = lease.renew_every;
            let request =
                pb::RenewRequest { lease_id: lease.id.clone(), instance_id: lease.instance.clone() };
            match within(self.client.renew(request)).await {
                Ok(_) => return self.renewal_wait(renew_every),
                Err(status) => self.lost(&status),
            }
        }
        match within(self.client.register(self.request.clone())).await {
            Ok(response) => self.registered(response.into_inner()),
            Err(status) => self.failed(&status),
        }
    }

    /// The lease may be gone. It is presented at the next registration, which takes the name back from ourselves.
    fn lost(&mut self, status: &Status) {
        if let Some(lease) = self.lease.take() {
            self.request.lease_id = lease.id;
        }
        if Seen::of(status).reason == Reason::LeaseUnknown.as_str() {
            tracing::info!("the control plane does not know the lease any more; registering again");
        } else {
            self.away(status);
        }
    }

    fn registered(&mut self, response: pb::RegisterResponse) -> Duration {
        let renew_every = response.renew_every.as_ref().and_then(time::std_duration);
        let ttl = response.ttl.as_ref().and_then(time::std_duration);
        let renew_every = renew_every.or(ttl.map(|ttl| ttl / 3)).unwrap_or(FIRST_WAIT).max(FASTEST_RENEWAL);
        let valid = response.lease_id.parse::<LeaseId>().is_ok();
        if !valid {
            tracing::error!(lease = response.lease_id, "the control plane granted a malformed lease");
            self.failures = self.failures.saturating_add(1);
            return self.backoff();
        }
        let instance = response.instance_id;
        match self.mood {
            Mood::Away(since) => {
                let outage = Human(since.elapsed());
                tracing::info!(instance, epoch = response.epoch, %outage, "registered again after an outage");
            }
            Mood::Fresh | Mood::Registered | Mood::Held | Mood::Refused => {
                tracing::info!(
                    instance = instance.as_str(),
                    epoch = response.epoch,
                    control_plane = self.control_plane,
                    "registered"
                );
            }
        }
        self.request.lease_id.clone_from(&response.lease_id);
        self.lease = Some(Lease { id: response.lease_id, instance, renew_every });
        (self.mood, self.failures) = (Mood::Registered, 0);
        self.renewal_wait(renew_every)
    }

    fn failed(&mut self, status: &Status) -> Duration {
        let seen = Seen::of(status);
        if seen.reason == Reason::InstanceHeld.as_str() {
            if self.mood != Mood::Held {
                self.mood = Mood::Held;
                let (instance, hint) = (&self.request.instance, &seen.hint);
                tracing::warn!(instance, hint, "waiting: {}", status.message());
            }
            return seen.retry_after.unwrap_or_default() + self.dice.half_jitter(HELD_WAIT);
        }
        if matches!(status.code(), Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated) {
            if self.mood != Mood::Refused {
                self.mood = Mood::Refused;
                let fields: Vec<&str> = seen.violations.iter().map(|(field, _)| field.as_str()).collect();
                let (fields, hint) = (fields.join(", "), &seen.hint);
                tracing::error!(
                    reason = seen.reason,
                    fields,
                    hint,
                    "the registration was refused: {}",
                    status.message()
                );
            }
            return self.dice.half_jitter(REFUSED_WAIT);
        }
        self.away(status);
        self.failures = self.failures.saturating_add(1);
        seen.retry_after.unwrap_or_default() + self.backoff()
    }

    fn away(&mut self, status: &Status) {
        if matches!(self.mood, Mood::Away(_)) {
            return;
        }
        self.mood = Mood::Away(Instant::now());
        tracing::warn!(
            control_plane = self.control_plane,
            error = status.message(),
            "the control plane cannot be reached; calls are still served, and registering is tried again"
        );
    }

    /// Up to a quarter early, so that sidecars that registered together drift apart.
    fn renewal_wait(&mut self, renew_every: Duration) -> Duration {
        renew_every - self.dice.jitter(renew_every / 4)
    }

    /// Exponential with full jitter.
    fn backoff(&mut self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        self.dice.jitter(FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT))
    }
}

async fn within<T>(request: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = |_| Err(Status::deadline_exceeded(format!("no answer within {}", Human(ANSWER_WITHIN))));
    timeout(ANSWER_WITHIN, request).await.unwrap_or_else(late)
}
