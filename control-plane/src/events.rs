//! What the control plane decided lately, kept on disk and told to whoever watches.
//!
//! Whoever decides hands an [`Event`] over and goes on; one part of the server numbers them, writes them in groups, and
//! shows them once they are on disk. The newest [`KEPT`] stay, on disk and in memory. While the disk refuses writes they
//! are shown all the same and marked: that is when somebody looks.
//!
//! A crash can lose the events of its last milliseconds. What they were about is kept by those who decided it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mainstay_kernel::event::{Event, Kind};
use mainstay_kernel::name::Name;
use mainstay_store::{Batch, ReadError, Store};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::host::Clock;
use crate::records::event as record;

/// Events kept: weeks of a quiet system, an hour of one where everything flaps. At most 4 MiB.
pub const KEPT: usize = 4096;

/// Events on their way to the disk. A thousand breakers that open at once fit; what does not is counted.
const QUEUE: usize = 2048;

/// Events written at once: two operations each, well within one commit.
const GROUP: usize = 32;

/// Records read at once.
const PAGE: usize = 500;

/// Where decisions are told and read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

/// What writes them down.
#[derive(Debug)]
pub struct Service {
    handle: Handle,
    told: mpsc::Receiver<Event>,
}

/// An event with its place in the order of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// Its number; the first is 1, and none is given twice.
    pub number: u64,
    /// The event.
    pub event: Event,
    /// Whether it is on disk.
    pub on_record: bool,
}

/// Which events are wanted: those that match all that is given.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this tenant, and the server's own.
    pub tenant: Option<Name>,
    /// Of this kind or area.
    pub kind: String,
    /// About this name.
    pub about: String,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    store: Arc<dyn Store>,
    tell: mpsc::Sender<Event>,
    lost: AtomicU64,
    /// Oldest first.
    kept: Mutex<VecDeque<Arc<Numbered>>>,
    /// Number of the newest.
    newest: watch::Sender<u64>,
}

/// Reads what is on record. An event that cannot be read is left out and reported.
///
/// # Errors
/// If the store cannot be read.
pub fn open(clock: Clock, store: Arc<dyn Store>) -> Result<(Handle, Service), ReadError> {
    let (kept, newest) = load(&*store)?;
    let (tell, told) = mpsc::channel(QUEUE);
    let handle = Handle(Arc::new(Shared {
        clock,
        store,
        tell,
        lost: AtomicU64::new(0),
        kept: Mutex::new(kept),
        newest: watch::Sender::new(newest),
    }));
    Ok((handle.clone(), Service { handle, told }))
}

fn load(store: &dyn Store) -> Result<(VecDeque<Arc<Numbered>>, u64), ReadError> {
    let (prefix, mut from) = (record::prefix(), None);
    let (mut kept, mut newest) = (VecDeque::new(), 0);
    loop {
        let page = store.scan(&prefix, from.as_deref(), PAGE)?;
        for damaged in &page.damaged {
            tracing::error!(%damaged, "an event is damaged and left out");
            newest = newest.max(damaged.key.get(prefix.len()..).and_then(record::number).unwrap_or(0));
        }
        for (key, entry) in &page.entries {
            let Some(number) = record::number(&key[prefix.len()..]) else { continue };
            newest = newest.max(number);
            match record::decode(&entry.value) {
                Ok(event) => kept.push_back(Arc::new(Numbered { number, event, on_record: true })),
                Err(error) => tracing::error!(%error, number, "an event cannot be read and is left out"),
            }
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok((kept, newest)),
        }
    }
}

// === impl Handle ===

impl Handle {
    /// The server's own decision.
    pub fn tell(&self, kind: Kind, subject: impl std::fmt::Display, reason: impl std::fmt::Display) {
        self.hand_over(Event::new(kind, self.0.clock.wall(), subject, reason));
    }

    /// A decision made up as a whole.
    pub fn tell_event(&self, event: Event) {
        self.hand_over(event);
    }

