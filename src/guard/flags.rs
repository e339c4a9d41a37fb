//! Types and parsers of flag values. Each parser's error says what is wrong and what to write instead; clap adds the
//! flag and its value.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use hyper::Uri;

/// `HOST:PORT`, where the host is a name or an address (IPv6 in brackets).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A DNS name or an address, without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<HostPort, String> {
        let wanted = "write HOST:PORT, for example alice-tm-db.ledger.svc:5432 or [::1]:5432";
        let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("no port; {wanted}"))?;
        let port = port
            .parse::<u16>()
            .ok()
            .filter(|&port| port != 0)
            .ok_or_else(|| format!("the port is not a number from 1 to 65535; {wanted}"))?;
        Ok(HostPort { host: bare_host(host).ok_or_else(|| format!("not a host; {wanted}"))?, port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(out, "[{}]:{}", self.host, self.port),
            false => write!(out, "{}:{}", self.host, self.port),
        }
    }
}

/// Returns a DNS name, or an address without brackets; `None` for anything else.
fn bare_host(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(|address| address.to_string());
    }
    let name = host.len() <= 253
        && !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    name.then(|| host.to_owned())
}

/// An `https://` URL to GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsUrl {
    /// Where to dial by default. The host is also the name that the certificate must have.
    pub at: HostPort,
    /// Path with query.
    pub path: String,
}

impl FromStr for HttpsUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<HttpsUrl, String> {
        let wanted = "write https://HOST:PORT/PATH, for example https://alice-tm.ledger.svc:9101/upcheck";
        let uri: Uri = text.parse().map_err(|_| format!("not an address; {wanted}"))?;
        if uri.scheme_str() != Some("https") {
            return Err(format!("only https is dialled; {wanted}"));
        }
        let authority = uri.authority().ok_or_else(|| format!("no host; {wanted}"))?;
        if authority.as_str().contains('@') {
            return Err(format!("credentials have no place in an address; {wanted}"));
        }
        let host = bare_host(authority.host()).ok_or_else(|| format!("not a host; {wanted}"))?;
        let port = authority.port_u16().unwrap_or(443);
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(HttpsUrl { at: HostPort { host, port }, path })
    }
}

impl fmt::Display for HttpsUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "https://{}{}", self.at, self.path)
    }
}

/// The only page of the client's metrics port that holds metrics and nothing else.
pub const METRICS_PATH: &str = "/debug/metrics/prometheus";

/// The client's metrics page on loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstream(pub SocketAddr);

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Upstream, String> {
        let wanted = format!("write http://127.0.0.1:PORT{METRICS_PATH}");
        let uri: Uri = text.parse().map_err(|_| format!("not an address; {wanted}"))?;
        if uri.scheme_str() != Some("http") {
            return Err(format!("the client serves plain http; {wanted}"));
        }
        // Other pages of this port show the command line and the profiler.
        if uri.path_and_query().map(|path| path.as_str()) != Some(METRICS_PATH) {
            return Err(format!("not the metrics page, and other pages show more than metrics; {wanted}"));
        }
        let address = uri.authority().and_then(|authority| authority.as_str().parse::<SocketAddr>().ok());
        match address {
            Some(address) if address.ip().is_loopback() && address.port() != 0 => Ok(Upstream(address)),
            _ => Err(format!("not a loopback address with a port; {wanted}")),
        }
    }
}

/// `PURPOSE=PATH` of a certificate for which the program exports the expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The value of the label `purpose`.
    pub purpose: String,
    /// A PEM file. Only its first certificate is read.
    pub path: PathBuf,
}

impl FromStr for Certificate {
    type Err = String;

    fn from_str(text: &str) -> Result<Certificate, String> {
        let wanted = "write PURPOSE=PATH, for example metrics=/tls/metrics/tls.crt";
        let (purpose, path) = text.split_once('=').ok_or_else(|| format!("no '='; {wanted}"))?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if purpose.is_empty() || !purpose.bytes().all(plain) {
            return Err(format!("a purpose has only a-z, 0-9 and '-'; {wanted}"));
        }
        if path.is_empty() {
            return Err(format!("no path; {wanted}"));
        }
        Ok(Certificate { purpose: purpose.to_owned(), path: path.into() })
    }
}

/// Keys that `--identity` accepts, in the order of the labels. Only the last one is optional.
pub const IDENTITY_KEYS: [&str; 5] = ["name", "namespace", "network", "role", "node_id"];

/// One `KEY=VALUE` of the node's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// One of [`IDENTITY_KEYS`].
    pub key: &'static str,
    /// Printable and not empty.
    pub value: String,
}

impl FromStr for Identity {
    type Err = String;

