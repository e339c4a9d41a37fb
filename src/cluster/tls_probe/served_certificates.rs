//! Cache of the certificates that ports served at the last probe.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::{ResourceExt as _, runtime::reflector::ObjectRef};

use crate::{
    cluster::Caches,
    model::{
        names::{self, Component, Purpose},
        secrets::tls::Fingerprint,
    },
};

/// A port that serves TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Port {
    /// Namespace of the node.
    pub namespace: String,
    /// The node.
    pub node: String,
    /// What the certificate is for.
    pub purpose: Purpose,
    /// Uid of the pod.
    pub pod: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Probes a port: returns the certificate that it serves, or `None` if it cannot be reached.
pub type Dial = Arc<dyn Fn(Port) -> Pin<Box<dyn Future<Output = Option<Fingerprint>> + Send>> + Send + Sync>;

type Key = (String, String, Purpose);

/// Served certificate and uid of the pod, by node and purpose.
#[derive(Default)]
pub struct ServedCertificates {
    seen: Mutex<HashMap<Key, (String, Fingerprint)>>,
}

impl ServedCertificates {
    /// Certificate that the pod with this uid served at the last probe.
    #[must_use]
    pub fn of(&self, namespace: &str, node: &str, purpose: Purpose, pod: &str) -> Option<Fingerprint> {
        let seen = self.lock();
        let (by, fingerprint) = seen.get(&(namespace.to_owned(), node.to_owned(), purpose))?;
        (by == pod).then(|| fingerprint.clone())
    }

    /// Stores the result of a probe. Returns whether it changed.
    pub fn saw(&self, port: Port, presented: Option<Fingerprint>) -> bool {
        let key = (port.namespace, port.node, port.purpose);
        let now = presented.map(|presented| (port.pod, presented));
        let before = match now.clone() {
            Some(now) => self.lock().insert(key, now),
            None => self.lock().remove(&key),
        };
        before != now
    }

    /// Forgets the results of ports that are not in `ports`.
    pub fn keep(&self, ports: &[Port]) {
        let there: HashSet<_> =
            ports.iter().map(|port| (port.namespace.clone(), port.node.clone(), port.purpose)).collect();
        self.lock().retain(|key, _| there.contains(key));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, (String, Fingerprint)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// TLS ports of all running pods of nodes.
#[must_use]
pub fn ports(caches: &Caches) -> Vec<Port> {
    let mut ports: Vec<_> = caches.pods.state().iter().flat_map(|pod| ports_of(pod)).collect();
    ports.retain(|port| port.purpose != Purpose::Rpc || has_callers(caches, port));
    ports
}

/// Whether the node has callers, so that its guard serves.
fn has_callers(caches: &Caches, port: &Port) -> bool {
    let node = caches.nodes.get(&ObjectRef::new(&port.node).within(&port.namespace));
    node.is_some_and(|node| node.0.as_ref().is_ok_and(|node| !node.spec.rpc.callers.is_empty()))
}

fn ports_of(pod: &k8s_openapi::api::core::v1::Pod) -> Vec<Port> {
    let label = |name: &str| pod.labels().get(name);
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()?.parse().ok());
    let component = Component::ALL
        .into_iter()
        .find(|part| label(names::COMPONENT).is_some_and(|label| label == part.as_str()));
    let (Some(node), Some(address), Some(component), None) =
        (label(names::NODE), address, component, &pod.metadata.deletion_timestamp)
    else {
        return vec![];
    };
    let at = |purpose: Purpose| {
        let (_, port) = purpose.served().filter(|(by, _)| *by == component)?;
        Some(Port {
            namespace: pod.namespace().unwrap_or_default(),
            node: node.clone(),
            purpose,
            pod: pod.metadata.uid.clone().unwrap_or_default(),
            address: SocketAddr::new(address, u16::try_from(port).ok()?),
        })
    };
    Purpose::ALL.into_iter().filter_map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_pod_presented_says_nothing_of_the_next() {
        let served = ServedCertificates::default();
        let port = Port {
            namespace: "ledger".into(),
            node: "alice".into(),
            purpose: Purpose::Metrics,
            pod: "uid-7".into(),
            address: ([10, 0, 0, 1], 9545).into(),
        };
        let shown = Fingerprint::of(b"a certificate");
        assert!(
            served.saw(port.clone(), Some(shown.clone())) && !served.saw(port.clone(), Some(shown.clone()))
        );
        let of = |pod| served.of("ledger", "alice", Purpose::Metrics, pod);
        assert_eq!((of("uid-7"), of("uid-8")), (Some(shown), None));
        assert_eq!(served.of("ledger", "alice", Purpose::Manager, "uid-7"), None);
        served.keep(&[]);
        assert_eq!(of("uid-7"), None, "it is not there any more");
        assert!(!served.saw(port, None));
    }

    #[test]
    fn a_pod_has_the_ports_of_its_component_and_none_while_it_ends_or_has_no_address() {
        let pod = |component: &str, change: &dyn Fn(&mut serde_json::Value)| {
            let mut pod = serde_json::json!({"metadata": {"namespace": "ledger", "name": "alice-0", "uid": "uid-7",
                "labels": {(names::NODE): "alice", (names::COMPONENT): component}}, "status": {"podIP": "fd00::7"}});
            change(&mut pod);
            let ports = ports_of(&serde_json::from_value(pod).expect("a pod"));
            ports.iter().map(|port| format!("{} {}", port.purpose.as_str(), port.address)).collect::<Vec<_>>()
        };
        assert_eq!(pod("client", &|_| {}), ["metrics [fd00::7]:9545", "rpc [fd00::7]:8545"]);
        assert_eq!(pod("tm", &|_| {}), ["tm [fd00::7]:9101", "tm-peers [fd00::7]:9000"]);
        assert_eq!(pod("tm-db", &|_| {}), ["tm-db [fd00::7]:5432"]);
        let none = Vec::<String>::new();
        assert_eq!(pod("other", &|_| {}), none);
        assert_eq!(pod("tm", &|pod| pod["status"] = serde_json::json!({})), none);
        assert_eq!(
            pod("tm", &|pod| pod["metadata"]["deletionTimestamp"] = "2031-01-01T00:00:00Z".into()),
            none
        );
    }
}
