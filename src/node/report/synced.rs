//! What is said while the operator cannot see or write: that nobody can vouch for the node.

use k8s_openapi::jiff::Timestamp;

use super::{Finding, dated, finding, rolling::Generations};
use crate::{
    api::{QuorumNode, QuorumNodeStatus},
    node::observed::Observed,
};

const ALLOW: &str =
    "bind the rules of config/rbac/role.yaml in this namespace again; the work goes on by itself";

/// Kinds that may not be watched: what is known of them may be old.
pub(super) fn unseen(observed: &Observed) -> Option<Finding> {
    let refused = observed.unseen.join("; ");
    (!refused.is_empty()).then(|| finding("Synced", "Unknown", "Forbidden", format!("{refused}; {ALLOW}")))
}

/// Whether a node's status says that its passes fail.
#[must_use]
pub fn is_told_to_fail(node: &QuorumNode) -> bool {
    let mut conditions = node.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| condition.type_ == "Synced" && condition.status == "False")
}

/// The status of a node whose passes fail, in words free of secrets: as it was, but nobody can vouch for it.
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
        ("PassFailed", format!("{why}; it is tried again and again, see the operator's log"))
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