    fn from_str(text: &str) -> Result<Identity, String> {
        let wanted = format!("write KEY=VALUE with a key of {}", IDENTITY_KEYS.join(", "));
        let (key, value) = text.split_once('=').ok_or_else(|| format!("no '='; {wanted}"))?;
        let key = IDENTITY_KEYS.into_iter().find(|&known| known == key);
        let key = key.ok_or_else(|| format!("no such key; {wanted}"))?;
        if value.is_empty() || value.len() > 253 || value.chars().any(char::is_control) {
            return Err(format!("a value has 1 to 253 printable characters; {wanted}"));
        }
        Ok(Identity { key, value: value.to_owned() })
    }
}

/// Parses an address and port to listen on.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    let at = text.parse::<SocketAddr>().ok().filter(|at| at.port() != 0);
    at.ok_or_else(|| {
        "not an address with a port; write ADDRESS:PORT, for example 0.0.0.0:8081 or [::]:8081".to_owned()
    })
}

/// Parses a loopback address and port.
pub fn loopback(text: &str) -> Result<SocketAddr, String> {
    let at = text.parse::<SocketAddr>().ok().filter(|at| at.ip().is_loopback() && at.port() != 0);
    at.ok_or_else(|| {
        "not a loopback address with a port; write ADDRESS:PORT, for example 127.0.0.1:8547".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_taken_apart() {
        let at = |text: &str| text.parse::<HostPort>().map(|at| (at.host, at.port));
        assert_eq!(at("alice-tm-db:5432"), Ok(("alice-tm-db".into(), 5432)));
        assert_eq!(at("[::1]:5432"), Ok(("::1".into(), 5432)));
        assert_eq!("[::1]:5432".parse::<HostPort>().map(|at| at.to_string()), Ok("[::1]:5432".into()));
        for bad in ["alice", "alice:", "alice:0", "alice:70000", ":5432", "a/b:1", "::1:5432", "a b:1"] {
            let error = at(bad).expect_err(bad);
            assert!(error.contains("write HOST:PORT"), "{bad}: {error}");
        }
    }

    #[test]
    fn only_https_without_credentials_is_dialled() {
        let url: HttpsUrl = "https://alice-tm.ledger.svc:9101/upcheck".parse().unwrap();
        assert_eq!(
            (url.at.to_string().as_str(), url.path.as_str()),
            ("alice-tm.ledger.svc:9101", "/upcheck")
        );
        for bad in ["http://a:1/upcheck", "https://u:p@a:1/", "https:///x", "a:1", "", "https://"] {
            let error = bad.parse::<HttpsUrl>().expect_err(bad);
            assert!(error.contains("write https://"), "{bad}: {error}");
            assert!(!error.contains("u:p"), "{error}");
        }
    }

    #[test]
    fn the_upstream_is_the_metrics_page_on_loopback_and_nothing_else() {
        let good: Upstream = "http://127.0.0.1:6060/debug/metrics/prometheus".parse().unwrap();
        assert_eq!(good.0.port(), 6060);
        assert!("http://[::1]:6060/debug/metrics/prometheus".parse::<Upstream>().is_ok());
        for bad in [
            "http://127.0.0.1:6060/debug/metrics",
            "http://127.0.0.1:6060/debug/pprof/heap",
            "http://127.0.0.1:6060/debug/metrics/prometheus?x",
            "http://10.0.0.1:6060/debug/metrics/prometheus",
            "http://localhost:6060/debug/metrics/prometheus",
            "http://127.0.0.1/debug/metrics/prometheus",
            "https://127.0.0.1:6060/debug/metrics/prometheus",
        ] {
            let error = bad.parse::<Upstream>().expect_err(bad);
            assert!(error.contains("write http://127.0.0.1"), "{bad}: {error}");
        }
    }

    #[test]
    fn pairs_name_what_they_want() {
        assert!("metrics=/tls/tls.crt".parse::<Certificate>().is_ok());
        assert!("x".parse::<Certificate>().unwrap_err().contains("write PURPOSE=PATH"));
        assert!("Up=/x".parse::<Certificate>().unwrap_err().contains("a-z"));
        assert!("a=".parse::<Certificate>().unwrap_err().contains("no path"));
        assert_eq!("role=Validator".parse::<Identity>().map(|one| one.key), Ok("role"));
        assert!("colour=red".parse::<Identity>().unwrap_err().contains("node_id"));
        assert!(listen("[::]:8081").is_ok());
        assert!(listen("localhost:8081").unwrap_err().contains("write ADDRESS:PORT"));
        assert!("name=a\nb".parse::<Identity>().unwrap_err().contains("printable"));
    }
}
