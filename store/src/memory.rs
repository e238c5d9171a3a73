//! The store in memory: the same semantics without a disk or a thread, for tests.
//!
//! A commit is decided and answered before [`Store::commit`] returns, so that a test with a paused clock never waits for
//! a thread. The handle can do what disks do: hold commits back, refuse them, damage a record.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::batch::Batch;
use crate::commit::{Commit, CommitError, Version};
use crate::engine::{Rows, Slot};
use crate::feed::{Feed, Watch};
use crate::group::Group;
use crate::limits::{MAX_QUEUED, MAX_QUEUED_BYTES};
use crate::quarantine::{Damage, Damaged, Quarantine};
use crate::queue::Submission;
use crate::status::{Status, StatusBoard, StatusChanges};
use crate::store::{Entry, Page, ReadError, Stats, Store};
use crate::view::page;

/// A store that forgets everything when it is dropped. Clones share their contents.
#[derive(Clone, Debug)]
pub struct MemoryStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    feed: Feed,
    status: Arc<StatusBoard>,
    quarantine: Quarantine,
}

#[derive(Debug)]
struct State {
    rows: BTreeMap<Bytes, Slot>,
    next_version: Version,
    /// Commits that wait for [`MemoryStore::release_commits`], while they are held.
    held: Option<VecDeque<Submission>>,
    stats: Stats,
}

// === impl MemoryStore ===

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        let state = State { rows: BTreeMap::new(), next_version: 1, held: None, stats: Stats::default() };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            feed: Feed::default(),
            status: Arc::new(StatusBoard::new()),
            quarantine: Quarantine::default(),
        }))
    }

    /// From now on commits wait, as if the disk had stopped; reads go on.
    pub fn hold_commits(&self) {
        self.0.state.lock().held.get_or_insert_default();
    }

    /// Commits what was held, in order, and holds nothing any more.
    pub fn release_commits(&self) {
        let mut state = self.0.state.lock();
        for submission in state.held.take().into_iter().flatten() {
            self.0.apply(&mut state, submission);
        }
    }

    /// From now on commits are refused, as if the disk had failed; those held end as unknown, and are not in the store.
    pub fn fail_commits(&self, reason: &str) {
        let mut state = self.0.state.lock();
        self.0.status.fail(reason);
        for (_, promise) in state.held.take().into_iter().flatten() {
            promise.settle(Err(CommitError::Unknown { reason: reason.to_owned() }));
        }
    }

    /// Commits are accepted again, as after a reopen: watchers are told to list again.
    pub fn heal(&self) {
        let mut state = self.0.state.lock();
        state.stats.reopened += 1;
        self.0.feed.compact();
        self.0.status.heal();
    }

    /// Damages the record under `key`, as a flipped bit would.
    pub fn damage(&self, key: &[u8]) {
        let key = Bytes::copy_from_slice(key);
        self.0.state.lock().rows.insert(key, Slot::Damaged(Damage::Checksum));
    }

    /// Puts the record under `key` out of reach, as a torn page of a disk does: it can be neither read nor replaced.
    pub fn tear(&self, key: &[u8]) {
        let until = Some([key, &[0]].concat().into());
        let damage = Damage::Unreadable { until, detail: "the page is torn".to_owned() };
        self.0.state.lock().rows.insert(Bytes::copy_from_slice(key), Slot::Damaged(damage));
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, ReadError> {
        match self.0.state.lock().rows.get(key) {
            None | Some(Slot::Absent) => Ok(None),
            Some(Slot::Found(entry)) => Ok(Some(entry.clone())),
            Some(Slot::Damaged(damage)) => {
                let key = Bytes::copy_from_slice(key);
                self.0.quarantine.report(&key, damage);
                Err(ReadError::Damaged { key, damage: damage.clone() })
            }
            Some(Slot::Failed(reason)) => Err(ReadError::Unavailable { reason: reason.clone() }),
        }
    }

    fn remains(&self, key: &[u8]) -> Option<Bytes> {
        match self.0.state.lock().rows.get(key)? {
            Slot::Found(entry) => Some(entry.value.clone()),
            // What was there is not kept: a test that damages a record has no use for it.
            Slot::Absent | Slot::Damaged(_) | Slot::Failed(_) => None,
        }
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, ReadError> {
        let state = self.0.state.lock();
        let start = after.filter(|after| *after >= prefix).map_or(Bound::Included(prefix), Bound::Excluded);
        let rows: Rows<'_> = Box::new(
            state
                .rows
                .range::<[u8], _>((start, Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(prefix))
                .map(|(key, slot)| (key.clone(), slot.clone())),
        );
        page(rows, limit, &self.0.quarantine)
    }

    fn commit(&self, batch: Batch) -> Commit {
        if let Err(error) = batch.check() {
            return Commit::settled(Err(error));
        }
        let mut state = self.0.state.lock();
        if let Some(reason) = self.0.status.refusal() {
            state.stats.refused += 1;
            return Commit::settled(Err(CommitError::ReadOnly { reason }));
        }
        if let Some(held) = &mut state.held {
            let bytes: usize = held.iter().map(|(batch, _)| batch.bytes()).sum();
            if held.len() >= MAX_QUEUED || bytes + batch.bytes() > MAX_QUEUED_BYTES {
                return Commit::settled(Err(CommitError::Busy));
            }
            let (promise, commit) = Commit::pending();
            held.push_back((batch, promise));
            return commit;
        }
        let (promise, commit) = Commit::pending();
        self.0.apply(&mut state, (batch, promise));
        commit
    }

    fn watch(&self, prefix: &[u8]) -> Watch {
        self.0.feed.watch(prefix)
    }

    fn status(&self) -> Status {
        self.0.status.get()
    }

    fn status_changes(&self) -> StatusChanges {
        self.0.status.changes()
    }

    fn quarantined(&self) -> Vec<Damaged> {
        self.0.quarantine.list()
    }

    fn stats(&self) -> Stats {
        let state = self.0.state.lock();
        let queued = state.held.as_ref().map_or(0, VecDeque::len);
        Stats { queued, damaged: self.0.quarantine.met(), ..state.stats }
    }
}

// === impl Shared ===

impl Shared {
    fn apply(&self, state: &mut State, (batch, promise): Submission) {
        let mut group = Group::new(state.next_version);
        let rows = &state.rows;
        group.admit(batch, promise, |key| rows.get(key).cloned().unwrap_or(Slot::Absent));
        state.next_version = group.next_version();
        state.stats.commits += group.commits();
        state.stats.conflicts += group.conflicts();
        if !group.changes().is_empty() {
            state.stats.groups += 1;
            state.stats.syncs += 1;
        }
        for change in group.changes() {
            self.quarantine.release(&change.key);
            match &change.value {
                Some(value) => {
                    let entry = Entry { value: value.clone(), version: change.version };
                    state.rows.insert(change.key.clone(), Slot::Found(entry))
                }
                None => state.rows.remove(&change.key),
            };
        }
        self.feed.publish(group.changes());
        group.settle();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.feed.close();
    }
}
