//! Settings of `mainstay serve`: flags over environment over file, checked together.
//!
//! A setting has three names and one meaning. Whatever its source, it is text until here, so that one parser reads it and
//! one error names the place it came from. All errors are collected: nobody wants to learn of them one start at a time.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use mainstay_kernel::time::text;
use mainstay_kernel::{artifact, breaker, bulkhead, call, ejection, mode, panic, queue, retention, share};
use tracing_subscriber::EnvFilter;

mod file;
mod source;

use self::source::{Setting, Sources};

/// Folder of the store unless set.
const DEFAULT_DATA: &str = "./mainstay-data";

const DATA: Setting = Setting::new("data", "--data", "MAINSTAY_DATA");
const LISTEN: Setting = Setting::new("listen", "--listen", "MAINSTAY_LISTEN");
const ADMIN: Setting = Setting::new("admin", "--admin", "MAINSTAY_ADMIN");
const INSECURE_LISTEN: Setting =
    Setting::new("insecure_listen", "--insecure-listen", "MAINSTAY_INSECURE_LISTEN");
const ALLOW_NETWORK: Setting = Setting::list("allow_network", "--allow-network", "MAINSTAY_ALLOW_NETWORK");
const MAX_PAYLOAD: Setting = Setting::new("max_payload", "--max-payload", "MAINSTAY_MAX_PAYLOAD");
const MAX_OPEN_RUNS: Setting = Setting::new("max_open_runs", "--max-open-runs", "MAINSTAY_MAX_OPEN_RUNS");
const ALLOW_DRILLS: Setting = Setting::new("allow_drills", "--allow-drills", "MAINSTAY_ALLOW_DRILLS");
const SHUTDOWN_GRACE: Setting = Setting::new("shutdown_grace", "--shutdown-grace", "MAINSTAY_SHUTDOWN_GRACE");
const MAX_CALLS: Setting = Setting::new("max_calls", "--max-calls", "MAINSTAY_MAX_CALLS");
const AGENT_SHARE: Setting = Setting::new("agent_share", "--agent-share", "MAINSTAY_AGENT_SHARE");
const TENANT_SHARE: Setting = Setting::new("tenant_share", "--tenant-share", "MAINSTAY_TENANT_SHARE");
const MAX_WAITING: Setting = Setting::new("max_waiting", "--max-waiting", "MAINSTAY_MAX_WAITING");
const KEEP_RUNS: Setting = Setting::new("keep_runs", "--keep-runs", "MAINSTAY_KEEP_RUNS");
const KEEP_RUNS_FOR: Setting = Setting::new("keep_runs_for", "--keep-runs-for", "MAINSTAY_KEEP_RUNS_FOR");
const MAX_ARTIFACT: Setting = Setting::new("max_artifact", "--max-artifact", "MAINSTAY_MAX_ARTIFACT");
const ARTIFACT_QUOTA: Setting = Setting::new("artifact_quota", "--artifact-quota", "MAINSTAY_ARTIFACT_QUOTA");
const ARTIFACT_GRACE: Setting = Setting::new("artifact_grace", "--artifact-grace", "MAINSTAY_ARTIFACT_GRACE");
const BREAKER: Setting = Setting::list("breaker", "--breaker", "MAINSTAY_BREAKER");
const MEMORY_SOFT_LIMIT: Setting =
    Setting::new("memory_soft_limit", "--memory-soft-limit", "MAINSTAY_MEMORY_SOFT_LIMIT");
const MODE_RULE: Setting = Setting::list("mode_rule", "--mode-rule", "MAINSTAY_MODE_RULE");
const EJECTION_SHARE: Setting = Setting::new("ejection_share", "--ejection-share", "MAINSTAY_EJECTION_SHARE");
const PANIC_THRESHOLD: Setting =
    Setting::new("panic_threshold", "--panic-threshold", "MAINSTAY_PANIC_THRESHOLD");
const SLOW_START: Setting = Setting::new("slow_start", "--slow-start", "MAINSTAY_SLOW_START");
const LOG: Setting = Setting::new("log", "--log", "MAINSTAY_LOG_FORMAT");
/// The variable that the sidecar reads, too.
const LOG_LEVEL: Setting = Setting::new("log_level", "--log-level", "MAINSTAY_LOG");

