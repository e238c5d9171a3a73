//! Operating modes: how much of its work the system does while it cannot do all of it.
//!
//! **Full** does everything. **Degraded** leaves out what a result is merely better for: reviews, second opinions, look-ups.
//! **Emergency** keeps to what must be answered, if need be with an answer made beforehand and marked as such. What a mode
//! leaves out is said where the work is declared; here is only which mode holds.
//!
//! A person sets a mode and says why, and then it holds until a person hands it back: nobody wants to fight a rule in an
//! outage. Otherwise rules decide, each over one [`Signal`]. Two things keep them from flapping. Each rule has a threshold to
//! enter and a lower one to leave (a Schmitt trigger), so that a reading between the two changes nothing. And a mode that
//! was entered is kept for the least time [`Config::dwell`], because what is left out must first be felt: leaving at once
//! brings the load back before its effect was seen. The way up is taken at once and may skip a mode; the way down is taken
//! one mode at a time.
//!
//! Latency and errors are signals of traffic. When there is too little of it to tell them, a rule over them stays as it is, and
//! no longer than the dwell: what was refused must be tried again, or nothing would ever show that it goes well.
//!
//! While a person holds the mode, the rules go on being read, so that handing it back leads to where they are by then.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{Mono, Wall};

mod setting;
mod signal;
#[cfg(test)]
mod tests;

pub use setting::SettingError;
pub use signal::{Readings, Signal};

/// The least time a mode holds that rules entered, unless set: longer than a burst, shorter than a person takes to look.
const DWELL: Duration = Duration::from_secs(15);

/// How much of its work the system does. The greater one does less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Everything.
    #[default]
    Full,
    /// Without what a result is merely better for.
    Degraded,
    /// Only what must be answered.
    Emergency,
}

/// When a signal asks for a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// What it looks at.
    pub signal: Signal,
    /// The mode it asks for.
    pub mode: Mode,
    /// A reading of so much or more asks for it.
    pub enter: u64,
    /// A reading of so much or less asks no more for it; less than `enter`.
    pub leave: u64,
}

/// How modes are decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The rules; none means that only a person changes the mode.
    pub rules: Vec<Rule>,
    /// How long a mode holds at least that rules entered.
    pub dwell: Duration,
}

/// A rule that would flap.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rule that enters {mode} by {signal} at {enter} leaves it at {leave}: leave must be less")]
pub struct RuleError {
    /// The mode.
    mode: Mode,
    /// The signal.
    signal: Signal,
    /// Where it enters.
    enter: u64,
    /// Where it leaves.
    leave: u64,
}

/// A mode set by a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hand {
    /// The mode.
    pub mode: Mode,
    /// Why, in their words.
    pub reason: String,
    /// Who, as they said.
    pub by: String,
    /// Since when.
    pub since: Wall,
}

/// Why a mode holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Nothing ever asked for another one.
    Start,
    /// A person set it.
    Hand {
        /// Why.
        reason: String,
        /// Who.
        by: String,
    },
    /// A reading asked for it.
    Entered {
        /// What was looked at.
        signal: Signal,
        /// The reading.
        reading: u64,
        /// Where the rule enters.
        enter: u64,
    },
    /// No reading asks for the worse one any more.
    Relieved,
    /// A person handed the mode back to the rules.
    Released {
        /// Who.
        by: String,
    },
}

/// A mode gave way to another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a change of mode must be told"]
pub struct Change {
    /// The mode before; the same if only the cause is new.
    pub from: Mode,
    /// The mode now.
    pub to: Mode,
    /// Why.
    pub cause: Cause,
}

/// Text that names no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be full, degraded or emergency")]
pub struct UnknownMode;

/// The machine that decides the mode.
#[derive(Debug, Clone)]
pub struct Governor {
    rules: Vec<Watched>,
    dwell: Duration,
    /// What the rules have come to.
    ruled: Mode,
    ruled_by: Cause,
    /// When the rules may next go down a mode.
    earliest: Mono,
    hand: Option<Hand>,
}

impl Default for Config {
    /// Degraded when a quarter as many calls wait as may be under way, or four fifths of the memory are used; emergency when
    /// as many wait as may be under way, or all of the memory is used. Latency and errors ask for nothing unless they are
    /// told to: what is slow for a look-up is quick for an essay, and one agent that fails must not degrade the others.
    fn default() -> Self {
        let rule = |signal, mode, enter, leave| Rule { signal, mode, enter, leave };
        Self {
            rules: vec![
                rule(Signal::Queue, Mode::Degraded, 2_500, 1_000),
                rule(Signal::Queue, Mode::Emergency, 10_000, 5_000),
                rule(Signal::Memory, Mode::Degraded, 8_000, 7_000),
                rule(Signal::Memory, Mode::Emergency, 10_000, 9_000),
            ],
            dwell: DWELL,
        }
    }
}

impl Config {
    /// Checks that no rule would flap.
    ///
    /// # Errors
    /// [`RuleError`] names the first that would.
    pub fn validate(&self) -> Result<(), RuleError> {
        match self.rules.iter().find(|rule| rule.leave >= rule.enter) {
            None => Ok(()),
            Some(&Rule { signal, mode, enter, leave }) => Err(RuleError { mode, signal, enter, leave }),
        }
    }
}

