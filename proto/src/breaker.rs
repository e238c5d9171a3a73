//! What a capability declares of its breakers.

use mainstay_kernel::breaker::{Policy, Weighed};

use crate::fault::Fault;
use crate::{pb, time};

impl TryFrom<pb::BreakerPolicy> for Policy {
    type Error = Fault;

    fn try_from(message: pb::BreakerPolicy) -> Result<Self, Fault> {
        let span = |field, span: Option<prost_types::Duration>| {
            span.map(|span| time::positive_duration(field, &span)).transpose()
        };
        let weigh = |(class, weight): (String, u32)| match class.parse::<Weighed>() {
            Ok(weighed) => Ok((weighed, weight)),
            Err(error) => Err(Fault::invalid(format_args!("weights[{class:?}]"), error)),
        };
        let policy = Self {
            window: span("window", message.window)?,
            min_calls: message.min_calls,
            failed_bp: message.failed_bp,
            timed_out_bp: message.timed_out_bp,
            slow_bp: message.slow_bp,
            in_a_row: message.in_a_row,
            wait: span("wait", message.wait)?,
            max_wait: span("max_wait", message.max_wait)?,
            probes: message.probes,
            passes: message.passes,
            weights: message.weights_bp.into_iter().map(weigh).collect::<Result<_, _>>()?,
        };
        policy
            .validate()
            .map_err(|error| Fault::invalid(error.setting, format_args!("must be {}", error.bounds)))?;
        Ok(policy)
    }
}

impl From<&Policy> for pb::BreakerPolicy {
    fn from(policy: &Policy) -> Self {
        let weights = policy.weights.iter();
        Self {
            window: policy.window.map(time::duration),
            min_calls: policy.min_calls,
            failed_bp: policy.failed_bp,
            timed_out_bp: policy.timed_out_bp,
            slow_bp: policy.slow_bp,
            in_a_row: policy.in_a_row,
            wait: policy.wait.map(time::duration),
            max_wait: policy.max_wait.map(time::duration),
            probes: policy.probes,
            passes: policy.passes,
            weights_bp: weights.map(|(weighed, weight)| (weighed.as_str().to_owned(), *weight)).collect(),
        }
    }
}
