//! Budgets: how much may be used up, of what, and what follows when it is.
//!
//! A budget bounds money, tokens, calls and time. It is kept by **reserve, spend, settle**: before a call begins, what it
//! is expected to use is set aside and must fit what is left; when it has ended, what it did use takes the place of that.
//! So calls that are under way side by side cannot each spend the same last cent.
//!
//! # What nobody can promise
//! What a call will cost is known only when it has. An agent may use more than was set aside, and its answer is then paid
//! for and taken: it is there, and throwing it away would not bring the money back. So a budget is never exceeded by more
//! than what the calls under way used beyond what was set aside for them, and the excess is on record.
//!
//! Numbers are the agents' own. A liar's saturate: they exhaust a budget and never wrap around to a small one, and a
//! negative cost counts as none.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::outcome::Usage;
use crate::time::text::Human;

pub mod spend;
pub mod window;

/// The code of a step that is not done because a budget has no room for it.
pub const BUDGET_EXHAUSTED: &str = "BUDGET_EXHAUSTED";

/// 10⁻⁹ US dollars in one.
pub const NANO: u64 = 1_000_000_000;

/// A share of a limit, in hundredths, from which on people are warned: late enough to mean something, early enough to act.
pub const WARN_AT: u64 = 80;

/// What is used up by calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amount {
    /// Money, in 10⁻⁹ US dollars.
    #[serde(default)]
    pub nano_usd: u64,
    /// Tokens, in and out.
    #[serde(default)]
    pub tokens: u64,
    /// Calls of an agent.
    #[serde(default)]
    pub calls: u64,
}

/// What may be used up. What is not said is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Money, in 10⁻⁹ US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nano_usd: Option<u64>,
    /// Tokens, in and out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Calls of an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// Time during which calls are under way, or wait to be made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Duration>,
}

/// What follows when a run's budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnExhausted {
    /// The run fails, at once.
    #[default]
    Fail,
    /// The run goes on without what it cannot pay for, and names the gaps.
    Partial,
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Money.
    Usd,
    /// Tokens, in and out.
    Tokens,
    /// Calls of an agent.
    Calls,
    /// Time during which calls are under way, or wait to be made again.
    Time,
}

/// Whose budget it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The run's.
    Run,
    /// The step's, or that of a step it lies in.
    Step,
}

/// A budget that has no room for what is next. Money is in 10⁻⁹ US dollars, time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Exhausted {
    /// Whose.
    pub scope: Scope,
    /// What of it.
    pub limit: Limit,
    /// How much there was.
    pub most: u64,
    /// How much of that is not spent.
    pub left: u64,
    /// How much is wanted.
    pub wanted: u64,
}

// === impl Amount ===

impl Amount {
    /// Nothing.
    pub const NONE: Self = Self { nano_usd: 0, tokens: 0, calls: 0 };

    /// What one call used up. A negative cost counts as none.
    #[must_use]
    pub fn of_call(usage: &Usage) -> Self {
        Self {
            nano_usd: u64::try_from(usage.cost_nano_usd).unwrap_or(0),
            tokens: usage.tokens_in.saturating_add(usage.tokens_out),
            calls: 1,
        }
    }

    /// Both together; saturating.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            nano_usd: self.nano_usd.saturating_add(other.nano_usd),
            tokens: self.tokens.saturating_add(other.tokens),
            calls: self.calls.saturating_add(other.calls),
        }
    }

    /// This without `other`, not below nothing.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            nano_usd: self.nano_usd.saturating_sub(other.nano_usd),
            tokens: self.tokens.saturating_sub(other.tokens),
            calls: self.calls.saturating_sub(other.calls),
        }
    }

    /// The larger of the two, of each kind.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            nano_usd: self.nano_usd.max(other.nano_usd),
            tokens: self.tokens.max(other.tokens),
            calls: self.calls.max(other.calls),
        }
    }

    /// How much of `limit`; no amount has time.
    #[must_use]
    pub const fn get(&self, limit: Limit) -> u64 {
        match limit {
            Limit::Usd => self.nano_usd,
            Limit::Tokens => self.tokens,
            Limit::Calls => self.calls,
            Limit::Time => 0,
        }
    }
}

// === impl Limits ===

impl Limits {
    /// No limit at all.
    pub const NONE: Self = Self { nano_usd: None, tokens: None, calls: None, time: None };

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// The tighter of both, of each kind.
    #[must_use]
    pub fn tighter(self, other: Self) -> Self {
        fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
            a.into_iter().chain(b).min()
        }
        Self {
            nano_usd: least(self.nano_usd, other.nano_usd),
            tokens: least(self.tokens, other.tokens),
            calls: least(self.calls, other.calls),
            time: least(self.time, other.time),
        }
    }

    /// What `limit` is, if there is one. Time is in milliseconds.
    #[must_use]
    pub fn get(&self, limit: Limit) -> Option<u64> {
        match limit {
            Limit::Usd => self.nano_usd,
            Limit::Tokens => self.tokens,
            Limit::Calls => self.calls,
            Limit::Time => self.time.map(millis),
        }
    }

    /// The limits there are on what calls use up.
    pub fn on_calls(&self) -> impl Iterator<Item = (Limit, u64)> + use<> {
        let limits = *self;
        Limit::OF_CALLS.into_iter().filter_map(move |limit| Some((limit, limits.get(limit)?)))
    }
}

