//! What each step cost, with all that was done inside it.

use crate::outcome::Usage;
use crate::run::state::State;

impl State {
    /// What every step consumed, by place: its own calls and those of all that grew in it. What the steps of the workflow
    /// come to adds up to the run's.
    #[must_use]
    pub fn usages(&self) -> Vec<Usage> {
        let own = self.steps.iter().map(|step| {
            step.attempts.iter().fold(Usage::default(), |total, attempt| total.plus(attempt.usage))
        });
        let mut usages: Vec<Usage> = own.collect();
        // Whatever grew stands behind the step it lies in, so it is whole by the time that is looked at.
        for at in (0..usages.len()).rev() {
            if let Some(host) = self.inside(at) {
                usages[host] = usages[host].plus(usages[at]);
            }
        }
        usages
    }
}
