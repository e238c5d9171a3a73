//! The order in which those who wait are served: the urgent first, and now and then whoever has waited longest.
//!
//! **Why not by priority alone?** Then a steady stream of urgent calls starves the rest for ever. **Why not by a priority
//! that grows with the wait?** Under overload everybody waits, everything grows up, and the order ends as first come, first
//! served, just when priorities are wanted. So a fixed share is set aside, as in weighted fair queueing (Demers, Keshav,
//! Shenker, 1989): of [`ELDERS`] places that become free one goes to whoever has waited longest. That bounds both sides: the
//! urgent lose a sixteenth of the capacity at most, and whoever waits is served after sixteen times as many places as
//! stand before it, unless its deadline comes first.
//!
//! Someone new does not overtake its equals. It may go before those who are less urgent, and counts as served.

use std::collections::BTreeMap;

use crate::priority::Priority;

/// Of so many places that become free, one goes to whoever has waited longest.
pub const ELDERS: u64 = 16;

/// Those who wait for one capability, each with what it takes to wake it.
#[derive(Debug, Clone)]
pub struct Line<T> {
    /// By priority, the least first; then by arrival.
    waiting: BTreeMap<Place, Waiter<T>>,
    arrivals: u64,
    served: u64,
}

/// A place in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    priority: Priority,
    arrival: u64,
}

#[derive(Debug, Clone)]
struct Waiter<T> {
    /// May be sent away to make room.
    may_drop: bool,
    wake: T,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), arrivals: 0, served: 0 }
    }
}

impl<T> Line<T> {
    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Someone new waits. `may_drop` says whether it may be sent away for someone more urgent.
    pub fn enter(&mut self, priority: Priority, may_drop: bool, wake: T) -> Place {
        self.arrivals += 1;
        let place = Place { priority, arrival: self.arrivals };
        self.waiting.insert(place, Waiter { may_drop, wake });
        place
    }

    /// Someone waits no longer, whatever the reason.
    pub fn leave(&mut self, place: Place) {
        self.waiting.remove(&place);
    }

    /// Whose turn it is.
    #[must_use]
    pub fn first(&self) -> Option<(Place, &T)> {
        let first = if self.is_elders_turn() {
            Priority::ALL
                .into_iter()
                .filter_map(|priority| self.first_of(priority))
                .min_by_key(|place| place.arrival)
        } else {
            Priority::ALL.into_iter().find_map(|priority| self.first_of(priority))
        }?;
        Some((first, &self.waiting.get(&first)?.wake))
    }

    /// Whether someone new may go before all who wait.
    #[must_use]
    pub fn may_pass(&self, priority: Priority) -> bool {
        self.first().is_none_or(|(first, _)| !self.is_elders_turn() && priority > first.priority)
    }

    /// Someone was served while others waited.
    pub fn served(&mut self) {
        self.served += 1;
    }

    /// How many wait who are at least as urgent.
    #[must_use]
    pub fn ahead_of(&self, priority: Priority) -> u32 {
        let least = Place { priority, arrival: 0 };
        u32::try_from(self.waiting.range(least..).count()).unwrap_or(u32::MAX)
    }

    /// Whether someone could be sent away for a call of this priority.
    #[must_use]
    pub fn can_displace(&self, priority: Priority) -> bool {
        self.droppable_below(priority).is_some()
    }

    /// Sends away who is least urgent and came last, if a call of this priority is more urgent.
    pub fn displace(&mut self, priority: Priority) -> Option<T> {
        let place = self.droppable_below(priority)?;
        self.waiting.remove(&place).map(|waiter| waiter.wake)
    }

    /// Everyone, to be told that things have changed.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.waiting.values().map(|waiter| &waiter.wake)
    }

    const fn is_elders_turn(&self) -> bool {
        self.served % ELDERS == ELDERS - 1
    }

    fn first_of(&self, priority: Priority) -> Option<Place> {
        let all = Place { priority, arrival: 0 }..=Place { priority, arrival: u64::MAX };
        self.waiting.range(all).next().map(|(place, _)| *place)
    }

    fn droppable_below(&self, than: Priority) -> Option<Place> {
        let below = Priority::ALL.into_iter().rev().take_while(|priority| *priority < than);
        below.into_iter().find_map(|priority| {
            let all = Place { priority, arrival: 0 }..=Place { priority, arrival: u64::MAX };
            self.waiting.range(all).rev().find(|(_, waiter)| waiter.may_drop).map(|(place, _)| *place)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Priority::{Critical, CriticalPlus, Sheddable, SheddablePlus};
    use super::*;
    use proptest::prelude::*;

    fn serve(line: &mut Line<u32>) -> Option<u32> {
        let (place, who) = line.first().map(|(place, who)| (place, *who))?;
        line.leave(place);
        line.served();
        Some(who)
    }

    #[test]
    fn the_urgent_are_served_first_and_equals_in_the_order_they_came() {
        let mut line = Line::default();
        for (who, priority) in [(1, Sheddable), (2, Critical), (3, CriticalPlus), (4, Critical)] {
            line.enter(priority, true, who);
        }
        let order: Vec<_> = std::iter::from_fn(|| serve(&mut line)).collect();
        assert_eq!(order, [3, 2, 4, 1]);
    }

    #[test]
    fn a_stream_of_urgent_calls_does_not_starve_who_waits() {
        let mut line = Line::default();
        line.enter(Sheddable, true, 0);
        let mut served = Vec::new();
        for who in 1..=ELDERS {
            line.enter(CriticalPlus, true, u32::try_from(who).unwrap());
            served.extend(serve(&mut line));
        }
        assert_eq!(served.iter().position(|who| *who == 0), Some(15));
    }

    #[test]
    fn who_is_new_passes_the_less_urgent_but_neither_equals_nor_the_eldest() {
        let mut line = Line::default();
        assert!(line.may_pass(Sheddable));
        line.enter(Critical, true, 1);
        assert!(line.may_pass(CriticalPlus));
        assert!(!line.may_pass(Critical) && !line.may_pass(SheddablePlus));
        (1..ELDERS).for_each(|_| line.served());
        assert!(!line.may_pass(CriticalPlus));
    }

    #[test]
    fn who_is_least_urgent_and_came_last_makes_room() {
        let mut line = Line::default();
        for (who, priority, may_drop) in
            [(1, Sheddable, true), (2, Sheddable, true), (3, Sheddable, false), (4, Critical, true)]
        {
            line.enter(priority, may_drop, who);
        }
        assert_eq!((line.ahead_of(Critical), line.ahead_of(Sheddable)), (1, 4));
        assert!(!line.can_displace(Sheddable), "nobody makes room for an equal");
        assert_eq!(line.displace(Critical), Some(2));
        assert_eq!(line.displace(Critical), Some(1));
        assert_eq!(line.displace(Critical), None, "what belongs to a run stays");
        assert_eq!(line.displace(CriticalPlus), Some(4));
    }

    proptest! {
        #[test]
        fn whoever_waits_is_served_within_a_bounded_number_of_places(
            before in proptest::collection::vec(0..4_usize, 0..8), stream in 0..4_usize,
        ) {
            let mut line = Line::default();
            for priority in &before {
                line.enter(Priority::ALL[*priority], true, 1);
            }
            line.enter(Sheddable, true, 0);
            let bound = ELDERS * (before.len() as u64 + 1);
            let served = (0..bound).any(|_| {
                line.enter(Priority::ALL[stream], true, 2);
                serve(&mut line) == Some(0)
            });
            prop_assert!(served);
        }
    }
}
