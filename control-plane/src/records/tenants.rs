//! Which tenants have anything global on record.

use mainstay_kernel::name::Name;
use mainstay_store::{Damage, Page, ReadError, Store};

use super::key;

/// Every tenant, from one to the next: everything global of one lies between two seeks.
pub fn all(store: &dyn Store) -> Result<Vec<Name>, ReadError> {
    let mut tenants = Vec::new();
    let mut behind: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(&[key::GLOBAL], behind.as_deref(), 1)?;
        let Some(first) = first_key(&page) else { return Ok(tenants) };
        match key::tenant_of(&first).and_then(|tenant| Name::new(tenant).ok()) {
            Some(tenant) => {
                behind = Some(key::behind_tenant(tenant.as_str()));
                tenants.push(tenant);
            }
            None => behind = Some(first),
        }
    }
}

/// The first key of a page. A damaged record has one too; a range that cannot be read only has a place where it begins, and
/// whose records lie in it nobody can tell.
fn first_key(page: &Page) -> Option<Vec<u8>> {
    let found = page.entries.iter().map(|(key, _)| key);
    let damaged = page.damaged.iter().filter(|damaged| !matches!(damaged.damage, Damage::Unreadable { .. }));
    found.chain(damaged.map(|damaged| &damaged.key)).min().map(|key| key.to_vec())
}
