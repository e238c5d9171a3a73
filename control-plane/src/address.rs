//! Which addresses may be dialled. Agents register themselves, so an address is a stranger's word until it is checked:
//! unchecked, it would make the control plane call whatever the stranger cannot reach himself.
//!
//! The text must be `http://HOST:PORT` and nothing more. The host is resolved once, *every* address it resolves to must
//! lie in an allowed network, and the first of them is what is dialled from then on: a name that later resolves to
//! somewhere else changes nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use http::Uri;

/// Most addresses a name may resolve to. More is a public service, not a sidecar.
const MAX_RESOLVED: usize = 16;

/// Longest address text: a host name has at most 253 characters.
const MAX_TEXT: usize = 300;

/// Time for a name to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Networks that may be dialled; loopback unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    networks: Vec<Network>,
}

/// A network in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why an address is refused. No packet was sent to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not of the one form that is taken.
    #[error("must be http://HOST:PORT, nothing before and nothing behind")]
    Form,
    /// A number written so that different readers read different addresses.
    #[error("has a host that is neither a plain IP address nor a host name")]
    Host,
    /// The name does not resolve, or takes too long.
    #[error("does not resolve")]
    Unresolved,
    /// Outside the allowed networks.
    #[error("resolves to {0}, which is outside the allowed networks")]
    Outside(IpAddr),
}

/// A text that is not a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a network in CIDR notation, such as 10.0.0.0/8 or fd00::/8")]
pub struct NetworkError;

impl Default for Policy {
    fn default() -> Self {
        Self {
            networks: vec![
                Network { address: Ipv4Addr::new(127, 0, 0, 0).into(), prefix: 8 },
                Network { address: Ipv6Addr::LOCALHOST.into(), prefix: 128 },
            ],
        }
    }
}

impl Policy {
    /// These networks and no others.
    #[must_use]
    pub fn new(networks: Vec<Network>) -> Self {
        Self { networks }
    }

    /// Checks an address and gives what to dial.
    pub async fn check(&self, text: &str) -> Result<SocketAddr, AddressError> {
        let (host, port) = parse(text)?;
        let resolved: Vec<IpAddr> = match literal(&host)? {
            Some(ip) => vec![ip],
            None => resolve(&host, port).await?,
        };
        for ip in &resolved {
            if !self.allows(*ip) {
                return Err(AddressError::Outside(*ip));
            }
        }
        resolved.first().map(|ip| SocketAddr::new(*ip, port)).ok_or(AddressError::Unresolved)
    }

    fn allows(&self, ip: IpAddr) -> bool {
        // Never a peer, whatever an operator allows; and a v4 address in v6 clothes would slip past a v4 network.
        let odd = match ip {
            IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] == 0,
            IpAddr::V6(v6) => v6.is_multicast() || v6.is_unspecified() || v6.to_ipv4_mapped().is_some(),
        };
        !odd && self.networks.iter().any(|network| network.contains(ip))
    }
}

/// Host and port of `http://HOST:PORT`.
fn parse(text: &str) -> Result<(String, u16), AddressError> {
    if text.len() > MAX_TEXT || !text.is_ascii() {
        return Err(AddressError::Form);
    }
    let uri: Uri = text.parse().map_err(|_| AddressError::Form)?;
    let authority = uri.authority().ok_or(AddressError::Form)?;
    let port = authority.port_u16().filter(|port| *port != 0).ok_or(AddressError::Form)?;
    // Said back in the one form there is: anything beside it (user, path, query, odd case) makes the texts differ.
    let plain = format!("http://{}:{port}", authority.host());
    if text.strip_suffix('/').unwrap_or(text) != plain {
        return Err(AddressError::Form);
    }
    Ok((authority.host().to_owned(), port))
}

