//! What a pass has seen: plain data, read once, from which everything else follows.

#[cfg(test)]
pub(super) mod samples;

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;

use super::{
    absent::Absent,
    chain,
    genesis::GenesisFacts,
    identity::Claim,
    met::Met,
    names::{Component, Purpose},
    secrets::{
        Unusable,
        keys::{NodeIdentity, TransactionManagerKey},
        tls::{AuthorityFacts, Fingerprint, LeafFacts},
    },
    sibling::Sibling,
    volumes::Volume,
};
use crate::{
    api::{QuorumNode, node::Role},
    database::Report,
    policy,
};

/// Something that the spec, or the pass, refers to.
#[derive(Clone, Debug, PartialEq)]
pub enum Found<T> {
    /// There is no such object.
    Missing,
    /// The object is there and cannot be used.
    Unusable(String),
    /// What is in it.
    Is(T),
}

impl<T> Found<T> {
    /// What is in it, if that can be used.
    pub fn usable(&self) -> Option<&T> {
        match self {
            Self::Is(content) => Some(content),
            Self::Missing | Self::Unusable(_) => None,
        }
    }
}

impl<T> From<Result<T, Unusable>> for Found<T> {
    fn from(read: Result<T, Unusable>) -> Self {
        match read {
            Ok(content) => Self::Is(content),
            Err(why) => Self::Unusable(why.to_string()),
        }
    }
}

/// Objects of a kind that may not be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seen<T> {
    /// They are not known, or not yet.
    #[default]
    NotYet,
    /// The server does not serve the kind.
    Missing,
    /// What there is.
    Is(T),
}

/// What cert-manager says of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// It is being issued.
    pub issuing: bool,
    /// It was not issued, when that was tried last.
    pub failed: bool,
    /// In its own words, cut short.
    pub said: String,
}

/// An authority and those that followed it, eldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lineage(pub Vec<Generation>);

/// One authority of several that follow each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// 1 for the first.
    pub number: u32,
    /// What is in its Secret.
    pub authority: Found<AuthorityFacts>,
    /// Whether somebody asked for another one to follow it.
    pub rotate: bool,
}

impl Lineage {
    /// The generations that can be used, with their numbers, eldest first.
    pub fn usable(&self) -> impl DoubleEndedIterator<Item = (u32, &AuthorityFacts)> {
        self.0.iter().filter_map(|one| Some((one.number, one.authority.usable()?)))
    }
}

impl From<Found<AuthorityFacts>> for Lineage {
    fn from(first: Found<AuthorityFacts>) -> Self {
        match first {
            Found::Missing => Self::default(),
            authority => Self(vec![Generation { number: 1, authority, rotate: false }]),
        }
    }
}

/// Everything a pass decides from.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The node itself.
    pub node: Arc<QuorumNode>,
    /// The cluster's domain, as the operator was told at start.
    pub domain: String,
    /// The other nodes of its network, by name, none of them being deleted.
    pub siblings: Vec<Sibling>,
    /// Its genesis.
    pub genesis: Found<GenesisFacts>,
    /// Its key: the adopted Secret, or the minted one.
    pub node_key: Found<NodeIdentity>,
    /// Whether a claim of an earlier life holds chain data. `None`: not looked at, since a key is there.
    pub chain_data_exists: Option<bool>,
    /// What the transaction manager refers to; `None` without one.
    pub manager: Option<ObservedManager>,
    /// ConfigMaps with certificates of foreign authorities, by the field that names them: digests.
    pub bundles: BTreeMap<String, Found<String>>,
    /// What callers of JSON-RPC refer to.
    pub callers: ObservedCallers,
    /// The network's authority.
    pub network_authority: Lineage,
    /// The node's own authority.
    pub node_authority: Lineage,
    /// The node's certificates.
    pub certificates: BTreeMap<Purpose, Result<LeafFacts, Unusable>>,
    /// Which request for renewal each of them was made for, where there was one.
    pub made_for: BTreeMap<Purpose, String>,
    /// What its pods were seen to present; `None` where nobody looks.
    pub served: Option<BTreeMap<Purpose, Fingerprint>>,
    /// What its network's chain was seen to do; `None` where nobody looks.
    pub chain: Option<chain::View>,
    /// Which peers its client was seen to lack.
    pub met: Met,
    /// When the Secrets of its certificates were last written.
    pub written: BTreeMap<Purpose, Timestamp>,
    /// What cert-manager is asked for, of this node's.
    pub requests: Seen<BTreeMap<Purpose, Request>>,
    /// Whether Prometheus is told of the node by an object of its own.
    pub monitor: Seen<bool>,
    /// The clients of the network's other nodes.
    pub neighbours: Vec<Neighbour>,
    /// Others who claim the node's identity, in any namespace that is watched.
    pub claims: Vec<Claim>,
    /// Address of the P2P Service.
    pub peer_address: Option<String>,
    /// The workloads that exist.
    pub workloads: BTreeMap<Component, Workload>,
    /// The volume claims that exist and are the node's.
    pub volumes: BTreeMap<Component, Volume>,
    /// Whom its client has admitted, as its lists of peers say: known also while it has no workload.
    pub permitted: Option<String>,
    /// Which managers of its network its own one knows.
    pub managers: Option<String>,
    /// Nodes of the network that are away.
    pub absent: Absent,
    /// The pods that exist.
    pub pods: BTreeMap<Component, Pod>,
    /// Why the server makes no pod of a part, in its words, where a pod has been missing for a while.
    pub unmade: BTreeMap<Component, String>,
    /// What may not be watched, in the server's words: what is said of it may be old.
    pub unseen: Vec<String>,
    /// Hosts of the cluster.
    pub hosts: BTreeMap<String, Host>,
    /// Secrets that cannot be made again and are the operator's to keep.
    pub lasting: Vec<ObjectMeta>,
    /// Pods beyond the one that a part has, and what they have left.
    pub surplus: Surplus,
}

