//! `QuorumNode`: one GoQuorum node. Everything left out is closed or secure.
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

/// What a node is to be. The smallest useful one names a network, a client, the consensus and the genesis.
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
    doc = "One GoQuorum node, run so that its security checklist holds",
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
    .message("metadata.name must begin with a lower-case letter, hold only lower-case letters, digits and '-', and have at most 40 characters: names of pods and Services are made from it"))]
#[x_kube(
    validation = Rule::new("self.network == oldSelf.network")
        .message("network is fixed for a node's life: make a new QuorumNode for another network")
        .field_path(".network"),
    validation = Rule::new("self.genesis == oldSelf.genesis")
        .message("genesis is fixed for a node's life: make a new QuorumNode for another chain")
        .field_path(".genesis"),
    validation = Rule::new("self.consensus.type == oldSelf.consensus.type")
        .message("consensus.type is fixed for a node's life; a chain moves from IBFT to QBFT by a transition in its genesis")
        .field_path(".consensus"),
    validation = Rule::new("(has(self.nodeKey) && has(self.nodeKey.secretRef)) == (has(oldSelf.nodeKey) && has(oldSelf.nodeKey.secretRef)) && (!has(self.nodeKey) || !has(self.nodeKey.secretRef) || self.nodeKey.secretRef == oldSelf.nodeKey.secretRef)")
        .message("nodeKey.secretRef holds the node's identity and cannot be changed, added or removed: make a new QuorumNode for another identity"),
    validation = Rule::new("has(self.client.storage.className) == has(oldSelf.client.storage.className) && (!has(self.client.storage.className) || self.client.storage.className == oldSelf.client.storage.className)")
        .message("client.storage.className cannot be changed: a volume claim keeps the class it was made with"),
    validation = Rule::new("self.client.storage.accessMode == oldSelf.client.storage.accessMode")
        .message("client.storage.accessMode cannot be changed: a volume claim keeps the access mode it was made with"),
    validation = Rule::new("!(oldSelf.profile == 'Production' && self.profile == 'Development')")
        .message("profile cannot be lowered from Production to Development: make a new QuorumNode for development")
        .field_path(".profile"),
    validation = Rule::new("self.profile == 'Development' || self.client.image.contains('@sha256:')")
        .message("client.image must be pinned by digest (name@sha256:…) unless profile is Development")
        .field_path(".client.image"),
    validation = Rule::new("self.profile == 'Development' || !has(self.transactionManager) || self.transactionManager.image.contains('@sha256:')")
        .message("transactionManager.image must be pinned by digest (name@sha256:…) unless profile is Development"),
    validation = Rule::new("self.profile == 'Development' || !has(self.transactionManager) || !has(self.transactionManager.database.managed) || self.transactionManager.database.managed.image.contains('@sha256:')")
        .message("transactionManager.database.managed.image must be pinned by digest (name@sha256:…) unless profile is Development"),
    validation = Rule::new("self.consensus.operators == 'ThirdParty' || ((!has(self.tls) || !has(self.tls.trust) || size(self.tls.trust) == 0) && (!has(self.transactionManager) || !has(self.transactionManager.peers) || size(self.transactionManager.peers) == 0))")
        .message("tls.trust and transactionManager.peers name other organisations: set consensus.operators to ThirdParty, or leave them out"),
    validation = Rule::new("!has(self.tls) || !has(self.tls.provided) || has(self.transactionManager) == has(self.tls.provided.tmPeers)")
        .message("tls.provided.tmPeers goes with a transactionManager: name its Secret where there is one, and only there"),
    validation = Rule::new("!has(self.tls) || !has(self.tls.provided) || (has(self.rpc) && has(self.rpc.callers) && size(self.rpc.callers) > 0) == has(self.tls.provided.rpc)")
        .message("tls.provided.rpc goes with rpc.callers: name its Secret where there is a caller, and only there"),
    validation = Rule::new("self.profile == 'Development' || !has(self.rpc) || !has(self.rpc.callers) || self.rpc.callers.all(caller, !has(caller.origins) || caller.origins.all(origin, origin.startsWith('https://')))")
        .message("rpc.callers[].origins must begin with https:// unless profile is Development"),
    validation = Rule::new("!has(self.transactionManager) || !has(self.rpc) || !has(self.rpc.callers) || self.rpc.callers.all(caller, has(caller.privateState) || !('eth_*' in caller.methods))")
        .message("rpc.callers[].privateState must be said with a transactionManager and eth_*: true lets the caller read the node's private contracts, false leaves the methods that could out of eth_*")
)]
#[serde(rename_all = "camelCase")]
pub struct QuorumNodeSpec {
    /// Network this node belongs to. Nodes of one namespace with the same value form one network: they
    /// become each other's peers. A lower-case DNS label of at most 40 characters. Immutable.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub network: String,

