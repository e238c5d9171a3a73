//! What an operator may set, checked as a whole: all errors are reported together.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mainstay_kernel::json::Limits;
use mainstay_kernel::share::{Human, WHOLE};
use mainstay_kernel::time::text;
use mainstay_kernel::{artifact, breaker, bulkhead, call, ejection, mode, panic, queue, retention};

use crate::address::{Network, Policy};
use crate::modes::Memory;

/// Payload limit unless set: what gRPC peers take by default.
pub const DEFAULT_MAX_PAYLOAD: usize = 4 * 1024 * 1024;
/// Largest payload limit. A payload is held in memory a few times on its way; a transition with several of them must
/// still fit into one blob.
const LARGEST_MAX_PAYLOAD: usize = 8 * 1024 * 1024;
/// Least memory to live with: a server that does nothing yet uses half of it.
const LEAST_MEMORY: u64 = 32 * 1024 * 1024;

/// Longest slow start. An instance that needs more is not ready to be registered.
const LONGEST_SLOW_START: Duration = Duration::from_secs(600);

/// Most finished runs that may be kept: with a few records each, the listing of that many still opens in a minute.
const LARGEST_KEEP: u64 = 100_000_000;
/// Shortest time for which finished runs may be kept: whoever waited for one, or repeats its start, needs that long.
const SHORTEST_KEEP_FOR: Duration = Duration::from_secs(60);
/// Longest time, ten years: what must be kept longer belongs into an archive.
const LONGEST_KEEP_FOR: Duration = Duration::from_secs(3653 * 24 * 3600);

/// Shortest time of grace of an artifact: what is shorter collects one before anybody could name it.
const SHORTEST_GRACE: Duration = Duration::from_secs(1);

/// Settings of a control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where state is kept; `None` keeps it in memory and loses it with the process.
    pub data: Option<PathBuf>,
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// Where health, readiness and metrics are served over HTTP.
    pub admin: SocketAddr,
    /// Allows addresses other than loopback, although nothing is encrypted or authenticated yet.
    pub insecure_listen: bool,
    /// Networks that agents may be registered in, as CIDR; empty means loopback only.
    pub allow_networks: Vec<String>,
    /// Largest payload, in bytes.
    pub max_payload: usize,
    /// Runs that may be open at once.
    pub max_open_runs: usize,
    /// Whether faults may be injected on purpose.
    pub allow_drills: bool,
    /// How long calls under way may take to end when the server stops.
    pub shutdown_grace: Duration,
    /// How the calls under way are divided among agents and tenants.
    pub bulkheads: bulkhead::Config,
    /// How many calls may wait for a capability.
    pub queue: queue::Config,
    /// Which finished runs are kept.
    pub retention: retention::Policy,
    /// How large artifacts may be, and how long they stay.
    pub artifacts: artifact::Policy,
    /// When breakers open, where a capability declares nothing else.
    pub breakers: breaker::Config,
    /// The memory to live with.
    pub memory: Memory,
    /// When the operating mode changes by itself.
    pub modes: mode::Config,
    /// How many of a pool may be ejected because they do worse than their siblings.
    pub ejection: ejection::Config,
    /// When too few instances of a capability look usable to be believed.
    pub panic: panic::Config,
    /// How long the share of a new or recovered instance grows; none if it is zero.
    pub slow_start: Duration,
}

/// All that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<String>);

impl Default for Config {
    fn default() -> Self {
        Self {
            data: None,
            listen: (Ipv4Addr::LOCALHOST, 7400).into(),
            admin: (Ipv4Addr::LOCALHOST, 7401).into(),
            insecure_listen: false,
            allow_networks: Vec::new(),
            max_payload: DEFAULT_MAX_PAYLOAD,
            max_open_runs: 10_000,
            allow_drills: false,
            shutdown_grace: Duration::from_secs(10),
            bulkheads: bulkhead::Config::default(),
            queue: queue::Config::default(),
            retention: retention::Policy::default(),
            artifacts: artifact::Policy::default(),
            breakers: breaker::Config::default(),
            memory: Memory::default(),
            modes: mode::Config::default(),
            ejection: ejection::Config::default(),
            panic: panic::Config::default(),
            slow_start: call::SLOW_START,
        }
    }
}

/// A configuration that holds together.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) config: Config,
    pub(crate) addresses: Policy,
    pub(crate) limits: Limits,
}