/// Every setting, in the order of the documentation.
const ALL: [Setting; 26] = [
    DATA,
    LISTEN,
    ADMIN,
    INSECURE_LISTEN,
    ALLOW_NETWORK,
    MAX_PAYLOAD,
    MAX_OPEN_RUNS,
    ALLOW_DRILLS,
    SHUTDOWN_GRACE,
    MAX_CALLS,
    AGENT_SHARE,
    TENANT_SHARE,
    MAX_WAITING,
    KEEP_RUNS,
    KEEP_RUNS_FOR,
    MAX_ARTIFACT,
    ARTIFACT_QUOTA,
    ARTIFACT_GRACE,
    BREAKER,
    MEMORY_SOFT_LIMIT,
    MODE_RULE,
    EJECTION_SHARE,
    PANIC_THRESHOLD,
    SLOW_START,
    LOG,
    LOG_LEVEL,
];

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Everything `serve` may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where state is kept.
    pub data: PathBuf,
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// Where health, readiness and metrics are served over HTTP.
    pub admin: SocketAddr,
    /// Allows addresses other than loopback.
    pub insecure_listen: bool,
    /// Networks that agents may be registered in, as CIDR; empty means loopback only.
    pub allow_networks: Vec<String>,
    /// Largest payload, in bytes.
    pub max_payload: usize,
    /// Runs that may be open at once.
    pub max_open_runs: usize,
    /// Whether faults may be injected on purpose.
    pub allow_drills: bool,
    /// How long calls under way may take to end.
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
    /// Memory to live with, in bytes; `None` leaves it to the system.
    pub memory_soft_limit: Option<u64>,
    /// When the operating mode changes by itself.
    pub modes: mode::Config,
    /// How many of a pool may be ejected because they do worse than their siblings.
    pub ejection: ejection::Config,
    /// When too few instances of a capability look usable to be believed.
    pub panic: panic::Config,
    /// How long the share of a new or recovered instance grows.
    pub slow_start: Duration,
    /// How logs look.
    pub log: LogFormat,
    /// What is logged: a level, or directives like `info,mainstay_store=debug`.
    pub log_level: String,
}

/// The flags of `serve`, as they were typed: setting key to texts.
pub(crate) type Flags = Vec<(&'static str, Vec<String>)>;

impl Settings {
    /// Reads all sources. What no source says, or says wrongly, is left at its default; what is wrong is the second
    /// result: every error there is, each naming the setting and where it was set.
    pub(crate) fn read(
        flags: Flags,
        env: impl Fn(&str) -> Option<String>,
        config: Option<(&str, &str)>,
    ) -> (Self, Vec<String>) {
        let mut errors = Vec::new();
        let file = config.map(|(path, text)| file::read(path, text, &ALL, &mut errors)).unwrap_or_default();
        let mut sources = Sources::new(flags, env, file, errors);
        let (keep, kept) = (retention::Policy::default(), artifact::Policy::default());
        let (walls, line) = (bulkhead::Config::default(), queue::Config::default());
        let settings = Self {
            data: sources.one(DATA, DEFAULT_DATA.into(), |text| Ok(PathBuf::from(text))),
            listen: sources.one(LISTEN, (Ipv4Addr::LOCALHOST, 7400).into(), address),
            admin: sources.one(ADMIN, (Ipv4Addr::LOCALHOST, 7401).into(), address),
            insecure_listen: sources.one(INSECURE_LISTEN, false, switch),
            allow_networks: sources.many(ALLOW_NETWORK),
            max_payload: sources.one(MAX_PAYLOAD, 4 * 1024 * 1024, size),
            max_open_runs: sources.one(MAX_OPEN_RUNS, 10_000, count),
            allow_drills: sources.one(ALLOW_DRILLS, false, switch),
            shutdown_grace: sources.one(SHUTDOWN_GRACE, Duration::from_secs(10), span),
            bulkheads: bulkhead::Config {
                whole: sources.one(MAX_CALLS, walls.whole, count),
                agent_bp: sources.one(AGENT_SHARE, walls.agent_bp, part),
                tenant_bp: sources.one(TENANT_SHARE, walls.tenant_bp, part),
            },
            queue: queue::Config { most: sources.one(MAX_WAITING, line.most, count) },
            retention: retention::Policy {
                keep: sources.one(KEEP_RUNS, keep.keep, count),
                keep_for: sources.one(KEEP_RUNS_FOR, keep.keep_for, span),
            },
            artifacts: artifact::Policy {
                max_bytes: sources.one(MAX_ARTIFACT, kept.max_bytes, bytes),
                tenant_bytes: sources.one(ARTIFACT_QUOTA, kept.tenant_bytes, bytes),
                grace: sources.one(ARTIFACT_GRACE, kept.grace, span),
            },
            breakers: breakers(&mut sources),
            memory_soft_limit: sources.one(MEMORY_SOFT_LIMIT, None, |text| {
                let bytes = size(text)?;
                Ok(Some(u64::try_from(bytes).unwrap_or(u64::MAX)))
            }),
            modes: mode_rules(&mut sources),
            ejection: ejection::Config {
                share_bp: sources.one(EJECTION_SHARE, ejection::Config::default().share_bp, part),
            },
            panic: panic::Config {
                threshold_bp: sources.one(PANIC_THRESHOLD, panic::Config::default().threshold_bp, part),
            },
            slow_start: sources.one(SLOW_START, call::SLOW_START, span),
            log: sources.one(LOG, LogFormat::Text, log_format),
            log_level: sources.one(LOG_LEVEL, "info".to_owned(), log_level),
        };
        (settings, sources.errors())
    }
}

/// Settings of breakers, each like `failed=40%`, over those that hold without a word.
fn breakers<E: Fn(&str) -> Option<String>>(sources: &mut Sources<E>) -> breaker::Config {
    let mut policy = breaker::Policy::default();
    sources.each(BREAKER, |text| {
        let (setting, value) = text.split_once('=').ok_or("write SETTING=VALUE, like failed=40%")?;
        policy.set(setting.trim(), value.trim()).map_err(|error| format!("{setting} {error}"))
    });
    policy.over(breaker::Config::default())
}

/// Rules of modes, each like `latency.degraded=5s/3s`, over those that hold without a word.
fn mode_rules<E: Fn(&str) -> Option<String>>(sources: &mut Sources<E>) -> mode::Config {
    let mut rules = mode::Config::default();
    sources.each(MODE_RULE, |text| {
        let (rule, value) = text.split_once('=').ok_or("write RULE=VALUE, like latency.degraded=5s/3s")?;
        rules.set(rule.trim(), value.trim()).map_err(|error| format!("{rule} {error}"))
    });
    rules
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write an IP address and a port, like 127.0.0.1:7400 or [::1]:7400".to_owned())
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}

fn count<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "write a whole number".to_owned())
}

