//! A sidecar from its start to its end.
//!
//! [`Sidecar::bind`] does everything that can fail because of a mistake: the address, the ledger, the names. After it,
//! [`Sidecar::run`] only ends when it is told to, and then in this order: give the lease back, so that nobody is sent
//! here; refuse new work; let what is under way end, for as long as the manifest allows; close the connections.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use mainstay_kernel::dice::Dice;
use mainstay_kernel::effect::EffectClass;
use mainstay_kernel::name::{Name, NameError};
use mainstay_kernel::time::text::Human;
use mainstay_proto::pb;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::{interval, timeout};
use tonic::transport::Endpoint;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::desk::Desk;
use crate::host::{self, Clock};
use crate::ledger::{Durable, Ledger, OpenError, RETENTION};
use crate::options::{DEFAULT_CONTROL_PLANE, DEFAULT_LISTEN, Options};
use crate::registration::Registration;
use crate::server;
use crate::service::Face;
use crate::vitals::Vitals;

/// How long connecting to the control plane may take before it counts as away.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// How often the durable ledger is brought back within its bounds.
const CLEAN_EVERY: Duration = Duration::from_secs(3600);

/// A sidecar that listens, ready to run.
#[derive(Debug)]
pub struct Sidecar {
    desk: Desk,
    vitals: Vitals,
    listener: TcpListener,
    local_addr: SocketAddr,
    instance: Name,
    registration: Registration,
    max_payload: usize,
    drain: Duration,
}

/// Why a sidecar cannot start. Each says which setting to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not loopback, and not allowed to be.
    #[error(
        "listen: {0} is not a loopback address, and nothing that passes there is encrypted; \
         add `insecure_listen: true` or --insecure-listen if the network is trusted"
    )]
    NotLoopback(SocketAddr),
    /// Taken, or not ours.
    #[error("listen: {address}: {error}; give another address with `listen:` or --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// All interfaces are no address that anyone can call.
    #[error(
        "advertise: is missing; the sidecar listens on {0}, which others cannot call: say `advertise: http://HOST:PORT`"
    )]
    NoAdvertise(SocketAddr),
    /// Not a URL of ours.
    #[error("{setting}: is {value:?}; write a URL like http://127.0.0.1:7400")]
    Url {
        /// Which setting.
        setting: &'static str,
        /// What it says.
        value: String,
    },
    /// Not a name.
    #[error("instance: {0}")]
    Instance(NameError),
    /// A side effect needs a durable ledger.
    #[error(
        "data: is missing; capability {0} is side-effecting, and without a folder for its ledger a crash could repeat \
         its effect: say `data: DIR` or --data DIR"
    )]
    NoData(Name),
    /// The ledger.
    #[error("data: {}: {error}", path.display())]
    Ledger {
        /// The folder.
        path: PathBuf,
        /// Why it cannot be used.
        error: OpenError,
    },
}

// === impl Sidecar ===

impl Sidecar {
    /// Binds the address and opens the ledger.
    ///
    /// # Errors
    /// [`StartError`] names the setting at fault.
    pub async fn bind(options: Options) -> Result<Self, StartError> {
        let manifest = &options.manifest;
        let address = options.listen.or(manifest.listen).unwrap_or(DEFAULT_LISTEN);
        let trusted = address.ip().is_loopback() || options.insecure_listen || manifest.insecure_listen;
        if !trusted {
            return Err(StartError::NotLoopback(address));
        }
        let control_plane = options.control_plane.as_ref().or(manifest.control_plane.as_ref());
        let control_plane = endpoint(control_plane.map_or(DEFAULT_CONTROL_PLANE, String::as_str))?;
        let ledger = open_ledger(&options)?;
        let listen = |error| StartError::Listen { address, error };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let local_addr = listener.local_addr().map_err(listen)?;
        let advertised = advertised(&options, local_addr)?;
        let instance = instance(&options, &advertised)?;
        let request = pb::RegisterRequest {
            tenant: manifest.tenant.as_ref().map(Name::to_string).unwrap_or_default(),
            agent: Some((&manifest.agent).into()),
            instance: instance.to_string(),
            address: advertised,
            ttl: None,
            lease_id: String::new(),
        };
        let dice = Dice::seeded(host::seed());
        let name = control_plane.uri().to_string();
        let control_plane = control_plane.connect_lazy();
        let registration = Registration::new(control_plane.clone(), name, request, dice);
        let vitals = Vitals::new(manifest.probe.clone(), Clock::start());
        let desk = Desk::new(manifest, ledger, vitals.clone(), control_plane);
        Ok(Self {
            desk,
            vitals,
            listener,
            local_addr,
            instance,
            registration,
            max_payload: manifest.limits.payload,
            drain: manifest.drain,
        })
    }

    /// The address it listens on.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The name under which it registers.
    #[must_use]
    pub const fn instance(&self) -> &Name {
        &self.instance
    }