/// A rule, and what it has come to.
#[derive(Debug, Clone)]
struct Watched {
    rule: Rule,
    /// It asks for its mode.
    asks: bool,
    /// When there last was something to read.
    told: Mono,
}

// === impl Governor ===

impl Governor {
    /// Decides by `config`, and by what a person said, if that is on record.
    #[must_use]
    pub fn new(config: Config, hand: Option<Hand>) -> Self {
        Self {
            rules: config.rules.into_iter().map(Watched::new).collect(),
            dwell: config.dwell,
            ruled: Mode::Full,
            ruled_by: Cause::Start,
            earliest: Mono::default(),
            hand,
        }
    }

    /// The mode that holds.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.hand.as_ref().map_or(self.ruled, |hand| hand.mode)
    }

    /// What the rules have come to, whoever holds the mode.
    #[must_use]
    pub const fn ruled(&self) -> Mode {
        self.ruled
    }

    /// What a person set, if a person did.
    #[must_use]
    pub const fn hand(&self) -> Option<&Hand> {
        self.hand.as_ref()
    }

    /// Why it holds.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match &self.hand {
            Some(Hand { reason, by, .. }) => Cause::Hand { reason: reason.clone(), by: by.clone() },
            None => self.ruled_by.clone(),
        }
    }

    /// A person sets the mode, until [`Governor::release`].
    pub fn set(&mut self, hand: Hand) -> Change {
        let from = self.mode();
        let change = Change {
            from,
            to: hand.mode,
            cause: Cause::Hand { reason: hand.reason.clone(), by: hand.by.clone() },
        };
        self.hand = Some(hand);
        change
    }

    /// A person hands the mode back to the rules; nothing happens if no person held it.
    pub fn release(&mut self, by: &str) -> Option<Change> {
        let from = self.hand.take()?.mode;
        Some(Change { from, to: self.ruled, cause: Cause::Released { by: by.to_owned() } })
    }

    /// One look at the signals. A change of what the rules ask for while a person holds the mode changes nothing yet.
    pub fn observe(&mut self, readings: Readings, now: Mono) -> Option<Change> {
        let dwell = self.dwell;
        self.rules.iter_mut().for_each(|watched| watched.look(readings, dwell, now));
        let asking = self.rules.iter().filter(|watched| watched.asks).map(|watched| &watched.rule);
        let worst = asking.max_by_key(|rule| rule.mode).copied();
        let wanted = worst.map_or(Mode::Full, |rule| rule.mode);
        let (to, cause) = match worst {
            Some(Rule { signal, enter, .. }) if wanted > self.ruled => {
                let reading = readings.of(signal).unwrap_or(enter);
                (wanted, Cause::Entered { signal, reading, enter })
            }
            _ if wanted < self.ruled && now >= self.earliest => (self.ruled.better(), Cause::Relieved),
            _ => return None,
        };
        let from = std::mem::replace(&mut self.ruled, to);
        self.ruled_by = cause.clone();
        self.earliest = now + self.dwell;
        self.hand.is_none().then_some(Change { from, to, cause })
    }

    /// When the rules may go down a mode, if they are in one: look again then at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        (self.ruled > Mode::Full).then_some(self.earliest)
    }
}

impl Watched {
    const fn new(rule: Rule) -> Self {
        Self { rule, asks: false, told: Mono::at(Duration::ZERO) }
    }

    fn look(&mut self, readings: Readings, dwell: Duration, now: Mono) {
        let Some(reading) = readings.of(self.rule.signal) else {
            self.asks &= !(self.rule.signal.is_of_traffic() && now - self.told >= dwell);
            return;
        };
        self.told = now;
        if reading >= self.rule.enter {
            self.asks = true;
        } else if reading <= self.rule.leave {
            self.asks = false;
        }
    }
}

// === impl Mode ===

impl Mode {
    /// All of them, the best first.
    pub const ALL: [Self; 3] = [Self::Full, Self::Degraded, Self::Emergency];

    /// The name used on the wire, in records, tables and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Degraded => "degraded",
            Self::Emergency => "emergency",
        }
    }

    /// The next better one.
    #[must_use]
    const fn better(self) -> Self {
        match self {
            Self::Full | Self::Degraded => Self::Full,
            Self::Emergency => Self::Degraded,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or(UnknownMode)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("nothing asks for another mode"),
            Self::Hand { reason, .. } => f.write_str(reason),
            Self::Entered { signal, reading, enter } => {
                let (before, behind) = match signal {
                    Signal::Queue => ("the calls that wait are ", " of those that may be under way"),
                    Signal::Latency => ("the slowest hundredth of the attempts takes ", " or more"),
                    Signal::Errors => ("", " of the attempts fail"),
                    Signal::Memory => ("", " of the memory's soft limit is in use"),
                };
                f.write_str(before)?;
                signal.show(*reading, f)?;
                write!(f, "{behind}, the limit is ")?;
                signal.show(*enter, f)
            }
            Self::Relieved => f.write_str("nothing asks for the worse mode any more"),
            Self::Released { .. } => f.write_str("handed back to the rules"),
        }
    }
}
