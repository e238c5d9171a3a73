//! What a capability declares of its breaker: some settings, over the server's own.
//!
//! Whoever declares one wait and not the other means the one they wrote: where the two would contradict each other, the
//! undeclared one gives way. So a policy that is good by itself is good over every server's settings, and a registration
//! that one server takes, all take.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::{self, Config, ConfigError};
use super::weights::{Weighed, WeighedError};
use crate::share;
use crate::time::text;

/// Some settings of a breaker; see [`Config`] for each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// [`Config::window`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
    /// [`Config::min_calls`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_calls: Option<u32>,
    /// [`Config::failed_bp`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_bp: Option<u32>,
    /// [`Config::timed_out_bp`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timed_out_bp: Option<u32>,
    /// [`Config::slow_bp`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_bp: Option<u32>,
    /// [`Config::in_a_row`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_a_row: Option<u32>,
    /// [`Config::wait`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Duration>,
    /// [`Config::max_wait`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<Duration>,
    /// [`Config::probes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<u32>,
    /// [`Config::passes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passes: Option<u32>,
    /// [`Config::weights`], in basis points.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<Weighed, u32>,
}

/// Why a setting is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// There is none of this name.
    #[error("is no setting of a breaker; there are {}, and weights", SETTINGS.join(", "))]
    Unknown,
    /// It has no weight.
    #[error(transparent)]
    Weight(#[from] WeighedError),
    /// It cannot be read or is out of bounds.
    #[error("must be {}", .0.bounds)]
    Bounds(#[from] ConfigError),
}

/// What [`Policy::set`] knows, beside weights.
const SETTINGS: [&str; 10] = [
    "window",
    "min_calls",
    "failed",
    "timed_out",
    "slow",
    "in_a_row",
    "wait",
    "max_wait",
    "probes",
    "passes",
];

/// How a weight is set by [`Policy::set`].
const WEIGHT: &str = "weights.";

impl Policy {
    /// Whether it declares nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Sets one setting from text, as a person writes it: `window` to `1m`, `failed` to `40%`, `weights.slow` to `25%`.
    ///
    /// # Errors
    /// [`PolicyError`], as the end of a sentence about the setting.
    pub fn set(&mut self, setting: &str, value: &str) -> Result<(), PolicyError> {
        if let Some(class) = setting.strip_prefix(WEIGHT) {
            let weight = config::WEIGHT.read(value, part);
            self.weights.insert(class.parse()?, weight?);
            return Ok(());
        }
        match setting {
            "window" => self.window = Some(config::WINDOW.read(value, span)?),
            "min_calls" => self.min_calls = Some(config::MIN_CALLS.read(value, count)?),
            "failed" => self.failed_bp = Some(config::FAILED.read(value, part)?),
            "timed_out" => self.timed_out_bp = Some(config::TIMED_OUT.read(value, part)?),
            "slow" => self.slow_bp = Some(config::SLOW.read(value, part)?),
            "in_a_row" => self.in_a_row = Some(config::IN_A_ROW.read(value, count)?),
            "wait" => self.wait = Some(config::WAIT.read(value, span)?),
            "max_wait" => self.max_wait = Some(config::MAX_WAIT.read(value, span)?),
            "probes" => self.probes = Some(config::PROBES.read(value, count)?),
            "passes" => self.passes = Some(config::PASSES.read(value, count)?),
            _ => return Err(PolicyError::Unknown),
        }
        Ok(())
    }

    /// Checks the bounds of every setting, and that the two waits fit together.
    ///
    /// # Errors
    /// [`ConfigError`] names the first setting that is out of bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        fn within<T: Copy + PartialOrd>(
            given: Option<T>,
            setting: &config::Bounds<T>,
        ) -> Result<(), ConfigError> {
            given.map_or(Ok(()), |given| setting.check(given).map(drop))
        }
        within(self.window, &config::WINDOW)?;
        within(self.min_calls, &config::MIN_CALLS)?;
        within(self.failed_bp, &config::FAILED)?;
        within(self.timed_out_bp, &config::TIMED_OUT)?;
        within(self.slow_bp, &config::SLOW)?;
        within(self.in_a_row, &config::IN_A_ROW)?;
        within(self.max_wait, &config::MAX_WAIT)?;
        within(self.wait, &config::WAIT)?;
        within(self.probes, &config::PROBES)?;
        within(self.passes, &config::PASSES)?;
        self.weights.values().try_for_each(|weight| config::WEIGHT.check(*weight).map(drop))?;
        match (self.wait, self.max_wait) {
            (Some(wait), Some(max_wait)) => config::waits(wait, max_wait),
            _ => Ok(()),
        }
    }

    /// These settings, and for the rest `defaults`.
    #[must_use]
    pub fn over(&self, defaults: Config) -> Config {
        let wait = self.wait.unwrap_or_else(|| defaults.wait.min(self.max_wait.unwrap_or(defaults.wait)));
        Config {
            window: self.window.unwrap_or(defaults.window),
            min_calls: self.min_calls.unwrap_or(defaults.min_calls),
            failed_bp: self.failed_bp.unwrap_or(defaults.failed_bp),
            timed_out_bp: self.timed_out_bp.unwrap_or(defaults.timed_out_bp),
            slow_bp: self.slow_bp.unwrap_or(defaults.slow_bp),
            in_a_row: self.in_a_row.unwrap_or(defaults.in_a_row),
            wait,
            max_wait: self.max_wait.unwrap_or_else(|| defaults.max_wait.max(wait)),
            probes: self.probes.unwrap_or(defaults.probes),
            passes: self.passes.unwrap_or(defaults.passes),
            weights: defaults.weights.but(&self.weights),
        }
    }
}

