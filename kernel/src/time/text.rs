//! Spans of time as people write them: `200ms`, `20s`, `1m30s`, `2h`.
//!
//! For serde fields: `#[serde(with = "crate::time::text")]`. A bare number is refused, because no reader of a document
//! knows whether `30` means seconds or milliseconds.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// Text that is not a span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a duration: write a whole number and a unit (ms, s, m, h, d), for example `200ms` or `1m30s`"
)]
pub struct ParseDurationError(String);

/// The longest text read: longer than any sensible span, short enough to quote in an error.
const MAX_TEXT: usize = 40;

/// Units, largest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a span: one or more whole numbers, each with its unit, largest unit first, each unit once.
///
/// # Errors
/// [`ParseDurationError`] for anything else: no unit, a fraction, a sign, units out of order, more than 2⁶⁴ ms.
pub fn parse(text: &str) -> Result<Duration, ParseDurationError> {
    let bad = || ParseDurationError(text.chars().take(MAX_TEXT).collect());
    if text.is_empty() || text.len() > MAX_TEXT {
        return Err(bad());
    }
    let (mut rest, mut total, mut units) = (text, 0_u64, UNITS.iter());
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let (unit, tail) = tail.split_at(tail.bytes().take_while(u8::is_ascii_lowercase).count());
        let number: u64 = number.parse().map_err(|_| bad())?;
        let (_, millis) = units.by_ref().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        total = number.checked_mul(*millis).and_then(|part| total.checked_add(part)).ok_or_else(bad)?;
        rest = tail;
    }
    Ok(Duration::from_millis(total))
}

/// A span as [`parse`] reads it; what is finer than a millisecond is left out.
#[derive(Debug, Clone, Copy)]
pub struct Human(pub Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (name, millis) in UNITS {
            if rest >= millis {
                write!(f, "{}{name}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

/// Writes a span as text; see [`Human`].
///
/// # Errors
/// Only what the serializer itself reports.
pub fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Human(*span))
}

/// Reads a span from text; see [`parse`].
///
/// # Errors
/// If the value is not text that [`parse`] accepts.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    parse(&text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [
            ("200ms", 200),
            ("20s", 20_000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1d1ms", 86_400_001),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_what_could_be_misread() {
        for text in [
            "",
            "30",
            "s",
            "1.5s",
            "-1s",
            "+1s",
            "1S",
            "1 s",
            "1s1s",
            "1s1m",
            "99999999999999999999s",
            "1\u{b5}s",
            "18446744073709551615h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let err = parse("30").unwrap_err().to_string();
        assert!(err.starts_with("`30` is not a duration"), "{err}");
    }

    proptest! {
        #[test]
        fn text_goes_there_and_back(millis in 0_u64..u64::MAX) {
            let span = Duration::from_millis(millis);
            prop_assert_eq!(parse(&Human(span).to_string()), Ok(span));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,50}") {
            // Reaching the end is the assertion: no text makes the parser panic.
            prop_assert!(parse(&text).is_ok() || parse(&text).is_err());
        }
    }
}
