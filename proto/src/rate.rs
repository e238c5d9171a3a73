//! Declared rates.

use mainstay_kernel::rate::{Rate, RateError};

use crate::fault::Fault;
use crate::pb;

impl TryFrom<pb::Rate> for Rate {
    type Error = Fault;

    fn try_from(message: pb::Rate) -> Result<Self, Fault> {
        Self::read(&message.calls, message.burst).map_err(|error| match error {
            RateError::Calls => Fault::invalid("calls", error),
            RateError::Burst => Fault::invalid("burst", error),
        })
    }
}

/// A rate with the burst that holds.
#[must_use]
pub fn view(rate: &Rate) -> pb::Rate {
    pb::Rate { calls: rate.to_string(), burst: Some(rate.burst()) }
}