/// The address, if the host is one; an error if it only looks like one to some readers (`0x7f.1`, `127.1`).
fn literal(host: &str) -> Result<Option<IpAddr>, AddressError> {
    if let Some(v6) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return v6.parse::<Ipv6Addr>().map(|ip| Some(ip.into())).map_err(|_| AddressError::Host);
    }
    if let Ok(v4) = host.parse::<Ipv4Addr>() {
        return Ok(Some(v4.into()));
    }
    // A name's last label has a letter first; what begins with a digit there is a number to `inet_aton`.
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    if last.chars().next().is_none_or(|c| c.is_ascii_digit()) {
        return Err(AddressError::Host);
    }
    Ok(None)
}

async fn resolve(host: &str, port: u16) -> Result<Vec<IpAddr>, AddressError> {
    let lookup = tokio::net::lookup_host((host, port));
    let found = tokio::time::timeout(RESOLVE_TIMEOUT, lookup).await.map_err(|_| AddressError::Unresolved)?;
    let ips: Vec<IpAddr> = found.map_err(|_| AddressError::Unresolved)?.map(|socket| socket.ip()).collect();
    if ips.len() > MAX_RESOLVED { Err(AddressError::Unresolved) } else { Ok(ips) }
}

impl Network {
    fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                same_prefix(u128::from(network.to_bits()), u128::from(ip.to_bits()), 32, self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                same_prefix(network.to_bits(), ip.to_bits(), 128, self.prefix)
            }
            _ => false,
        }
    }
}

fn same_prefix(a: u128, b: u128, width: u8, prefix: u8) -> bool {
    let ignored = u32::from(width - prefix);
    a.checked_shr(ignored) == b.checked_shr(ignored)
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = text.split_once('/').ok_or(NetworkError)?;
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let prefix: u8 = prefix.parse().map_err(|_| NetworkError)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        if prefix > width { Err(NetworkError) } else { Ok(Self { address, prefix }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn loopback_is_allowed_unless_said_otherwise() {
        let policy = Policy::default();
        assert_eq!(policy.check("http://127.0.0.1:7410").await, Ok(([127, 0, 0, 1], 7410).into()));
        assert!(policy.check("http://[::1]:7410").await.is_ok());
        assert!(policy.check("http://localhost:7410").await.is_ok());
    }

    #[tokio::test]
    async fn hostile_addresses_are_refused() {
        let policy = Policy::default();
        for (text, why) in [
            ("http://169.254.169.254:80", AddressError::Outside([169, 254, 169, 254].into())),
            ("http://[::ffff:127.0.0.1]:80", AddressError::Outside("::ffff:127.0.0.1".parse().unwrap())),
            ("http://0.0.0.0:80", AddressError::Outside([0, 0, 0, 0].into())),
            ("http://224.0.0.1:80", AddressError::Outside([224, 0, 0, 1].into())),
            ("http://0x7f.1:80", AddressError::Host),
            ("http://127.1:80", AddressError::Host),
            ("http://2130706433:80", AddressError::Host),
            ("https://127.0.0.1:80", AddressError::Form),
            ("file:///etc/passwd", AddressError::Form),
            ("http://user@127.0.0.1:80", AddressError::Form),
            ("http://127.0.0.1:80/path", AddressError::Form),
            ("http://127.0.0.1", AddressError::Form),
            ("http://127.0.0.1:0", AddressError::Form),
            ("127.0.0.1:80", AddressError::Form),
            ("", AddressError::Form),
        ] {
            assert_eq!(policy.check(text).await, Err(why), "{text}");
        }
    }

    #[tokio::test]
    async fn an_allowed_network_replaces_loopback() {
        let policy = Policy::new(vec!["10.1.0.0/16".parse().unwrap()]);
        assert!(policy.check("http://10.1.255.255:1").await.is_ok());
        assert!(policy.check("http://10.2.0.0:1").await.is_err());
        assert!(policy.check("http://127.0.0.1:1").await.is_err());
        assert!(Policy::new(vec!["0.0.0.0/0".parse().unwrap()]).check("http://8.8.8.8:1").await.is_ok());
        assert!("10.0.0.0/33".parse::<Network>().is_err());
    }
}
