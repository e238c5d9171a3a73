//! How many connections there may be, in all and from one peer.
//!
//! A peer is an IPv4 address or an IPv6 /64, because whoever has one address of a /64 usually has all of them. Loopback is
//! different: agents, sidecars and clients of one machine all share it, and who can connect from there can already run
//! programs here, so that a small cap would hit only the honest. It still has one, below the total, so that a runaway
//! local program cannot lock the network out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// How many connections a server holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caps {
    /// From everywhere. 10,000 sidecars with a connection each, their clients, and room for the moment when all
    /// reconnect before the old connections are noticed dead.
    pub total: usize,
    /// From one peer on the network. One connection carries 128 calls; a few hundred processes behind one address fit.
    pub per_peer: usize,
    /// From this machine itself.
    pub loopback: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self { total: 16_384, per_peer: 512, loopback: 12_288 }
    }
}

/// Counts connections.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    caps: Caps,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    /// Only peers with a connection have an entry, so the map is bounded by the total.
    by_peer: HashMap<IpAddr, usize>,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Permit {
    peer: IpAddr,
    open: Arc<Mutex<Open>>,
}

impl Admission {
    pub(super) fn new(caps: Caps) -> Self {
        Self { caps, open: Arc::default() }
    }

    /// A place for a connection from `address`, unless there are too many.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Permit> {
        let peer = peer(address);
        let cap = if peer.is_loopback() { self.caps.loopback } else { self.caps.per_peer };
        let mut open = self.open.lock();
        if open.total >= self.caps.total || open.by_peer.get(&peer).is_some_and(|count| *count >= cap) {
            return None;
        }
        open.total += 1;
        *open.by_peer.entry(peer).or_default() += 1;
        Some(Permit { peer, open: Arc::clone(&self.open) })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        open.total -= 1;
        if let Some(count) = open.by_peer.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.by_peer.remove(&self.peer);
            }
        }
    }
}

/// What is counted as one peer.
fn peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        own if own.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(admission: &Admission, address: &str) -> Option<Permit> {
        admission.admit(address.parse().unwrap())
    }

    #[test]
    fn one_peer_does_not_take_the_places_of_others() {
        let admission = Admission::new(Caps { total: 5, per_peer: 2, loopback: 3 });
        let held: Vec<_> = (0..2).map(|_| admit(&admission, "10.0.0.1").unwrap()).collect();
        assert!(admit(&admission, "10.0.0.1").is_none());
        assert!(admit(&admission, "::ffff:10.0.0.1").is_none(), "the same peer in other words");
        let local: Vec<_> = (0..3).map(|_| admit(&admission, "127.0.0.1").unwrap()).collect();
        assert!(admit(&admission, "10.0.0.2").is_none(), "all places are taken");
        drop(held);
        let _held = admit(&admission, "10.0.0.1").unwrap();
        assert!(admit(&admission, "127.0.0.7").is_none(), "all of 127/8 is this machine");
        drop(local);
        assert_eq!(admission.open.lock().by_peer.len(), 1, "peers that left are forgotten");
    }

    #[test]
    fn an_ipv6_peer_is_its_64_bit_network() {
        let admission = Admission::new(Caps { total: 5, per_peer: 1, loopback: 1 });
        let _held = admit(&admission, "2001:db8:0:1::1").unwrap();
        assert!(admit(&admission, "2001:db8:0:1:ffff::2").is_none());
        let _other = admit(&admission, "2001:db8:0:2::1").unwrap();
        let _local = admit(&admission, "::1").unwrap();
    }
}
