//! Bulkheads: of the calls that can be under way at once, nobody gets more than a share.
//!
//! Every call under way holds memory, a stream and a task of the control plane. Without walls between them, one stuck agent
//! that declares a thousand places, or one tenant that sends everything at once, holds all there is, and calls that have
//! nothing to do with it fail. The walls are static, as in Release It! (Nygard, 2007, "Bulkheads") and resilience4j's
//! semaphore bulkhead: what one leaves unused cannot be taken by another, so that nobody has to be thrown out for whom
//! it was kept.

use std::fmt;

use crate::share::WHOLE;

/// Most calls under way at once that can be asked for: at some 20 KB each, 2 GB.
pub const MOST_CALLS: u32 = 100_000;

/// How the whole is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Calls under way at once, in all: 1 to [`MOST_CALLS`].
    pub whole: u32,
    /// What one agent may take of them, in basis points: 1 to 10,000.
    pub agent_bp: u32,
    /// What one tenant may take of them, in basis points: 1 to 10,000.
    pub tenant_bp: u32,
}

/// Whose places are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wall {
    /// The agent's.
    Agent,
    /// The tenant's.
    Tenant,
    /// Everybody's.
    Whole,
}

/// The places within one wall.
#[derive(Debug, Clone)]
pub struct Bulkhead {
    most: u32,
    taken: u32,
}

/// No place is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// Places that are taken, all there are.
    pub most: u32,
}

impl Default for Config {
    /// Ten thousand calls under way are as many runs as may be open, and some 200 MB. A quarter for one agent: four must be
    /// stuck before a fifth notices. Four fifths for one tenant: most servers have a single one, and a second must still
    /// find a door open.
    fn default() -> Self {
        Self { whole: 10_000, agent_bp: 2_500, tenant_bp: 8_000 }
    }
}

impl Config {
    /// The places within a wall; at least one.
    #[must_use]
    pub fn bulkhead(&self, wall: Wall) -> Bulkhead {
        let share = match wall {
            Wall::Agent => self.agent_bp,
            Wall::Tenant => self.tenant_bp,
            Wall::Whole => WHOLE,
        };
        let most = u64::from(self.whole) * u64::from(share.min(WHOLE)) / u64::from(WHOLE);
        Bulkhead { most: u32::try_from(most).unwrap_or(u32::MAX).max(1), taken: 0 }
    }
}

impl Bulkhead {
    /// Takes a place.
    ///
    /// # Errors
    /// [`Full`] if none is left; none is taken then.
    pub fn enter(&mut self) -> Result<(), Full> {
        if self.taken >= self.most {
            return Err(Full { most: self.most });
        }
        self.taken += 1;
        Ok(())
    }

    /// Gives a place back.
    pub fn leave(&mut self) {
        self.taken = self.taken.saturating_sub(1);
    }

    /// Places that are taken.
    #[must_use]
    pub const fn taken(&self) -> u32 {
        self.taken
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent => "its agent",
            Self::Tenant => "the tenant",
            Self::Whole => "the server",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_whole_is_divided_by_share_and_nobody_gets_nothing() {
        let config = Config { whole: 100, agent_bp: 2_500, tenant_bp: 8_000 };
        let most = |wall| config.bulkhead(wall).most;
        assert_eq!((most(Wall::Agent), most(Wall::Tenant), most(Wall::Whole)), (25, 80, 100));
        let tiny = Config { whole: 2, agent_bp: 1, tenant_bp: 20_000 };
        assert_eq!((tiny.bulkhead(Wall::Agent).most, tiny.bulkhead(Wall::Tenant).most), (1, 2));
    }

    #[test]
    fn a_full_bulkhead_lets_one_in_for_each_that_leaves() {
        let mut bulkhead = Config { whole: 4, agent_bp: 5_000, tenant_bp: 10_000 }.bulkhead(Wall::Agent);
        assert_eq!((bulkhead.enter(), bulkhead.enter()), (Ok(()), Ok(())));
        assert_eq!(bulkhead.enter(), Err(Full { most: 2 }));
        bulkhead.leave();
        assert_eq!((bulkhead.enter(), bulkhead.enter()), (Ok(()), Err(Full { most: 2 })));
    }

    proptest! {
        #[test]
        fn no_more_are_inside_than_there_are_places(whole in 1..50_u32, moves in proptest::collection::vec(any::<bool>(), 0..300)) {
            let mut bulkhead = Config { whole, ..Config::default() }.bulkhead(Wall::Agent);
            let mut inside = 0_u32;
            for enters in moves {
                if enters {
                    inside += u32::from(bulkhead.enter().is_ok());
                } else if inside > 0 {
                    bulkhead.leave();
                    inside -= 1;
                }
                prop_assert_eq!(bulkhead.taken(), inside);
                prop_assert!(inside <= bulkhead.most);
            }
        }
    }
}
