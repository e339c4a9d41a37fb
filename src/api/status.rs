//! Status of a `QuorumNode`, which the operator reports.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Observed state of a node.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct QuorumNodeStatus {
    /// Last generation of the spec that every part of the node has run. A change of the spec is complete when this
    /// field is the current generation (`metadata.generation`). While the node is stalled, the field is also the
    /// current generation. The field is -1 before the first reconcile, and 0 until every part has run.
    #[serde(default)]
    pub observed_generation: i64,

    /// State of the node and of its parts. `Ready` is always present. `Reconciling` and `Stalled` are present only
    /// while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Identity of the node. The identity never changes once it is set: a different node key stalls the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityStatus>,

    /// The pinned genesis, which is the genesis with which `geth init` has initialised the client's database. Empty
    /// until `geth init` has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genesis: Option<GenesisStatus>,

    /// Enode URL under which peers reach the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enode: Option<String>,

    /// Cluster IP of the node's P2P Service. If the Service is deleted, the operator creates the Service again and
    /// requests the same address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_address: Option<String>,

    /// Public key of the transaction manager, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_manager_key: Option<String>,

    /// Database server with the transaction manager's private state, as the operator first found it. If the operator
    /// finds a different database server, the node stalls until you restore the recorded database or accept its loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseStatus>,

    /// Hosts that run the node's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Hosts>,

    /// Certificate authorities (CAs) of the network that the node's running parts use. The field is set only while the
    /// network has more than one CA, which is during a rotation of the network's CA. The other nodes of the network
    /// read this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_authorities: Option<AuthoritiesInUse>,

    /// Third-party kinds that the node uses or whose objects the node still has, such as
    /// `certificates.cert-manager.io`. The operator watches a kind while the kind is listed here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub optional_kinds: Vec<String>,

    /// Time at which the first of the node's certificates expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_expiry: Option<Time>,

    /// Expiry time of each certificate of the node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["purpose".into()]))]
    pub certificates: Vec<CertificateStatus>,
}

/// Identity of a node.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct IdentityStatus {
    /// Public key, 128 lower-case hex characters: the part of the enode URL before the `@`.
    pub public_key: String,
    /// Address of the node key on the chain. A genesis lists validators by this address.
    pub address: String,
    /// Name of the Secret with the private key.
    pub secret_name: String,
}

/// Genesis with which a node's client is initialised.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GenesisStatus {
    /// SHA-256 of the genesis file, lower-case hex.
    pub sha256: String,
    /// Chain id in the genesis.
    pub chain_id: i64,
    /// Members of the genesis that determine the hash of the genesis block, by name: all members except `config` and
    /// members that are zero. A long value is stored as its SHA-256. A later genesis may differ from this genesis only
    /// in `config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BTreeMap<String, String>>,
}

/// A PostgreSQL database server.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseStatus {
    /// PostgreSQL's system identifier, a decimal number that `initdb` chooses. Replicas and restored volumes have the
    /// same system identifier as the original database.
    pub system_identifier: String,
    /// Major version of PostgreSQL that created the data directory, such as 15. Set only for a managed database.
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

/// CAs of a network that a node uses. Each list is sorted, and has the SHA-256 of the DER of each CA's certificate in
/// lower-case hexadecimal.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AuthoritiesInUse {
    /// CAs that every running part trusts, as the SHA-256 of each CA's certificate.
    #[serde(default)]
    pub trusted: Vec<String>,
    /// CAs that signed the certificates of running parts, as the SHA-256 of each CA's certificate.
    #[serde(default)]
    pub presented: Vec<String>,
}

/// Expiry time of a certificate.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Purpose of the certificate. The Secret `qn-NODE-tls-PURPOSE` contains the certificate if the operator issued it.
    pub purpose: String,
    /// End of the certificate's validity.
    pub not_after: Time,
}
