//! Events, as clients see them.

use mainstay_kernel::event::Event;

use crate::{pb, time};

/// An event with its number, and whether it is on disk.
#[must_use]
pub fn view(number: u64, event: &Event, on_record: bool) -> pb::Event {
    pb::Event {
        number,
        at: Some(time::timestamp(event.at)),
        kind: event.kind.to_string(),
        tenant: event.tenant.as_ref().map(ToString::to_string).unwrap_or_default(),
        subject: event.subject.clone(),
        reason: event.reason.clone(),
        by: event.by.clone(),
        on_record,
    }
}
