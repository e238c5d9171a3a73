//! Virtual time: what is to happen, in order. Nobody waits for anything; the clock jumps to the next event.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_kernel::time::Mono;

/// What is to happen. Events of one moment happen in the order in which they were written down.
#[derive(Debug)]
pub(crate) struct Agenda<E> {
    now: Mono,
    written: u64,
    events: BTreeMap<(Mono, u64), E>,
}

impl<E> Agenda<E> {
    pub(crate) const fn new() -> Self {
        Self { now: Mono::at(Duration::ZERO), written: 0, events: BTreeMap::new() }
    }

    pub(crate) const fn now(&self) -> Mono {
        self.now
    }

    /// Writes an event down; what should have happened already happens now.
    pub(crate) fn at(&mut self, when: Mono, event: E) {
        self.written += 1;
        self.events.insert((when.max(self.now), self.written), event);
    }

    pub(crate) fn after(&mut self, wait: Duration, event: E) {
        self.at(self.now + wait, event);
    }

    /// The next event; time is now its time.
    pub(crate) fn next(&mut self) -> Option<E> {
        let ((when, _), event) = self.events.pop_first()?;
        self.now = when;
        Some(event)
    }

    /// Whether nothing more happens at this moment.
    pub(crate) fn is_settled(&self) -> bool {
        self.events.first_key_value().is_none_or(|((when, _), _)| *when > self.now)
    }
}
