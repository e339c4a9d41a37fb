//! enode URLs, which identify a client by public key and address. Parses the common forms and writes a single one.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// Public key and address of a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Enode {
    /// Its public key: 128 lower-case hexadecimal digits.
    pub public_key: String,
    /// Where it listens for peers.
    pub endpoint: SocketAddr,
}

/// Why a text is not an enode URL. The message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is an Ethereum Node Record.
    Record,
    /// It does not begin with `enode://`.
    Scheme,
    /// The key is not 128 hexadecimal digits; holds how many such digits it has.
    Key(usize),
    /// There is no address after the key.
    NoAddress,
    /// It has a DNS name instead of an IP address.
    Name(String),
    /// An IPv6 address is not in brackets.
    Brackets,
    /// The address is not an IP address.
    Address(String),
    /// The port is missing or out of range.
    Port,
    /// An unknown parameter, or a known one with an invalid value.
    Parameter(String),
}

/// The accepted forms, for messages.
const FORM: &str = "enode://KEY@192.0.2.7:30303 or enode://KEY@[2001:db8::7]:30303";

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record => write!(
                f,
                "this is an ENR (node record), which the client does not accept as a peer: write {FORM}, which `status.enode` or `admin_nodeInfo` of the other node shows"
            ),
            Self::Scheme => write!(f, "this is not an enode URL: write {FORM}"),
            Self::Key(digits) => write!(
                f,
                "the key before @ has {digits} hexadecimal digits but must have exactly 128, without 0x or other characters: copy the key from `status.enode` or `admin_nodeInfo` of the other node"
            ),
            Self::NoAddress => write!(f, "no address follows the key: write {FORM}"),
            Self::Name(name) => write!(
                f,
                "{name} is a DNS name, which the client resolves only once, when the client starts: write the IP address instead"
            ),
            Self::Brackets => write!(f, "an IPv6 address must be in brackets: write {FORM}"),
            Self::Address(text) => write!(f, "{text} is not an IP address: write {FORM}"),
            Self::Port => write!(f, "no port from 1 to 65535 follows the address: write {FORM}"),
            Self::Parameter(text) => write!(
                f,
                "{text} is not a valid parameter of an enode URL: remove the parameter. Only discport and raftport are accepted, each with a port number, and the client ignores both"
            ),
        }
    }
}

impl std::error::Error for Wrong {}

impl FromStr for Enode {
    type Err = Wrong;

    /// Accepts key and scheme in either case, and ignores `discport` and `raftport`: clients use neither discovery nor
    /// Raft.
    fn from_str(text: &str) -> Result<Self, Wrong> {
        let text = text.trim();
        if starts_with(text, "enr:") {
            return Err(Wrong::Record);
        }
        let rest = text.get("enode://".len()..).filter(|_| starts_with(text, "enode://"));
        let (rest, parameters) = split(rest.ok_or(Wrong::Scheme)?, '?');
        let (key, address) = split(rest, '@');
        let digits = key.chars().filter(char::is_ascii_hexdigit).count();
        if digits != 128 || key.len() != 128 {
            return Err(Wrong::Key(digits));
        }
        let endpoint = endpoint(address.ok_or(Wrong::NoAddress)?)?;
        parameters.into_iter().flat_map(|all| all.split('&')).try_for_each(parameter)?;
        Ok(Self { public_key: key.to_ascii_lowercase(), endpoint })
    }
}

impl fmt::Display for Enode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&url(&self.public_key, &self.endpoint.ip().to_string(), self.endpoint.port().into()))
    }
}

/// The enode URL of a client. `discport` is 0: discovery is off.
#[must_use]
pub fn url(public_key: &str, address: &str, port: i32) -> String {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) => format!("enode://{public_key}@[{address}]:{port}?discport=0"),
        _ => format!("enode://{public_key}@{address}:{port}?discport=0"),
    }
}

fn starts_with(text: &str, scheme: &str) -> bool {
    text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// Splits at the first `at`; the second part is `None` without one.
fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn endpoint(text: &str) -> Result<SocketAddr, Wrong> {
    let (ip, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(Wrong::Brackets)?;
            let ip = address.parse::<Ipv6Addr>().map_err(|_| Wrong::Address(address.to_owned()))?;
            (IpAddr::from(ip), port.strip_prefix(':'))
        }
        None if text.parse::<Ipv6Addr>().is_ok() || text.matches(':').count() > 1 => {
            return Err(Wrong::Brackets);
        }
        None => {
            let (host, port) = split(text, ':');
            let is_name = host.contains(|letter: char| letter.is_alphabetic());
            let ip = host.parse::<IpAddr>().map_err(|_| match (host, is_name) {
                ("", _) => Wrong::NoAddress,
                (_, true) => Wrong::Name(host.to_owned()),
                (_, false) => Wrong::Address(host.to_owned()),
            })?;
            (ip, port)
        }
    };
    let port = port.and_then(number).filter(|port| *port != 0).ok_or(Wrong::Port)?;
    Ok(SocketAddr::new(ip, port))
}

fn parameter(text: &str) -> Result<(), Wrong> {
    let known = text.split_once('=').filter(|(name, _)| ["discport", "raftport"].contains(name));
    match known.and_then(|(_, value)| number(value)) {
        Some(_) => Ok(()),
        None => Err(Wrong::Parameter(text.to_owned())),
    }
}

/// A port number of digits only; `parse` alone would accept a sign.
fn number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
