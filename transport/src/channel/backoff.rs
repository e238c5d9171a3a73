//! How long to leave a peer alone after failures.
//!
//! Doubling from the minimum to the maximum, of which the upper half is random: never so short that a dead peer is
//! hammered, never so even that a thousand clients of a restarted peer arrive together.

use std::time::Duration;

/// The pause after `failures` earlier failures in a row, given 64 random bits.
pub(super) fn pause(failures: u32, min: Duration, max: Duration, roll: u64) -> Duration {
    let doubled = min.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(max);
    // 53 bits: every value a double can tell apart in [0, 1).
    let fraction = (roll >> 11) as f64 / (1_u64 << 53) as f64;
    doubled.mul_f64(0.5 + fraction / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(10);

    #[test]
    fn it_doubles_up_to_its_maximum_and_stays_there() {
        let longest: Vec<_> = (0..9).map(|n| pause(n, MIN, MAX, u64::MAX).as_millis()).collect();
        assert_eq!(longest, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        for failures in [31, 32, 33, u32::MAX] {
            assert!(pause(failures, MIN, MAX, u64::MAX) <= MAX);
            assert!(pause(failures, MIN, MAX, 0) >= MAX / 2);
        }
    }

    #[test]
    fn the_upper_half_is_random() {
        assert_eq!(pause(0, MIN, MAX, 0), MIN / 2);
        assert_eq!(pause(0, MIN, MAX, 1 << 63), MIN * 3 / 4);
    }
}