impl Config {
    /// Checks everything, as [`crate::Server::bind`] will.
    ///
    /// # Errors
    /// All that is wrong, each naming its setting and the way out.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        self.clone().check().map(drop)
    }

    /// Checks everything and reports all errors at once, each naming its setting and the way out.
    pub(crate) fn check(self) -> Result<Checked, ConfigErrors> {
        let mut errors = Vec::new();
        for (setting, address) in [("listen", self.listen), ("admin", self.admin)] {
            if !address.ip().is_loopback() && !self.insecure_listen {
                errors.push(format!(
                    "`{setting}` is {address}: nothing there is encrypted or authenticated yet, so only loopback is \
                     allowed; pass `--insecure-listen` if the network is trusted"
                ));
            }
        }
        if self.listen == self.admin && self.listen.port() != 0 {
            errors
                .push(format!("`listen` and `admin` are both {}: give each a port of its own", self.listen));
        }
        if !(1024..=LARGEST_MAX_PAYLOAD).contains(&self.max_payload) {
            errors.push(format!(
                "`max-payload` is {}: give 1024 to {LARGEST_MAX_PAYLOAD} bytes",
                self.max_payload
            ));
        }
        if !(1..=1_000_000).contains(&self.max_open_runs) {
            errors.push(format!("`max-open-runs` is {}: give 1 to 1000000", self.max_open_runs));
        }
        if self.shutdown_grace > Duration::from_secs(600) {
            errors.push(format!("`shutdown-grace` is {:?}: give at most 10m", self.shutdown_grace));
        }
        self.check_room(&mut errors);
        if let Some(soft) = self.memory.soft_limit.filter(|soft| *soft < LEAST_MEMORY) {
            errors.push(format!("`memory-soft-limit` is {soft} bytes: give at least 32MiB"));
        }
        self.check_siblings(&mut errors);
        self.check_kept(&mut errors);
        self.check_artifacts(&mut errors);
        errors.extend(self.breakers.validate().err().map(|error| error.to_string()));
        errors.extend(self.modes.validate().err().map(|error| error.to_string()));
        let mut networks = Vec::new();
        for text in &self.allow_networks {
            match text.parse::<Network>() {
                Ok(network) => networks.push(network),
                Err(error) => errors.push(format!("`allow-network` {text:?}: {error}")),
            }
        }
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        let addresses = if networks.is_empty() { Policy::default() } else { Policy::new(networks) };
        let limits = Limits { max_bytes: self.max_payload, ..Limits::default() };
        Ok(Checked { config: self, addresses, limits })
    }

    fn check_kept(&self, errors: &mut Vec<String>) {
        let retention::Policy { keep, keep_for } = self.retention;
        if !(1..=LARGEST_KEEP).contains(&keep) {
            errors.push(format!("`keep-runs` is {keep}: give 1 to {LARGEST_KEEP}"));
        }
        if !(SHORTEST_KEEP_FOR..=LONGEST_KEEP_FOR).contains(&keep_for) {
            errors.push(format!(
                "`keep-runs-for` is {}: give {} to {}",
                text::Human(keep_for),
                text::Human(SHORTEST_KEEP_FOR),
                text::Human(LONGEST_KEEP_FOR),
            ));
        }
    }

    fn check_artifacts(&self, errors: &mut Vec<String>) {
        let artifact::Policy { max_bytes, tenant_bytes, grace } = self.artifacts;
        if !(1..=artifact::Policy::LARGEST).contains(&max_bytes) {
            errors.push(format!(
                "`max-artifact` is {max_bytes} bytes: give 1 to {}",
                artifact::Policy::LARGEST
            ));
        }
        if tenant_bytes < max_bytes {
            errors.push(format!(
                "`artifact-quota` is {tenant_bytes} bytes: give at least `max-artifact`, {max_bytes}"
            ));
        }
        if !(SHORTEST_GRACE..=LONGEST_KEEP_FOR).contains(&grace) {
            errors.push(format!(
                "`artifact-grace` is {}: give {} to {}",
                text::Human(grace),
                text::Human(SHORTEST_GRACE),
                text::Human(LONGEST_KEEP_FOR),
            ));
        }
    }

    fn check_siblings(&self, errors: &mut Vec<String>) {
        for (setting, share, most) in [
            ("ejection-share", self.ejection.share_bp, ejection::LARGEST_SHARE),
            ("panic-threshold", self.panic.threshold_bp, WHOLE),
        ] {
            if share > most {
                errors.push(format!("`{setting}` is {}: give 0% to {}", Human(share), Human(most)));
            }
        }
        if self.slow_start > LONGEST_SLOW_START {
            errors.push(format!("`slow-start` is {:?}: give at most 10m", self.slow_start));
        }
    }

    fn check_room(&self, errors: &mut Vec<String>) {
        let bulkhead::Config { whole, agent_bp, tenant_bp } = self.bulkheads;
        for (setting, given, most) in
            [("max-calls", whole, bulkhead::MOST_CALLS), ("max-waiting", self.queue.most, queue::LONGEST)]
        {
            if !(1..=most).contains(&given) {
                errors.push(format!("`{setting}` is {given}: give 1 to {most}"));
            }
        }
        for (setting, share) in [("agent-share", agent_bp), ("tenant-share", tenant_bp)] {
            if !(1..=WHOLE).contains(&share) {
                errors.push(format!("`{setting}` is {}: give 0.01% to 100%", Human(share)));
            }
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_errors_are_reported_together() {
        let config = Config {
            listen: ([0, 0, 0, 0], 7400).into(),
            max_payload: 1,
            allow_networks: vec!["10.0.0.0/33".into()],
            bulkheads: bulkhead::Config { whole: 0, agent_bp: 0, tenant_bp: 10_001 },
            queue: queue::Config { most: queue::LONGEST + 1 },
            ..Config::default()
        };
        let errors = config.check().unwrap_err().0;
        assert_eq!(errors.len(), 7, "{errors:#?}");
        assert!(errors[0].contains("--insecure-listen"));
        assert!(errors[1].contains("max-payload"));
        assert_eq!(errors[2], "`max-calls` is 0: give 1 to 100000");
        assert_eq!(errors[3], "`max-waiting` is 100001: give 1 to 100000");
        assert_eq!(errors[4], "`agent-share` is 0%: give 0.01% to 100%");
        assert!(errors[5].contains("tenant-share"));
        assert!(errors[6].contains("10.0.0.0/33"));
    }

    #[test]
    fn another_address_than_loopback_needs_a_word() {
        let open = Config { listen: ([0, 0, 0, 0], 7400).into(), insecure_listen: true, ..Config::default() };
        assert!(open.check().is_ok());
        assert!(Config::default().check().is_ok());
    }
}
