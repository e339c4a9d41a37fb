//! How pods are replaced, as users of StatefulSets know it.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How pods of a network are replaced by pods of a newer revision. Of different values of a network's nodes the strictest
/// counts. The StatefulSets of a node have one pod each, and leave this to the operator.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// How many pods of the network may be unavailable while one is replaced, 1 to 100, default 1: clients, transaction
    /// managers and databases of all its nodes together. Of n validators at most f are, where n is 3f + 1 or more, but one may
    /// be. A pod that is not ready may be replaced at any time.
    #[serde(default = "default_max_unavailable")]
    #[schemars(range(min = 1, max = 100))]
    pub max_unavailable: i32,

    /// How many seconds a pod must have been ready to count as available, 0 to 3600, default 30: the next pod of the network
    /// is replaced no earlier.
    #[serde(default = "default_min_ready_seconds")]
    #[schemars(range(min = 0, max = 3600))]
    pub min_ready_seconds: i32,
}

fn default_max_unavailable() -> i32 {
    1
}
fn default_min_ready_seconds() -> i32 {
    30
}

impl Default for Rollout {
    fn default() -> Self {
        Self { max_unavailable: default_max_unavailable(), min_ready_seconds: default_min_ready_seconds() }
    }
}
