//! Whether the agent is well, and who is told.
//!
//! The verdict is the kernel's ([`mainstay_kernel::health`]); the evidence is a probe of our own and the calls that could
//! not be carried. It is told through the standard health service, under the empty name and under the agent's own.
//! Until the first probe has passed the answer is `NOT_SERVING`: an agent that is still loading its model gets no calls.

use std::sync::Arc;

use mainstay_kernel::dice::Dice;
use mainstay_kernel::health::{Change, Evidence, Health, PollFailure, State};
use mainstay_kernel::outcome::Class;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep_until, timeout};

use crate::host::{self, Clock};
use crate::ledger::Ended;
use crate::manifest::ProbeConfig;
use crate::probe;

/// The agent's health. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Vitals(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    probe: Option<ProbeConfig>,
    machine: Mutex<Machine>,
    /// A call has brought the next probe forward.
    sooner: Notify,
    serving: watch::Sender<bool>,
}

#[derive(Debug)]
struct Machine {
    health: Health,
    dice: Dice,
}

// === impl Vitals ===

impl Vitals {
    pub(crate) fn new(probe: Option<ProbeConfig>, clock: Clock) -> Self {
        let pace = probe.as_ref().map(|probe| probe.pace).unwrap_or_default();
        let machine = Machine { health: Health::new(pace, clock.now()), dice: Dice::seeded(host::seed()) };
        let serving = watch::Sender::new(probe.is_none());
        Self(Arc::new(Inner { clock, probe, machine: Mutex::new(machine), sooner: Notify::new(), serving }))
    }

    /// Follows whether the agent is well.
    pub(crate) fn serving(&self) -> watch::Receiver<bool> {
        self.0.serving.subscribe()
    }

    /// A call ended. Only what makes the agent suspect matters here; that it is well, the probe finds out.
    pub(crate) fn called(&self, outcome: &Ended) {
        let Err(failure) = outcome else { return };
        if matches!(failure.class, Class::Transport | Class::Timeout) && self.0.probe.is_some() {
            self.observe(Evidence::Call(failure.class));
            self.0.sooner.notify_one();
        }
    }

    /// Probes for as long as it is polled; calls `after_each` after every probe.
    pub(crate) async fn watch_over(&self, after_each: impl Fn()) {
        let Some(probe) = &self.0.probe else { return std::future::pending().await };
        loop {
            self.until_due().await;
            self.0.machine.lock().health.begin_poll(self.0.clock.now());
            let evidence = match timeout(probe.timeout, probe::ask(&probe.target)).await {
                Ok(Ok(())) => Evidence::PollPassed,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the probe of the agent failed");
                    Evidence::PollFailed(error.kind)
                }
                Err(_) => Evidence::PollFailed(PollFailure::TimedOut),
            };
            self.observe(evidence);
            after_each();
        }
    }

    async fn until_due(&self) {
        loop {
            let Some(due) = self.0.machine.lock().health.poll_timeout() else { return };
            tokio::select! {
                () = sleep_until(self.0.clock.instant(due)) => return,
                () = self.0.sooner.notified() => {}
            }
        }
    }

    fn observe(&self, evidence: Evidence) {
        let mut machine = self.0.machine.lock();
        let Machine { health, dice } = &mut *machine;
        let Some(Change { from, to }) = health.observe(evidence, self.0.clock.now(), dice) else { return };
        match (from, to.state) {
            (_, State::Healthy) => tracing::info!(reason = %to.reason, "the agent is well"),
            (_, State::Unhealthy) => {
                tracing::warn!(reason = %to.reason, "the agent is not well; no calls are taken for it")
            }
            (_, State::Unknown) => {}
        }
        self.0.serving.send_replace(to.state == State::Healthy);
    }
}
