//! Which hosts pods may run on, and how validators are kept apart.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which hosts may run the node's pods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Labels a host must all have, at most 16. Default: any host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of hosts that the pods tolerate, at most 16. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Tolerated>,

    /// How the clients of a network's validators are kept apart, so that no host and no zone takes several of them along:
    /// `Preferred` (default), on other hosts and in other zones where there are enough; `Required`, never on one host, and in
    /// other zones where there are enough: a validator that has no host of its own does not run; or `None`. It counts for nodes
    /// with role Validator, and takes effect when the client's pod is next replaced.
    #[serde(default)]
    pub spread: Spread,

    /// Other hosts for the client. Default: as for all parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<PartPlacement>,

    /// Other hosts for the transaction manager. Default: as for all parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_manager: Option<PartPlacement>,

    /// Other hosts for the database. Default: as for all parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<PartPlacement>,
}

/// How the clients of a network's validators are kept apart.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Spread {
    /// Where there are hosts and zones enough.
    #[default]
    Preferred,
    /// By hosts in any case.
    Required,
    /// Not at all.
    None,
}

/// Which hosts may run one part.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PartPlacement {
    /// Labels a host must all have, at most 16, instead of those for all parts. Default: those for all parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub node_selector: Option<BTreeMap<String, String>>,

    /// Taints that the pod tolerates, at most 16, instead of those for all parts. Default: those for all parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub tolerations: Option<Vec<Tolerated>>,
}

/// A taint that is tolerated.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Tolerated {
    /// Key of the taint.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// Value of the taint. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// Effect of the taint. Default: all effects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
}

/// What a taint does to pods that do not tolerate it. Default: all effects.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum TaintEffect {
    /// New pods stay away.
    NoSchedule,
    /// New pods stay away if they can.
    PreferNoSchedule,
    /// Pods are evicted.
    NoExecute,
}
