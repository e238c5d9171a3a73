//! Where things lie. Ordinals are frozen: one is never changed and never used for another kind.
//!
//! ```text
//! shard (2 bytes, 0x0000–0x0fff) ‖ ordinal ‖ tenant ‖ 0x00 ‖ run (16) [‖ first event (8)]    all that belongs to one run
//! 0xf0 ‖ tenant ‖ 0x00 ‖ ordinal ‖ …                                                         what is global, by tenant
//! ```
//! All data of a run lies in one shard, so that a partitioned backend can hold it in one place and every commit of a run
//! that is under way touches one shard. The listing of runs and the idempotency keys are global: they are written with
//! the first and the last transition only. Names hold no NUL, so the zero byte ends them without ambiguity.
//!
//! An embedded store has one shard. Ids grow with time, so the runs that are under way lie side by side, on pages that are
//! in memory and are written together. Spread by a hash over thousands of shards, each transition met a cold page: a run
//! of three steps read 50 KB back from the disk, and a quarter fewer of them ended in a second.

use mainstay_kernel::id::RunId;

/// The one shard of an embedded store.
const SHARD: u16 = 0;

/// First byte of every global key; above every shard.
pub const GLOBAL: u8 = 0xf0;

/// One transition of a run's journal.
pub const TRANSITION: u8 = 0x01;
/// Marks a run that has not ended.
pub const OPEN_RUN: u8 = 0x02;
/// How often an open run broke what drove it.
pub const FALLS: u8 = 0x03;

/// An instance of an agent.
pub const INSTANCE: u8 = 0x10;
/// A version of a workflow.
pub const WORKFLOW: u8 = 0x11;
/// A run in the listing, newest first.
pub const RUN_SUMMARY: u8 = 0x12;
/// The run that an idempotency key started.
pub const IDEMPOTENCY: u8 = 0x13;
/// A breaker that has changed.
pub const BREAKER: u8 = 0x14;
/// A target that is paused.
pub const PAUSE: u8 = 0x15;
/// A version of a routing document.
pub const ROUTES: u8 = 0x16;
/// A decision on one routed request.
pub const DECISION: u8 = 0x17;
/// A version of a rollout.
pub const ROLLOUT: u8 = 0x18;
/// A change of a rollout.
pub const ROLLOUT_CHANGE: u8 = 0x19;
/// The operating mode that a person set.
pub const MODE: u8 = 0x1a;
/// A decision that changed how traffic is treated.
pub const EVENT: u8 = 0x1d;
/// A drill, of the server as a whole.
pub const DRILL: u8 = 0x1c;
/// A rate that an operator set.
pub const LIMIT: u8 = 0x1b;
/// That the store was restored from a backup.
pub const RESTORED: u8 = 0x1e;
/// The server's own secret, for sealing page tokens.
pub const SECRET: u8 = 0x1f;
/// Documents whose records are gone.
pub const LOOSE: u8 = 0x20;
/// A key of the shared context: its owner and its versions.
pub const CONTEXT: u8 = 0x21;
/// The value of a version of it.
pub const CONTEXT_VALUE: u8 = 0x22;
/// An artifact.
pub const ARTIFACT: u8 = 0x23;
/// An upload of one that has not ended.
pub const UPLOAD: u8 = 0x24;
/// The artifacts that a transition of a run names; beside the run's journal.
pub const NAMED: u8 = 0x25;
/// A schedule.
pub const SCHEDULE: u8 = 0x29;
/// A line of a schedule's history.
pub const SCHEDULE_LINE: u8 = 0x2a;

/// A budget over time that an operator set.
pub const BUDGET: u8 = 0x2d;
/// What a run that has ended used up, until it is added to the sums.
pub const RUN_SPEND: u8 = 0x2e;
/// What was used up on a day.
pub const SPEND: u8 = 0x2f;

/// Every kind there is.
pub const ALL: [u8; 30] = [
    TRANSITION,
    OPEN_RUN,
    FALLS,
    INSTANCE,
    WORKFLOW,
    RUN_SUMMARY,
    IDEMPOTENCY,
    BREAKER,
    PAUSE,
    ROUTES,
    DECISION,
    ROLLOUT,
    ROLLOUT_CHANGE,
    MODE,
    LIMIT,
    DRILL,
    EVENT,
    RESTORED,
    SECRET,
    LOOSE,
    CONTEXT,
    CONTEXT_VALUE,
    ARTIFACT,
    UPLOAD,
    NAMED,
    SCHEDULE,
    SCHEDULE_LINE,
    BUDGET,
    RUN_SPEND,
    SPEND,
];

/// The beginning of a key of `kind`, of whatever it is.
#[must_use]
pub fn sample(kind: u8) -> Vec<u8> {
    if kind < INSTANCE || kind == NAMED {
        of_run("default", RunId::from_bytes([0; 16]), kind)
    } else {
        global("default", kind)
    }
}

/// Prefix of all keys of `kind` of one run.
#[must_use]
pub fn of_run(tenant: &str, run: RunId, kind: u8) -> Vec<u8> {
    let mut key = of_runs(kind).to_vec();
    key.reserve(tenant.len() + 1 + 16 + 8);
    key.extend_from_slice(tenant.as_bytes());
    key.push(0);
    key.extend_from_slice(run.as_bytes());
    key
}

/// Prefix of all keys of `kind` of all runs.
#[must_use]
pub fn of_runs(kind: u8) -> [u8; 3] {
    let [high, low] = SHARD.to_be_bytes();
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
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_an_ordinal_of_its_own() {
        let kinds: BTreeSet<u8> = ALL.into_iter().collect();
        assert_eq!(kinds.len(), ALL.len());
        let named = include_str!("key.rs")
            .lines()
            .filter(|line| line.starts_with("pub const ") && line.contains(": u8 = 0x"))
            .count();
        assert_eq!(named, ALL.len() + 1, "all that are named here, and the first byte of what is global");
    }

    #[test]
    fn runs_lie_below_the_global_range_by_tenant_and_age() {
        let key = |tenant, run| of_run(tenant, RunId::from_bytes([run; 16]), TRANSITION);
        assert!(key("a", 1) < key("a", 2) && key("a", 2) < key("ab", 1) && key("ab", 1)[0] < GLOBAL);
        assert!(
            !key("ab", 1).starts_with(&key("a", 1)[..5]),
            "no run of one tenant is under another's prefix"
        );
    }

    #[test]
    fn tenants_do_not_run_into_each_other() {
        assert!(!global("ab", WORKFLOW).starts_with(&global("a", WORKFLOW)));
        assert_eq!(tenant_of(&global("acme", INSTANCE)), Some("acme"));
        assert!(behind_tenant("a") > global("a", 0xff));
        assert!(behind_tenant("a") < global("ab", 0));
    }
}
