//! What the operator reports back.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What is known about a node. Written only when it differs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct QuorumNodeStatus {
    /// Last generation of the spec that every part of the node ran, so a change has ended when it is the present one;
    /// while the node is stalled, the present one. -1 before the first look, 0 before every part has run.
    #[serde(default)]
    pub observed_generation: i64,

    /// State of the node and of its parts. `Ready` is always there; `Reconciling` and `Stalled` only while
    /// they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Who the node is. Once set it is never changed: another key under the same node stalls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityStatus>,

    /// The genesis that the node's client has taken: `geth init` has ended well with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genesis: Option<GenesisStatus>,

    /// URL under which peers find the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enode: Option<String>,

    /// Address of the P2P Service inside the cluster. It is asked for again if the Service is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_address: Option<String>,

    /// Public key of the transaction manager, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_manager_key: Option<String>,

    /// Database that holds the transaction manager's private state, as it was found when it was first in use. Another
    /// one stalls the node, until its loss is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseStatus>,

    /// Hosts that run the node's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Hosts>,

    /// What the node's running parts hold of the network's authorities, while one follows another. The
    /// other nodes of the network go by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_authorities: Option<AuthoritiesInUse>,

    /// Kinds of others of which the node has objects, or is to have some, such as
    /// `certificates.cert-manager.io`: they are looked for as long as they stand here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub optional_kinds: Vec<String>,

    /// When the first of the node's certificates ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_expiry: Option<Time>,

    /// When each certificate ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["purpose".into()]))]
    pub certificates: Vec<CertificateStatus>,
}

/// Who a node is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct IdentityStatus {
    /// Public key, 128 lower-case hex characters: the part of the enode URL before the `@`.
    pub public_key: String,
    /// Address that the key has on the chain: a validator's name in the genesis.
    pub address: String,
    /// Secret that holds the private key.
    pub secret_name: String,
}

/// The genesis that a node's client has taken.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GenesisStatus {
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
    /// Chain id.
    pub chain_id: i64,
    /// What the hash of the genesis block is made from: the members of the genesis but `config`, by name, those left
    /// out that are zero. What may be long is there as its SHA-256. A genesis that comes later may differ in
    /// `config` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BTreeMap<String, String>>,
}

/// A PostgreSQL database server.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseStatus {
    /// PostgreSQL's system identifier, a decimal number: `initdb` chooses one, replicas and restored volumes keep it.
    pub system_identifier: String,
    /// Major version of PostgreSQL that made the data directory, such as 15, of a managed database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major_version: Option<i32>,
}

/// Hosts by role.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Hosts {
    /// Host of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Host of the transaction manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_manager: Option<String>,
    /// Host of the managed database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
}

/// Authorities by the SHA-256 of their certificate's DER, lower-case hexadecimal, in order.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AuthoritiesInUse {
    /// Those that every running part trusts.
    #[serde(default)]
    pub trusted: Vec<String>,
    /// Those that signed what running parts present.
    #[serde(default)]
    pub presented: Vec<String>,
}

/// When a certificate ends.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// What the certificate is for; a Secret of the operator's is `qn-NODE-tls-PURPOSE`.
    pub purpose: String,
    /// End of its validity.
    pub not_after: Time,
}