/// Whole milliseconds, rounded down.
#[must_use]
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

// === impl Limit ===

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 4] = [Self::Usd, Self::Tokens, Self::Calls, Self::Time];
    /// Those on what calls use up.
    pub const OF_CALLS: [Self; 3] = [Self::Usd, Self::Tokens, Self::Calls];

    /// The name used in documents, records and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usd => "usd",
            Self::Tokens => "tokens",
            Self::Calls => "calls",
            Self::Time => "time",
        }
    }

    /// So much of it, for people.
    #[must_use]
    pub const fn amount(self, amount: u64) -> Shown {
        Shown { limit: self, amount }
    }
}

/// An amount for people: `$0.50`, `40000 tokens`, `1 call`, `1m30s`.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    limit: Limit,
    amount: u64,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.amount == 1 { "" } else { "s" };
        match self.limit {
            Limit::Usd => Dollars(self.amount).fmt(f),
            Limit::Tokens => write!(f, "{} token{s}", self.amount),
            Limit::Calls => write!(f, "{} call{s}", self.amount),
            Limit::Time => Human(Duration::from_millis(self.amount)).fmt(f),
        }
    }
}

/// 10⁻⁹ US dollars as dollars, without the noise of trailing zeros beyond cents.
#[derive(Debug, Clone, Copy)]
pub struct Dollars(pub u64);

impl fmt::Display for Dollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:09}", self.0 % NANO);
        let kept = fraction.trim_end_matches('0').len().max(2);
        write!(f, "${}.{}", self.0 / NANO, fraction.get(..kept).unwrap_or(&fraction))
    }
}

/// The 10⁻⁹ US dollars that a plain decimal number of dollars is; nothing if it is none, has more than nine decimals, or
/// is more than can be counted.
#[must_use]
pub fn nano_usd(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<9}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(NANO)?.checked_add(fraction)
}

// === impl Exhausted ===

/// One sentence for a person, to follow a colon.
impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.scope {
            Scope::Run => "run",
            Scope::Step => "step",
        };
        let [most, left, wanted] = [self.most, self.left, self.wanted].map(|much| self.limit.amount(much));
        if self.limit == Limit::Time {
            write!(f, "the {whose}'s time budget of {most} is used up")
        } else if self.left == 0 {
            write!(f, "the {whose}'s budget of {most} is used up")
        } else {
            write!(f, "the {whose}'s budget of {most} has {left} left, and the next call may take {wanted}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_to_the_last_nano_and_nothing_else_is() {
        for (text, nano) in [
            ("0", 0),
            ("0.50", 500_000_000),
            ("12", 12 * NANO),
            ("0.000000001", 1),
            ("18446744073.709551615", u64::MAX),
        ] {
            assert_eq!(nano_usd(text), Some(nano), "{text}");
        }
        for text in
            ["", ".5", "1.", "-1", "+1", "1e3", "0.0000000001", "18446744073.709551616", "1,5", "1.2.3"]
        {
            assert_eq!(nano_usd(text), None, "{text}");
        }
    }

    #[test]
    fn amounts_are_shown_as_people_write_them() {
        assert_eq!(Limit::Usd.amount(1_200_000).to_string(), "$0.0012");
        assert_eq!(Limit::Usd.amount(2_500_000_000).to_string(), "$2.50");
        assert_eq!(Limit::Tokens.amount(1).to_string(), "1 token");
        assert_eq!(Limit::Calls.amount(0).to_string(), "0 calls");
        assert_eq!(Limit::Time.amount(90_000).to_string(), "1m30s");
    }

    #[test]
    fn a_liars_numbers_saturate_and_a_negative_cost_is_none() {
        let usage = Usage { tokens_in: u64::MAX, tokens_out: 7, cost_nano_usd: -5, agent_micros: 0 };
        let one = Amount::of_call(&usage);
        assert_eq!(one, Amount { nano_usd: 0, tokens: u64::MAX, calls: 1 });
        assert_eq!(one.plus(one).tokens, u64::MAX);
        assert_eq!(Amount::NONE.minus(one), Amount::NONE);
    }

    #[test]
    fn what_is_used_up_is_said_with_what_is_left() {
        let some = Exhausted {
            scope: Scope::Run,
            limit: Limit::Usd,
            most: 500_000_000,
            left: 20_000_000,
            wanted: 50_000_000,
        };
        assert_eq!(
            some.to_string(),
            "the run's budget of $0.50 has $0.02 left, and the next call may take $0.05"
        );
        let none = Exhausted { scope: Scope::Step, limit: Limit::Calls, most: 3, left: 0, wanted: 1 };
        assert_eq!(none.to_string(), "the step's budget of 3 calls is used up");
    }
}
