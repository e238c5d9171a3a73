//! Randomness as an argument.
//!
//! The kernel never draws from the operating system. The shell seeds one [`Dice`] per worker and lends it to each
//! decision; a decision that is journaled and must come out the same after a crash rolls [`Dice::for_attempt`] instead,
//! which is seeded by the attempt's own id. Same seed, same rolls, on every platform: a simulation is its seed.
//!
//! The generator is SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014;
//! constants from Vigna's public-domain `splitmix64.c`). Eight bytes of state and five instructions a roll, good enough to
//! spread load and jitter. It is predictable: never use it for a secret.

use std::time::Duration;

use crate::id::AttemptId;

/// A small deterministic generator. Clone it to see the same future twice.
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// Dice whose rolls follow from `seed` alone.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Dice for a decision about `attempt` that must come out the same whenever it is taken again.
    #[must_use]
    pub fn for_attempt(attempt: AttemptId) -> Self {
        let mut halves = [0_u64; 2];
        for (half, bytes) in halves.iter_mut().zip(attempt.as_bytes().chunks_exact(8)) {
            *half = bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        }
        Self::seeded(halves[0] ^ halves[1].rotate_left(32))
    }

    /// The next 64 random bits.
    pub fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..n`; 0 if `n` is 0.
    ///
    /// Lemire's multiply-shift without its rejection step: for the pool sizes here the bias is below 2⁻⁴⁰.
    pub fn below(&mut self, n: usize) -> usize {
        let product = u128::from(self.roll()) * n as u128;
        usize::try_from(product >> 64).unwrap_or(0)
    }

    /// A number in `[0, 1)`.
    pub fn fraction(&mut self) -> f64 {
        // 53 bits: every value a double can tell apart in this range.
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Full jitter: a span in `[0, span)`, zero if `span` is zero.
    ///
    /// Of the jitters AWS compared ("Exponential Backoff and Jitter", 2015) this one costs the servers least work.
    pub fn jitter(&mut self, span: Duration) -> Duration {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let product = u128::from(self.roll()) * u128::from(nanos);
        Duration::from_nanos(u64::try_from(product >> 64).unwrap_or(0))
    }

    /// A span in `[span/2, span)`: for waits that keep a floor, such as an open breaker's.
    pub fn half_jitter(&mut self, span: Duration) -> Duration {
        let half = span / 2;
        half + self.jitter(span - half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rolls_are_those_of_the_published_generator() {
        let mut dice = Dice::seeded(1_234_567);
        let rolls: Vec<u64> = (0..3).map(|_| dice.roll()).collect();
        assert_eq!(rolls, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn an_attempt_always_rolls_the_same_and_another_attempt_otherwise() {
        let attempt = |n| Dice::for_attempt(AttemptId::from_bytes([n; 16]));
        let pair = |a, b| {
            let mut bytes = [a; 16];
            bytes[15] = b;
            Dice::for_attempt(AttemptId::from_bytes(bytes))
        };
        assert_eq!(pair(1, 2).roll(), pair(1, 2).roll());
        assert_ne!(pair(1, 2).roll(), pair(1, 3).roll());
        assert_ne!(attempt(1).roll(), pair(1, 3).roll());
    }

    #[test]
    fn every_face_comes_up_about_equally_often() {
        let mut dice = Dice::seeded(7);
        let mut faces = [0_u32; 6];
        for _ in 0..60_000 {
            faces[dice.below(6)] += 1;
        }
        assert!(faces.iter().all(|n| (9_500..10_500).contains(n)), "{faces:?}");
    }

    proptest! {
        #[test]
        fn rolls_stay_within_their_bounds(seed: u64, n in 1_usize..10_000, nanos in 1_u64..u64::MAX) {
            let mut dice = Dice::seeded(seed);
            let span = Duration::from_nanos(nanos);
            prop_assert!(dice.below(n) < n);
            prop_assert!((0.0..1.0).contains(&dice.fraction()));
            prop_assert!(dice.jitter(span) < span);
            let floored = dice.half_jitter(span);
            prop_assert!(floored >= span / 2 && floored < span || nanos == 1);
        }
    }

    #[test]
    fn nothing_to_choose_from_gives_zero() {
        let mut dice = Dice::seeded(1);
        assert_eq!((dice.below(0), dice.jitter(Duration::ZERO)), (0, Duration::ZERO));
    }
}