    /// How strict the node is. `Production` (default) and `Consortium` demand images pinned by digest;
    /// `Development` accepts tags. Cannot be lowered from Production to Development.
    #[serde(default)]
    pub profile: Profile,

    /// What the node does on the chain: `Member` (default) follows it, `Validator` also seals blocks with
    /// its node key (`--mine`). A change takes effect at the next start of the client.
    #[serde(default)]
    pub role: Role,

    /// The GoQuorum client: image, version, storage, resources.
    pub client: Client,

    /// The consensus of the network, which must be the one its genesis names.
    pub consensus: Consensus,

    /// The chain's genesis block. Immutable.
    pub genesis: Genesis,

    /// An existing node key to adopt, or an identity to expect. Default: a key is made once, kept in the
    /// Secret `qn-NAME-nodekey` and never written again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_key: Option<NodeKey>,

    /// Peers outside this namespace's network, and where this node is found by them. Default: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub peering: Peering,

    /// What the client must show before it counts as ready. Default: no peer needed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub readiness: Readiness,

    /// Private transactions: a Tessera transaction manager and its database, on hosts of their own.
    /// Default: none, the client runs without private transactions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_manager: Option<TransactionManager>,

    /// Who may call JSON-RPC. Default: nobody.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rpc: Rpc,

    /// Who issues certificates, how long they last, and which foreign authorities are trusted. Default: the
    /// operator, 90 days, none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tls: Tls,

    /// Who may scrape the client's metrics. Default: nobody.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metrics: Metrics,

    /// What becomes of keys and data when the node is deleted. Default: both are retained.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deletion_policy: DeletionPolicy,

    /// Leaves every object as it is, drift included, while it is true; certificates are still renewed, and
    /// keys of those by whose word callers are known still arrive. Default false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub paused: bool,

    /// How pods of the network are replaced by pods of a newer revision, which follows every change of them: one at a
    /// time, and the next one when that has been ready for some time. Default: one, 30 seconds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rollout: Rollout,

    /// Which hosts may run the node's pods. Default: any schedulable host; client, transaction manager
    /// and database never share one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub placement: Placement,

    /// Secrets of this namespace by which images are pulled, quorum-guard's included, at most 8. Takes effect when the
    /// pods are next replaced, which is in turns. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Vec<SecretName>,

    /// PriorityClass of the pods, which must be there: no pod is made otherwise. Takes effect when the pods are next
    /// replaced, which is in turns. Default: the cluster's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub priority_class_name: Option<String>,

    /// CPU and memory of the containers of quorum-guard that the operator puts beside the node's own. That of callers
    /// has `rpc.resources`. A change replaces the pods, in turns. Default: see each.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sidecars: Sidecars,

    /// Labels and annotations of the pods, beside the operator's. A change replaces the pods, in turns. Default: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pod_metadata: Notes,

    /// Labels and annotations of the Services, beside the operator's. What others change of them is left so until these
    /// change again. Default: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub service_metadata: Notes,
}

/// True for a value that need not be written.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What becomes of what cannot be made again. Read when the node is deleted.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DeletionPolicy {
    /// The node key and the node's own authority, where the operator made them: `Retain` (default) or
    /// `Delete`. A key that was adopted is never deleted.
    #[serde(default)]
    pub keys: Fate,
    /// The volume claims of client and database: `Retain` (default) or `Delete`.
    #[serde(default)]
    pub data: Fate,
}

/// What becomes of an object.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Fate {
    /// It stays.
    #[default]
    Retain,
    /// It is deleted for good.
    Delete,
}

/// How strict a node is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Profile {
    /// Images pinned by digest.
    #[default]
    Production,
    /// As Production, for a network whose nodes belong to several parties.
    Consortium,
    /// Tags accepted: for a laptop.
    Development,
}

/// What a node does on the chain.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Role {
    /// Follows the chain.
    #[default]
    Member,
    /// Seals blocks.
    Validator,
}

impl Role {
    /// As it stands in labels and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "Member",
            Self::Validator => "Validator",
        }
    }
}

/// Where the genesis block is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Genesis {
    /// ConfigMap of this namespace that holds the genesis as JSON.
    pub config_map_ref: ConfigMapKey,

    /// Network id (`--networkid`), 1 to 2147483647. Default: the genesis' chain id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub network_id: Option<i64>,

    /// SHA-256 of the genesis' bytes, 64 lower-case hex characters: a genesis with another one stalls the node, at
    /// any time. Default: once the client has taken a genesis, its `config` alone may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
}
