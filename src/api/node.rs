//! `QuorumNode`: one GoQuorum node. Fields that are left out default to closed and secure.
#![allow(clippy::duplicated_attributes, reason = "each column has a name and a type of its own")]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::consensus::{Consensus, Engine, Operators};
use super::{
    client::Client,
    node_key::NodeKey,
    parts::{ConfigMapKey, Metrics, Notes, Peering, Readiness, SecretName, Sidecars},
    placement::Placement,
    rollout::Rollout,
    rpc::Rpc,
    status::QuorumNodeStatus,
    tls::Tls,
    transaction_manager::TransactionManager,
};

/// Desired state of a node. Network, client, consensus and genesis are required.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "quorum.security",
    version = "v1alpha1",
    kind = "QuorumNode",
    plural = "quorumnodes",
    shortname = "qn",
    category = "quorum",
    namespaced,
    status = "QuorumNodeStatus",
    derive = "PartialEq",
    doc = "A GoQuorum node that the operator runs according to a security checklist",
    selectable = ".spec.network",
    cel
)]
#[kube(
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.role"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.client.version"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Host", type_ = "string", priority = 1, json_path = ".status.hosts.client"),
    printcolumn(name = "Enode", type_ = "string", priority = 1, json_path = ".status.enode"),
    printcolumn(
        name = "Cert-Expiry",
        type_ = "string",
        priority = 1,
        json_path = ".status.certificateExpiry"
    )
)]
#[kube(validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 40")
    .message("metadata.name must begin with a lower-case letter, end with a letter or digit, contain only lower-case letters, digits and '-', and have at most 40 characters, because the names of pods and Services begin with metadata.name"))]
#[x_kube(
    validation = Rule::new("self.network == oldSelf.network")
        .message("network is immutable. For another network, create a new QuorumNode")
        .field_path(".network"),
    validation = Rule::new("self.genesis == oldSelf.genesis")
        .message("genesis is immutable. For another chain, create a new QuorumNode")
        .field_path(".genesis"),
    validation = Rule::new("self.consensus.type == oldSelf.consensus.type")
        .message("consensus.type is immutable. To move a chain from IBFT to QBFT, add an entry to config.transitions of the genesis")
        .field_path(".consensus"),
    validation = Rule::new("(has(self.nodeKey) && has(self.nodeKey.secretRef)) == (has(oldSelf.nodeKey) && has(oldSelf.nodeKey.secretRef)) && (!has(self.nodeKey) || !has(self.nodeKey.secretRef) || self.nodeKey.secretRef == oldSelf.nodeKey.secretRef)")
        .message("nodeKey.secretRef determines the node's identity, so it cannot be changed, added or removed. For another identity, create a new QuorumNode"),
    validation = Rule::new("has(self.client.storage.className) == has(oldSelf.client.storage.className) && (!has(self.client.storage.className) || self.client.storage.className == oldSelf.client.storage.className)")
        .message("client.storage.className cannot be changed, because the storage class of a PersistentVolumeClaim is immutable"),
    validation = Rule::new("self.client.storage.accessMode == oldSelf.client.storage.accessMode")
        .message("client.storage.accessMode cannot be changed, because the access mode of a PersistentVolumeClaim is immutable"),
    validation = Rule::new("!(oldSelf.profile == 'Production' && self.profile == 'Development')")
        .message("profile cannot be changed from Production to Development. For development, create a new QuorumNode")
        .field_path(".profile"),
    validation = Rule::new("self.profile == 'Development' || self.client.image.contains('@sha256:')")
        .message("client.image must be pinned by digest (name@sha256:…) unless profile is Development")
        .field_path(".client.image"),
    validation = Rule::new("self.profile == 'Development' || !has(self.transactionManager) || self.transactionManager.image.contains('@sha256:')")
        .message("transactionManager.image must be pinned by digest (name@sha256:…) unless profile is Development"),
    validation = Rule::new("self.profile == 'Development' || !has(self.transactionManager) || !has(self.transactionManager.database.managed) || self.transactionManager.database.managed.image.contains('@sha256:')")
        .message("transactionManager.database.managed.image must be pinned by digest (name@sha256:…) unless profile is Development"),
    validation = Rule::new("self.consensus.operators == 'ThirdParty' || ((!has(self.tls) || !has(self.tls.trust) || size(self.tls.trust) == 0) && (!has(self.transactionManager) || !has(self.transactionManager.peers) || size(self.transactionManager.peers) == 0))")
        .message("tls.trust and transactionManager.peers name other organisations, but consensus.operators is SingleOperator: set consensus.operators to ThirdParty, or remove tls.trust and transactionManager.peers"),
    validation = Rule::new("!has(self.tls) || !has(self.tls.provided) || has(self.transactionManager) == has(self.tls.provided.tmPeers)")
        .message("tls.provided.tmPeers must be set if the node has a transactionManager, and must not be set otherwise"),
    validation = Rule::new("!has(self.tls) || !has(self.tls.provided) || (has(self.rpc) && has(self.rpc.callers) && size(self.rpc.callers) > 0) == has(self.tls.provided.rpc)")
        .message("tls.provided.rpc must be set if rpc.callers is not empty, and must not be set otherwise"),
    validation = Rule::new("self.profile == 'Development' || !has(self.rpc) || !has(self.rpc.callers) || self.rpc.callers.all(caller, !has(caller.origins) || caller.origins.all(origin, origin.startsWith('https://')))")
        .message("rpc.callers[].origins must begin with https:// unless profile is Development"),
    validation = Rule::new("!has(self.transactionManager) || !has(self.rpc) || !has(self.rpc.callers) || self.rpc.callers.all(caller, has(caller.privateState) || !('eth_*' in caller.methods))")
        .message("rpc.callers[].privateState must be set for each caller with eth_*, because the node has a transactionManager. Set it to true if eth_* is to include the methods that read private contracts, or to false if not")
)]
#[serde(rename_all = "camelCase")]
pub struct QuorumNodeSpec {
    /// Name of the network that the node belongs to, a lower-case DNS label of at most 40 characters. All nodes of a
    /// namespace with the same `network` form one network and are peers of each other. Immutable.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub network: String,

