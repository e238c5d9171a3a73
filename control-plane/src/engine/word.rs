//! What runs are told from outside, and what they ask.

use mainstay_kernel::id::RunId;
use mainstay_kernel::name::Name;
use mainstay_kernel::poison::Falls;
use mainstay_kernel::run::{Asked, Ignored, Input};
use tokio::sync::oneshot;

use super::task::Command;
use super::{Handle, parking};

/// Why a run did not take what it was told.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// There is no such open run.
    #[error("the run is not open")]
    NotOpen,
    /// The run was left before it was on disk; it is taken up again.
    #[error("the run was left before it was on disk")]
    Left,
    /// Nobody drives the run, because it broke what drove it.
    #[error("the run is parked; it fell {} times: {}", .0.in_all, .0.reason)]
    Parked(Falls),
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
    /// Tells an open run something; what follows from it is on disk when this returns. A parked run is told only that it is
    /// cancelled, before anything else is done for it.
    pub async fn tell(&self, tenant: &Name, id: RunId, input: Input) -> Result<(), TellError> {
        let commands = match self.0.open.lock().get(&id) {
            Some(run) if run.tenant == *tenant => Some(run.commands.clone()),
            Some(_) => return Err(TellError::NotOpen),
            None => None,
        };
        let (done, told) = oneshot::channel();
        if let Some(commands) = commands {
            commands.send(Command { input, done }).await.map_err(|_| TellError::NotOpen)?;
        } else {
            let parked = self.0.parking.of(id).filter(|fallen| fallen.tenant == *tenant);
            let falls = parked.ok_or(TellError::NotOpen)?.falls;
            if !matches!(input, Input::Cancel { .. }) {
                return Err(TellError::Parked(falls));
            }
            let first = Some(Command { input, done });
            parking::take_up(&self.0, tenant, id, first).await.map_err(|_| TellError::Parked(falls))?;
        }
        Ok(told.await.map_err(|_| TellError::Left)??)
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
