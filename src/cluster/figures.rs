//! What clients were last seen to say of their chains, and when each is to be asked again: a cache, of the replica that leads.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::{ResourceExt as _, runtime::reflector::ObjectRef};

use super::{Caches, Facts, caches::find};
use crate::{
    connections::Connections,
    figures::Said,
    node::{
        chain::{Chain, Now, SOON, Verdict, View},
        desired::certificates::secret_name,
        genesis::Schedule,
        met::Met,
        names::{self, Component, Names, Purpose},
        secrets::tls::Fingerprint,
        sibling,
    },
};

/// Between two looks at a client of which nothing is awaited.
const CALM: Duration = Duration::from_secs(30);

/// A client that is ready and does not answer is asked so rarely at last.
const RAREST: Duration = Duration::from_secs(300);

/// Older samples of a sidecar's say nothing: its client does not answer it.
const SAMPLED: u32 = 20;

/// A client that can be asked.
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
    /// Whether the kubelet calls it ready.
    pub ready: bool,
    /// Where its metrics are served.
    pub address: SocketAddr,
}

impl Place {
    fn key(&self) -> (String, String) {
        (self.namespace.clone(), self.network.clone())
    }
}

/// The way to ask a client: what it said, and the certificate whose key was proven; nothing where it did not answer.
pub type Ask =
    Arc<dyn Fn(Place) -> Pin<Box<dyn Future<Output = Option<(Fingerprint, Said)>> + Send>> + Send + Sync>;

/// What was seen of all networks.
#[derive(Default)]
pub struct Chains(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Whether every client was asked once.
    looked: bool,
    chains: HashMap<(String, String), (Chain, Verdict)>,
    asked: HashMap<(String, String), Asked>,
}

/// The last time that a client was asked.
struct Asked {
    pod: String,
    ready: bool,
    at: Duration,
    /// How often in a row there was no answer.
    failures: u32,
    /// The certificate by which this pod was believed.
    believed: Option<Fingerprint>,
    /// What its sidecar saw last of its connections, and when that was told.
    connections: Option<(Duration, Connections)>,
    /// What is to be said of them.
    met: Met,
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

impl Chains {
    /// Takes in which clients there are, and says which of them are to be asked now.
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
            let is_calm = known.chains.get(&place.key()).is_some_and(|(_, verdict)| verdict.is_calm());
            let asked = known.asked.get(&(place.namespace.clone(), place.node.clone()));
            asked.is_none_or(|asked| {
                (&asked.pod, asked.ready) != (&place.pod, place.ready)
                    || now.steady.saturating_sub(asked.at) >= asked.pause(is_calm)
            })
        };
        places.iter().filter(is_due).cloned().collect()
    }

    /// Takes in what a client has answered. It is believed by the certificate of its Secret, or by the one before it, which
    /// its kubelet has not exchanged yet.
    pub fn answered(&self, place: &Place, held: &Fingerprint, answer: Option<(Fingerprint, Said)>, now: Now) {
        let mut known = self.lock();
        let of = (place.namespace.clone(), place.node.clone());
        let (pod, ready, at) = (place.pod.clone(), place.ready, now.steady);
        // what is to be said of its peers outlives a pod until it is judged anew
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
            // whoever is ready now may answer now
            None if asked.ready != ready => asked.failures = 1,
            None => asked.failures = asked.failures.saturating_add(1),
        }
        (asked.ready, asked.at) = (ready, at);
        known.asked.insert(of, asked);
    }

    /// Judges anew which peers a client lacks. Whether there is anything else to say of them.
    pub fn meets(&self, place: &Place, now: Now) -> bool {
        let mut known = self.lock();
        let of = (place.namespace.clone(), place.node.clone());
        let Some(asked) = known.asked.get_mut(&of) else { return false };
        let met = Met::judge(asked.connections.as_ref(), now.steady);
        let is_news = met != asked.met;
        asked.met = met;
        is_news
    }

    /// Which peers a node's client lacks, as a pass sees it.
    #[must_use]
    pub fn met(&self, namespace: &str, node: &str) -> Met {
        let of = (namespace.to_owned(), node.to_owned());
        self.lock().asked.get(&of).map(|asked| asked.met.clone()).unwrap_or_default()
    }

    /// That every client was asked once.
    pub fn looked(&self) {
        self.lock().looked = true;
    }

    /// Judges a network anew. Whether there is anything else to say of it.
    pub fn judge(&self, namespace: &str, network: &str, schedule: &Schedule, now: Now) -> bool {
        let mut known = self.lock();
        let key = (namespace.to_owned(), network.to_owned());
        let Some((chain, told)) = known.chains.get_mut(&key) else { return false };
        let verdict = chain.judge(schedule, now);
        let is_news = verdict != *told;
        *told = verdict;
        is_news
    }

    /// What a pass over a node of this network sees.
    #[must_use]
    pub fn view(&self, namespace: &str, network: &str) -> View {
        let known = self.lock();
        let chain = known.chains.get(&(namespace.to_owned(), network.to_owned()));
        let (verdict, head) =
            chain.map(|(chain, verdict)| (verdict.clone(), chain.last())).unwrap_or_default();
        View { looked: known.looked, verdict, head }
    }

    /// Number of the highest block of a node's client; `None` where it was not seen lately.
    #[must_use]
    pub fn head(&self, place: &Place, now: Now) -> Option<u64> {
        self.lock().chains.get(&place.key())?.0.head_of(&place.node, now)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clients that have a pod with an address, and that is not being deleted.
#[must_use]
pub fn places(caches: &Caches) -> Vec<Place> {
    let pods = caches.pods.state();
    pods.iter().filter_map(|pod| place(caches, pod)).collect()
}

fn place(caches: &Caches, pod: &k8s_openapi::api::core::v1::Pod) -> Option<Place> {
    let node = pod.labels().get(names::NODE)?;
    let namespace = pod.namespace().filter(|_| pod.metadata.deletion_timestamp.is_none())?;
    let network = sibling::network(&*caches.nodes.get(&ObjectRef::new(node).within(&namespace))?)?.to_owned();
    let names = names(&namespace, node, &network);
    // a label can be on any pod
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

/// The certificate that a client's metrics are to be served with, where it was read already.
#[must_use]
pub fn held(caches: &Caches, facts: &Facts, place: &Place) -> Option<Fingerprint> {
    let node = caches.nodes.get(&ObjectRef::new(&place.node).within(&place.namespace))?;
    let tls = &node.0.as_ref().ok()?.spec.tls;
    let names = names(&place.namespace, &place.node, &place.network);
    let meta = caches.secret(&place.namespace, &secret_name(&names, tls, Purpose::Metrics))?;
    facts.certificate(&meta)
}

/// What the genesis of each network says of its blocks, where one of its nodes has read it already.
#[must_use]
pub fn schedules(caches: &Caches, facts: &Facts) -> BTreeMap<(String, String), Arc<Schedule>> {
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
