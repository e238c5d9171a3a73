//! What runs are told from outside, and what they ask.

use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::run::{Asked, Ignored, Input};
use tokio::sync::oneshot;

use super::Handle;
use super::task::Command;

/// Why a run did not take what it was told.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// There is no such open run.
    #[error("the run is not open")]
    NotOpen,
    /// The store failed before it was on disk.
    #[error("the store failed before it was on disk")]
    Parked,
    /// The run has its reasons.
    #[error(transparent)]
    Ignored(#[from] Ignored),
}

/// A question that waits for a person, and whose run it stops.
#[derive(Debug, Clone)]
pub struct Escalation {
    /// The run.
    pub run: RunId,
    /// Its workflow.
    pub workflow: Name,
    /// The question.
    pub asked: Asked,
}

impl Handle {
    /// Tells an open run something; what follows from it is on disk when this returns.
    pub async fn tell(&self, tenant: &Name, id: RunId, input: Input) -> Result<(), TellError> {
        let commands = match self.0.open.lock().get(&id) {
            Some(run) if run.tenant == *tenant => run.commands.clone(),
            _ => return Err(TellError::NotOpen),
        };
        let (done, told) = oneshot::channel();
        commands.send(Command { input, done }).await.map_err(|_| TellError::NotOpen)?;
        Ok(told.await.map_err(|_| TellError::Parked)??)
    }

    /// The questions of open runs that wait for a person, in no order.
    #[must_use]
    pub fn escalations(&self, tenant: &Name) -> Vec<Escalation> {
        let open = self.0.open.lock();
        let of_tenant = open.iter().filter(|(_, run)| run.tenant == *tenant);
        of_tenant
            .flat_map(|(&id, run)| {
                let asked = run.questions.lock().clone();
                asked.into_iter().map(move |asked| Escalation {
                    run: id,
                    workflow: run.workflow.clone(),
                    asked,
                })
            })
            .collect()
    }
}
