//! Observed state: plain data that a reconcile reads once, and from which it decides everything else.

#[cfg(test)]
pub(super) mod samples;

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;

use super::decide::{absent_nodes::AbsentNodes, volume_growth::Volume};
use crate::model::lookup::{Found, Seen};
use crate::{
    api::{QuorumNode, node::Role},
    model::{
        chain,
        genesis::GenesisFacts,
        names::{Component, Purpose},
        network_member::NetworkMember,
        peering::PeerState,
        secrets::{
            InvalidContent,
            keys::{NodeIdentity, TransactionManagerKey},
            tls::{AuthorityFacts, Fingerprint, LeafFacts},
        },
    },
    node::decide::identity::Claim,
    protocol::{database::Report, policy},
};

/// What cert-manager reports about a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// It is being issued.
    pub issuing: bool,
    /// The last attempt to issue it failed.
    pub failed: bool,
    /// Message of cert-manager, truncated.
    pub said: String,
}

/// Generations of a CA, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CaGenerations(pub Vec<Generation>);

/// One generation of a CA.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// Number of the generation; the first is 1.
    pub number: u32,
    /// Content of its Secret.
    pub authority: Found<AuthorityFacts>,
    /// Whether a user has requested a rotation to the next generation.
    pub rotate: bool,
}

impl CaGenerations {
    /// Usable generations with their numbers, oldest first.
    pub fn usable(&self) -> impl DoubleEndedIterator<Item = (u32, &AuthorityFacts)> {
        self.0.iter().filter_map(|one| Some((one.number, one.authority.usable()?)))
    }
}

impl From<Found<AuthorityFacts>> for CaGenerations {
    fn from(first: Found<AuthorityFacts>) -> Self {
        match first {
            Found::Missing => Self::default(),
            authority => Self(vec![Generation { number: 1, authority, rotate: false }]),
        }
    }
}

/// Everything that a reconcile decides from.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The node itself.
    pub node: Arc<QuorumNode>,
    /// Cluster domain, from the operator's settings.
    pub domain: String,
    /// The other nodes of its network, by name, without those that are being deleted.
    pub network_members: Vec<NetworkMember>,
    /// Its genesis.
    pub genesis: Found<GenesisFacts>,
    /// Its node key, from the adopted or the generated Secret.
    pub node_key: Found<NodeIdentity>,
    /// Whether a volume claim with chain data exists. `None` if it was not read, since a node key exists.
    pub chain_data_exists: Option<bool>,
    /// References of the transaction manager; `None` without one.
    pub manager: Option<ObservedManager>,
    /// Digests of the ConfigMaps with third-party CA certificates, by spec field.
    pub bundles: BTreeMap<String, Found<String>>,
    /// References of JSON-RPC callers.
    pub callers: ObservedCallers,
    /// The network's CA.
    pub network_authority: CaGenerations,
    /// The node's own CA.
    pub node_authority: CaGenerations,
    /// The node's certificates.
    pub certificates: BTreeMap<Purpose, Result<LeafFacts, InvalidContent>>,
    /// Renewal request that each certificate was issued for, if there was one.
    pub made_for: BTreeMap<Purpose, String>,
    /// Certificates that its pods serve; `None` if ports are not probed.
    pub served: Option<BTreeMap<Purpose, Fingerprint>>,
    /// State of its network's chain; `None` if clients are not probed.
    pub chain: Option<chain::View>,
    /// Peers that its client lacks.
    pub met: PeerState,
    /// When the Secrets of its certificates were last written.
    pub written: BTreeMap<Purpose, Timestamp>,
    /// The node's certificate requests at cert-manager.
    pub requests: Seen<BTreeMap<Purpose, Request>>,
    /// Whether the node's PodMonitor exists.
    pub monitor: Seen<bool>,
    /// The clients of the network's other nodes.
    pub neighbours: Vec<Neighbour>,
    /// Claims of others to the node's identity, in all watched namespaces.
    pub claims: Vec<Claim>,
    /// Address of the P2P Service.
    pub peer_address: Option<String>,
    /// The workloads that exist.
    pub workloads: BTreeMap<Component, Workload>,
    /// Existing volume claims of the node.
    pub volumes: BTreeMap<Component, Volume>,
    /// Peers that its client has admitted, as recorded on its peer lists. Known also without a workload.
    pub admitted_peers: Option<String>,
    /// Managers of its network that its own manager knows.
    pub managers: Option<String>,
    /// Absent nodes of the network.
    pub absent: AbsentNodes,
    /// The pods that exist.
    pub pods: BTreeMap<Component, Pod>,
    /// Server message why a part has no pod, if the pod has been missing for a while.
    pub rejected_pods: BTreeMap<Component, String>,
    /// Server messages of forbidden watches. Observed state of these kinds may be stale.
    pub unwatchable: Vec<String>,
    /// Hosts of the cluster.
    pub hosts: BTreeMap<String, Host>,
    /// Irreplaceable Secrets that the operator manages.
    pub irreplaceable_secrets: Vec<ObjectMeta>,
    /// Pods beyond the one of each part, and their volume claims.
    pub surplus: Surplus,
}