    /// Serves until `shutdown` resolves, then drains. Cannot fail: what could has been done before.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        tracing::info!(address = %self.local_addr, instance = %self.instance, "listening");
        let (health, health_service) = mainstay_transport::health::service();
        let agent = self.desk.agent().name.clone();
        let well = *self.vitals.serving().borrow();
        tell(&health, &agent, well).await;
        let (stop, stopped) = oneshot::channel::<()>();
        let face = Face::new(self.desk.clone(), self.instance.clone());
        let stopped = async { drop(stopped.await) };
        let mut serving =
            std::pin::pin!(server::serve(self.listener, face, health_service, self.max_payload, stopped));
        let upkeep = upkeep(&self.desk, &self.vitals, &health, &agent);
        tokio::select! {
            () = &mut serving => {}
            () = self.registration.keep() => {}
            () = upkeep => {}
            () = shutdown => {}
        }
        tracing::info!(in_flight = self.desk.in_flight(), drain = %Human(self.drain), "shutting down");
        let farewell = async {
            self.registration.give_back("the sidecar is shutting down").await;
            self.desk.drain();
            tell(&health, &agent, false).await;
            if timeout(self.drain, self.desk.idle()).await.is_err() {
                tracing::warn!(in_flight = self.desk.in_flight(), "calls did not end in time and are cut");
            }
            drop(stop);
        };
        tokio::join!(serving, farewell);
    }
}

/// Everything that goes on beside the calls. Never ends.
async fn upkeep(desk: &Desk, vitals: &Vitals, health: &HealthReporter, agent: &Name) {
    let told = async {
        let mut serving = vitals.serving();
        while serving.changed().await.is_ok() {
            let now = *serving.borrow_and_update();
            tell(health, agent, now).await;
        }
    };
    tokio::join!(told, vitals.watch_over(|| desk.adapter().tidy()), keep_ledger_clean(desk));
}

async fn tell(health: &HealthReporter, agent: &Name, serving: bool) {
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in ["", agent.as_str(), "mainstay.v1.AgentSidecar"] {
        health.set_service_status(service, status).await;
    }
}

/// Reconciles the durable ledger with its bounds, once at the start and then every hour.
async fn keep_ledger_clean(desk: &Desk) {
    let Some(durable) = desk.ledger().durable() else { return };
    let mut ticks = interval(CLEAN_EVERY);
    loop {
        ticks.tick().await;
        let durable = durable.clone();
        match tokio::task::spawn_blocking(move || durable.clean(host::wall(), RETENTION)).await {
            Ok(Ok(0)) => {}
            Ok(Ok(forgotten)) => tracing::info!(forgotten, "cleaned the ledger"),
            Ok(Err(error)) => {
                tracing::warn!(error, "the ledger could not be cleaned; trying again in an hour")
            }
            Err(error) => tracing::error!(%error, "cleaning the ledger failed"),
        }
    }
}

fn endpoint(url: &str) -> Result<Endpoint, StartError> {
    let bad = || StartError::Url { setting: "control_plane", value: url.to_owned() };
    let uri: Uri = url.parse().map_err(|_| bad())?;
    if uri.scheme_str() != Some("http") {
        return Err(bad());
    }
    Ok(Endpoint::from(uri).connect_timeout(CONNECT_WITHIN).tcp_nodelay(true))
}

/// Opened only where something needs it: without side effects there is nothing to remember, and no files.
fn open_ledger(options: &Options) -> Result<Ledger, StartError> {
    let capabilities = &options.manifest.agent.capabilities;
    let Some(needs) = capabilities.iter().find(|capability| capability.effect == EffectClass::SideEffecting)
    else {
        return Ok(Ledger::new(None));
    };
    let path = options.data.as_ref().or(options.manifest.data.as_ref());
    let path = path.ok_or_else(|| StartError::NoData(needs.name.clone()))?;
    let durable = Durable::open(path).map_err(|error| StartError::Ledger { path: path.clone(), error })?;
    Ok(Ledger::new(Some(durable)))
}

/// Where others reach this sidecar, `http://HOST:PORT`.
fn advertised(options: &Options, local: SocketAddr) -> Result<String, StartError> {
    let Some(url) = options.advertise.as_ref().or(options.manifest.advertise.as_ref()) else {
        if local.ip().is_unspecified() {
            return Err(StartError::NoAdvertise(local));
        }
        return Ok(format!("http://{local}"));
    };
    let usable =
        url.parse().is_ok_and(|uri: Uri| uri.scheme_str() == Some("http") && uri.authority().is_some());
    if !usable {
        return Err(StartError::Url { setting: "advertise", value: url.clone() });
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// The instance's name: as given, or from host and port, which are the same after a restart.
fn instance(options: &Options, advertised: &str) -> Result<Name, StartError> {
    if let Some(name) = &options.instance {
        return Name::new(name).map_err(StartError::Instance);
    }
    if let Some(name) = &options.manifest.instance {
        return Ok(name.clone());
    }
    let place = advertised.trim_start_matches("http://").to_ascii_lowercase();
    let plain: String =
        place.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    Name::new(plain.trim_matches(['-', '.'])).map_err(StartError::Instance)
}
