//! What a capability declares of hedges.

use std::time::Duration;

use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::hedge::{After, Policy, PolicyError};
use mainstay_kernel::time::text::Human;

use crate::fault::Fault;
use crate::pb;

/// The policy of a capability with this effect and promise.
///
/// # Errors
/// What is wrong with it, or why such a capability has none.
pub(crate) fn declared(
    message: Option<pb::HedgePolicy>,
    effect: EffectClass,
    sla: Duration,
) -> Result<Option<Policy>, Fault> {
    let policy = message.map(Policy::try_from).transpose().map_err(|fault| fault.inside("hedge"))?;
    let Some(policy) = policy else { return Ok(None) };
    if effect != EffectClass::ReadOnly {
        let effect = effect.as_str();
        let text = format!(
            "is for read-only capabilities, and this one is {effect}: what changes something is not done twice"
        );
        return Err(Fault::invalid("hedge", text));
    }
    match policy.after {
        After::Span(span) if span >= sla => {
            let text =
                format!("is {}, and the sla cuts a call after {}: write less", Human(span), Human(sla));
            Err(Fault::invalid("hedge.after", text))
        }
        After::Span(_) | After::Percentile(_) => Ok(Some(policy)),
    }
}

impl TryFrom<pb::HedgePolicy> for Policy {
    type Error = Fault;

    fn try_from(message: pb::HedgePolicy) -> Result<Self, Fault> {
        let pb::HedgePolicy { after, max, share_bp } = message;
        let (max, share_bp) = (max.unwrap_or(1), share_bp.unwrap_or(Self::SHARE_BP));
        let policy = after.parse().and_then(|after| Self::try_new(after, max, share_bp));
        policy.map_err(|error| match error {
            PolicyError::After => Fault::invalid("after", error),
            PolicyError::Max => Fault::invalid("max", error),
            PolicyError::Share => Fault::invalid("share_bp", error),
        })
    }
}

impl From<&Policy> for pb::HedgePolicy {
    fn from(policy: &Policy) -> Self {
        Self { after: policy.after.to_string(), max: Some(policy.max), share_bp: Some(policy.share_bp) }
    }
}
