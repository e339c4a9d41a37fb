//! Condition `Synced`: reported while the operator lacks permissions or its reconciles fail, so that the node's state
//! is unknown.

use k8s_openapi::jiff::Timestamp;

use super::{Finding, dated, finding, generation::Generations};
use crate::{
    api::{QuorumNode, QuorumNodeStatus},
    node::observed::Observed,
};

const ALLOW: &str = "bind the rules of config/rbac/role.yaml to the operator's ServiceAccount in this namespace again; the operator then resumes by itself";

/// The condition while the operator may not watch some kinds, so that its view of them may be stale.
pub(super) fn unwatchable(observed: &Observed) -> Option<Finding> {
    let rejections = observed.unwatchable.join("; ");
    (!rejections.is_empty())
        .then(|| finding("Synced", "Unknown", "Forbidden", format!("{rejections}; {ALLOW}")))
}

/// Whether a node's status reports that its reconciles fail.
#[must_use]
pub fn is_told_to_fail(node: &QuorumNode) -> bool {
    let mut conditions = node.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| condition.type_ == "Synced" && condition.status == "False")
}

/// The status of a node whose reconciles fail: its earlier status, with `Ready` unknown. `why` must not contain
/// secrets.
#[must_use]
pub fn failed(node: &QuorumNode, forbidden: bool, why: &str, now: Timestamp) -> QuorumNodeStatus {
    let before = node.status.clone().unwrap_or_default();
    let generations = Generations::of(node);
    let dated = |finding: Finding| {
        let generation = generations.of_condition(finding.kind);
        dated(finding, &before, generation, now)
    };
    let (reason, message) = if forbidden {
        ("Forbidden", format!("{why}; {ALLOW}"))
    } else {
        ("ReconcileFailed", format!("{why}; the operator retries, see the operator's log"))
    };
    let summary = ["Ready", "Reconciling", "Stalled", "Synced"];
    let mut conditions = vec![
        dated(finding("Ready", "Unknown", reason, message.clone())),
        dated(finding("Reconciling", "True", reason, message.clone())),
    ];
    let parts = before.conditions.iter().filter(|condition| !summary.contains(&condition.type_.as_str()));
    conditions.extend(parts.cloned());
    conditions.push(dated(finding("Synced", "False", reason, message)));
    QuorumNodeStatus { observed_generation: generations.of_status(), conditions, ..before }
}
