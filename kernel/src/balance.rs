//! Which of several instances gets the call: the power of two choices on peak-EWMA load.
//!
//! Two instances are drawn at random and the less loaded one is taken. That is nearly as even as comparing all of them
//! (Mitzenmacher: "The Power of Two Choices in Randomized Load Balancing", 2001), costs the same for three instances as
//! for three thousand, and does not send every caller to the same momentary favourite.
//!
//! Load is `latency × (calls under way + 1)`. The latency is a moving average that jumps up at once when an answer takes
//! longer and comes down slowly ("peak-EWMA", as in Finagle's and Linkerd's balancers): an instance that stalls is avoided
//! after its first slow answer. It fades with time without traffic, so that nobody is avoided for ever.
//!
//! A failure never lowers an instance's latency. An agent that fails in a millisecond would otherwise be everyone's
//! fastest choice and swallow the traffic.

use std::time::Duration;

use crate::dice::Dice;
use crate::outcome::Class;
use crate::time::Mono;

/// How fast the past fades: to a third in 30 s. Linkerd takes 10 s for calls of milliseconds; agents take seconds, and
/// a memory shorter than a few calls is none.
const FADE: Duration = Duration::from_secs(30);

/// What an instance never called is taken to need: middling for an agent, so that a newcomer is neither flooded nor shunned.
const FIRST_GUESS: Duration = Duration::from_secs(1);

/// The least latency a score is made of, so that calls under way still count when the latency has faded to nothing.
const FLOOR: Duration = Duration::from_micros(1);

/// The load of one instance, for one capability.
#[derive(Debug, Clone)]
pub struct Load {
    latency: f64,
    stamp: Mono,
    under_way: u32,
}

/// What [`choose`] needs to know of the candidates, numbered from 0.
pub trait Candidates {
    /// Leave to call a candidate; must be given back.
    type Permit;

    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How loaded candidate `index` is; see [`Load::score`].
    fn score(&self, index: usize) -> f64;

    /// Takes leave to call candidate `index`; `None` if it may not be called now.
    fn take(&mut self, index: usize) -> Option<Self::Permit>;
}

/// Chooses a candidate and takes leave to call it; `None` if none may be called now.
///
/// Constant time while a good part of the candidates may be called. If both drawn may not be, the rest is tried, each once:
/// from a random place on in strides that lead to every one, so that neighbours who fail together do not hold it up.
pub fn choose<C: Candidates>(candidates: &mut C, dice: &mut Dice) -> Option<(usize, C::Permit)> {
    let len = candidates.len();
    if len == 0 {
        return None;
    }
    let one = dice.below(len);
    // Drawn from the others, so that the two are never the same.
    let other = (one + 1 + dice.below(len - 1)) % len;
    let drawn = if candidates.score(other) < candidates.score(one) { [other, one] } else { [one, other] };
    let drawn = if len == 1 { &drawn[..1] } else { &drawn[..] };
    for index in drawn {
        if let Some(permit) = candidates.take(*index) {
            return Some((*index, permit));
        }
    }
    let (from, stride) = (dice.below(len), stride(len, dice));
    let place = move |at: &usize| Some((at + stride) % len);
    std::iter::successors(Some(from), place)
        .take(len)
        .filter(|index| !drawn.contains(index))
        .find_map(|index| candidates.take(index).map(|permit| (index, permit)))
}

/// A stride that leads to every one of `len` places: one that has no divisor in common with it. Of the numbers below a
/// thousand every second or third is one.
fn stride(len: usize, dice: &mut Dice) -> usize {
    let divisor = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let first = dice.below(len);
    (first..len).find(|stride| divisor(len, *stride) == 1).unwrap_or(1)
}

/// Up to `count` of the candidates with these scores, the most advisable first: [`choose`], again and again, each once.
/// For callers who make their calls themselves, so that they do not all go to the same momentary favourite.
#[must_use]
pub fn suggest(scores: &[f64], count: usize, dice: &mut Dice) -> Vec<usize> {
    struct Left<'a>(&'a [f64], Vec<bool>);
    impl Candidates for Left<'_> {
        type Permit = ();
        fn len(&self) -> usize {
            self.0.len()
        }
        fn score(&self, index: usize) -> f64 {
            if self.1[index] { f64::INFINITY } else { self.0[index] }
        }
        fn take(&mut self, index: usize) -> Option<()> {
            (!std::mem::replace(&mut self.1[index], true)).then_some(())
        }
    }
    let mut left = Left(scores, vec![false; scores.len()]);
    (0..count).map_while(|_| choose(&mut left, dice)).map(|(index, ())| index).collect()
}

impl Load {
    /// The load of an instance never called.
    #[must_use]
    pub const fn new(now: Mono) -> Self {
        Self { latency: FIRST_GUESS.as_nanos() as f64, stamp: now, under_way: 0 }
    }

    /// A call begins.
    pub fn begin(&mut self) {
        self.under_way = self.under_way.saturating_add(1);
    }

    /// A call ended.
    pub fn end(&mut self, class: Class, latency: Duration, now: Mono) {
        self.abandon();
        let taken = latency.as_nanos() as f64;
        let keep = self.keep(now);
        self.latency = if taken >= self.latency {
            taken
        } else if class == Class::Success {
            self.latency.mul_add(keep, taken * (1.0 - keep))
        } else {
            taken.max(self.latency * keep)
        };
        self.stamp = self.stamp.max(now);
    }

    /// A call was given up; its time says nothing.
    pub fn abandon(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Calls under way now.
    #[must_use]
    pub const fn under_way(&self) -> u32 {
        self.under_way
    }

    /// How loaded the instance is: faded peak latency in nanoseconds × (calls under way + 1). Lower is better.
    #[must_use]
    pub fn score(&self, now: Mono) -> f64 {
        self.faded(now).max(FLOOR.as_nanos() as f64) * f64::from(self.under_way.saturating_add(1))
    }

    fn faded(&self, now: Mono) -> f64 {
        self.latency * self.keep(now)
    }

    /// The share of the past that is still believed.
    fn keep(&self, now: Mono) -> f64 {
        (-((now - self.stamp).as_secs_f64()) / FADE.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests;
