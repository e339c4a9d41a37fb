//! PodDisruptionBudget of a network's validators.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::api::ObjectMeta;

use crate::{
    model::names::{self, Component},
    node::validate::Validated,
};

/// The network's budget. Every node renders the same bytes, from the full list of nodes, and from the absent nodes that
/// the budget itself records.
pub(super) fn validators(node: &Validated) -> Option<PodDisruptionBudget> {
    let count = node.validators?;
    let here = node.validators_here;
    let noted = [
        (names::VALIDATORS.to_owned(), node.roll.to_string()),
        (
            names::CHAIN_VALIDATORS.to_owned(),
            node.chain_validators.seen.iter().cloned().collect::<Vec<_>>().join(","),
        ),
    ];
    let labels = [
        (names::NETWORK, node.names.network.as_str()),
        (names::ROLE, "Validator"),
        (names::COMPONENT, Component::Client.as_str()),
    ];
    Some(PodDisruptionBudget {
        metadata: ObjectMeta {
            owner_references: Some(node.network_owners.clone()),
            annotations: Some(noted.into_iter().filter(|(_, text)| !text.is_empty()).collect()),
            ..node.names.unowned(node.names.validators(), node.names.network_labels())
        },
        spec: Some(PodDisruptionBudgetSpec {
            // not maxUnavailable: that is computed from the pods that exist, and a pod that cannot be recreated would
            // no longer count
            min_available: Some(IntOrString::Int((here - may_be_away(count)).max(0))),
            selector: Some(LabelSelector {
                match_labels: Some(
                    labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
                ),
                ..LabelSelector::default()
            }),
            // a pod that does not serve protects nothing
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}

/// Number of validators, out of `count`, that may be unavailable. Fewer than four can spare none, but then no pod could
/// ever be replaced, so one is allowed.
#[must_use]
pub fn may_be_away(count: i32) -> i32 {
    tolerated(count).max(1)
}

/// Number of validators, out of `count`, that may fail without stopping the chain: f of 3f + 1, for QBFT and IBFT.
#[must_use]
pub fn tolerated(count: i32) -> i32 {
    (count - 1).max(0) / 3
}

#[cfg(test)]
mod tests {
    use super::tolerated;

    #[test]
    fn a_third_less_one_may_fail() {
        let pairs = [(0, 0), (1, 0), (3, 0), (4, 1), (6, 1), (7, 2), (10, 3), (100, 33)];
        for (count, may_fail) in pairs {
            assert_eq!(tolerated(count), may_fail, "{count}");
            // two quorums of 2f + 1 out of n always share an honest validator
            assert!(3 * may_fail < count.max(1));
        }
    }
}
