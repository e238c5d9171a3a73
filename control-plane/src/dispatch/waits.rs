//! What each step waits for right now, for whoever asks why nothing happens.

use std::collections::HashMap;
use std::sync::Arc;

use mainstay_kernel::call::Waiting;
use mainstay_kernel::id::RunId;
use parking_lot::Mutex;

type Step = (RunId, String);

/// The waits of all calls that serve a step. As many entries as there are waiting calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Waits(Arc<Mutex<HashMap<Step, String>>>);

/// Takes its entry back when dropped: the wait is over, or nobody waits any more.
#[must_use]
pub(super) struct Wait<'a>(&'a Waits, &'a Step);

impl Waits {
    /// A step waits, as long as what is returned is held.
    pub(super) fn begin<'a>(&'a self, step: Option<&'a Step>, why: &Waiting) -> Option<Wait<'a>> {
        let step = step?;
        self.0.lock().insert(step.clone(), why.to_string());
        Some(Wait(self, step))
    }

    pub(super) fn of(&self, run: RunId, step: &str) -> Option<String> {
        self.0.lock().get(&(run, step.to_owned())).cloned()
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.0.lock().remove(self.1);
    }
}
