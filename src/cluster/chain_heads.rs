//! Cache of what clients last reported about their chains, and when to probe each client again. Only the leader fills
//! it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::{ResourceExt as _, runtime::reflector::ObjectRef};

use super::{Caches, SecretFacts, watch::caches::find};
use crate::{
    model::{
        chain::{Chain, ChainAssessment, Now, SOON, View},
        genesis::Schedule,
        names::{self, Component, Names, Purpose, secret_name},
        network_member,
        peering::PeerState,
        secrets::tls::Fingerprint,
    },
    protocol::{chain_metrics::Said, peer_connections::Connections},
};

/// Probe interval of a client whose chain needs no attention.
const CALM: Duration = Duration::from_secs(30);

/// Longest probe interval of a client that is ready and does not answer.
const RAREST: Duration = Duration::from_secs(300);

/// Maximum age in seconds of a sidecar's sample. An older one means that the client does not answer its sidecar.
const SAMPLED: u32 = 20;

/// A client that can be probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Namespace of the node.
    pub namespace: String,
    /// The node.
    pub node: String,
    /// Its network.
    pub network: String,
    /// Uid of the pod.
    pub pod: String,
    /// Whether the pod is ready.
    pub ready: bool,
    /// Address of its metrics port.
    pub address: SocketAddr,
}

impl Place {
    fn key(&self) -> (String, String) {
        (self.namespace.clone(), self.network.clone())
    }
}

/// Probes a client: returns its metrics and the certificate whose key it proved to have, or `None` without an answer.
pub type Ask =
    Arc<dyn Fn(Place) -> Pin<Box<dyn Future<Output = Option<(Fingerprint, Said)>> + Send>> + Send + Sync>;

/// Last known state of the chains of all networks.
#[derive(Default)]
pub struct ChainHeads(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Whether every client was probed at least once.
    probed: bool,
    chains: HashMap<(String, String), (Chain, ChainAssessment)>,
    asked: HashMap<(String, String), Asked>,
}

/// Last probe of a client.
struct Asked {
    pod: String,
    ready: bool,
    at: Duration,
    /// Number of consecutive probes without an answer.
    failures: u32,
    /// Certificate of this pod's last accepted answer.
    believed: Option<Fingerprint>,
    /// Peer connections that its sidecar last reported, and when.
    connections: Option<(Duration, Connections)>,
    /// Assessment of these connections.
    met: PeerState,
}

impl Asked {
    fn pause(&self, is_calm: bool) -> Duration {
        match self.failures {
            0 if is_calm => CALM,
            0 => SOON,
            _ if !self.ready => CALM,
            failures => SOON.saturating_mul(1 << (failures - 1).min(6)).min(RAREST),
        }
    }
}

impl ChainHeads {
    /// Updates the set of clients, and returns those whose probe is due.
    pub fn due(&self, places: &[Place], now: Now) -> Vec<Place> {
        let mut known = self.lock();
        let known = &mut *known;
        let there: HashSet<_> = places.iter().map(|place| (place.key(), place.node.as_str())).collect();
        known.chains.retain(|key, (chain, _)| chain.keep(|node| there.contains(&(key.clone(), node))));
        let nodes: HashSet<_> = places.iter().map(|place| (&place.namespace, &place.node)).collect();
        known.asked.retain(|(namespace, node), _| nodes.contains(&(namespace, node)));
        for place in places {
            let (chain, _) = known.chains.entry(place.key()).or_default();
            chain.knows(&place.node, &place.pod, place.ready, now);
        }
        let is_due = |place: &&Place| {
            let is_calm = known.chains.get(&place.key()).is_some_and(|(_, assessment)| assessment.is_calm());
            let asked = known.asked.get(&(place.namespace.clone(), place.node.clone()));
            asked.is_none_or(|asked| {
                (&asked.pod, asked.ready) != (&place.pod, place.ready)
                    || now.steady.saturating_sub(asked.at) >= asked.pause(is_calm)
            })
        };
        places.iter().filter(is_due).cloned().collect()
    }

    /// Stores a client's answer. It is accepted with the certificate `held` from the client's Secret, or with the
    /// previous one, which the kubelet may not have replaced yet.
    pub fn answered(&self, place: &Place, held: &Fingerprint, answer: Option<(Fingerprint, Said)>, now: Now) {
        let mut known = self.lock();
        let of = (place.namespace.clone(), place.node.clone());
        let (pod, ready, at) = (place.pod.clone(), place.ready, now.steady);
        // the assessment of its peers outlives the pod until the next assessment
        let before = known.asked.remove(&of);
        let met = before.as_ref().map(|asked| asked.met.clone()).unwrap_or_default();
        let mut asked = before.filter(|asked| asked.pod == place.pod).unwrap_or(Asked {
            pod,
            ready,
            at,
            failures: 0,
            believed: None,
            connections: None,
            met,
        });
        let answer = answer.filter(|(shown, said)| {
            said.figures.age <= SAMPLED && (shown == held || Some(shown) == asked.believed.as_ref())
        });
        match answer {
            Some((shown, said)) => {
                if let Some((chain, _)) = known.chains.get_mut(&place.key()) {
                    chain.saw(&place.node, said.figures, now);
                }
                (asked.failures, asked.believed) = (0, Some(shown));
                asked.connections = said.connections.map(|seen| (at, seen));
            }
            // a client that became ready may answer now
            None if asked.ready != ready => asked.failures = 1,
            None => asked.failures = asked.failures.saturating_add(1),
        }
        (asked.ready, asked.at) = (ready, at);
        known.asked.insert(of, asked);
    }

