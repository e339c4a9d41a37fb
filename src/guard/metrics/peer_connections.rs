//! Determines which peers of the client's list have no connection, from the kernel's table of the pod's connections.
//!
//! The client ends a connection that is not a peer's within the five seconds of its handshake, so a connection that
//! lasts belongs to a peer. The address identifies a peer that the client has called. A peer that has called the client
//! is not identified: its connection counts as that of any peer not found otherwise. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::protocol::peer_connections::{Connections, NAMED, ShortId, Suspect, Trial};

/// A connection older than this has completed the client's handshake.
const LASTS: Duration = Duration::from_secs(10);

/// A trial starts when peers have had no connection for this long, and at most this often per peer.
const PAUSE: Duration = Duration::from_secs(30);

/// The client rejects connections from a public address for 30 s after the last attempt from that address, by any
/// program. Frequent trials of a peer that answers could therefore lock out our own client.
const LONG_PAUSE: Duration = Duration::from_secs(600);

/// Number of peers tried at once.
const AT_ONCE: usize = 8;

/// Maximum number of listed peers that are tracked.
const MOST: usize = 512;

/// Maximum number of connections that are tracked.
const MOST_CONNECTIONS: usize = 4096;

/// A connection: the pod's address, then the remote one.
pub type Pair = (SocketAddr, SocketAddr);

/// State of the client's peers. All times come from one monotonic clock.
#[derive(Debug)]
pub struct Peers {
    /// The client's own port.
    port: u16,
    known: BTreeMap<ShortId, Known>,
    /// When each connection was first seen.
    since: HashMap<Pair, Duration>,
    /// At least how many peers have no connection, and since when that number is above zero. `None` if unknown.
    missing: Option<(usize, Option<Duration>)>,
}

#[derive(Debug)]
struct Known {
    address: SocketAddr,
    is_connected: bool,
    trial: Trial,
    tried: Option<Duration>,
}

impl Peers {
    /// Creates the state for a client that listens at this port, with an empty list.
    pub fn of(port: u16) -> Peers {
        Peers { port, known: BTreeMap::new(), since: HashMap::new(), missing: None }
    }

    /// Replaces the client's list. If a peer has two addresses, the first one counts, as for the client.
    pub fn list(&mut self, urls: &[String]) {
        let mut before = std::mem::take(&mut self.known);
        for (id, address) in urls.iter().filter_map(|url| peer(url)).take(MOST) {
            let same = before.remove(&id).filter(|known| known.address == address);
            let new = Known { address, is_connected: false, trial: Trial::Untried, tried: None };
            self.known.entry(id).or_insert(same.unwrap_or(new));
        }
    }

    /// Updates the state from the established connections of the kernel's table.
    pub fn look(&mut self, established: impl IntoIterator<Item = Pair>, now: Duration) {
        let ports: HashSet<_> = self.known.values().map(|known| known.address.port()).collect();
        let is_peers = |(own, other): &Pair| own.port() == self.port || ports.contains(&other.port());
        let seen = established.into_iter().filter(is_peers).take(MOST_CONNECTIONS);
        self.since =
            seen.map(|pair| (pair, self.since.get(&pair).copied().unwrap_or(now))).collect::<HashMap<_, _>>();
        let lasting = self.since.iter().filter(|(_, since)| now.saturating_sub(**since) >= LASTS);
        let mut called: HashMap<SocketAddr, usize> = HashMap::new();
        for ((_, other), _) in lasting {
            *called.entry(*other).or_default() += 1;
        }
        for known in self.known.values_mut() {
            known.is_connected = called.remove(&known.address).is_some();
        }
        let unnamed: usize = called.values().sum();
        let missing = self.suspects().count().saturating_sub(unnamed);
        let since = self.missing.and_then(|(_, since)| since).unwrap_or(now);
        self.missing = Some((missing, (missing > 0).then_some(since)));
    }

    /// Records that the list or the connections cannot be read.
    pub fn is_blind(&mut self) {
        self.missing = None;
    }

    fn suspects(&self) -> impl Iterator<Item = (&ShortId, &Known)> {
        self.known.iter().filter(|(_, known)| !known.is_connected)
    }

    /// Returns the peers to try now.
    pub fn due(&self, now: Duration) -> Vec<(ShortId, SocketAddr)> {
        let Some((_, Some(since))) = self.missing else { return Vec::new() };
        if now.saturating_sub(since) < PAUSE {
            return Vec::new();
        }
        let is_due = |known: &Known| {
            let pause = if known.trial == Trial::Reached && !is_local(known.address.ip()) {
                LONG_PAUSE
            } else {
                PAUSE
            };
            known.tried.is_none_or(|tried| now.saturating_sub(tried) >= pause)
        };
        let mut due: Vec<_> = self.suspects().filter(|(_, known)| is_due(known)).collect();
        due.sort_by_key(|(_, known)| known.tried);
        due.into_iter().take(AT_ONCE).map(|(id, known)| (*id, known.address)).collect()
    }

    /// Records the result of a trial.
    pub fn tried(&mut self, id: ShortId, trial: Trial, now: Duration) {
        if let Some(known) = self.known.get_mut(&id) {
            (known.trial, known.tried) = (trial, Some(now));
        }
    }

    /// Returns the report for the operator, peers that could not be reached first; `None` if the connections cannot be
    /// read.
    pub fn told(&self, now: Duration) -> Option<Connections> {
        let (missing, since) = self.missing?;
        let mut suspects: Vec<_> =
            self.suspects().map(|(id, known)| Suspect { id: *id, trial: known.trial }).collect();
        suspects.sort_by_key(|suspect| (!suspect.trial.is_failed(), suspect.id));
        suspects.truncate(if missing == 0 { 0 } else { NAMED });
        let seconds = since.map_or(0, |since| now.saturating_sub(since).as_secs());
        let most = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Some(Connections {
            listed: most(self.known.len()),
            missing: most(missing),
            seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
            suspects,
        })
    }
}

/// Parses `enode://KEY@ADDRESS:PORT?discport=0`, as the operator writes it.
fn peer(url: &str) -> Option<(ShortId, SocketAddr)> {
    let (key, place) = url.strip_prefix("enode://")?.split_once('@')?;
    let address = place.split('?').next()?.parse::<SocketAddr>().ok()?;
    Some((ShortId::of(key)?, SocketAddr::new(address.ip().to_canonical(), address.port())))
}

/// Whether the address is not routed on the internet. The client does not limit attempts from such addresses.
fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.octets()[0] == 0,
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
    }
}

/// Parses the established connections of `/proc/net/tcp` or `/proc/net/tcp6`. Skips lines that it cannot parse.
pub fn established(table: &str) -> impl Iterator<Item = Pair> {
    const ESTABLISHED: &str = "01";
    table.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (own, other, state) = (words.next()?, words.next()?, words.next()?);
        (state == ESTABLISHED).then(|| Some((endpoint(own)?, endpoint(other)?)))?
    })
}

/// Parses an address as the kernel prints it: 32-bit words in the host's byte order, then the port.
fn endpoint(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word =
        |at: usize| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match address.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(at)?);
            }
            IpAddr::from(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
#[path = "peer_connections/tests.rs"]
mod tests;
