//! Resolves host names and opens TCP connections.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;

use crate::{
    dns::Resolver,
    guard::{
        fault::{Fault, Kind},
        flags::HostPort,
    },
};

/// Resolver of host names.
#[derive(Clone, Debug, Default)]
pub struct Dns(Resolver);

impl Dns {
    /// Uses another `resolv.conf` and port, for tests.
    #[cfg(test)]
    pub(crate) fn at(conf: std::path::PathBuf, port: u16) -> Dns {
        Dns(Resolver::at(conf, port))
    }

    /// Returns all addresses of a host.
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Fault> {
        self.0.resolve(host).await.map_err(|why| Fault::new(Kind::Unresolved, why))
    }

    /// Connects to the first address that accepts.
    pub async fn dial(&self, at: &HostPort) -> Result<TcpStream, Fault> {
        let mut last = Fault::new(Kind::Unresolved, &at.host);
        for ip in self.resolve(&at.host).await? {
            match TcpStream::connect(SocketAddr::new(ip, at.port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    last = Fault { detail: format!("{ip}:{}: {error}", at.port), ..Fault::of(&error) }
                }
            }
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::sync::{Arc, Mutex};

    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::{RData, Record, RecordType};
    use tokio::net::UdpSocket;

    use super::*;

    /// Starts a DNS server that knows one name. Returns its port and the names that it was asked for.
    async fn dns(known: &'static str) -> (u16, Arc<Mutex<Vec<String>>>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (port, asked) = (socket.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
        let seen = asked.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 1024];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let query = Message::from_vec(&buffer[..length]).unwrap();
                let question = query.queries[0].clone();
                let name = question.name().to_string();
                let mut answer = query.into_response();
                if name != known {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                } else if question.query_type() == RecordType::A {
                    let data = RData::A("10.1.2.3".parse().unwrap());
                    answer.add_answer(Record::from_rdata(question.name().clone(), 30, data));
                }
                seen.lock().unwrap().push(name);
                socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
        (port, asked)
    }

    async fn names(text: &str, known: &'static str) -> (Dns, Arc<Mutex<Vec<String>>>, tempfile::TempDir) {
        let (port, asked) = dns(known).await;
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("resolv.conf");
        fs::write(&conf, format!("nameserver 127.0.0.1\n{text}\n")).unwrap();
        (Dns::at(conf, port), asked, dir)
    }

    #[tokio::test]
    async fn a_short_name_is_found_through_the_search_list() {
        let text = "search ledger.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5";
        let (dns, asked, _dir) = names(text, "alice-tm.ledger.svc.cluster.local.").await;
        let found = dns.resolve("alice-tm.ledger.svc").await.unwrap();
        assert_eq!(found, vec!["10.1.2.3".parse::<IpAddr>().unwrap()]);
        assert_eq!(
            asked.lock().unwrap()[0],
            "alice-tm.ledger.svc.ledger.svc.cluster.local.",
            "the search list comes first"
        );
    }

    #[tokio::test]
    async fn enough_dots_ask_for_the_name_itself_first() {
        let (dns, asked, _dir) = names("search example.org\noptions ndots:2", "tm.acme.test.").await;
        dns.resolve("tm.acme.test").await.unwrap();
        let asked: BTreeSet<String> = asked.lock().unwrap().iter().cloned().collect();
        assert_eq!(asked, BTreeSet::from(["tm.acme.test.".to_owned()]));
    }

    #[tokio::test]
    async fn a_name_nobody_knows_says_which() {
        let (dns, _asked, _dir) = names("search example.org", "other.").await;
        let fault = dns.resolve("bob-tm").await.unwrap_err();
        assert_eq!(fault.kind, Kind::Unresolved);
        assert!(fault.detail.contains("bob-tm"), "{fault}");
    }

    #[tokio::test]
    async fn an_address_needs_no_server() {
        let dns = Dns::at("/nowhere/resolv.conf".into(), 1);
        assert_eq!(dns.resolve("::1").await.unwrap(), vec!["::1".parse::<IpAddr>().unwrap()]);
        let fault = dns.resolve("alice").await.unwrap_err();
        assert!(fault.detail.contains("/nowhere/resolv.conf"), "{fault}");
    }
}
