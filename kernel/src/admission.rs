//! Who is let in at all: decided before anything of a request is read or stored.
//!
//! **Which signal is right?** How long a request takes is not: that is the agents', and one that is slow must not close the
//! door to the others. CPU is not, because the work is elsewhere. What this server runs out of is room: open runs, calls under
//! way, memory. Each is a count with a known end, so the rule is trunk reservation (as telephone networks do it; Ott and
//! Krishnan, 1992): what is less urgent is let in only while more than a reserve is left for what is more urgent. It needs no
//! state and no hysteresis, and it cannot refuse the urgent for the sake of the rest. How long requests wait for *one*
//! capability is that capability's line's business ([`crate::queue`]).
//!
//! The mode counts, too: degraded sheds what is [`Priority::Sheddable`], emergency what is sheddable at all.
//!
//! What a run under way needs is never asked: it was let in with the run.

use std::fmt;
use std::time::Duration;

use crate::mode::Mode;
use crate::priority::Priority;
use crate::share::{Human, WHOLE};

/// How much is in use of what a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// Of the open runs or calls that may be, in basis points.
    pub taken: u64,
    /// Of the memory's soft limit, in basis points; may be more than all.
    pub memory: u64,
    /// How much is done at all.
    pub mode: Mode,
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// What is left is kept for what is more urgent.
    Reserved {
        /// What is in use, in basis points.
        taken: u64,
    },
    /// So is the memory that is left.
    Memory {
        /// What is in use, in basis points of the soft limit.
        memory: u64,
    },
    /// The mode leaves it out.
    Mode(Mode),
}

/// A request that is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shed {
    /// Its priority.
    pub priority: Priority,
    /// Why.
    pub why: Why,
    /// When it is worth trying again.
    pub retry_after: Duration,
}

/// Whether a request of this priority is let in.
///
/// # Errors
/// [`Shed`] says why not, and when to try again.
pub const fn admit(priority: Priority, room: Room) -> Result<(), Shed> {
    let Limits { taken, memory, mode, retry_after } = limits(priority);
    let why = if room.mode as u8 >= mode {
        Why::Mode(room.mode)
    } else if room.memory >= memory {
        Why::Memory { memory: room.memory }
    } else if room.taken >= taken {
        Why::Reserved { taken: room.taken }
    } else {
        return Ok(());
    };
    Err(Shed { priority, why, retry_after })
}

struct Limits {
    taken: u64,
    memory: u64,
    /// The mode from which on it is left out, as a number.
    mode: u8,
    retry_after: Duration,
}

/// The more urgent, the further in, and the sooner it is worth trying again. Memory has two marks of its own: from the one at
/// which the system degrades the least urgent stay out, and shortly before the one at which the server gives up all do.
const fn limits(priority: Priority) -> Limits {
    let never = Mode::Emergency as u8 + 1;
    let whole = WHOLE as u64;
    match priority {
        Priority::CriticalPlus => Limits { taken: whole, memory: 12_000, mode: never, retry_after: secs(1) },
        Priority::Critical => Limits { taken: 9_500, memory: 11_000, mode: never, retry_after: secs(1) },
        Priority::SheddablePlus => {
            Limits { taken: 8_500, memory: whole, mode: Mode::Emergency as u8, retry_after: secs(5) }
        }
        Priority::Sheddable => {
            Limits { taken: 7_000, memory: 8_000, mode: Mode::Degraded as u8, retry_after: secs(15) }
        }
    }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl fmt::Display for Shed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |bp: u64| Human(u32::try_from(bp).unwrap_or(u32::MAX));
        let priority = self.priority;
        match self.why {
            Why::Reserved { taken } => {
                write!(
                    f,
                    "{} of the room is taken, and what is left is kept for more than {priority}",
                    share(taken)
                )
            }
            Why::Memory { memory } => {
                write!(
                    f,
                    "{} of the memory's soft limit is in use, too much for what is {priority}",
                    share(memory)
                )
            }
            Why::Mode(mode) => write!(f, "the mode is {mode}, and that leaves out what is {priority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_left_is_kept_for_the_more_urgent() {
        let at = |taken| Room { taken, ..Room::default() };
        let admitted = |taken| Priority::ALL.map(|priority| admit(priority, at(taken)).is_ok());
        assert_eq!(admitted(6_999), [true; 4]);
        assert_eq!(admitted(7_000), [true, true, true, false]);
        assert_eq!(admitted(9_000), [true, true, false, false]);
        assert_eq!(admitted(9_999), [true, false, false, false]);
        assert_eq!(admitted(10_000), [false; 4]);
    }

    #[test]
    fn a_mode_leaves_out_what_is_sheddable_and_never_what_is_critical() {
        let admitted =
            |mode| Priority::ALL.map(|priority| admit(priority, Room { mode, ..Room::default() }).is_ok());
        assert_eq!(admitted(Mode::Degraded), [true, true, true, false]);
        assert_eq!(admitted(Mode::Emergency), [true, true, false, false]);
        let shed = admit(Priority::Sheddable, Room { mode: Mode::Degraded, ..Room::default() }).unwrap_err();
        assert_eq!(shed.to_string(), "the mode is degraded, and that leaves out what is sheddable");
        assert!(shed.retry_after > Duration::ZERO);
    }

    proptest! {
        #[test]
        fn whoever_is_more_urgent_is_let_in_where_the_less_urgent_is(
            taken in 0..20_000_u64, memory in 0..20_000_u64, mode in 0..3_usize,
        ) {
            let room = Room { taken, memory, mode: Mode::ALL[mode] };
            let admitted = Priority::ALL.map(|priority| admit(priority, room).is_ok());
            prop_assert!(admitted.is_sorted_by(|urgent, less| urgent >= less));
        }
    }
}
