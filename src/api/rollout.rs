//! Limits of a rollout, by the field names of StatefulSets.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Limits for replacing a network's pods with pods of a newer revision. If the nodes of a network set different limits,
/// the strictest value of each field applies. Each StatefulSet of a node has one pod, which the operator replaces.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Number of pods of the network that may be unavailable during a rollout: 1 to 100, default 1. The clients,
    /// transaction managers and databases of all nodes of the network count together. If the nodes set different
    /// numbers, the lowest applies. In addition, at most (n - 1) / 3 of n validators, rounded down but at least one,
    /// may be unavailable. These limits do not delay the replacement of an outdated pod that has not served for a
    /// minute.
    #[serde(default = "default_max_unavailable")]
    #[schemars(range(min = 1, max = 100))]
    pub max_unavailable: i32,

    /// Seconds that a pod must have been ready to count as available: 0 to 3600, default 30. The operator waits until a
    /// new pod is available before it replaces the network's next pod. If the nodes of a network set different numbers,
    /// the highest applies.
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
