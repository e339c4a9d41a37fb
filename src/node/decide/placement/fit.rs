//! Matches hosts against node selectors, tolerations and the node affinity of volumes.

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};

use super::Hosts;
use crate::{
    api::placement::Tolerated,
    node::observed::{Host, Taint},
};

/// Taints that Kubernetes sets on an unschedulable host and removes again by itself.
const WHILE_CLOSED: [&str; 3] =
    ["node.kubernetes.io/unschedulable", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// Whether the scheduler may place a part on this host once the host is schedulable, ignoring resources.
pub(super) fn fits(host: &Host, wanted: Hosts<'_>) -> bool {
    let tolerated = |taint: &Taint| {
        WHILE_CLOSED.contains(&taint.key.as_str()) || wanted.tolerations.iter().any(|by| tolerates(by, taint))
    };
    wanted.node_selector.iter().all(|(key, value)| host.labels.get(key) == Some(value))
        && host.taints.iter().all(tolerated)
}

/// Whether a term selects a host. Unknown operators count as matching.
pub(super) fn selects(term: &NodeSelectorTerm, name: &str, host: &Host) -> bool {
    let holds = |needed: &NodeSelectorRequirement, found: Option<&str>| {
        let listed = found.is_some_and(|found| needed.values.iter().flatten().any(|value| value == found));
        match needed.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => found.is_some(),
            "DoesNotExist" => found.is_none(),
            _ => true,
        }
    };
    let labels = term.match_expressions.iter().flatten();
    let fields = term.match_fields.iter().flatten();
    labels.into_iter().all(|needed| holds(needed, host.labels.get(&needed.key).map(String::as_str)))
        && fields.into_iter().all(|needed| holds(needed, Some(name)))
}

/// A term as text.
pub(super) fn spoken(term: &NodeSelectorTerm) -> String {
    let all = term.match_expressions.iter().chain(&term.match_fields).flatten();
    let words = all.map(|needed| {
        let values = needed.values.iter().flatten().cloned().collect::<Vec<_>>();
        format!("{} {} {}", needed.key, needed.operator, values.join(", "))
    });
    words.collect::<Vec<_>>().join(" and ")
}

fn tolerates(tolerated: &Tolerated, taint: &Taint) -> bool {
    tolerated.key == taint.key
        && tolerated.value.as_ref().is_none_or(|value| *value == taint.value)
        && tolerated.effect.is_none_or(|effect| format!("{effect:?}") == taint.effect)
}
