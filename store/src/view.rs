//! What readers see: the last durable state, also while a group is on its way to disk.
//!
//! An engine shows a write as soon as it is applied, before it is synced. To act on such a read would be to act on
//! something that a power cut takes back. So the committer first lays the old contents of every key it is about to
//! touch over the engine ([`View::cover`]), and takes them off after the sync. After a failed sync they stay: readers
//! go on seeing what was durable, until the engine is opened again from what is really on disk.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::engine::{Engine, Reason, Rows, Slot};
use crate::limits::{MAX_PAGE, MAX_PAGE_BYTES};
use crate::quarantine::{Damage, Damaged, Quarantine};
use crate::store::{Entry, Page, ReadError};

/// The durable state of an engine.
#[derive(Debug)]
pub(crate) struct View<E> {
    state: RwLock<State<E>>,
    pub(crate) quarantine: Quarantine,
}

#[derive(Debug)]
struct State<E> {
    /// The engine, or why there is none.
    engine: Result<E, Reason>,
    cover: BTreeMap<Bytes, Slot>,
}

impl<E: Engine> View<E> {
    pub(crate) fn new(engine: E) -> Self {
        let state = State { engine: Ok(engine), cover: BTreeMap::new() };
        Self { state: RwLock::new(state), quarantine: Quarantine::default() }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Entry>, ReadError> {
        let state = self.state.read();
        let slot = match state.cover.get(key) {
            Some(slot) => slot.clone(),
            None => state.engine()?.read(key),
        };
        match slot {
            Slot::Absent => Ok(None),
            Slot::Found(entry) => Ok(Some(entry)),
            Slot::Damaged(damage) => {
                let key = Bytes::copy_from_slice(key);
                self.quarantine.report(&key, &damage);
                Err(ReadError::Damaged { key, damage })
            }
            Slot::Failed(reason) => Err(ReadError::Unavailable { reason }),
        }
    }

    pub(crate) fn remains(&self, key: &[u8]) -> Option<Bytes> {
        self.state.read().engine.as_ref().ok()?.remains(key)
    }

    pub(crate) fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, ReadError> {
        let state = self.state.read();
        let rows = state.rows(prefix, after)?;
        page(rows, limit, &self.quarantine)
    }

    /// Hands the engine to the committer. Readers are not kept out.
    pub(crate) fn with_engine<T>(&self, work: impl FnOnce(&E) -> Result<T, Reason>) -> Result<T, Reason> {
        let state = self.state.read();
        state.engine.as_ref().map_err(Clone::clone).and_then(work)
    }

    pub(crate) fn cover(&self, before: BTreeMap<Bytes, Slot>) {
        self.state.write().cover = before;
    }

    pub(crate) fn uncover(&self) {
        self.state.write().cover.clear();
    }

    /// Gives up the engine for a new one. Until there is one, nothing can be read.
    pub(crate) fn replace(&self, open: impl FnOnce() -> Result<E, Reason>) -> Result<(), Reason> {
        let mut state = self.state.write();
        state.engine = Err("reopening".to_owned());
        state.engine = open();
        if let Err(reason) = &state.engine {
            return Err(reason.clone());
        }
        state.cover.clear();
        Ok(())
    }
}

impl<E: Engine> State<E> {
    fn engine(&self) -> Result<&E, ReadError> {
        self.engine.as_ref().map_err(|reason| ReadError::Unavailable { reason: reason.clone() })
    }

    /// The rows of the engine with the covered ones in their place.
    fn rows<'a>(&'a self, prefix: &'a [u8], after: Option<&[u8]>) -> Result<Rows<'a>, ReadError> {
        let engine = self.engine()?.rows(prefix, after);
        let start = after.filter(|after| *after >= prefix).map_or(Bound::Included(prefix), Bound::Excluded);
        let mut covered = self
            .cover
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .peekable();
        let mut engine = engine.peekable();
        Ok(Box::new(std::iter::from_fn(move || {
            loop {
                let Some((key, slot)) = covered.peek() else { return engine.next() };
                match engine.peek() {
                    Some((stored, _)) if stored < *key => return engine.next(),
                    Some((stored, _)) if stored == *key => engine.next(),
                    _ => None,
                };
                let row = ((*key).clone(), (*slot).clone());
                covered.next();
                if row.1 != Slot::Absent {
                    return Some(row);
                }
            }
        })))
    }
}

/// Fills a page from rows in key order; damaged ones count against the limit too, so that a page is bounded work.
pub(crate) fn page(rows: Rows<'_>, limit: usize, quarantine: &Quarantine) -> Result<Page, ReadError> {
    let limit = limit.clamp(1, MAX_PAGE);
    let mut page = Page::default();
    let mut bytes = 0;
    let mut rows = rows.peekable();
    while let Some((key, slot)) = rows.next() {
        bytes += key.len();
        let last = key.clone();
        match slot {
            Slot::Absent => continue,
            Slot::Found(entry) => {
                bytes += entry.value.len();
                page.entries.push((key, entry));
            }
            Slot::Damaged(damage) => {
                quarantine.report(&key, &damage);
                page.damaged.push(Damaged { key, damage });
            }
            Slot::Failed(reason) => return Err(ReadError::Unavailable { reason }),
        }
        // A page never ends with a range that cannot be read: the next one would begin in the middle of it, and never get
        // behind it.
        let readable = !matches!(page.damaged.last(), Some(Damaged { key, damage: Damage::Unreadable { .. } }) if *key == last);
        if readable && (page.entries.len() + page.damaged.len() >= limit || bytes >= MAX_PAGE_BYTES) {
            page.next = rows.peek().is_some().then_some(last);
            break;
        }
    }
    Ok(page)
}
