//! The finished runs of all tenants, oldest first.
//!
//! A run's id grows with time, and a tenant's journals lie in its order. So the first run of each tenant is looked up, the
//! oldest of them is handed out, and the next one of that tenant takes its place: one seek a run, whatever it holds.

use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_store::{ReadError, Store};

use crate::records::{key, open_run, tenants, transition};

/// A walk over what is there now. Runs that end meanwhile may be missed; the next walk finds them.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    store: &'a dyn Store,
    /// The oldest finished run of each tenant that was not handed out yet.
    first: Vec<(Name, RunId)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(store: &'a dyn Store) -> Result<Self, ReadError> {
        let mut walk = Self { store, first: Vec::new() };
        for tenant in tenants::all(store)? {
            if let Some(run) = walk.behind(&tenant, None)? {
                walk.first.push((tenant, run));
            }
        }
        Ok(walk)
    }

    /// The next one, if there is one.
    pub(super) fn next(&mut self) -> Result<Option<(Name, RunId)>, ReadError> {
        let oldest = self.first.iter().enumerate().min_by_key(|(_, (_, run))| *run);
        let Some((at, (tenant, run))) = oldest.map(|(at, first)| (at, first.clone())) else {
            return Ok(None);
        };
        match self.behind(&tenant, Some(run))? {
            Some(next) => self.first[at].1 = next,
            None => drop(self.first.swap_remove(at)),
        }
        Ok(Some((tenant, run)))
    }

    /// The first finished run of a tenant behind another. One whose mark cannot be read may be open, and stays.
    fn behind(&self, tenant: &Name, run: Option<RunId>) -> Result<Option<RunId>, ReadError> {
        let mut prefix = key::of_runs(key::TRANSITION).to_vec();
        prefix.extend_from_slice(tenant.as_str().as_bytes());
        prefix.push(0);
        let (mut past, mut from) = (run, run.map(|run| last_of(tenant, run)));
        loop {
            let page = self.store.scan(&prefix, from.as_deref(), 1)?;
            let keys = page.entries.iter().map(|(key, _)| key);
            let Some(first) = keys.chain(page.damaged.iter().map(|damaged| &damaged.key)).min() else {
                return Ok(None);
            };
            let found = first.get(prefix.len()..).and_then(|rest| rest.first_chunk());
            match found.map(|id| RunId::from_bytes(*id)).filter(|found| past.is_none_or(|past| *found > past))
            {
                Some(found) => {
                    if matches!(self.store.get(&open_run::key(tenant.as_str(), found)), Ok(None)) {
                        return Ok(Some(found));
                    }
                    past = Some(found);
                    from = Some(last_of(tenant, found));
                }
                // An unreadable range that begins between two keys: on to what lies behind it.
                None => match page.next {
                    Some(next) => from = Some(next.to_vec()),
                    None => return Ok(None),
                },
            }
        }
    }
}

/// The last key that a run's journal could have.
fn last_of(tenant: &Name, run: RunId) -> Vec<u8> {
    transition::key(tenant.as_str(), run, u64::MAX)
}
