//! Names of objects, labels, annotations and ports: made here and nowhere else.

mod purpose;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::api::ObjectMeta;

pub use purpose::Purpose;

/// The field manager of every write, the same from release to release.
pub const MANAGER: &str = "quorum-operator";

/// What labels and annotations begin with that nobody else gives a meaning.
pub const OURS: &str = "quorum.security/";

/// Label: the `QuorumNode` an object belongs to.
pub const NODE: &str = "quorum.security/node";
/// Label: `client`, `tm` or `tm-db`.
pub const COMPONENT: &str = "quorum.security/component";
/// Label: the network of the node.
pub const NETWORK: &str = "quorum.security/network";
/// Label: `Member` or `Validator`.
pub const ROLE: &str = "quorum.security/role";
/// Label of the client's workload and pods: the address that follows from the key they run with.
pub const IDENTITY: &str = "quorum.security/identity";
/// Label on everything the operator writes but what cannot be made again.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label of a pod: which revision of its workload it was made from.
pub const REVISION: &str = "controller-revision-hash";

/// Finalizer of a node, of its policies, so that nothing runs unprotected, and of what cannot be made again.
pub const CLEANUP: &str = "quorum.security/cleanup";

/// Annotation: digest of the object as the operator rendered it.
pub const DIGEST: &str = "quorum.security/digest";
/// Annotation of a client's workload: whom it has admitted since it started.
pub const PERMITTED: &str = "quorum.security/permitted";
/// Annotation of a manager's workload: which managers of its network it knows since it started.
pub const MANAGERS: &str = "quorum.security/managers";
/// Annotation of a network's disruption budget: its validators, and those that left a moment ago.
pub const VALIDATORS: &str = "quorum.security/validators";

/// Annotation of a network's disruption budget: addresses of the chain's validators that run here or did.
pub const CHAIN_VALIDATORS: &str = "quorum.security/chain-validators";
/// Annotation of a client's workload: SHA-256 of the genesis that its pods begin with.
pub const GENESIS: &str = "quorum.security/genesis";
/// Annotation that people set on a node: with each new value its certificates are made anew.
pub const RENEW: &str = "quorum.security/renew-certs-at";
/// Annotation that people set on a node: the database with this system identifier is lost, and another one may take
/// its place.
pub const ACCEPT_DATABASE_LOSS: &str = "quorum.security/accept-database-loss";
/// Annotation of a certificate's Secret: the value of [`RENEW`] when it was made.
pub const MADE_FOR: &str = "quorum.security/made-for";
/// Annotation that people set on an authority's Secret: another authority is to follow it.
pub const ROTATE: &str = "quorum.security/rotate";
/// Annotation of a pod template: which certificates its pods read at start.
pub const CERTIFICATES: &str = "quorum.security/certificates";
/// Annotation of a client's pod: the version of the callers' policy that its kubelet was told of.
pub const POLICY: &str = "quorum.security/policy";
/// Annotation of a Service: digest of the labels and annotations that the spec asks for.
pub const NOTES: &str = "quorum.security/notes";
/// Annotation of a pod template: digest of the configuration its pods read at start.
pub const CONFIG_DIGEST: &str = "quorum.security/config-digest";

/// The container that runs `geth init`.
pub const GENESIS_CONTAINER: &str = "genesis";
/// The container that runs the client.
pub const CLIENT_CONTAINER: &str = "client";
/// The container beside a client through which it is called.
pub const GUARD: &str = "guard";

/// TCP port of peers.
pub const P2P: i32 = 30303;
/// TCP port of the metrics sidecar.
pub const METRICS: i32 = 9545;
/// TCP port of the guard, where callers of JSON-RPC connect.
pub const RPC: i32 = 8545;
/// TCP port that serves the kubelet's probes. No policy opens it.
pub const HEALTH: i32 = 8081;
/// TCP port that serves the kubelet's probes of the guard. No policy opens it.
pub const RPC_HEALTH: i32 = 8546;
/// TCP port of the transaction manager towards the client.
pub const CLIENT_TO_MANAGER: i32 = 9101;
/// TCP port of the transaction manager towards other managers.
pub const MANAGER_TO_MANAGER: i32 = 9000;
/// TCP port of the managed database.
pub const POSTGRES: i32 = 5432;
/// Port of the client's own metrics listener, on loopback.
pub const CLIENT_METRICS: i32 = 6060;
/// Port of the client's JSON-RPC over HTTP, on loopback: the guard is the way to it.
pub const CLIENT_HTTP: i32 = 8547;
/// Port of the client's JSON-RPC over WebSocket, on loopback.
pub const CLIENT_WS: i32 = 8548;
/// Port of the guard's own metrics, on loopback.
pub const GUARD_METRICS: i32 = 9546;

