//! Pauses, as clients see them.

use mainstay_kernel::name::Name;
use mainstay_kernel::pause::Pause;

use crate::{pb, time};

/// An entry, without what is under way there.
#[must_use]
pub fn view(tenant: &Name, pause: &Pause) -> pb::Pause {
    pb::Pause {
        tenant: tenant.to_string(),
        target: pause.target.to_string(),
        reason: pause.reason.clone(),
        by: pause.by.clone(),
        since: Some(time::timestamp(pause.since)),
        under_way: None,
    }
}
