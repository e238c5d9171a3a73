//! Active health: every instance that holds a lease is polled over `grpc.health.v1`, when its kernel machine says so.
//!
//! One task looks for polls that are due; a poll is a short task of its own, and only so many run at once. Looking costs
//! a lock and a comparison an instance: for ten thousand of them well under a millisecond a round.

use std::sync::Arc;
use std::time::Duration;

use mainstay_kernel::health::{Evidence, PollFailure};
use tokio::sync::Semaphore;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::faults::Faults;
use crate::host::Clock;
use crate::registry::{Handle, Instance};

/// Settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// How often due polls are looked for. Polls are seconds apart, so this is their granularity, no more.
    pub round: Duration,
    /// Shortest time between two looks. A herd of registrations asks for its first polls one by one; looking through all
    /// instances for each of them would cost the square of their number.
    pub pause: Duration,
    /// Time for one poll. What takes longer is not healthy (Kubernetes waits as long).
    pub timeout: Duration,
    /// Polls under way at once: ten thousand instances in ten seconds at 250 ms each.
    pub concurrency: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            round: Duration::from_millis(100),
            pause: Duration::from_millis(5),
            timeout: Duration::from_secs(1),
            concurrency: 256,
        }
    }
}

/// The poller.
#[derive(Debug)]
pub struct Service {
    config: Config,
    clock: Clock,
    registry: Handle,
    places: Arc<Semaphore>,
    faults: Option<Faults>,
}

impl Service {
    /// A poller of everything in the registry.
    #[must_use]
    pub fn new(config: Config, clock: Clock, registry: Handle) -> Self {
        let places = Arc::new(Semaphore::new(config.concurrency));
        Self { config, clock, registry, places, faults: None }
    }

    /// With a layer that may keep polls from their instances.
    #[must_use]
    pub fn with_faults(self, faults: Option<Faults>) -> Self {
        Self { faults, ..self }
    }

    /// Polls until it is dropped.
    pub async fn run(self) {
        loop {
            self.begin_due().await;
            tokio::time::sleep(self.config.pause).await;
            tokio::select! {
                biased;
                () = tokio::time::sleep(self.config.round) => {}
                () = self.registry.poll_wanted() => {}
            }
        }
    }

    async fn begin_due(&self) {
        let now = self.clock.mono();
        for instance in self.registry.leased() {
            if instance.poll_due().is_none_or(|due| due > now) {
                continue;
            }
            // Closed only with this service.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            instance.begin_poll(self.clock.mono());
            let (registry, timeout) = (self.registry.clone(), self.config.timeout);
            let finds_nobody = self.faults.as_ref().is_some_and(|faults| faults.poll_fails(&instance));
            tokio::spawn(async move {
                let evidence = match finds_nobody {
                    true => Evidence::PollFailed(PollFailure::Unreachable),
                    false => poll(&instance, timeout).await,
                };
                drop(place);
                registry.observe(&instance, evidence);
            });
        }
    }
}

async fn poll(instance: &Instance, timeout: Duration) -> Evidence {
    let mut client = HealthClient::new(instance.channel.clone());
    let mut request = tonic::Request::new(HealthCheckRequest { service: String::new() });
    mainstay_transport::deadline::set(&mut request, timeout);
    match tokio::time::timeout(timeout, client.check(request)).await {
        Ok(Ok(answer)) if answer.get_ref().status() == ServingStatus::Serving => Evidence::PollPassed,
        Ok(Ok(_)) => Evidence::PollFailed(PollFailure::NotServing),
        Ok(Err(status)) if status.code() == tonic::Code::DeadlineExceeded => {
            Evidence::PollFailed(PollFailure::TimedOut)
        }
        Ok(Err(_)) => Evidence::PollFailed(PollFailure::Unreachable),
        Err(_) => Evidence::PollFailed(PollFailure::TimedOut),
    }
}

#[cfg(test)]
mod tests;