/// The managed database's name and the role that owns it.
pub const DATABASE: &str = "tessera";

/// The three workloads of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// geth and its sidecars.
    Client,
    /// Tessera.
    TransactionManager,
    /// PostgreSQL.
    Database,
}

impl Component {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Client, Self::TransactionManager, Self::Database];

    /// As it stands in labels and names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::TransactionManager => "tm",
            Self::Database => "tm-db",
        }
    }

    /// As a person calls it.
    #[must_use]
    pub fn spoken(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::TransactionManager => "transaction manager",
            Self::Database => "database",
        }
    }

    /// The software it runs.
    fn software(self) -> &'static str {
        match self {
            Self::Client => "goquorum",
            Self::TransactionManager => "tessera",
            Self::Database => "postgresql",
        }
    }
}

/// Whether a text that somebody may have written is no more than a node's name can be, or the beginning of a key: letters, digits
/// and `-`, 40 of them at most.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    let is_in = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=40).contains(&text.len())
        && text.bytes().all(is_in)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether an object's name is one that the objects of a node have. It may be another's whose name begins in the same way.
#[must_use]
pub fn is_named_for(object: &str, node: &str) -> bool {
    let rest = object.strip_prefix("qn-").unwrap_or(object);
    [object, rest].iter().any(|name| name.strip_prefix(node).is_some_and(|rest| rest.starts_with('-')))
}

/// Whether an object's name is one that what a network shares has.
#[must_use]
pub fn is_named_for_network(object: &str, network: &str) -> bool {
    let rest = object.strip_prefix("qnet-").and_then(|rest| rest.strip_prefix(network));
    rest.is_some_and(|rest| rest.starts_with('-'))
}

/// Who a node is among the cluster's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Name of the `QuorumNode`.
    pub node: String,
    /// Its namespace.
    pub namespace: String,
    /// Its network.
    pub network: String,
}

impl Names {
    /// The StatefulSet of a component, and the prefix of what belongs to it.
    #[must_use]
    pub fn workload(&self, component: Component) -> String {
        format!("{}-{}", self.node, component.as_str())
    }

    /// The one pod of a component.
    #[must_use]
    pub fn pod(&self, component: Component) -> String {
        format!("{}-0", self.workload(component))
    }

    /// The volume claim of a component.
    #[must_use]
    pub fn claim(&self, component: Component) -> String {
        format!("data-{}", self.pod(component))
    }

    /// The headless Service that governs a component's StatefulSet.
    #[must_use]
    pub fn governing_service(&self, component: Component) -> String {
        format!("{}-pods", self.workload(component))
    }

    /// The Service that peers dial.
    #[must_use]
    pub fn peer_service(&self) -> String {
        format!("{}-p2p", self.node)
    }

    /// The Service that scrapers dial.
    #[must_use]
    pub fn metrics_service(&self) -> String {
        format!("{}-metrics", self.node)
    }

    /// The Service that callers of JSON-RPC dial.
    #[must_use]
    pub fn rpc_service(&self) -> String {
        format!("{}-rpc", self.node)
    }

    /// The DNS name of a Service of this namespace.
    #[must_use]
    pub fn dns(&self, service: &str) -> String {
        format!("{service}.{}.svc", self.namespace)
    }

    /// The Secret with a minted node key.
    #[must_use]
    pub fn node_key(&self) -> String {
        format!("qn-{}-nodekey", self.node)
    }

    /// The Secret with the certificate for a purpose.
    #[must_use]
    pub fn certificate(&self, purpose: Purpose) -> String {
        format!("qn-{}-tls-{}", self.node, purpose.as_str())
    }

    /// The Certificate that cert-manager is asked for, and the Secret that it makes.
    #[must_use]
    pub fn requested(&self, purpose: Purpose) -> String {
        format!("qn-{}-cm-{}", self.node, purpose.as_str())
    }