    /// A decision about something of a tenant.
    pub fn tell_of(
        &self,
        tenant: &Name,
        kind: Kind,
        subject: impl std::fmt::Display,
        reason: impl std::fmt::Display,
    ) {
        self.hand_over(Event::new(kind, self.0.clock.wall(), subject, reason).of(tenant));
    }

    /// A person's decision about something of a tenant.
    pub fn tell_by(
        &self,
        who: &str,
        tenant: &Name,
        kind: Kind,
        subject: impl std::fmt::Display,
        reason: impl std::fmt::Display,
    ) {
        self.hand_over(Event::new(kind, self.0.clock.wall(), subject, reason).of(tenant).by(who));
    }

    /// Up to `limit` events with numbers below `before`, newest first.
    #[must_use]
    pub fn list(&self, filter: &Filter, before: Option<u64>, limit: usize) -> Vec<Arc<Numbered>> {
        let kept = self.0.kept.lock();
        let wanted = kept.iter().rev().skip_while(|one| before.is_some_and(|before| one.number >= before));
        wanted.filter(|one| filter.takes(&one.event)).take(limit).cloned().collect()
    }

    /// Up to `limit` events with numbers above `after`, oldest first, and the number to go on after.
    #[must_use]
    pub fn since(&self, filter: &Filter, after: u64, limit: usize) -> (Vec<Arc<Numbered>>, u64) {
        let kept = self.0.kept.lock();
        let mut reached = after;
        let mut found = Vec::new();
        for one in kept.iter().skip(kept.partition_point(|one| one.number <= after)) {
            if found.len() == limit {
                break;
            }
            reached = one.number;
            if filter.takes(&one.event) {
                found.push(Arc::clone(one));
            }
        }
        (found, reached)
    }

    /// Number of the newest event, as it changes.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.0.newest.subscribe()
    }

    /// Events that came faster than the disk took them, since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    fn hand_over(&self, event: Event) {
        let Event { kind, tenant, subject, reason, by, .. } = &event;
        let tenant = tenant.as_ref().map(tracing::field::display);
        if kind.is_alarming() {
            tracing::warn!(%kind, tenant, subject, reason, by, "decided");
        } else {
            tracing::info!(%kind, tenant, subject, reason, by, "decided");
        }
        if self.0.tell.try_send(event).is_err() {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Filter {
    fn takes(&self, event: &Event) -> bool {
        (self.tenant.is_none() || event.tenant.is_none() || self.tenant == event.tenant)
            && (self.kind.is_empty() || event.kind.matches(&self.kind))
            && (self.about.is_empty() || event.is_about(&self.about))
    }
}

// === impl Service ===

impl Service {
    /// Writes down what is told, until it is dropped.
    pub async fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP);
        while self.told.recv_many(&mut group, GROUP).await > 0 {
            self.handle.write(&mut group).await;
        }
    }
}

impl Handle {
    async fn write(&self, group: &mut Vec<Event>) {
        let shared = &self.0;
        let first = *shared.newest.borrow() + 1;
        let mut batch = Batch::new().patient();
        for (number, event) in (first..).zip(&*group) {
            match record::encode(event) {
                Ok(value) => batch = batch.put(record::key(number), value),
                Err(error) => tracing::error!(%error, "an event cannot be written"),
            }
            if let Some(oldest) = number.checked_sub(KEPT as u64) {
                batch = batch.delete(record::key(oldest));
            }
        }
        let on_record = match shared.store.commit(batch).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%error, events = group.len(), "events are not on record");
                false
            }
        };
        let mut kept = shared.kept.lock();
        let numbered = (first..).zip(group.drain(..));
        kept.extend(numbered.map(|(number, event)| Arc::new(Numbered { number, event, on_record })));
        let newest = kept.back().map_or(first, |one| one.number);
        let too_many = kept.len().saturating_sub(KEPT);
        kept.drain(..too_many);
        drop(kept);
        shared.newest.send_replace(newest);
    }
}

#[cfg(test)]
mod tests;
