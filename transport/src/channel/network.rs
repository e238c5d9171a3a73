//! What a channel dials through: the operating system's TCP, unless a simulation hands over a network of its own.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes in both directions.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire for T {}

/// A dial under way.
pub type Dialling = Pin<Box<dyn Future<Output = io::Result<Box<dyn Wire>>> + Send>>;

/// A network in memory, for simulations: connections whose delays and faults follow from a seed alone.
pub trait Network: fmt::Debug + Send + Sync + 'static {
    /// Connects to `addr`.
    fn dial(&self, addr: SocketAddr) -> Dialling;

    /// 64 bits for the jitter between dials.
    fn roll(&self) -> u64;
}
