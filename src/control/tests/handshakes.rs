//! Checks that at every moment of a run each TLS peer trusts every certificate that it may be shown, from the order and
//! the times of the changes.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::ByteString;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    model::{
        names::{
            Component::{self, Client, Database, TransactionManager},
            Purpose,
        },
        secrets::{
            Data,
            tls::{self, LeafFacts},
        },
    },
    testing::server::{Change, Server},
};

/// Time after which a kubelet has refreshed changed files, and programs that reload them have read them.
const LATE: Duration = Duration::from_secs(150);

/// Pairs within a node: who shows a certificate, and who checks it.
const WITHIN: [(Purpose, Purpose); 6] = [
    (Purpose::Client, Purpose::Manager),
    (Purpose::Manager, Purpose::Client),
    (Purpose::Probe, Purpose::Manager),
    (Purpose::Manager, Purpose::Probe),
    (Purpose::DatabaseClient, Purpose::Database),
    (Purpose::Database, Purpose::DatabaseClient),
];

/// Content, and the time until which it was current.
struct Version<T> {
    content: T,
    until: Option<Instant>,
}

type Versions<T> = Vec<Version<T>>;

/// Node and purpose.
type Holder = (String, Purpose);

#[derive(Default)]
struct Seen {
    leaves: BTreeMap<Holder, Versions<LeafFacts>>,
    /// Published CA certificates of a network.
    bundle: Versions<String>,
    authorities: BTreeMap<String, String>,
    /// When each pod was created.
    pods: BTreeMap<String, Instant>,
}

fn put<T>(versions: &mut Versions<T>, content: T, at: Instant) {
    if let Some(last) = versions.last_mut() {
        last.until = Some(at);
    }
    versions.push(Version { content, until: None });
}

/// Content of a Secret.
pub(super) fn data(secret: &Value) -> Data {
    let decoded = |text: &Value| serde_json::from_value::<ByteString>(text.clone()).expect("base64");
    secret["data"].as_object().into_iter().flatten().map(|(key, text)| (key.clone(), decoded(text))).collect()
}

/// Component that reads this certificate only at the start of its pod; `None` if it reloads changes.
fn once(purpose: Purpose) -> Option<Component> {
    match purpose {
        Purpose::Metrics | Purpose::Rpc | Purpose::Client | Purpose::Probe => None,
        Purpose::Manager | Purpose::ManagerPeers | Purpose::DatabaseClient => Some(TransactionManager),
        Purpose::Database => Some(Database),
    }
}

impl Seen {
    /// Processes a change. Returns whether it concerns certificates.
    fn see(&mut self, Change { at, kind, target, object }: &Change) -> bool {
        let name = &target.name;
        match target.resource.as_str() {
            "pods" if *kind == "ADDED" => drop(self.pods.insert(name.clone(), *at)),
            "pods" if *kind == "DELETED" => drop(self.pods.remove(name)),
            "configmaps" if name == "qnet-acme-ca" => {
                put(&mut self.bundle, object["data"]["ca.crt"].as_str().unwrap_or_default().to_owned(), *at);
            }
            "secrets" if name.starts_with("qnet-acme-ca") => {
                let authority = tls::read_authority(&data(object)).expect("an authority");
                self.authorities.insert(authority.fingerprint.to_string(), authority.certificate_pem);
            }
            "secrets" => {
                let Some((node, purpose)) =
                    name.strip_prefix("qn-").and_then(|name| name.split_once("-tls-"))
                else {
                    return false;
                };
                let purpose =
                    Purpose::ALL.into_iter().find(|one| one.as_str() == purpose).expect("a purpose");
                let leaf = tls::read_leaf(&data(object)).expect("a certificate");
                put(self.leaves.entry((node.to_owned(), purpose)).or_default(), leaf, *at);
            }
            _ => return false,
        }
        true
    }

    /// Versions that a holder may have. If it reloads files: those that were current a moment ago. If it reads them
    /// once: those that were current since its pod was created, since a container may have restarted.
    fn may_hold(&self, (node, purpose): &Holder, by: Option<Component>, now: Instant) -> Vec<&LeafFacts> {
        let Some(versions) = self.leaves.get(&(node.clone(), *purpose)) else { return vec![] };
        let oldest = match by {
            None => now.checked_sub(LATE),
            Some(part) => match self.pods.get(&format!("{node}-{}-0", part.as_str())) {
                Some(began) => Some(*began),
                None => return vec![],
            },
        };
        let held = versions.iter().filter(|version| version.until.is_none() || version.until > oldest);
        held.map(|version| &version.content).collect()
    }

    fn presented(&self, holder: &Holder, now: Instant) -> Vec<&LeafFacts> {
        self.may_hold(holder, once(holder.1), now)
    }

    /// geth reloads its key pair, but reads its trusted CAs once.
    fn trusting(&self, holder: &Holder, now: Instant) -> Vec<&LeafFacts> {
        let by = if holder.1 == Purpose::Client { Some(Client) } else { once(holder.1) };
        self.may_hold(holder, by, now)
    }

    /// The first pair in which one side may reject what the other side may show.
    fn refusal(&self, now: Instant) -> Option<String> {
        let holders: Vec<_> = self.leaves.keys().collect();
        let pairs = holders.iter().flat_map(|one| holders.iter().map(move |other| (*one, *other)));
        let meet = |(one, other): &(&Holder, &Holder)| {
            (one.0 == other.0 && WITHIN.contains(&(one.1, other.1)))
                || (one.1 == Purpose::ManagerPeers && other.1 == Purpose::ManagerPeers)
        };
        let within = pairs.filter(meet).find(|(shows, reads)| {
            let reading = self.trusting(reads, now);
            self.presented(shows, now)
                .iter()
                .any(|leaf| reading.iter().any(|reader| !reader.trusted.contains(&leaf.authority)))
        });
        let known: Vec<_> = self
            .bundle
            .iter()
            .filter(|version| version.until.is_none() || version.until > now.checked_sub(LATE))
            .collect();
        let by_a_scraper = || {
            holders.iter().filter(|(_, purpose)| *purpose == Purpose::Metrics).find(|shows| {
                self.presented(shows, now).iter().any(|leaf| {
                    let by = &self.authorities[&leaf.authority.to_string()];
                    known.iter().any(|bundle| !bundle.content.contains(by))
                })
            })
        };
        within
            .map(|(shows, reads)| format!("{reads:?} refuses {shows:?}"))
            .or_else(|| Some(format!("a scraper refuses {:?}", by_a_scraper()?)))
    }
}

/// Fails at the first change after which a handshake may fail.
pub(super) fn assert_no_handshake_fails(server: &Server) {
    let mut seen = Seen::default();
    for change in server.changes() {
        if seen.see(&change)
            && let Some(refusal) = seen.refusal(change.at)
        {
            panic!("{refusal} after {} {}", change.kind, change.target.name);
        }
    }
    assert!(!seen.leaves.is_empty(), "nobody was seen");
}
