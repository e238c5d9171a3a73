//! Where things lie. Ordinals are frozen: one is never changed and never used for another kind.
//!
//! ```text
//! shard (2 bytes, 0x0000–0x0fff) ‖ ordinal ‖ run (16) [‖ first event (8)]      all that belongs to one run
//! 0xf0 ‖ tenant ‖ 0x00 ‖ ordinal ‖ …                                           what is global, by tenant
//! ```
//! All data of a run lies in one shard, so that a partitioned backend can hold it in one place and every commit of a run
//! that is under way touches one shard. The listing of runs and the idempotency keys are global: they are written with
//! the first and the last transition only. Names hold no NUL, so the zero byte ends them without ambiguity.

use mainstay_kernel::id::RunId;

/// Number of shards. A power of two far above any number of machines, so that shards can move whole.
pub const SHARDS: u16 = 4096;

/// First byte of every global key; above every shard.
pub const GLOBAL: u8 = 0xf0;

/// One transition of a run's journal.
pub const TRANSITION: u8 = 0x01;
/// Marks a run that has not ended.
pub const OPEN_RUN: u8 = 0x02;

/// An instance of an agent.
pub const INSTANCE: u8 = 0x10;
/// A version of a workflow.
pub const WORKFLOW: u8 = 0x11;
/// A run in the listing, newest first.
pub const RUN_SUMMARY: u8 = 0x12;
/// The run that an idempotency key started.
pub const IDEMPOTENCY: u8 = 0x13;
/// The server's own secret, for sealing page tokens.
pub const SECRET: u8 = 0x1f;

/// The shard of a run: `blake3(tenant ‖ run) mod 4096`.
#[must_use]
pub fn shard(tenant: &str, run: RunId) -> u16 {
    let mut hash = blake3::Hasher::new();
    hash.update(tenant.as_bytes()).update(run.as_bytes());
    let first = hash.finalize();
    u16::from_be_bytes([first.as_bytes()[0], first.as_bytes()[1]]) % SHARDS
}

/// Prefix of all keys of `kind` of one run.
#[must_use]
pub fn of_run(tenant: &str, run: RunId, kind: u8) -> Vec<u8> {
    let mut key = Vec::with_capacity(2 + 1 + 16 + 8);
    key.extend_from_slice(&shard(tenant, run).to_be_bytes());
    key.push(kind);
    key.extend_from_slice(run.as_bytes());
    key
}

/// Prefix of all keys of `kind` in one shard.
#[must_use]
pub fn in_shard(shard: u16, kind: u8) -> [u8; 3] {
    let [high, low] = shard.to_be_bytes();
    [high, low, kind]
}

/// Prefix of all global keys of `kind` of one tenant.
#[must_use]
pub fn global(tenant: &str, kind: u8) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + tenant.len() + 2 + 32);
    key.push(GLOBAL);
    key.extend_from_slice(tenant.as_bytes());
    key.extend_from_slice(&[0, kind]);
    key
}

/// The tenant of a global key.
#[must_use]
pub fn tenant_of(key: &[u8]) -> Option<&str> {
    let rest = key.strip_prefix(&[GLOBAL])?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// The first key behind everything of `tenant`: where a scan over tenants goes on.
#[must_use]
pub fn behind_tenant(tenant: &str) -> Vec<u8> {
    let mut key = global(tenant, 0);
    key.pop();
    key.pop();
    key.push(1);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_below_the_global_range_and_spread() {
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..1000_u16 {
            let [high, low] = n.to_be_bytes();
            let mut id = [0; 16];
            (id[0], id[1]) = (high, low);
            let key = of_run("default", RunId::from_bytes(id), TRANSITION);
            assert!(key[0] < GLOBAL);
            seen.insert(shard("default", RunId::from_bytes(id)));
        }
        assert!(seen.len() > 800, "{} of 1000 runs share shards", 1000 - seen.len());
    }

    #[test]
    fn tenants_do_not_run_into_each_other() {
        assert!(!global("ab", WORKFLOW).starts_with(&global("a", WORKFLOW)));
        assert_eq!(tenant_of(&global("acme", INSTANCE)), Some("acme"));
        assert!(behind_tenant("a") > global("a", 0xff));
        assert!(behind_tenant("a") < global("ab", 0));
    }
}
