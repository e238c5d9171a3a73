//! `mainstay serve`: a control plane.

use std::path::PathBuf;

use clap::Args;
use mainstay_control_plane::modes::Memory;
use mainstay_control_plane::{Broken, Config, Server, StartError};
use tracing_subscriber::EnvFilter;

use crate::config::{Flags, LogFormat, Settings};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::harness::{HarnessArgs, Ready};
use crate::host;
use crate::render::text::count;

/// Flags of `serve`. They are texts, so that a mistake in one is reported together with those in the environment and
/// the file.
#[derive(Debug, Args)]
#[command(
    after_help = "Flags win over the environment, and that over the file. In the file the settings are called \
    data, listen, admin, insecure_listen, allow_network, max_payload, max_open_runs, allow_drills, shutdown_grace, max_calls, agent_share, \
    tenant_share, max_waiting, keep_runs, keep_runs_for, max_artifact, artifact_quota, artifact_grace, breaker, memory_soft_limit, mode_rule, ejection_share, panic_threshold, slow_start, log, log_level."
)]
pub struct ServeArgs {
    /// Configuration file, YAML [env: MAINSTAY_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the store [env: MAINSTAY_DATA] [default: ./mainstay-data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Address of gRPC; port 0 takes a free one [env: MAINSTAY_LISTEN] [default: 127.0.0.1:7400]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Address of health, readiness and metrics over HTTP [env: MAINSTAY_ADMIN] [default: 127.0.0.1:7401]
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
    /// Listen on addresses that are not loopback although nothing is encrypted [env: MAINSTAY_INSECURE_LISTEN]
    #[arg(long)]
    insecure_listen: bool,
    /// Network that agents may be registered in; repeatable [env: MAINSTAY_ALLOW_NETWORK, with commas] [default: loopback]
    #[arg(long, value_name = "CIDR")]
    allow_network: Vec<String>,
    /// Largest payload [env: MAINSTAY_MAX_PAYLOAD] [default: 4MiB]
    #[arg(long, value_name = "SIZE")]
    max_payload: Option<String>,
    /// Runs that may be open at once [env: MAINSTAY_MAX_OPEN_RUNS] [default: 10000]
    #[arg(long, value_name = "N")]
    max_open_runs: Option<String>,
    /// Let `mainstay drill` inject faults on purpose [env: MAINSTAY_ALLOW_DRILLS]
    #[arg(long)]
    allow_drills: bool,
    /// How long calls under way may take to end at shutdown [env: MAINSTAY_SHUTDOWN_GRACE] [default: 10s]
    #[arg(long, value_name = "TIME")]
    shutdown_grace: Option<String>,
    /// Calls under way at once, in all [env: MAINSTAY_MAX_CALLS] [default: 10000]
    #[arg(long, value_name = "N")]
    max_calls: Option<String>,
    /// What one agent may take of them [env: MAINSTAY_AGENT_SHARE] [default: 25%]
    #[arg(long, value_name = "SHARE")]
    agent_share: Option<String>,
    /// What one tenant may take of them [env: MAINSTAY_TENANT_SHARE] [default: 80%]
    #[arg(long, value_name = "SHARE")]
    tenant_share: Option<String>,
    /// Calls that may wait for one capability [env: MAINSTAY_MAX_WAITING] [default: 2000]
    #[arg(long, value_name = "N")]
    max_waiting: Option<String>,
    /// Finished runs that are kept; beyond, the oldest go [env: MAINSTAY_KEEP_RUNS] [default: 1000000]
    #[arg(long, value_name = "N")]
    keep_runs: Option<String>,
    /// How long finished runs are kept [env: MAINSTAY_KEEP_RUNS_FOR] [default: 30d]
    #[arg(long, value_name = "TIME")]
    keep_runs_for: Option<String>,
    /// Largest artifact [env: MAINSTAY_MAX_ARTIFACT] [default: 1GiB]
    #[arg(long, value_name = "SIZE")]
    max_artifact: Option<String>,
    /// What the artifacts of a tenant may take [env: MAINSTAY_ARTIFACT_QUOTA] [default: 10GiB]
    #[arg(long, value_name = "SIZE")]
    artifact_quota: Option<String>,
    /// How long an artifact stays after it was put, although no kept run names it [env: MAINSTAY_ARTIFACT_GRACE] [default: 24h]
    #[arg(long, value_name = "TIME")]
    artifact_grace: Option<String>,
    /// When breakers open, where a capability declares nothing else, like failed=40%; repeatable [env: MAINSTAY_BREAKER, with commas]
    #[arg(long, value_name = "SETTING=VALUE")]
    breaker: Vec<String>,
    /// Memory to live with; beyond it work is left out, far beyond it the server stops in order to be started again
    /// [env: MAINSTAY_MEMORY_SOFT_LIMIT] [default: three quarters of what the system grants]
    #[arg(long, value_name = "SIZE")]
    memory_soft_limit: Option<String>,
    /// When the operating mode changes by itself, like latency.degraded=5s/3s or queue.degraded=off; repeatable
    /// [env: MAINSTAY_MODE_RULE, with commas]
    #[arg(long, value_name = "RULE=VALUE")]
    mode_rule: Vec<String>,
    /// The most of a pool that is left out because it does worse than its siblings; 0% for never [env: MAINSTAY_EJECTION_SHARE] [default: 10%]
    #[arg(long, value_name = "SHARE")]
    ejection_share: Option<String>,
    /// Below this share of usable instances all are used; 0% for never [env: MAINSTAY_PANIC_THRESHOLD] [default: 50%]
    #[arg(long, value_name = "SHARE")]
    panic_threshold: Option<String>,
    /// How long the share of a new or recovered instance grows; 0s for not at all [env: MAINSTAY_SLOW_START] [default: 30s]
    #[arg(long, value_name = "TIME")]
    slow_start: Option<String>,
    /// How logs look: text or json [env: MAINSTAY_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "FORMAT")]
    log: Option<String>,
    /// What is logged: a level or directives [env: MAINSTAY_LOG] [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    #[command(flatten)]
    harness: HarnessArgs,
}

pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    let settings = args.settings()?;
    start_logging(&settings);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Internal, format!("no runtime: {error}")))?;
    runtime.block_on(serve(config(settings), &args.harness))
}

async fn serve(config: Config, harness: &HarnessArgs) -> Result<(), Failure> {
    // Before anything is announced: whoever sees the server listen may already want it to end.
    let signal = mainstay_sidecar::host::shutdown_signal()
        .map_err(|error| Failure::new(Exit::Internal, format!("signals cannot be heard: {error}")))?;
    let server = Server::bind(config).await.map_err(|error| refused(&error))?;
    let address = |address: std::io::Result<std::net::SocketAddr>| {
        address.map_err(|error| Failure::new(Exit::Internal, format!("an address cannot be read: {error}")))
    };
    let (grpc, admin) = (address(server.grpc_addr())?, address(server.admin_addr())?);
    tracing::info!(%grpc, %admin, "listening");
    harness.announce(&Ready { grpc: grpc.to_string(), admin: Some(admin.to_string()) })?;
    let served = server.run(harness.until(signal)).await;
    served.map_err(|broken| {
        let exit = match broken {
            Broken::Part => Exit::Internal,
            Broken::Memory => Exit::Memory,
        };
        Failure::new(exit, broken.to_string())
    })
}

