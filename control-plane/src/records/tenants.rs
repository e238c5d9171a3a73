//! Which tenants have anything global on record.

use mainstay_kernel::name::Name;
use mainstay_store::{Page, ReadError, Store};

use super::key;

/// Every tenant, from one to the next: everything global of one lies between two seeks.
pub fn all(store: &dyn Store) -> Result<Vec<Name>, ReadError> {
    let mut tenants = Vec::new();
    let mut behind: Option<Vec<u8>> = None;
    while let Some(first) = first_key(&store.scan(&[key::GLOBAL], behind.as_deref(), 1)?) {
        match key::tenant_of(&first).and_then(|tenant| Name::new(tenant).ok()) {
            Some(tenant) => {
                behind = Some(key::behind_tenant(tenant.as_str()));
                tenants.push(tenant);
            }
            None => behind = Some(first),
        }
    }
    Ok(tenants)
}

/// The first key of a page. A damaged record has one too.
fn first_key(page: &Page) -> Option<Vec<u8>> {
    let found = page.entries.iter().map(|(key, _)| key);
    found.chain(page.damaged.iter().map(|damaged| &damaged.key)).min().map(|key| key.to_vec())
}
