//! Hosts that may run the pods of a node, and the spread of validators.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Hosts that may run the node's pods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// At most 16 labels of the hosts that may run the node's pods. A host must have all of these labels. Default: any
    /// host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub node_selector: BTreeMap<String, String>,

    /// At most 16 taints of hosts that the pods tolerate. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Tolerated>,

    /// How the clients of a network's validators are spread over hosts and zones, so that the loss of one host or zone
    /// stops only one validator. `Preferred` (default): on different hosts and in different zones if there are enough
    /// hosts and zones. `Required`: never two validators on one host, and in different zones if there are enough zones;
    /// a validator for which no host is left stays pending. `None`: on any host. The field applies only to nodes with
    /// role Validator. A change takes effect when the client's pod is next replaced.
    #[serde(default)]
    pub spread: Spread,

    /// Hosts for the client. `nodeSelector` and `tolerations` set here replace `placement.nodeSelector` and
    /// `placement.tolerations` for the client. Default: the same hosts as for all parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<PartPlacement>,

    /// Hosts for the transaction manager. `nodeSelector` and `tolerations` set here replace `placement.nodeSelector`
    /// and `placement.tolerations` for the transaction manager. Default: the same hosts as for all parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_manager: Option<PartPlacement>,

    /// Hosts for the database. `nodeSelector` and `tolerations` set here replace `placement.nodeSelector` and
    /// `placement.tolerations` for the database. Default: the same hosts as for all parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<PartPlacement>,
}

/// How the clients of a network's validators are spread.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Spread {
    /// On different hosts and in different zones if there are enough hosts and zones.
    #[default]
    Preferred,
    /// Never two validators on one host; in different zones if there are enough zones.
    Required,
    /// On any host.
    None,
}

/// Hosts that may run one part.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PartPlacement {
    /// At most 16 labels of the hosts that may run this part. A host must have all of these labels. The labels replace
    /// `placement.nodeSelector` for this part. Default: `placement.nodeSelector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub node_selector: Option<BTreeMap<String, String>>,

    /// At most 16 taints of hosts that this part's pod tolerates. The taints replace `placement.tolerations` for this
    /// part. Default: `placement.tolerations`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub tolerations: Option<Vec<Tolerated>>,
}

/// A taint that pods tolerate.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Tolerated {
    /// Key of the taint.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// Value of the taint. Default: any value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// Effect of the taint. Default: any effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
}

/// What a taint does to pods that do not tolerate it. Default: any effect.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum TaintEffect {
    /// Hosts with the taint get no new pods.
    NoSchedule,
    /// Hosts with the taint get new pods only if no other host can run them.
    PreferNoSchedule,
    /// Hosts with the taint evict their pods.
    NoExecute,
}
