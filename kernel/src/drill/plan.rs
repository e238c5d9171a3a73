//! What a drill is to do, decided before it begins and kept on record: the same plan strikes the same sendings.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use crate::dice::Dice;
use crate::id::DrillId;
use crate::name::Name;
use crate::pause::Target;

/// Shares are in basis points (1 % = 100).
pub const WHOLE_BP: u32 = 10_000;

/// Shortest fault: the health of an agent is polled every few seconds, so less says nothing.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// Longest fault. Every machine that should notice does so within seconds, and a breaker's longest wait is one minute: five
/// show all there is to see. What is longer is no drill but an outage that somebody forgot.
pub const LONGEST: Duration = Duration::from_secs(5 * 60);

/// How long a fault lasts unless told: as long as a breaker looks back.
pub const DEFAULT_LASTS: Duration = Duration::from_secs(30);

/// The fault of one drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Which drill.
    pub id: DrillId,
    /// Which fault.
    pub kind: Kind,
    /// Whose target, and whose calls.
    pub tenant: Name,
    /// Where: an agent, an instance or a capability; `None` for the server as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The share of sendings to the target that is struck, in basis points: 1 ..= 10,000.
    pub share_bp: u32,
    /// How long the fault lasts: [`SHORTEST`] ..= [`LONGEST`].
    pub lasts: Duration,
    /// How long a slow agent's calls are held back; `None` for a quarter beyond what the capability promises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// Decides which sendings are struck.
    pub seed: u64,
    /// Who began it, as they said.
    #[serde(default)]
    pub by: String,
}

/// Why a plan cannot be carried out. Each names the field of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct PlanError {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it, and what it takes.
    pub problem: &'static str,
}

/// Whom something is sent to.
#[derive(Debug, Clone, Copy)]
pub struct Whom<'a> {
    /// The tenant.
    pub tenant: &'a Name,
    /// The agent.
    pub agent: &'a Name,
    /// The instance's name within it.
    pub instance: &'a Name,
    /// For which capability; `None` for what concerns the whole instance, such as a poll.
    pub capability: Option<&'a Name>,
}

impl Plan {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self) -> Result<(), PlanError> {
        let wrong = |field, problem| Err(PlanError { field, problem });
        match &self.target {
            None if self.kind.has_target() => {
                return wrong(
                    "target",
                    "is missing: give agent/NAME, instance/AGENT/NAME or capability/NAME",
                );
            }
            Some(_) if !self.kind.has_target() => {
                return wrong("target", "must be empty: this fault is the server's own");
            }
            Some(Target::Tenant(_) | Target::Workflow(_)) => {
                return wrong("target", "must be agent/NAME, instance/AGENT/NAME or capability/NAME");
            }
            Some(Target::Capability(_)) if self.kind == Kind::DeadAgent => {
                return wrong(
                    "target",
                    "must be agent/NAME or instance/AGENT/NAME: a process dies with all it offers",
                );
            }
            None | Some(Target::Capability(_) | Target::Agent(_) | Target::Instance { .. }) => {}
        }
        if !(1..=WHOLE_BP).contains(&self.share_bp) {
            return wrong("share_bp", "must be 1 to 10000, in hundredths of a percent");
        }
        if self.share_bp != WHOLE_BP && !self.kind.has_target() {
            return wrong("share_bp", "must be 10000: the server has one disk and one memory");
        }
        if !(SHORTEST..=LONGEST).contains(&self.lasts) {
            return wrong("lasts", "must be 1 s to 5 min");
        }
        match self.delay {
            Some(_) if self.kind != Kind::SlowAgent => wrong("delay", "is for slow-agent only"),
            Some(delay) if delay.is_zero() || delay > LONGEST => {
                wrong("delay", "must be above 0 and at most 5 min")
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether what is sent to `whom` is aimed at.
    #[must_use]
    pub fn covers(&self, whom: Whom<'_>) -> bool {
        *whom.tenant == self.tenant
            && match &self.target {
                Some(Target::Agent(agent)) => agent == whom.agent,
                Some(Target::Instance { agent, instance }) => {
                    agent == whom.agent && instance == whom.instance
                }
                Some(Target::Capability(capability)) => whom.capability == Some(capability),
                Some(Target::Tenant(_) | Target::Workflow(_)) | None => false,
            }
    }

    /// Whether the `nth` thing sent to the target, from 0, is struck: the `nth` roll of the seed's dice.
    #[must_use]
    pub fn strikes(&self, nth: u64) -> bool {
        // The step of the generator behind the dice; see `dice`.
        let mut dice = Dice::seeded(self.seed.wrapping_add(nth.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        dice.below(WHOLE_BP as usize) < self.share_bp as usize
    }

    /// How long a call to a capability that promises `sla` is held back.
    #[must_use]
    pub fn delay(&self, sla: Duration) -> Duration {
        self.delay.unwrap_or_else(|| sla.saturating_add(sla / 4).min(LONGEST))
    }
}