impl ServeArgs {
    /// All sources put together, and checked as the control plane will check them: every error at once.
    fn settings(&self) -> Result<Settings, Failure> {
        let path = self.config.clone().or_else(|| host::env("MAINSTAY_CONFIG").map(PathBuf::from));
        let (mut errors, mut file) = (Vec::new(), None);
        if let Some(path) = path.map(|path| path.display().to_string()) {
            match std::fs::read_to_string(&path) {
                Ok(text) => file = Some((path, text)),
                Err(error) => errors.push(format!("--config {path}: {error}")),
            }
        }
        let file = file.as_ref().map(|(path, text)| (path.as_str(), text.as_str()));
        let (settings, unread) = Settings::read(self.flags(), host::env, file);
        errors.extend(unread);
        if let Err(wrong) = config(settings.clone()).validate() {
            errors.extend(wrong.0);
        }
        if errors.is_empty() { Ok(settings) } else { Err(bad_configuration(&errors)) }
    }

    fn flags(&self) -> Flags {
        let one = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
        vec![
            ("data", one(&self.data)),
            ("listen", one(&self.listen)),
            ("admin", one(&self.admin)),
            ("insecure_listen", self.insecure_listen.then(|| "true".to_owned()).into_iter().collect()),
            ("allow_network", self.allow_network.clone()),
            ("max_payload", one(&self.max_payload)),
            ("max_open_runs", one(&self.max_open_runs)),
            ("allow_drills", self.allow_drills.then(|| "true".to_owned()).into_iter().collect()),
            ("shutdown_grace", one(&self.shutdown_grace)),
            ("max_calls", one(&self.max_calls)),
            ("agent_share", one(&self.agent_share)),
            ("tenant_share", one(&self.tenant_share)),
            ("max_waiting", one(&self.max_waiting)),
            ("keep_runs", one(&self.keep_runs)),
            ("keep_runs_for", one(&self.keep_runs_for)),
            ("max_artifact", one(&self.max_artifact)),
            ("artifact_quota", one(&self.artifact_quota)),
            ("artifact_grace", one(&self.artifact_grace)),
            ("breaker", self.breaker.clone()),
            ("memory_soft_limit", one(&self.memory_soft_limit)),
            ("mode_rule", self.mode_rule.clone()),
            ("ejection_share", one(&self.ejection_share)),
            ("panic_threshold", one(&self.panic_threshold)),
            ("slow_start", one(&self.slow_start)),
            ("log", one(&self.log)),
            ("log_level", one(&self.log_level)),
        ]
    }
}

fn config(settings: Settings) -> Config {
    Config {
        data: Some(settings.data),
        listen: settings.listen,
        admin: settings.admin,
        insecure_listen: settings.insecure_listen,
        allow_networks: settings.allow_networks,
        max_payload: settings.max_payload,
        max_open_runs: settings.max_open_runs,
        allow_drills: settings.allow_drills,
        shutdown_grace: settings.shutdown_grace,
        bulkheads: settings.bulkheads,
        queue: settings.queue,
        retention: settings.retention,
        artifacts: settings.artifacts,
        breakers: settings.breakers,
        memory: settings
            .memory_soft_limit
            .map_or_else(Memory::of_the_system, |soft| Memory { soft_limit: Some(soft) }),
        modes: settings.modes,
        ejection: settings.ejection,
        panic: settings.panic,
        slow_start: settings.slow_start,
    }
}

fn bad_configuration(errors: &[String]) -> Failure {
    let count = count(errors.len(), "error");
    Failure::new(Exit::Config, format!("the configuration has {count}\n{}", errors.join("\n")))
}

fn refused(error: &StartError) -> Failure {
    match error {
        StartError::Config(errors) => bad_configuration(&errors.0),
        StartError::Bind { .. } | StartError::Store { .. } => Failure::new(Exit::Config, error.to_string()),
        StartError::Registry(_) | StartError::Records(_) => Failure::new(Exit::Internal, error.to_string()),
    }
}

/// A log that cannot be written is not told of on the same standard error: that would be a panic in whoever logs, which in a
/// thread of the store would leave commits waiting for ever.
fn start_logging(settings: &Settings) {
    let logs = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&settings.log_level))
        .with_ansi(host::stderr_in_colour())
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    match settings.log {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}
