//! Reading schedules back at the start, and their histories when somebody asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use mainstay_kernel::name::Name;
use mainstay_kernel::schedule::Schedule;
use mainstay_store::{ReadError, Store};
use parking_lot::RwLock;
use tokio::sync::{Mutex, Notify};

use super::{Entry, Handle, Known, Parts, Service, Shared};
use crate::records::schedule::{self as record, Line, StoredSchedule};
use crate::records::tenants;

/// Records read at once.
const PAGE: usize = 500;

/// Reads what is scheduled. A schedule that cannot be read fires nothing, and that is said. Blocks on the disk.
///
/// # Errors
/// If the store cannot be read.
pub fn open(parts: Parts) -> Result<(Handle, Service), ReadError> {
    let mut entries = BTreeMap::new();
    for tenant in tenants::all(&*parts.store)? {
        let prefix = record::prefix(tenant.as_str());
        let mut from = None;
        loop {
            let page = parts.store.scan(&prefix, from.as_deref(), PAGE)?;
            for damaged in &page.damaged {
                tracing::error!(%damaged, "a schedule is damaged and fires nothing");
            }
            for (key, entry) in &page.entries {
                let Some(name) = record::name(&key[prefix.len()..]) else { continue };
                match read(&*parts.store, &tenant, &name, &entry.value) {
                    Ok(known) => {
                        let entry = Arc::new(Entry::new(tenant.clone(), name.clone(), known));
                        entries.insert((tenant.clone(), name), entry);
                    }
                    Err(error) => {
                        tracing::error!(%tenant, %name, error, "a schedule cannot be read and fires nothing")
                    }
                }
            }
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
    }
    let (entries, turn, changed) = (RwLock::new(entries), Mutex::default(), Notify::new());
    let handle = Handle(Arc::new(Shared { parts, entries, turn, changed }));
    Ok((handle.clone(), Service(handle)))
}

fn read(store: &dyn Store, tenant: &Name, name: &Name, value: &[u8]) -> Result<Known, String> {
    let stored = StoredSchedule::decode(value).map_err(|error| error.to_string())?;
    let schedule = Schedule::parse(&stored.document)
        .map_err(|problems| problems.first().map(ToString::to_string).unwrap_or_default())?;
    // Only to go on with it: a line that cannot be read begins a new one.
    let newest = store.get(&record::line_key(tenant.as_str(), name, stored.lines)).ok().flatten();
    let newest = newest.and_then(|entry| Line::decode(&entry.value).ok());
    Ok(Known { schedule: Arc::new(schedule), stored, newest, there: true })
}

/// The lines of a history, newest first.
pub(super) fn history(store: &dyn Store, tenant: &Name, name: &Name) -> Result<Vec<(u64, Line)>, ReadError> {
    let prefix = record::lines(tenant.as_str(), name);
    // One page holds all that are kept.
    let page = store.scan(&prefix, None, PAGE)?;
    for damaged in &page.damaged {
        tracing::error!(%damaged, "a line of a schedule's history is damaged and left out");
    }
    let lines = page.entries.iter().rev().filter_map(|(key, entry)| {
        let number = u64::from_be_bytes(key[prefix.len()..].try_into().ok()?);
        Line::decode(&entry.value).ok().map(|line| (number, line))
    });
    Ok(lines.collect())
}