    /// Which requirements the node must meet. `Production` (default) and `Consortium` require images pinned by digest,
    /// `https` origins, and a separate kernel for each part. `Development` also accepts image tags, `http` origins and
    /// a shared kernel. A change from Production to Development is rejected.
    #[serde(default)]
    pub profile: Profile,

    /// What the node does on the chain. `Member` (default): the node follows the chain. `Validator`: the node also
    /// seals blocks with its node key (`--mine`). A change takes effect at the client's next start.
    #[serde(default)]
    pub role: Role,

    /// The GoQuorum client: image, version, storage, resources and tunable settings.
    pub client: Client,

    /// Consensus of the network: the engine, the validators, and who runs the nodes.
    pub consensus: Consensus,

    /// Genesis of the chain: the ConfigMap with the file, the network id, and the expected SHA-256. Immutable.
    pub genesis: Genesis,

    /// An existing node key to use, or the identity that the node key must have. Default: the operator generates a node
    /// key once, stores the key in the Secret `qn-NAME-nodekey`, and never changes the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_key: Option<NodeKey>,

    /// Peers that are not nodes of this network in this namespace (outside nodes), and the address under which outside
    /// nodes reach this node. Default: no outside nodes, and the address of the node's Service.
    #[serde(default, skip_serializing_if = "is_default")]
    pub peering: Peering,

    /// What the client needs to be ready. Default: the client needs no peer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub readiness: Readiness,

    /// Private transactions: a Tessera transaction manager and its database, each on its own host. Default: no
    /// transaction manager, and the client runs without private transactions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_manager: Option<TransactionManager>,

    /// Access to JSON-RPC: the callers, and the limits of the guard. Default: no callers, and the JSON-RPC port is
    /// closed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rpc: Rpc,