/// Names of the pods and claims that a workload has beyond its one pod, because a user scaled it up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surplus {
    /// Pods.
    pub pods: Vec<String>,
    /// Volume claims of such pods, also of pods that are gone.
    pub claims: Vec<String>,
}

/// References of a transaction manager.
#[derive(Clone, Debug)]
pub struct ObservedManager {
    /// Its key pair.
    pub keys: Found<TransactionManagerKey>,
    /// Its key's password; `None` if the spec references none.
    pub key_password: Option<Found<()>>,
    /// The external database's password and the resource version of its Secret.
    pub database_password: Option<Found<String>>,
    /// The resource version of the Secret with the external database's client certificate.
    pub database_certificate: Option<Found<String>>,
}

/// References of JSON-RPC callers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedCallers {
    /// CA certificates that callers reference, as PEM, by caller name.
    pub authorities: BTreeMap<String, Found<String>>,
    /// Issuer of ServiceAccount tokens with its keys, if a caller uses such tokens. `Missing` until it has answered.
    pub cluster: Option<Found<policy::Issuer>>,
    /// The other issuers, by their URL.
    pub issuers: BTreeMap<String, Found<policy::Issuer>>,
}

/// The client of another node of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its node.
    pub name: String,
    /// Role of its node; `None` if its spec does not decode.
    pub role: Option<Role>,
    /// Its pod, if it exists.
    pub pod: Option<Pod>,
}

/// A StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Its uid.
    pub uid: String,
    /// Revision of new pods.
    pub update_revision: Option<String>,
    /// Whether it is scaled to zero.
    pub stopped: bool,
    /// Peers that its client has admitted since it started.
    pub admitted_peers: Option<String>,
    /// Size in its claim template.
    pub size: Option<String>,
    /// SHA-256 of the genesis that its template is for; only for a client.
    pub genesis: Option<String>,
    /// Whether its controller has processed the current template, so that the revision belongs to it.
    pub settled: bool,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its uid.
    pub uid: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Address that belongs to the node key it runs with; only for a client.
    pub identity: Option<String>,
    /// Whether no workload manages it.
    pub unmanaged: bool,
    /// Host it runs on.
    pub host: Option<String>,
    /// Revision of the workload that it was created from.
    pub revision: Option<String>,
    /// Whether it is ready.
    pub ready: bool,
    /// Time of the last change of its readiness.
    pub since: Option<Timestamp>,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Digests of the certificates that it has read at start.
    pub certificates: Option<String>,
    /// Whether `geth init` has succeeded in it; only for a client.
    pub initialised: bool,
    /// Whether it has a guard; only for a client.
    pub guarded: bool,
    /// Version of the caller policy in its annotation.
    pub policy: Option<String>,
    /// Message of the scheduler, if it found no host.
    pub unschedulable: Option<String>,
    /// Report of its init container about the database, if it checks one.
    pub database: Option<Report>,
    /// First container that fails, and why.
    pub trouble: Option<String>,
    /// First container that was last terminated for lack of memory, and what to do.
    pub killed: Option<String>,
}

/// A host (Kubernetes node). Its ids show whether two kubelets run on one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Machine id, as its kubelet reports it.
    pub machine_id: String,
    /// Boot id, as its kubelet reports it.
    pub boot_id: String,
    /// Whether it is ready and not cordoned.
    pub schedulable: bool,
    /// Whether it is cordoned.
    pub cordoned: bool,
    /// Whether its kubelet no longer reports, or reports that it is not ready.
    pub lost: bool,
    /// Time of the last change of its readiness.
    pub since: Option<Timestamp>,
    /// Taints that repel pods without a toleration.
    pub taints: Vec<Taint>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// Taint of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value; empty without one.
    pub value: String,
    /// Its effect.
    pub effect: String,
}