fn span(text: &str) -> Option<Duration> {
    text::parse(text).ok()
}

fn part(text: &str) -> Option<u32> {
    share::parse(text).ok()
}

fn count(text: &str) -> Option<u32> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(settings: &[(&str, &str)]) -> Result<Policy, PolicyError> {
        let mut policy = Policy::default();
        settings.iter().try_for_each(|(setting, value)| policy.set(setting, value))?;
        Ok(policy)
    }

    #[test]
    fn what_is_declared_holds_and_the_rest_is_the_servers() {
        let declared = [("failed", "40%"), ("wait", "1s"), ("probes", "1"), ("weights.slow", "12.5%")];
        let config = policy(&declared).unwrap().over(Config { min_calls: 99, ..Config::default() });
        assert_eq!((config.failed_bp, config.wait, config.probes), (4_000, Duration::from_secs(1), 1));
        assert_eq!((config.weights.of(Weighed::Slow), config.weights.of(Weighed::Timeout)), (1_250, 10_000));
        assert_eq!(config.min_calls, 99);
        assert_eq!(Policy::default().over(Config::default()), Config::default());
    }

    #[test]
    fn each_bad_setting_says_what_it_takes() {
        let cases = [
            ("window", "30", "must be 1s to 10m"),
            ("window", "11m", "must be 1s to 10m"),
            ("min_calls", "0", "must be 1 to 10000"),
            ("failed", "0%", "must be 0.01% to 100%"),
            ("timed_out", "0.3", "must be 0.01% to 100%"),
            ("probes", "101", "must be 1 to 100"),
            ("weights.timeout", "101%", "must be 0% to 100%"),
            ("weights.overload", "0%", "busy is not dead"),
            ("weights.success", "1%", "there are transport, timeout, agent-error"),
            ("treshold", "1%", "there are window, min_calls, failed"),
        ];
        for (setting, value, expected) in cases {
            let error = policy(&[(setting, value)]).unwrap_err().to_string();
            assert!(error.contains(expected), "{setting}: {error}");
        }
    }

    #[test]
    fn of_two_waits_that_contradict_each_other_the_one_not_declared_gives_way() {
        let long = policy(&[("wait", "5m")]).unwrap().over(Config::default());
        assert_eq!((long.wait, long.max_wait), (Duration::from_secs(300), Duration::from_secs(300)));
        let short = policy(&[("max_wait", "1s")]).unwrap().over(Config::default());
        assert_eq!((short.wait, short.max_wait), (Duration::from_secs(1), Duration::from_secs(1)));
        let both = policy(&[("wait", "2s"), ("max_wait", "1s")]).unwrap();
        assert_eq!(both.validate().unwrap_err().setting, "wait");
    }

    proptest! {
        #[test]
        fn a_policy_that_is_good_by_itself_is_good_over_every_server(
            given in proptest::collection::vec((0..10_usize, 0..700_000_u32), 0..20),
            servers in proptest::collection::vec((0..10_usize, 0..700_000_u32), 0..20),
        ) {
            let build = |given: Vec<(usize, u32)>| {
                let mut policy = Policy::default();
                for (setting, value) in given {
                    let value = match SETTINGS[setting] {
                        "window" | "wait" | "max_wait" => format!("{value}ms"),
                        "failed" | "timed_out" | "slow" => share::Human(value % 10_001).to_string(),
                        _ => (value % 200).to_string(),
                    };
                    // What is out of bounds is not set.
                    policy.set(SETTINGS[setting], &value).ok();
                }
                policy
            };
            let (policy, server) = (build(given), build(servers));
            prop_assume!(policy.validate().is_ok() && server.validate().is_ok());
            let defaults = server.over(Config::default());
            prop_assert_eq!(defaults.validate(), Ok(()));
            prop_assert_eq!(policy.over(defaults).validate(), Ok(()));
        }
    }
}
