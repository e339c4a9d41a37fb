//! Names of all objects, labels, annotations and ports. No other module makes any.

mod purpose;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::api::ObjectMeta;

pub use purpose::{Purpose, secret_name};

/// Namespace and name of an object.
pub type NamespacedName = (String, String);

/// The field manager of every write, the same from release to release.
pub const MANAGER: &str = "quorum-operator";

/// Prefix of the operator's own labels and annotations.
pub const OURS: &str = "quorum.security/";

/// Label: name of the `QuorumNode` that an object belongs to.
pub const NODE: &str = "quorum.security/node";
/// Label: `client`, `tm` or `tm-db`.
pub const COMPONENT: &str = "quorum.security/component";
/// Label: the network of the node.
pub const NETWORK: &str = "quorum.security/network";
/// Label: `Member` or `Validator`.
pub const ROLE: &str = "quorum.security/role";
/// Label of the client's workload and pods: the chain address of the key they run with.
pub const IDENTITY: &str = "quorum.security/identity";
/// Label of every object that the operator writes, except Secrets that cannot be generated again.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label of a pod: the revision of its workload that it was created from.
pub const REVISION: &str = "controller-revision-hash";

/// Finalizer of a node, of its network policies, so that no pod runs without them, and of Secrets that cannot be
/// generated again.
pub const CLEANUP: &str = "quorum.security/cleanup";

/// Annotation: digest of the object as the operator rendered it.
pub const DIGEST: &str = "quorum.security/digest";
/// Annotation of a client's workload: the peers that it has admitted since it started.
pub const PERMITTED: &str = "quorum.security/permitted";
/// Annotation of a transaction manager's workload: the managers of its network that it has known since it started.
pub const MANAGERS: &str = "quorum.security/managers";
/// Annotation of a network's disruption budget: its validators, and those that left less than five minutes ago.
pub const VALIDATORS: &str = "quorum.security/validators";

/// Annotation of a network's disruption budget: addresses of the chain's validators that run or ran here.
pub const CHAIN_VALIDATORS: &str = "quorum.security/chain-validators";
/// Annotation of a client's workload: SHA-256 of the genesis that its pods are initialised with.
pub const GENESIS: &str = "quorum.security/genesis";
/// Annotation that users set on a node: each new value renews the node's certificates.
pub const RENEW: &str = "quorum.security/renew-certs-at";
/// Annotation that users set on a node: the database with this system identifier is lost, and another one may replace
/// it.
pub const ACCEPT_DATABASE_LOSS: &str = "quorum.security/accept-database-loss";
/// Annotation of a certificate's Secret: the value of [`RENEW`] when the certificate was issued.
pub const MADE_FOR: &str = "quorum.security/made-for";
/// Annotation that users set on the Secret of a certificate authority (CA): starts a rotation to a new CA.
pub const ROTATE: &str = "quorum.security/rotate";
/// Annotation of a pod template: the certificates that its pods read at start.
pub const CERTIFICATES: &str = "quorum.security/certificates";
/// Annotation of a client's pod: version of the callers' policy. Changing it makes the kubelet refresh the volume.
pub const POLICY: &str = "quorum.security/policy";
/// Annotation of a Service: digest of the labels and annotations that the spec asks for.
pub const NOTES: &str = "quorum.security/notes";
/// Annotation of a pod template: digest of the configuration that its pods read at start.
pub const CONFIG_DIGEST: &str = "quorum.security/config-digest";

/// The container that runs `geth init`.
pub const GENESIS_CONTAINER: &str = "genesis";
/// The container that runs the client.
pub const CLIENT_CONTAINER: &str = "client";
/// The sidecar container that serves the client's JSON-RPC to callers.
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
/// TCP port of the transaction manager for its client.
pub const CLIENT_TO_MANAGER: i32 = 9101;
/// TCP port of the transaction manager for other managers.
pub const MANAGER_TO_MANAGER: i32 = 9000;
/// TCP port of the managed database.
pub const POSTGRES: i32 = 5432;
/// Port of the client's own metrics listener, on loopback.
pub const CLIENT_METRICS: i32 = 6060;
/// Port of the client's JSON-RPC over HTTP, on loopback: callers reach it only through the guard.
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

    /// The value in labels and names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::TransactionManager => "tm",
            Self::Database => "tm-db",
        }
    }

    /// The name in messages.
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

/// Whether a text, which any writer of the object may have set, has the form of a node's name or a key prefix: 1 to 40
/// lower-case letters, digits and `-`.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    let is_in = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=40).contains(&text.len())
        && text.bytes().all(is_in)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether an object's name has the form that the objects of a node have. The object may still belong to another node
/// whose name begins in the same way.
#[must_use]
pub fn is_named_for(object: &str, node: &str) -> bool {
    let rest = object.strip_prefix("qn-").unwrap_or(object);
    [object, rest].iter().any(|name| name.strip_prefix(node).is_some_and(|rest| rest.starts_with('-')))
}

/// Whether an object's name has the form that the shared objects of a network have.
#[must_use]
pub fn is_named_for_network(object: &str, network: &str) -> bool {
    let rest = object.strip_prefix("qnet-").and_then(|rest| rest.strip_prefix(network));
    rest.is_some_and(|rest| rest.starts_with('-'))
}

/// Names of a node's objects.
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
    /// The StatefulSet of a component, and the prefix of the component's other objects.
    #[must_use]
    pub fn workload(&self, component: Component) -> String {
        format!("{}-{}", self.node, component.as_str())
    }

    /// The one pod of a component.
    #[must_use]
    pub fn pod(&self, component: Component) -> String {
        format!("{}-0", self.workload(component))
    }

    /// The PersistentVolumeClaim of a component.
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

    /// The Service that metrics scrapers dial.
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

    /// The Secret with a generated node key.
    #[must_use]
    pub fn node_key(&self) -> String {
        format!("qn-{}-nodekey", self.node)
    }

    /// The Secret with the certificate for a purpose.
    #[must_use]
    pub fn certificate(&self, purpose: Purpose) -> String {
        format!("qn-{}-tls-{}", self.node, purpose.as_str())
    }

    /// The Certificate requested from cert-manager, and the Secret that cert-manager creates for it.
    #[must_use]
    pub fn requested(&self, purpose: Purpose) -> String {
        format!("qn-{}-cm-{}", self.node, purpose.as_str())
    }

    /// The Secret with the CA that only this node's own parts trust.
    #[must_use]
    pub fn node_authority(&self) -> String {
        format!("qn-{}-ca", self.node)
    }

    /// The Secret and the ConfigMap with the network's CA. The prefix differs from that of nodes because a node may
    /// have the name of its network.
    #[must_use]
    pub fn network_authority(&self) -> String {
        format!("qnet-{}-ca", self.network)
    }

    /// The Secret with a generation of a CA; the first generation has the CA's name.
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

    /// The two immutable labels that select the pods of a component.
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

    /// Labels of a Secret that cannot be generated again: only the operator's own. Other tools track objects by the
    /// common labels and delete those that they no longer render.
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

    /// Metadata of a child that is garbage-collected with the node.
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
