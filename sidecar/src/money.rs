//! US dollars written as decimals, read into 10⁻⁹ dollars without passing through floating point.

/// Digits behind the point that one nano-dollar has.
const PLACES: usize = 9;

/// Reads `0.0025` into 2,500,000. `None` for anything but plain non-negative decimals with at most nine places.
pub(crate) fn nano_usd(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > PLACES {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let fraction: i64 = format!("{fraction:0<PLACES$}").parse().ok()?;
    whole.checked_mul(1_000_000_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_to_the_last_nano() {
        for (text, nano) in [("0", 0), ("1", 1_000_000_000), ("0.0025", 2_500_000), ("0.000000001", 1)] {
            assert_eq!(nano_usd(text), Some(nano), "{text}");
        }
    }

    #[test]
    fn anything_but_a_plain_decimal_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "0.0000000001", "NaN", "1,5", "99999999999999"] {
            assert_eq!(nano_usd(text), None, "{text}");
        }
    }
}
