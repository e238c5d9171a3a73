//! Following the agents: those that are there, then each as it changes.
//!
//! What waits to be told are names: an agent is looked at when its turn comes, so a slow watcher holds no descriptions
//! and is told the newest. One that falls behind is told to forget what it knows, and then everything again.

use std::collections::VecDeque;

use futures::stream::{self, Stream};
use mainstay_kernel::name::Name;
use mainstay_proto::pb;
use pb::watch_agents_response::{Again, Caught, Event, Gone};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::registry::view;
use crate::host::Clock;
use crate::registry::Handle;

/// One client that follows the agents of its tenant.
pub(super) struct Watcher {
    registry: Handle,
    clock: Clock,
    tenant: Name,
    changes: broadcast::Receiver<(Name, Name)>,
    queue: VecDeque<Tell>,
}

/// What a watcher is to be told.
enum Tell {
    Agent(Name),
    CaughtUp,
    Again,
}

impl Watcher {
    /// Follows from now on; nothing that changes later is missed.
    pub(super) fn new(registry: Handle, clock: Clock, tenant: Name) -> Self {
        let changes = registry.watch();
        let mut watcher = Self { registry, clock, tenant, changes, queue: VecDeque::new() };
        watcher.queue_all();
        watcher
    }

    pub(super) fn stream(self) -> impl Stream<Item = pb::WatchAgentsResponse> + Send {
        stream::unfold(self, |mut watcher| async { watcher.next().await.map(|event| (event, watcher)) })
    }

    /// Waits for what is to be told next; `None` when the registry has ended.
    async fn next(&mut self) -> Option<pb::WatchAgentsResponse> {
        loop {
            if let Some(tell) = self.queue.pop_front() {
                return Some(pb::WatchAgentsResponse { event: Some(self.event(tell)) });
            }
            match self.changes.recv().await {
                Ok((tenant, name)) if tenant == self.tenant => self.queue.push_back(Tell::Agent(name)),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => {
                    self.queue.push_back(Tell::Again);
                    self.queue_all();
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn queue_all(&mut self) {
        let all = self.registry.agents(&self.tenant, None, usize::MAX);
        self.queue.extend(all.into_iter().map(|agent| Tell::Agent(agent.name)));
        self.queue.push_back(Tell::CaughtUp);
    }

    fn event(&self, tell: Tell) -> Event {
        match tell {
            Tell::CaughtUp => Event::CaughtUp(Caught {}),
            Tell::Again => Event::Again(Again {}),
            Tell::Agent(name) => match self.registry.agent(&self.tenant, &name) {
                Some(agent) => Event::Agent(view(&self.registry, &agent, self.clock.now())),
                None => Event::Gone(Gone { name: name.to_string() }),
            },
        }
    }
}

#[cfg(test)]
mod tests;
