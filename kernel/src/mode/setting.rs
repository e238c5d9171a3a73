//! The rules of modes as a person writes them: `latency.degraded` is `5s`, or `5s/3s` with where it leaves.
//!
//! A rule is named by its signal and its mode, so that there is one of each and a later word replaces an earlier one.
//! Whoever says only where a mode is entered leaves it at three quarters of that: enough to tell a change from noise.

use std::time::Duration;

use super::{Config, Mode, Rule, Signal};
use crate::share;
use crate::time::text;

/// Longest time a mode is held: a rule that acts a day late is no rule.
const LONGEST_DWELL: Duration = Duration::from_secs(60 * 60);

/// Why a rule is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// It has no such name.
    #[error(
        "is no rule: write a signal (queue, latency, errors or memory) and a mode (degraded or emergency), like \
         latency.degraded; or dwell"
    )]
    Unknown,
    /// What it looks at is a time.
    #[error("must be a duration to enter, and one to leave behind a slash if you like, like 5s/3s; or off")]
    NoTime,
    /// What it looks at is a share.
    #[error("must be a share to enter, and one to leave behind a slash if you like, like 25%/10%; or off")]
    NoShare,
    /// It would flap.
    #[error("leaves where it enters or later: the second value must be less than the first")]
    Flaps,
    /// The time a mode is held is out of bounds.
    #[error("must be a duration of at most 1h, like 15s")]
    Dwell,
}

impl Config {
    /// Sets one of the rules from text: `latency.degraded` to `5s/3s`, `errors.emergency` to `50%`, `queue.degraded` to `off`,
    /// or `dwell` to `30s`.
    ///
    /// # Errors
    /// [`SettingError`] says what to write instead.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        if name == "dwell" {
            let dwell = text::parse(value).ok().filter(|dwell| *dwell <= LONGEST_DWELL);
            self.dwell = dwell.ok_or(SettingError::Dwell)?;
            return Ok(());
        }
        let (signal, mode) = named(name).ok_or(SettingError::Unknown)?;
        let rule = match value {
            "off" => None,
            value => Some(rule(signal, mode, value)?),
        };
        self.rules.retain(|rule| (rule.signal, rule.mode) != (signal, mode));
        self.rules.extend(rule);
        Ok(())
    }
}

fn named(name: &str) -> Option<(Signal, Mode)> {
    let (signal, mode) = name.split_once('.')?;
    let signal = Signal::ALL.into_iter().find(|known| known.as_str() == signal)?;
    let mode = mode.parse().ok().filter(|mode| *mode > Mode::Full)?;
    Some((signal, mode))
}

fn rule(signal: Signal, mode: Mode, value: &str) -> Result<Rule, SettingError> {
    let (enter, leave) = match value.split_once('/') {
        Some((enter, leave)) => (reading(signal, enter)?, reading(signal, leave)?),
        None => {
            let enter = reading(signal, value)?;
            (enter, enter / 4 * 3)
        }
    };
    if leave < enter { Ok(Rule { signal, mode, enter, leave }) } else { Err(SettingError::Flaps) }
}

fn reading(signal: Signal, text: &str) -> Result<u64, SettingError> {
    match signal {
        Signal::Latency => {
            let time = text::parse(text).map_err(|_| SettingError::NoTime)?;
            u64::try_from(time.as_micros()).map_err(|_| SettingError::NoTime)
        }
        Signal::Queue | Signal::Errors | Signal::Memory => {
            share::parse(text).map(u64::from).map_err(|_| SettingError::NoShare)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(settings: &[(&str, &str)]) -> Result<Config, SettingError> {
        let mut config = Config::default();
        settings.iter().try_for_each(|(name, value)| config.set(name, value))?;
        Ok(config)
    }

    fn found(config: &Config, signal: Signal, mode: Mode) -> Vec<(u64, u64)> {
        let of = config.rules.iter().filter(|rule| (rule.signal, rule.mode) == (signal, mode));
        of.map(|rule| (rule.enter, rule.leave)).collect()
    }

    #[test]
    fn a_rule_enters_at_the_first_value_and_leaves_at_the_second_or_at_three_quarters() {
        let config = set(&[
            ("latency.degraded", "5s/3s"),
            ("errors.emergency", "50%"),
            ("queue.degraded", "90%/80%"),
            ("memory.emergency", "off"),
            ("dwell", "1m"),
        ])
        .unwrap();
        assert_eq!(found(&config, Signal::Latency, Mode::Degraded), [(5_000_000, 3_000_000)]);
        assert_eq!(found(&config, Signal::Errors, Mode::Emergency), [(5_000, 3_750)]);
        assert_eq!(
            found(&config, Signal::Queue, Mode::Degraded),
            [(9_000, 8_000)],
            "it replaces the default"
        );
        assert_eq!(found(&config, Signal::Queue, Mode::Emergency).len(), 1, "the others stay");
        assert_eq!(found(&config, Signal::Memory, Mode::Emergency), []);
        assert_eq!((config.dwell, config.validate()), (Duration::from_secs(60), Ok(())));
    }

    #[test]
    fn what_is_no_rule_is_refused_with_what_to_write() {
        for (name, value, refused) in [
            ("p99.degraded", "5s", SettingError::Unknown),
            ("latency.full", "5s", SettingError::Unknown),
            ("latency", "5s", SettingError::Unknown),
            ("latency.degraded", "50%", SettingError::NoTime),
            ("errors.degraded", "5s", SettingError::NoShare),
            ("errors.degraded", "120%", SettingError::NoShare),
            ("errors.degraded", "20%/20%", SettingError::Flaps),
            ("errors.degraded", "0%", SettingError::Flaps),
            ("dwell", "2h", SettingError::Dwell),
        ] {
            assert_eq!(set(&[(name, value)]), Err(refused), "{name} {value}");
        }
    }
}