    /// The Secret with the authority that only this node's own parts trust.
    #[must_use]
    pub fn node_authority(&self) -> String {
        format!("qn-{}-ca", self.node)
    }

    /// The Secret and the ConfigMap with the network's authority. A prefix of its own: a node may be
    /// called like its network.
    #[must_use]
    pub fn network_authority(&self) -> String {
        format!("qnet-{}-ca", self.network)
    }

    /// The Secret with a later generation of an authority; the first has the authority's name.
    #[must_use]
    pub fn generation(authority: &str, number: u32) -> String {
        if number <= 1 { authority.to_owned() } else { format!("{authority}-{number}") }
    }

    /// The disruption budget of the network's validators.
    #[must_use]
    pub fn validators(&self) -> String {
        format!("qnet-{}-validators", self.network)
    }

    /// The ConfigMap with the lists of peers.
    #[must_use]
    pub fn peers(&self) -> String {
        format!("qn-{}-peers", self.node)
    }

    /// The ConfigMap with the callers' policy.
    #[must_use]
    pub fn guard_config(&self) -> String {
        format!("qn-{}-guard", self.node)
    }

    /// The ConfigMap, or Secret, with the transaction manager's configuration.
    #[must_use]
    pub fn manager_config(&self) -> String {
        format!("qn-{}-tm-config", self.node)
    }

    /// The ConfigMap with the database's configuration.
    #[must_use]
    pub fn database_config(&self) -> String {
        format!("qn-{}-tm-db", self.node)
    }

    /// A network policy.
    #[must_use]
    pub fn policy(&self, flow: &str) -> String {
        format!("{}-{flow}", self.node)
    }

    /// The immutable pair that selects the pods of a component.
    #[must_use]
    pub fn pod_labels(&self, component: Component) -> BTreeMap<String, String> {
        BTreeMap::from([(NODE.into(), self.node.clone()), (COMPONENT.into(), component.as_str().into())])
    }

    /// A selector of the pods of a component.
    #[must_use]
    pub fn pods(&self, component: Component) -> LabelSelector {
        LabelSelector { match_labels: Some(self.pod_labels(component)), ..LabelSelector::default() }
    }

    /// A selector of every pod of the node.
    #[must_use]
    pub fn all_pods(&self) -> LabelSelector {
        LabelSelector {
            match_labels: Some(BTreeMap::from([(NODE.into(), self.node.clone())])),
            ..LabelSelector::default()
        }
    }

    /// Labels of an object that belongs to the node as a whole.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (NODE.into(), self.node.clone()),
            (NETWORK.into(), self.network.clone()),
            (MANAGED_BY.into(), MANAGER.into()),
            ("app.kubernetes.io/instance".into(), self.node.clone()),
            ("app.kubernetes.io/part-of".into(), "quorum".into()),
        ])
    }

    /// Labels of an object that belongs to one component.
    #[must_use]
    pub fn component_labels(&self, component: Component) -> BTreeMap<String, String> {
        let mut labels = self.labels();
        labels.insert(COMPONENT.into(), component.as_str().into());
        labels.insert("app.kubernetes.io/component".into(), component.as_str().into());
        labels.insert("app.kubernetes.io/name".into(), component.software().into());
        labels
    }

    /// Labels of a Secret that cannot be made again: ours alone. By the common ones other tools track, and delete, what
    /// they no longer render.
    #[must_use]
    pub fn lasting_labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(NODE.into(), self.node.clone()), (NETWORK.into(), self.network.clone())])
    }

    /// Labels of an object that all nodes of the network share.
    #[must_use]
    pub fn network_labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (NETWORK.into(), self.network.clone()),
            (MANAGED_BY.into(), MANAGER.into()),
            ("app.kubernetes.io/part-of".into(), "quorum".into()),
        ])
    }

    /// Metadata of a child that goes when the node goes.
    #[must_use]
    pub fn meta(&self, name: String, labels: BTreeMap<String, String>, owner: &OwnerReference) -> ObjectMeta {
        ObjectMeta { owner_references: Some(vec![owner.clone()]), ..self.unowned(name, labels) }
    }

    /// Metadata of an object that outlives the node.
    #[must_use]
    pub fn unowned(&self, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.clone()),
            labels: Some(labels),
            ..ObjectMeta::default()
        }
    }
}
