//! A small seeded generator, so that a failing order of faults can be played again: `SEED=7 cargo test …`.

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Debug, Clone)]
pub struct Seeded {
    seed: u64,
    state: u64,
}

impl Seeded {
    /// Seeded by the variable `SEED`, or by 1.
    #[must_use]
    pub fn from_environment() -> Self {
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        Self { seed, state: seed }
    }

    /// Other dice, which fall as these decide and leave these to themselves.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        let seed = self.below(usize::MAX) as u64;
        Self { seed, state: seed }
    }

    /// What it was seeded by.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// A number from 0 to `n` - 1.
    pub fn below(&mut self, n: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}
