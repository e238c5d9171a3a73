//! Shared context, as clients ask for it and see it.

use std::time::Duration;

use mainstay_kernel::context::{Found, Key, MAX_MAX_AGE, Owner, Pin};
use mainstay_kernel::time::text::Human;

use crate::fault::Fault;
use crate::reason::Reason;
use crate::{outcome, pb, time};

/// Reads the field `key`.
pub fn key(text: &str) -> Result<Key, Fault> {
    Key::new(text).map_err(|error| Fault::field(Reason::ContextKeyInvalid, "key", error))
}

/// Reads an owner. `field` is named in the error.
pub fn owner(field: &str, text: &str) -> Result<Owner, Fault> {
    text.parse().map_err(|error| Fault::invalid(field, error))
}

/// Reads the field `max_age`.
pub fn max_age(message: Option<&prost_types::Duration>) -> Result<Option<Duration>, Fault> {
    let Some(message) = message else { return Ok(None) };
    let limit = time::positive_duration("max_age", message)?;
    if limit > MAX_MAX_AGE {
        let most = Human(MAX_MAX_AGE);
        let text = format_args!("is longer than {most}; leave it out for a value that never gets stale");
        return Err(Fault::invalid("max_age", text));
    }
    Ok(Some(limit))
}

/// A version, without its value.
#[must_use]
pub fn view(key: &Key, owner: &Owner, found: Found) -> pb::ContextVersion {
    let Found { stamp, age, stale } = found;
    pb::ContextVersion {
        key: key.to_string(),
        version: stamp.version,
        owner: owner.to_string(),
        written_at: Some(time::timestamp(stamp.at)),
        max_age: stamp.max_age.map(time::duration),
        age: Some(time::duration(age)),
        stale,
        size: stamp.bytes,
        value: prost::bytes::Bytes::new(),
    }
}

impl From<&Pin> for pb::ContextPin {
    fn from(pin: &Pin) -> Self {
        Self {
            workflow: pin.of.to_string(),
            name: pin.name.to_string(),
            key: pin.key.to_string(),
            version: pin.version,
            written_at: Some(time::timestamp(pin.at)),
            value: outcome::bytes(&pin.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_owner_or_age_is_refused_with_its_field() {
        assert!(key("a//b").unwrap_err().to_string().starts_with("CONTEXT_KEY_INVALID: key "));
        assert!(owner("by", "ann").unwrap_err().message().starts_with("by must be `agent/NAME`"));
        let years = time::duration(Duration::from_secs(1_000_000_000));
        assert!(max_age(Some(&years)).unwrap_err().message().starts_with("max_age is longer than 366d"));
        assert_eq!(max_age(None), Ok(None));
    }
}
