//! The committed-change feed: what became durable, in commit order, to whoever watches.
//!
//! It is fed by the committer after the sync, never by the engine below: sled's own subscription blocks writers and
//! tells of writes that a power cut would still take back. A watcher that falls behind is not waited for. It loses its
//! backlog and is told so once ([`WatchEvent::Compacted`]), and lists again.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::Stream;
use parking_lot::Mutex;

use crate::commit::Version;
use crate::limits::{MAX_WATCH_LAG, MAX_WATCH_LAG_BYTES};

/// Durable changes under one prefix, as a stream. It ends when the store is closed.
#[derive(Debug)]
pub struct Watch(Arc<Backlog>);

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// A key was written or deleted.
    Changed(Change),
    /// Some changes are not told: list the prefix again. Later changes follow as usual.
    Compacted,
}

/// One durable change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// Its new value; `None` if it was deleted.
    pub value: Option<Bytes>,
    /// Version of the batch that changed it.
    pub version: Version,
}

/// All watchers of one store.
#[derive(Debug, Default)]
pub(crate) struct Feed(Mutex<Vec<Weak<Backlog>>>);

#[derive(Debug)]
struct Backlog {
    prefix: Bytes,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    events: VecDeque<WatchEvent>,
    bytes: usize,
    most_events: usize,
    most_bytes: usize,
    waker: Option<Waker>,
    closed: bool,
}

// === impl Feed ===

impl Feed {
    pub(crate) fn watch(&self, prefix: &[u8]) -> Watch {
        let backlog =
            Arc::new(Backlog { prefix: Bytes::copy_from_slice(prefix), state: Mutex::new(State::default()) });
        self.0.lock().push(Arc::downgrade(&backlog));
        Watch(backlog)
    }

    /// Tells every watcher of the changes of one group.
    pub(crate) fn publish(&self, changes: &[Change]) {
        self.each(|backlog| backlog.extend(changes));
    }

    /// Tells every watcher to list again: what happened meanwhile is not known.
    pub(crate) fn compact(&self) {
        self.each(|backlog| backlog.update(State::compact));
    }

    /// Ends every watch once its backlog is read.
    pub(crate) fn close(&self) {
        self.each(|backlog| backlog.update(|state| state.closed = true));
    }

    /// Watchers are few (the control plane fans out itself), so each group asks each of them.
    fn each(&self, tell: impl Fn(&Backlog)) {
        self.0.lock().retain(|watcher| match watcher.upgrade() {
            Some(backlog) => {
                tell(&backlog);
                true
            }
            None => false,
        });
    }
}

// === impl Backlog ===

impl Backlog {
    fn extend(&self, changes: &[Change]) {
        let mut relevant = changes.iter().filter(|change| change.key.starts_with(&self.prefix)).peekable();
        if relevant.peek().is_some() {
            self.update(|state| relevant.for_each(|change| state.push(change)));
        }
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

// === impl State ===

impl Default for State {
    fn default() -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            most_events: MAX_WATCH_LAG,
            most_bytes: MAX_WATCH_LAG_BYTES,
            waker: None,
            closed: false,
        }
    }
}

impl State {
    fn push(&mut self, change: &Change) {
        self.bytes += change.bytes();
        self.events.push_back(WatchEvent::Changed(change.clone()));
        if self.events.len() > self.most_events || self.bytes > self.most_bytes {
            self.compact();
        }
    }

    fn compact(&mut self) {
        self.events.clear();
        self.bytes = 0;
        self.events.push_back(WatchEvent::Compacted);
    }

    fn pop(&mut self) -> Option<WatchEvent> {
        let event = self.events.pop_front()?;
        if let WatchEvent::Changed(change) = &event {
            self.bytes -= change.bytes();
        }
        Some(event)
    }
}

// === impl Change ===

impl Change {
    fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

// === impl Watch ===

impl Watch {
    /// Lets the reader fall behind further before it loses its backlog: for one that cannot list again, such as a dump.
    #[must_use]
    pub(crate) fn with_lag(self, events: usize, bytes: usize) -> Self {
        let mut state = self.0.state.lock();
        (state.most_events, state.most_bytes) = (events, bytes);
        drop(state);
        self
    }

    /// The next event if one is there already.
    pub fn try_next(&mut self) -> Option<WatchEvent> {
        self.0.state.lock().pop()
    }
}

impl Stream for Watch {
    type Item = WatchEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        let mut state = self.0.state.lock();
        match state.pop() {
            Some(event) => Poll::Ready(Some(event)),
            None if state.closed => Poll::Ready(None),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
