//! The small values of views: times, spans, payloads and words.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use mainstay_kernel::time::Wall;
use mainstay_proto::time;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// The last millisecond that RFC 3339 can write: the end of the year 9999.
const LAST_MILLISECOND: i64 = 253_402_300_799_999;

/// A point in time; RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct When(pub Wall);

/// A span of time; in JSON milliseconds with at most three decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A JSON document, exactly as it came.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Payload(Box<RawValue>);

// === impl When ===

impl When {
    /// The time in a message.
    #[must_use]
    pub fn of(timestamp: Option<&prost_types::Timestamp>) -> Option<Self> {
        timestamp.map(|at| Self(time::wall(at)))
    }

    /// How long after `earlier`; nothing if before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_since(earlier.0))
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u64::try_from(self.0.as_millis()) {
            Ok(ms) if self.0.as_millis() <= LAST_MILLISECOND => {
                write!(f, "{}", humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)))
            }
            // Before 1970 or after 9999: no time that anything of ours happened at, and no reason to fail.
            _ => write!(f, "{}ms", self.0.as_millis()),
        }
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl Span ===

impl Span {
    /// The span in a message.
    #[must_use]
    pub fn of(duration: Option<&prost_types::Duration>) -> Option<Self> {
        duration.and_then(time::std_duration).map(Self)
    }
}

impl fmt::Display for Span {
    /// Three digits are enough to compare: `0.4ms`, `12ms`, `1.24s`, `3m05s`, `2h05m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ms, s) = (self.0.as_millis(), self.0.as_secs());
        match s {
            0 if ms == 0 && self.0.is_zero() => write!(f, "0ms"),
            0 if ms < 10 => write!(f, "{:.1}ms", self.0.as_secs_f64() * 1000.0),
            0 => write!(f, "{ms}ms"),
            1..60 => write!(f, "{:.2}s", self.0.as_secs_f64()),
            60..3600 => write!(f, "{}m{:02}s", s / 60, s % 60),
            _ => write!(f, "{}h{:02}m", s / 3600, s % 3600 / 60),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let micros = u32::try_from(self.0.as_micros());
        match micros {
            Ok(micros) => serializer.serialize_f64(f64::from(micros) / 1000.0),
            // Above an hour, microseconds are noise.
            Err(_) => serializer.serialize_u64(u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

// === impl Payload ===

impl Payload {
    /// A payload of a message; nothing if it is empty. What is no JSON after all is shown as a text.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        let text = String::from_utf8_lossy(bytes);
        let raw = RawValue::from_string(text.clone().into_owned())
            .or_else(|_| serde_json::value::to_raw_value(&text))
            .ok()?;
        Some(Self(raw))
    }

    /// The JSON text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.get()
    }
}

/// The word of an enum of the wire: `RUN_STATE_TIMED_OUT` is `timed-out`; what a newer server says is `unknown`.
#[must_use]
pub fn word(name: Option<&'static str>, prefix: &str) -> String {
    let word = name.and_then(|name| name.strip_prefix(prefix)).unwrap_or("UNKNOWN");
    if word == "UNSPECIFIED" { "unknown".to_owned() } else { word.to_ascii_lowercase().replace('_', "-") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_can_be_shown() {
        assert_eq!(When(Wall::from_millis(0)).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(When(Wall::from_millis(LAST_MILLISECOND)).to_string(), "9999-12-31T23:59:59.999Z");
        for ms in [-1, i64::MIN, i64::MAX, LAST_MILLISECOND + 1] {
            assert!(When(Wall::from_millis(ms)).to_string().ends_with("ms"));
        }
    }

    #[test]
    fn spans_keep_the_digits_that_matter() {
        for (micros, text, json) in [
            (0, "0ms", "0.0"),
            (420, "0.4ms", "0.42"),
            (12_345, "12ms", "12.345"),
            (1_240_000, "1.24s", "1240.0"),
            (185_000_000, "3m05s", "185000.0"),
            (7_500_000_000, "2h05m", "7500000"),
        ] {
            let span = Span(Duration::from_micros(micros));
            assert_eq!(span.to_string(), text);
            assert_eq!(serde_json::to_string(&span).unwrap(), json);
        }
    }

    #[test]
    fn a_payload_stays_as_it_came() {
        let exact = r#"{"b": 1.0, "a": 123456789012345678901234567890}"#;
        assert_eq!(Payload::of(exact.as_bytes()).unwrap().text(), exact);
        assert_eq!(Payload::of(b"not json \xff").unwrap().text(), "\"not json \u{fffd}\"");
        assert!(Payload::of(b"").is_none());
    }

    #[test]
    fn words_are_lower_case_and_never_missing() {
        assert_eq!(word(Some("RUN_STATE_TIMED_OUT"), "RUN_STATE_"), "timed-out");
        assert_eq!(word(Some("RUN_STATE_UNSPECIFIED"), "RUN_STATE_"), "unknown");
        assert_eq!(word(None, "RUN_STATE_"), "unknown");
    }
}
