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
//!
//! # Slow start
//! An instance that is new, or back from being unwell, ejected or behind an open breaker, has an idle look and a faded latency:
//! everyone's favourite, on its worst day. It has caches to fill, models to load, connections to make. So for a while it
//! *wins* a draw only with a probability that grows from [`LEAST_WEIGHT`] to one, linearly as Envoy's slow start does with
//! its default aggression. A weight in the score would not do: the comparison of two scores knows no shares, so an
//! instance at a tenth of its weight would get none of the traffic or nearly all. Whoever is drawn alone, or beside one that
//! may not be called, gets the call: a lone instance is never starved, and a pool that starts as a whole shares evenly.

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

/// What a slow start begins with. Envoy's `min_weight_percent`.
const LEAST_WEIGHT: f64 = 0.1;

/// The load of one instance, for one capability.
#[derive(Debug, Clone)]
pub struct Load {
    latency: f64,
    stamp: Mono,
    under_way: u32,
    /// Since when its share grows, and for how long.
    warming: Option<(Mono, Duration)>,
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

    /// How readily it is chosen, above 0 and up to 1; see [`Load::weight`].
    fn weight(&self, index: usize) -> f64 {
        let _ = index;
        1.0
    }

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
    let drawn = if len == 1 { &drawn[..1] } else { &yielding(drawn, candidates, dice)[..] };
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

/// The two that were drawn, the better one last if it is still starting and chance will have it so.
fn yielding<C: Candidates>(drawn: [usize; 2], candidates: &C, dice: &mut Dice) -> [usize; 2] {
    let weight = candidates.weight(drawn[0]);
    if weight < 1.0 && dice.fraction() >= weight { [drawn[1], drawn[0]] } else { drawn }
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
        Self { latency: FIRST_GUESS.as_nanos() as f64, stamp: now, under_way: 0, warming: None }
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

    /// From now on its share grows over `time`.
    pub fn warm_up(&mut self, now: Mono, time: Duration) {
        self.warming = (!time.is_zero()).then_some((now, time));
    }

    /// Until when its share grows, if it does.
    #[must_use]
    pub fn warming_until(&self, now: Mono) -> Option<Mono> {
        self.warming.map(|(since, time)| since + time).filter(|until| now < *until)
    }

    /// With which probability it is taken where it is the better of two: [`LEAST_WEIGHT`] to 1.
    #[must_use]
    pub fn weight(&self, now: Mono) -> f64 {
        let Some((since, time)) = self.warming else { return 1.0 };
        ((now - since).as_secs_f64() / time.as_secs_f64()).clamp(LEAST_WEIGHT, 1.0)
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
