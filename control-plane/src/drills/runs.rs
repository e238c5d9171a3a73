//! What becomes of the runs that are accepted while a drill is watched.
//!
//! A run is accounted for once its end is on disk, and while the engine drives it. One that is neither, although the engine is
//! ready, was acknowledged and forgotten: it is lost. Between two tasks of one run (a store that heals takes runs up again)
//! there are moments like that, so a run is given [`PATIENCE`] to turn up.

use std::time::Duration;

use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::time::Mono;

use crate::engine;

/// How long a run may be nowhere. Taking up ten thousand runs again takes seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Journals read in one look: each is some reads from memory.
const AT_ONCE: usize = 64;

/// Runs whose end has not been seen.
#[derive(Debug, Default)]
pub(super) struct Runs {
    open: Vec<Open>,
    lost: u64,
}

#[derive(Debug)]
struct Open {
    tenant: Name,
    id: RunId,
    /// Since when it has been nowhere.
    missing: Option<Mono>,
}

/// What is known of them after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Nobody can say yet: neither ended nor driven, and not for long.
    pub(super) unsure: u64,
    /// Accepted and forgotten.
    pub(super) lost: u64,
}

impl Runs {
    /// Remembers runs that were accepted.
    pub(super) fn accepted(&mut self, runs: Vec<(Name, RunId)>) {
        self.open.extend(runs.into_iter().map(|(tenant, id)| Open { tenant, id, missing: None }));
    }

    /// Looks for those that are neither driven nor known to have ended. While the engine is not ready nobody can say.
    pub(super) async fn look(&mut self, engine: &engine::Handle, now: Mono) -> Found {
        if !engine.is_ready() {
            return Found { unsure: self.open.len() as u64, lost: self.lost };
        }
        let mut read = 0;
        let mut still = Vec::with_capacity(self.open.len());
        let mut unsure = 0;
        for mut run in std::mem::take(&mut self.open) {
            if engine.drives(run.id) {
                run.missing = None;
                still.push(run);
            } else if read == AT_ONCE {
                unsure += 1;
                still.push(run);
            } else {
                read += 1;
                if engine.get(&run.tenant, run.id).await.is_ok_and(|run| run.end.is_some()) {
                    continue;
                }
                let missing = *run.missing.get_or_insert(now);
                if now - missing >= PATIENCE {
                    tracing::error!(run = %run.id, "a run that was accepted is neither driven nor ended");
                    self.lost += 1;
                } else {
                    unsure += 1;
                    still.push(run);
                }
            }
        }
        self.open = still;
        Found { unsure, lost: self.lost }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_kernel::effect::EffectClass;
    use mainstay_kernel::json::Json;
    use mainstay_kernel::retry::Retries;

    use super::*;
    use crate::testbed::{Bed, Stub, name, registration, until};

    const ONE: &str = "name: one\nversion: 1\nsteps:\n  - { id: a, call: { capability: work } }\n";

    fn request() -> engine::StartRequest {
        engine::StartRequest {
            tenant: name("default"),
            workflow: name("one"),
            version: None,
            input: Json::from(&serde_json::json!({})),
            idempotency_key: None,
            intent: "test".to_owned(),
            deadline: None,
            labels: Default::default(),
            retries: Retries::Allowed,
            chain: Default::default(),
            priority: mainstay_kernel::priority::Priority::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_is_driven_or_has_ended_is_accounted_for_and_one_that_is_nowhere_is_lost() {
        let mut bed = Bed::new().await;
        bed.start_engine().await;
        let stub = Stub::start().await;
        bed.admit(&stub, registration("a", "i", &[("work", EffectClass::ReadOnly)])).await;
        bed.put(ONE).await;
        let gate = stub.gate();
        let id = bed.engine.start(request()).await.unwrap().id;
        let mut runs = Runs::default();
        runs.accepted(vec![(name("default"), id), (name("default"), RunId::from_bytes([9; 16]))]);
        let now = bed.clock.mono();
        assert_eq!(runs.look(&bed.engine, now).await, Found { unsure: 1, lost: 0 });
        assert_eq!(runs.look(&bed.engine, now + PATIENCE).await, Found { unsure: 0, lost: 1 });
        gate.add_permits(1);
        until(|| !bed.engine.drives(id)).await;
        assert_eq!(runs.look(&bed.engine, now + PATIENCE).await, Found { unsure: 0, lost: 1 });
        assert!(runs.open.is_empty(), "its end was seen");
    }
}
