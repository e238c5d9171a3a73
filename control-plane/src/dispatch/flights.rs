//! Sendings of one call that are under way side by side, each with its permit, until the first good answer.
//!
//! A sending that lost is not just dropped: it ends like any other, as cancelled. Its permit goes back with the time it
//! took so far, so that the balancer learns who is slow, and its sidecar is told that nobody wants the work any more. To
//! breakers, limits, health and siblings a cancelled call says nothing.

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use mainstay_kernel::call::{self, Dispatch};
use mainstay_kernel::mode::Mode;
use mainstay_kernel::outcome::{Answer, Failure};
use mainstay_kernel::time::Mono;
use tokio_util::sync::CancellationToken;

use super::permit::Held;
use super::report::Mark;
use super::versions::Chosen;
use super::{Call, Handle, Sending};
use crate::registry::Candidate;

/// How a sending ended, and which.
struct Landed {
    epoch: u64,
    ended: Result<Answer, Failure>,
    /// What a drill did to it.
    mark: Option<Mark>,
}

/// Sendings under way.
pub(super) struct Flights<'a> {
    under_way: FuturesUnordered<BoxFuture<'a, Landed>>,
    retracted: CancellationToken,
}

impl Handle {
    /// Waits for the first of several sendings to end, or for the time of a hedge.
    pub(super) async fn race(
        &self,
        machine: &mut call::Call,
        flights: &mut Flights<'_>,
        until: Mono,
        marks: &mut Vec<Mark>,
    ) {
        // Each sending ends itself when its time is over; only a hedge has to be woken up for.
        let landed = if machine.is_hedged() {
            tokio::select! {
                biased;
                landed = flights.next() => landed,
                () = self.clock.sleep_until(until) => return,
            }
        } else {
            flights.next().await
        };
        let Landed { epoch, ended, mark } = landed;
        marks.extend(mark);
        machine.on_attempt_ended(epoch, ended, self.clock.mono());
        if !machine.is_under_way() {
            flights.retract(marks).await;
        }
    }

    /// Whether the mode leaves room for hedges: they are what is given up first.
    pub(super) fn may_hedge(&self) -> bool {
        self.modes.mode() == Mode::Full
    }
}

impl<'a> Flights<'a> {
    pub(super) fn new() -> Self {
        Self { under_way: FuturesUnordered::new(), retracted: CancellationToken::new() }
    }

    /// Sends the call.
    pub(super) fn send(
        &mut self,
        handle: &'a Handle,
        call: &'a Call,
        candidate: Candidate,
        dispatch: Dispatch<Held>,
        sending: Option<Sending>,
        chosen: Option<Chosen>,
    ) {
        let retracted = self.retracted.clone();
        self.under_way.push(Box::pin(async move {
            let (epoch, started, mut dice) = (dispatch.epoch, handle.clock.mono(), handle.clock.dice());
            let until = Some(&retracted);
            let ended = handle.exchange(call, &candidate, dispatch, sending.as_ref(), until, &mut dice).await;
            if let Some(chosen) = chosen {
                handle.compare(&chosen, &ended, handle.clock.mono() - started);
            }
            let mark = sending.and_then(|sending| Mark::of(epoch, sending, &ended));
            Landed { epoch, ended, mark }
        }));
    }

    /// The next one that ends; pending for ever while there is none.
    async fn next(&mut self) -> Landed {
        match self.under_way.next().await {
            Some(landed) => landed,
            None => std::future::pending().await,
        }
    }

    /// Ends all that are still under way; nobody waits for an agent here. What a drill did to them is put down.
    async fn retract(&mut self, marks: &mut Vec<Mark>) {
        self.retracted.cancel();
        while let Some(landed) = self.under_way.next().await {
            marks.extend(landed.mark);
        }
        self.retracted = CancellationToken::new();
    }
}
