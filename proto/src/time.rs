//! Durations and points in time.

use std::time::Duration;

use mainstay_kernel::time::Wall;

use crate::fault::Fault;

/// Reads a duration that must be positive. `field` is named in the error.
pub fn positive_duration(field: &str, duration: &prost_types::Duration) -> Result<Duration, Fault> {
    match std_duration(duration) {
        Some(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(Fault::invalid(field, "must be longer than zero")),
    }
}

/// A duration from a message; `None` if it is negative or malformed. The conversion that comes with `prost-types`
/// panics on `i64::MIN` seconds, and messages come from strangers.
#[must_use]
pub fn std_duration(duration: &prost_types::Duration) -> Option<Duration> {
    let nanos = u32::try_from(duration.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(duration.seconds).ok()?, nanos))
}

/// A duration as a message. Durations of ours are far below the message's range.
#[must_use]
pub fn duration(duration: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: duration.subsec_nanos().cast_signed() }
}

/// A point in time as a message.
#[must_use]
pub fn timestamp(at: Wall) -> prost_types::Timestamp {
    let ms = at.as_millis();
    let nanos = i32::try_from(ms.rem_euclid(1000)).unwrap_or(0) * 1_000_000;
    prost_types::Timestamp { seconds: ms.div_euclid(1000), nanos }
}

/// A point in time from a message, to the millisecond.
#[must_use]
pub fn wall(at: &prost_types::Timestamp) -> Wall {
    Wall::from_millis(at.seconds.saturating_mul(1000).saturating_add(i64::from(at.nanos) / 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_before_and_after_the_epoch_go_there_and_back() {
        for ms in [0, 1, -1, 1_795_000_000_123, -86_400_001] {
            assert_eq!(wall(&timestamp(Wall::from_millis(ms))), Wall::from_millis(ms));
        }
    }

    #[test]
    fn zero_and_negative_durations_are_refused_with_the_field() {
        for message in [
            prost_types::Duration { seconds: 0, nanos: 0 },
            prost_types::Duration { seconds: -1, nanos: 0 },
            prost_types::Duration { seconds: i64::MIN, nanos: 0 },
        ] {
            let fault = positive_duration("ttl", &message).unwrap_err();
            assert_eq!(fault.message(), "ttl must be longer than zero");
        }
    }
}