/// What a workload that somebody scales up makes beyond its one pod; names alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surplus {
    /// Pods.
    pub pods: Vec<String>,
    /// Volume claims of such pods, that are there or were.
    pub claims: Vec<String>,
}

/// What a transaction manager refers to.
#[derive(Clone, Debug)]
pub struct ObservedManager {
    /// Its key pair.
    pub keys: Found<TransactionManagerKey>,
    /// Its key's password; `None` where the spec names none.
    pub key_password: Option<Found<()>>,
    /// The external database's password and the resource version of its Secret.
    pub database_password: Option<Found<String>>,
    /// The resource version of the Secret with the external database's client certificate.
    pub database_certificate: Option<Found<String>>,
}

/// What callers of JSON-RPC refer to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedCallers {
    /// Certificates of the authorities that callers name, PEM, by the caller's name.
    pub authorities: BTreeMap<String, Found<String>>,
    /// Who issues tokens of ServiceAccounts, and with which keys, where that is asked for. `Missing`: it has not
    /// answered yet.
    pub cluster: Option<Found<policy::Issuer>>,
    /// The other issuers, by their URL.
    pub issuers: BTreeMap<String, Found<policy::Issuer>>,
}

/// The client of another node of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its node.
    pub name: String,
    /// What its node does on the chain; `None` where its spec does not tell.
    pub role: Option<Role>,
    /// Its pod, where it exists.
    pub pod: Option<Pod>,
}

/// A StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Uid of this very one.
    pub uid: String,
    /// Revision that new pods get.
    pub update_revision: Option<String>,
    /// Whether it is to have no pod.
    pub stopped: bool,
    /// Whom its client has admitted since it started.
    pub permitted: Option<String>,
    /// Size that its claim template asks for.
    pub size: Option<String>,
    /// SHA-256 of the genesis that its template is for, of a client.
    pub genesis: Option<String>,
    /// Whether its controller has seen it as it is, so that the revision is of this template.
    pub settled: bool,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Uid of this very pod.
    pub uid: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Address that follows from the key it runs with, of a client.
    pub identity: Option<String>,
    /// Whether no workload manages it.
    pub unmanaged: bool,
    /// Host it runs on.
    pub host: Option<String>,
    /// Revision of the workload it was made from.
    pub revision: Option<String>,
    /// Whether the kubelet calls it ready.
    pub ready: bool,
    /// Since when it is ready, or is not.
    pub since: Option<Timestamp>,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Which certificates it has read at start.
    pub certificates: Option<String>,
    /// Whether `geth init` has ended well in it, of a client.
    pub initialised: bool,
    /// Whether a guard runs in it, of a client.
    pub guarded: bool,
    /// The version of the callers' policy that its kubelet was told of.
    pub policy: Option<String>,
    /// What the scheduler says where it found no host.
    pub unschedulable: Option<String>,
    /// Which database it has found, where it looks at one before it starts.
    pub database: Option<Report>,
    /// The first container that is in trouble, and why.
    pub trouble: Option<String>,
    /// The first container that ended last because it had no memory left, and what to do.
    pub killed: Option<String>,
}

/// A host: what two kubelets would have in common if they were one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Machine id, as its kubelet reports it.
    pub machine_id: String,
    /// Boot id, as its kubelet reports it.
    pub boot_id: String,
    /// Whether it is ready and not cordoned.
    pub schedulable: bool,
    /// Whether a person has closed it.
    pub cordoned: bool,
    /// Whether its kubelet no longer reports, or reports that it is not ready.
    pub lost: bool,
    /// Since when that is so, or is not.
    pub since: Option<Timestamp>,
    /// Taints that keep pods away that do not tolerate them.
    pub taints: Vec<Taint>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What keeps pods away from a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value; empty without one.
    pub value: String,
    /// What it does.
    pub effect: String,
}