    /// Issuer and lifetime of the node's certificates, and the certificate authorities (CAs) of other organisations
    /// that the node trusts. Default: the operator issues certificates for 90 days, and the node trusts no CA of
    /// another organisation.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tls: Tls,

    /// Access to the client's metrics: the scrapers, their CA, and the PodMonitor. Default: no scrapers, and the
    /// metrics port is closed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metrics: Metrics,

    /// What happens to keys and data when the QuorumNode is deleted. Default: keys and data are retained.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deletion_policy: DeletionPolicy,

    /// Whether the operator leaves the node's objects unchanged. While the field is true, the operator changes none of
    /// the node's objects and repairs no drift. The operator still renews certificates and fetches the public keys of
    /// token issuers. Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub paused: bool,

    /// Limits for the replacement of the network's pods after a change of their templates: how many pods may be
    /// unavailable at a time, and how long each new pod must have been ready before the next pod is replaced. Default:
    /// one pod, 30 seconds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rollout: Rollout,

    /// Hosts that may run the node's pods. The client, the transaction manager and the database never share a host.
    /// Default: any schedulable host.
    #[serde(default, skip_serializing_if = "is_default")]
    pub placement: Placement,

    /// At most 8 Secrets of this namespace for pulling images, including the image of quorum-guard. A change replaces
    /// the pods in a rollout. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Vec<SecretName>,

    /// PriorityClass of the pods. If the PriorityClass does not exist, Kubernetes creates no pod. A change replaces the
    /// pods in a rollout. Default: the cluster's default priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub priority_class_name: Option<String>,

    /// CPU and memory of the containers that run quorum-guard, except the container `guard`, whose field is
    /// `rpc.resources`. A change replaces the pods in a rollout. Default: the default of each field.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sidecars: Sidecars,

    /// Labels and annotations to add to the pods. A change replaces the pods in a rollout. Default: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pod_metadata: Notes,

    /// Labels and annotations to add to the Services. If another client changes one of these labels or annotations on a
    /// Service, the operator does not restore the value until this field changes. Default: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub service_metadata: Notes,
}

/// Whether a value is its type's default, so that serialization may skip it.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What happens to keys and data when the node is deleted. The operator reads the policy when the node is deleted.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DeletionPolicy {
    /// What happens to the node key and the node's own CA: `Retain` (default) or `Delete`. The operator deletes only a
    /// key and a CA that it created, never an adopted key.
    #[serde(default)]
    pub keys: RetentionPolicy,
    /// What happens to the PersistentVolumeClaims of the client and the database: `Retain` (default) or `Delete`.
    #[serde(default)]
    pub data: RetentionPolicy,
}

/// What happens to an object when its node is deleted.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum RetentionPolicy {
    /// The object stays.
    #[default]
    Retain,
    /// The object is deleted permanently.
    Delete,
}

/// Which requirements a node must meet.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Profile {
    /// Images must be pinned by digest, origins must use `https`, and each part needs a kernel of its own.
    #[default]
    Production,
    /// The requirements of Production, for a network of several organisations.
    Consortium,
    /// Image tags, `http` origins and a shared kernel are also accepted, for example on a laptop.
    Development,
}

/// What a node does on the chain.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Role {
    /// The node follows the chain.
    #[default]
    Member,
    /// The node also seals blocks.
    Validator,
}

impl Role {
    /// The role as written in labels and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "Member",
            Self::Validator => "Validator",
        }
    }
}

/// Reference to the genesis.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Genesis {
    /// Key of a ConfigMap of this namespace that contains the genesis as JSON.
    pub config_map_ref: ConfigMapKey,

    /// Network id of the client (`--networkid`): 1 to 2147483647. Default: the chain id in the genesis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub network_id: Option<i64>,

    /// Expected SHA-256 of the genesis file, 64 lower-case hex characters. While the file has a different SHA-256, the
    /// node is stalled. Default: the SHA-256 is not checked; once the client has been initialised with a genesis, only
    /// the `config` of that genesis may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
}