fn part(text: &str) -> Result<u32, String> {
    share::parse(text).map_err(|_| "write a share like 25% or 12.5%".to_owned())
}

/// A size as [`size`] reads it.
fn bytes(text: &str) -> Result<u64, String> {
    size(text).map(|size| size as u64)
}

/// `4194304`, `4096KiB` or `4MiB`.
fn size(text: &str) -> Result<usize, String> {
    let bad = || "write a number of bytes, or with KiB, MiB or GiB, like 4MiB".to_owned();
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let unit = match unit {
        "" | "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        "GiB" => 1024 * 1024 * 1024,
        _ => return Err(bad()),
    };
    let number: usize = number.parse().map_err(|_| bad())?;
    number.checked_mul(unit).ok_or_else(bad)
}

fn span(written: &str) -> Result<Duration, String> {
    text::parse(written).map_err(|_| "write a duration like 10s or 1m30s".to_owned())
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("write text or json".to_owned()),
    }
}

fn log_level(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => {
            Err("write error, warn, info, debug, trace, or directives like info,mainstay_store=debug"
                .to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: Flags, env: &[(&str, &str)], file: Option<&str>) -> Result<Settings, Vec<String>> {
        let lookup =
            |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let (settings, errors) = Settings::read(flags, lookup, file.map(|text| ("m.yaml", text)));
        if errors.is_empty() { Ok(settings) } else { Err(errors) }
    }

    fn flag(key: &'static str, value: &str) -> (&'static str, Vec<String>) {
        (key, vec![value.to_owned()])
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let file = "listen: 127.0.0.1:1\nadmin: 127.0.0.1:2\nmax_payload: 1MiB\n";
        let env = [("MAINSTAY_LISTEN", "127.0.0.1:3"), ("MAINSTAY_ADMIN", "127.0.0.1:4")];
        let settings = read(vec![flag("listen", "127.0.0.1:5")], &env, Some(file)).unwrap();
        assert_eq!(settings.listen.port(), 5);
        assert_eq!(settings.admin.port(), 4);
        assert_eq!(settings.max_payload, 1024 * 1024);
        assert_eq!(settings.shutdown_grace, Duration::from_secs(10));
    }

    #[test]
    fn nothing_said_is_all_defaults() {
        let settings = read(vec![], &[], None).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:7400");
        assert_eq!(settings.data, PathBuf::from("./mainstay-data"));
        assert!(!settings.insecure_listen);
        assert_eq!(read(vec![], &[], Some("# nothing yet\n")).unwrap(), settings);
    }

    #[test]
    fn lists_replace_lists_and_are_written_as_each_source_writes_them() {
        let file = "allow_network: [10.0.0.0/8, 127.0.0.0/8]\n";
        assert_eq!(read(vec![], &[], Some(file)).unwrap().allow_networks, ["10.0.0.0/8", "127.0.0.0/8"]);
        let env = [("MAINSTAY_ALLOW_NETWORK", "10.1.0.0/16, 10.2.0.0/16")];
        assert_eq!(read(vec![], &env, Some(file)).unwrap().allow_networks, ["10.1.0.0/16", "10.2.0.0/16"]);
        let flags = vec![("allow_network", vec!["10.3.0.0/16".to_owned()])];
        assert_eq!(read(flags, &env, Some(file)).unwrap().allow_networks, ["10.3.0.0/16"]);
    }

    #[test]
    fn settings_of_breakers_are_a_map_in_the_file_and_pairs_elsewhere() {
        let file = "breaker: { failed: 40%, probes: 1, weights: { slow: 25% } }\n";
        let breakers = read(vec![], &[], Some(file)).unwrap().breakers;
        assert_eq!((breakers.failed_bp, breakers.probes), (4_000, 1));
        assert_eq!(breakers.weights.of(breaker::Weighed::Slow), 2_500);
        let flags = vec![("breaker", vec!["probes=2".to_owned(), "weights.slow=10%".to_owned()])];
        let flagged = read(flags, &[], Some(file)).unwrap().breakers;
        assert_eq!((flagged.failed_bp, flagged.probes), (5_000, 2), "lists replace lists");
        let env = [("MAINSTAY_BREAKER", "probes=2,weights.slow=10%")];
        assert_eq!(read(vec![], &env, Some(file)).unwrap().breakers, flagged);
        let waits = vec![("breaker", vec!["wait=2m".to_owned(), "max_wait=1m".to_owned()])];
        let breakers = read(waits, &[], None).unwrap().breakers;
        assert!(breakers.validate().is_err(), "found with everything else that does not fit together");
    }

    #[test]
    fn rules_of_modes_are_a_map_in_the_file_and_pairs_elsewhere() {
        let file = "mode_rule: { latency: { degraded: 5s/3s }, queue: { degraded: off }, dwell: 30s }\n";
        let modes = read(vec![], &[], Some(file)).unwrap().modes;
        let env = [("MAINSTAY_MODE_RULE", "latency.degraded=5s/3s,queue.degraded=off,dwell=30s")];
        assert_eq!(read(vec![], &env, None).unwrap().modes, modes);
        assert_eq!(modes.dwell, Duration::from_secs(30));
        assert_eq!(modes.rules.len(), mode::Config::default().rules.len(), "one went, one came");
    }

    #[test]
    fn all_errors_are_reported_together_each_with_its_source() {
        let file = "lisen: 127.0.0.1:1\nadmin: nowhere\nmax_open_runs: [1]\n";
        let env = [
            ("MAINSTAY_SHUTDOWN_GRACE", "10"),
            ("MAINSTAY_LOG", "inf=o=x"),
            ("MAINSTAY_AGENT_SHARE", "0.25"),
            ("MAINSTAY_MAX_CALLS", "many"),
            ("MAINSTAY_MODE_RULE", "latency.degraded=5s/6s, p99.degraded=5s, errors.emergency"),
            ("MAINSTAY_BREAKER", "failed=120%, probes=1, weights.overload=1%, window"),
        ];
        let errors = read(vec![flag("max_payload", "4MB")], &env, Some(file)).unwrap_err();
        insta::assert_snapshot!(errors.join("\n"));
    }

    #[test]
    fn a_file_that_is_no_yaml_is_one_error_among_the_others() {
        let errors = read(vec![flag("listen", "x")], &[], Some("a: [")).unwrap_err();
        assert_eq!(errors.len(), 2, "{errors:#?}");
        assert!(errors[0].starts_with("m.yaml: line "), "{errors:#?}");
    }

    #[test]
    fn sizes_have_units_that_cannot_be_misread() {
        assert_eq!(size("4194304"), Ok(4 * 1024 * 1024));
        assert_eq!(size("4MiB"), Ok(4 * 1024 * 1024));
        for bad in ["", "4MB", "-1", "4 MiB", "99999999999999999999", "18446744073709551615MiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
