//! Shares as people write them: `50%`, `12.5%`. Inside they are basis points (1 % = 100), so that settings compare exactly.
//!
//! A bare number is refused: of `0.5` nobody knows whether it is half of something or half a percent.

use std::fmt;

/// All of it, in basis points.
pub const WHOLE: u32 = 10_000;

/// The longest text read: longer than any share, short enough to quote in an error.
const MAX_TEXT: usize = 12;

/// Text that is not a share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a share: write 0% to 100%, with at most two decimals, for example `12.5%`")]
pub struct ParseShareError(String);

/// Reads a share into basis points, 0 to 10,000.
///
/// # Errors
/// [`ParseShareError`] for anything else: no percent sign, a third decimal, a sign, more than all of it.
pub fn parse(text: &str) -> Result<u32, ParseShareError> {
    let bad = || ParseShareError(text.chars().take(MAX_TEXT).collect());
    let number = text.strip_suffix('%').filter(|_| text.len() <= MAX_TEXT).ok_or_else(bad)?;
    let (percent, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(percent) || !digits(decimals) || decimals.len() > 2 {
        return Err(bad());
    }
    let percent: u32 = percent.parse().map_err(|_| bad())?;
    let hundredths: u32 = format!("{decimals:0<2}").parse().map_err(|_| bad())?;
    let share = percent.checked_mul(100).and_then(|share| share.checked_add(hundredths));
    share.filter(|share| *share <= WHOLE).ok_or_else(bad)
}

/// A share in basis points, as [`parse`] reads it.
#[derive(Debug, Clone, Copy)]
pub struct Human(pub u32);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, hundredths) = (self.0 / 100, self.0 % 100);
        match hundredths {
            0 => write!(f, "{percent}%"),
            tenths if tenths % 10 == 0 => write!(f, "{percent}.{}%", tenths / 10),
            _ => write!(f, "{percent}.{hundredths:02}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_could_be_misread_is_refused() {
        assert_eq!((parse("50%"), parse("12.5%"), parse("0.05%")), (Ok(5_000), Ok(1_250), Ok(5)));
        for bad in [
            "",
            "%",
            "50",
            "0.5",
            "-1%",
            "+1%",
            "1.%",
            ".5%",
            "1.234%",
            "100.01%",
            "1e1%",
            "50 %",
            "5000000000%",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(share in 0..=WHOLE) {
            prop_assert_eq!(parse(&Human(share).to_string()), Ok(share));
        }
    }
}