    /// Reassesses which peers a client lacks. Returns whether the assessment changed.
    pub fn meets(&self, place: &Place, now: Now) -> bool {
        let mut known = self.lock();
        let of = (place.namespace.clone(), place.node.clone());
        let Some(asked) = known.asked.get_mut(&of) else { return false };
        let met = PeerState::judge(asked.connections.as_ref(), now.steady);
        let is_news = met != asked.met;
        asked.met = met;
        is_news
    }

    /// Current assessment of the peers that a node's client lacks.
    #[must_use]
    pub fn met(&self, namespace: &str, node: &str) -> PeerState {
        let of = (namespace.to_owned(), node.to_owned());
        self.lock().asked.get(&of).map(|asked| asked.met.clone()).unwrap_or_default()
    }

    /// Records that every client was probed at least once.
    pub fn probed(&self) {
        self.lock().probed = true;
    }

    /// Reassesses the chain of a network. Returns whether the assessment changed.
    pub fn judge(&self, namespace: &str, network: &str, schedule: &Schedule, now: Now) -> bool {
        let mut known = self.lock();
        let key = (namespace.to_owned(), network.to_owned());
        let Some((chain, told)) = known.chains.get_mut(&key) else { return false };
        let assessment = chain.judge(schedule, now);
        let is_news = assessment != *told;
        *told = assessment;
        is_news
    }

    /// State of a network's chain, for a reconcile.
    #[must_use]
    pub fn view(&self, namespace: &str, network: &str) -> View {
        let known = self.lock();
        let chain = known.chains.get(&(namespace.to_owned(), network.to_owned()));
        let (assessment, head) =
            chain.map(|(chain, assessment)| (assessment.clone(), chain.last())).unwrap_or_default();
        View { probed: known.probed, assessment, head }
    }

    /// Number of the highest block of a node's client; `None` without a recent answer.
    #[must_use]
    pub fn head(&self, place: &Place, now: Now) -> Option<u64> {
        self.lock().chains.get(&place.key())?.0.head_of(&place.node, now)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All clients whose pod has an address and is not being deleted.
#[must_use]
pub fn places(caches: &Caches) -> Vec<Place> {
    let pods = caches.pods.state();
    pods.iter().filter_map(|pod| place(caches, pod)).collect()
}

fn place(caches: &Caches, pod: &k8s_openapi::api::core::v1::Pod) -> Option<Place> {
    let node = pod.labels().get(names::NODE)?;
    let namespace = pod.namespace().filter(|_| pod.metadata.deletion_timestamp.is_none())?;
    let network =
        network_member::network(&*caches.nodes.get(&ObjectRef::new(node).within(&namespace))?)?.to_owned();
    let names = names(&namespace, node, &network);
    // any pod can carry the label
    (pod.metadata.name.as_ref() == Some(&names.pod(Component::Client))).then_some(())?;
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.iter().flatten();
    let ready = conditions.into_iter().any(|found| found.type_ == "Ready" && found.status == "True");
    let port = u16::try_from(names::METRICS).ok()?;
    let address = SocketAddr::new(status.pod_ip.as_ref()?.parse().ok()?, port);
    let pod = pod.metadata.uid.clone()?;
    Some(Place { namespace, node: node.clone(), network, pod, ready, address })
}

fn names(namespace: &str, node: &str, network: &str) -> Names {
    Names { node: node.into(), namespace: namespace.into(), network: network.into() }
}

/// Certificate in the Secret of a client's metrics port, if it was read already.
#[must_use]
pub fn held(caches: &Caches, facts: &SecretFacts, place: &Place) -> Option<Fingerprint> {
    let node = caches.nodes.get(&ObjectRef::new(&place.node).within(&place.namespace))?;
    let tls = &node.0.as_ref().ok()?.spec.tls;
    let names = names(&place.namespace, &place.node, &place.network);
    let meta = caches.secret(&place.namespace, &secret_name(&names, tls, Purpose::Metrics))?;
    facts.certificate(&meta)
}

/// Block schedule in the genesis of each network, if it was read already.
#[must_use]
pub fn schedules(caches: &Caches, facts: &SecretFacts) -> BTreeMap<(String, String), Arc<Schedule>> {
    let mut schedules = BTreeMap::new();
    for node in caches.nodes.state() {
        let Ok(read) = &node.0 else { continue };
        let key = (read.namespace().unwrap_or_default(), read.spec.network.clone());
        let genesis = &read.spec.genesis.config_map_ref;
        if let std::collections::btree_map::Entry::Vacant(vacant) = schedules.entry(key)
            && let Some(meta) = find(&caches.config_maps, &vacant.key().0, &genesis.name)
            && let Some(schedule) = facts.schedule(&meta, &genesis.key)
        {
            vacant.insert(schedule);
        }
    }
    schedules
}

#[cfg(test)]
mod tests;
