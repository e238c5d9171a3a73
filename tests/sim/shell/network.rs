//! A network in memory: every byte takes its time, and a host may be cut off, or lose its connections, as the seed wills.
//!
//! A cut holds bytes back, as TCP does, and lets them arrive late once it is over; a break ends every connection at once.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use mainstay_kernel::dice::Dice;
use mainstay_transport::channel::{Dialling, Network, Wire};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::time::sleep;
use tonic::service::Routes;

use super::signal::Signal;

/// Bytes on their way in one direction.
const PIPE: usize = 64 * 1024;

/// What the network does to one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Whole,
    Cut,
    Broken,
}

#[derive(Debug)]
struct Host {
    link: Mutex<Link>,
    changed: Signal,
    routes: Routes,
}

/// The network of one life of the control plane. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Net(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    dice: Dice,
    hosts: BTreeMap<SocketAddr, Arc<Host>>,
}

impl Host {
    fn is(&self, wanted: impl Fn(Link) -> bool) -> bool {
        wanted(*self.link.lock().unwrap())
    }

    async fn until(&self, wanted: impl Fn(Link) -> bool) {
        self.changed.until(|| self.is(&wanted).then_some(())).await;
    }
}

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner { dice: Dice::seeded(seed), hosts: BTreeMap::new() })))
    }

    /// Serves `routes` at `addr`.
    pub(crate) fn serve(&self, addr: SocketAddr, routes: Routes) {
        let host = Host { link: Mutex::new(Link::Whole), changed: Signal::default(), routes };
        self.0.lock().unwrap().hosts.insert(addr, Arc::new(host));
    }

    pub(crate) fn turn(&self, addr: SocketAddr, link: Link) {
        let host = Arc::clone(&self.0.lock().unwrap().hosts[&addr]);
        *host.link.lock().unwrap() = link;
        host.changed.tell();
    }

    fn delay(&self) -> Duration {
        Duration::from_micros(200) + self.0.lock().unwrap().dice.jitter(Duration::from_millis(4))
    }

    async fn connect(self, addr: SocketAddr) -> io::Result<Box<dyn Wire>> {
        sleep(self.delay()).await;
        let host = self.0.lock().unwrap().hosts.get(&addr).cloned();
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let host = host.filter(|host| host.is(|link| link != Link::Broken)).ok_or_else(refused)?;
        // A dial into the void is given up by whoever dials.
        host.until(|link| link != Link::Cut).await;
        let ((near, wire), (far, served)) = (duplex(PIPE), duplex(PIPE));
        tokio::spawn(self.clone().carry(wire, far, Arc::clone(&host)));
        let service = TowerToHyperService::new(host.routes.clone());
        tokio::spawn(async move {
            let mut http = http2::Builder::new(TokioExecutor::new());
            // A connection that breaks is what is simulated.
            http.timer(TokioTimer::new()).serve_connection(TokioIo::new(served), service).await.ok();
        });
        Ok(Box::new(near))
    }

    /// Carries bytes in both directions until one of them ends or the connection breaks.
    async fn carry(self, near: DuplexStream, far: DuplexStream, host: Arc<Host>) {
        let ((from_near, to_near), (from_far, to_far)) = (split(near), split(far));
        tokio::select! {
            biased;
            () = host.until(|link| link == Link::Broken) => {}
            () = self.pump(from_near, to_far, &host) => {}
            () = self.pump(from_far, to_near, &host) => {}
        }
    }

    async fn pump(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, host: &Host) {
        let mut bytes = vec![0; 8 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            sleep(self.delay()).await;
            host.until(|link| link != Link::Cut).await;
            if to.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    }
}

impl Network for Net {
    fn dial(&self, addr: SocketAddr) -> Dialling {
        Box::pin(self.clone().connect(addr))
    }

    fn roll(&self) -> u64 {
        self.0.lock().unwrap().dice.roll()
    }
}
