use k8s_openapi::api::core::v1::{PodAffinityTerm, PodAntiAffinity};
use serde_json::json;

use super::{policy_evaluator, sample};
use crate::{
    model::names::{self, Component},
    node::validate::Validated,
};

/// Anti-affinity of a component's pod.
fn away(node: &Validated, component: Component) -> PodAntiAffinity {
    let desired = sample::render(node);
    let pod = sample::pod(sample::workload(&desired, component).expect("the component"));
    pod.affinity.as_ref().and_then(|affinity| affinity.pod_anti_affinity.clone()).expect("anti-affinity")
}

/// Required anti-affinity terms.
fn terms(node: &Validated, component: Component) -> Vec<PodAffinityTerm> {
    away(node, component).required_during_scheduling_ignored_during_execution.unwrap_or_default()
}

/// A validator of the sample's network.
fn validator(spread: &str) -> Validated {
    let changes = json!({"role": "Validator", "placement": {"spread": spread}});
    sample::alone(&sample::with(sample::client_alone(), &changes))
}

/// Topology and weight of the anti-affinity of `component` to the clients of the network's validators. No weight means
/// required.
fn spread(node: &Validated, component: Component) -> Vec<(Option<i32>, String)> {
    let labels = |role: &str, network: &str, component: Component| {
        let mut labels = node.names.component_labels(component);
        labels.insert(names::ROLE.into(), role.into());
        labels.insert(names::NETWORK.into(), network.into());
        labels.insert(names::NODE.into(), "another".into());
        labels
    };
    let keeps_away = |term: &PodAffinityTerm| {
        let selector = term.label_selector.as_ref().expect("a selector");
        let network = node.names.network.as_str();
        for others in [
            labels("Member", network, Component::Client),
            labels("Validator", "other", Component::Client),
            labels("Validator", network, Component::Database),
        ] {
            assert!(!policy_evaluator::selects(selector, &others), "{others:?}");
        }
        assert!(term.namespaces.is_none() && term.namespace_selector.is_none());
        policy_evaluator::selects(selector, &labels("Validator", network, Component::Client))
    };
    let away = away(node, component);
    let required = away.required_during_scheduling_ignored_during_execution.into_iter().flatten();
    let preferred = away.preferred_during_scheduling_ignored_during_execution.into_iter().flatten();
    let all = required.map(|term| (None, term));
    let all = all.chain(preferred.map(|one| (Some(one.weight), one.pod_affinity_term)));
    all.filter(|(_, term)| keeps_away(term)).map(|(weight, term)| (weight, term.topology_key)).collect()
}

#[test]
fn clients_of_validators_are_on_hosts_and_in_zones_of_their_own_where_there_are_enough() {
    let (host, zone) = ("kubernetes.io/hostname".to_owned(), "topology.kubernetes.io/zone".to_owned());
    let preferred = vec![(Some(100), host.clone()), (Some(50), zone.clone())];
    let default = sample::with(sample::client_alone(), &json!({"role": "Validator"}));
    assert_eq!(spread(&sample::alone(&default), Component::Client), preferred);
    assert_eq!(spread(&validator("Preferred"), Component::Client), preferred);
    assert_eq!(spread(&validator("Required"), Component::Client), [(None, host), (Some(100), zone)]);
    assert_eq!(spread(&validator("None"), Component::Client), []);
}

#[test]
fn members_and_what_is_no_client_are_spread_by_nothing() {
    let validator = sample::alone(&sample::with(sample::managed(), &json!({"role": "Validator"})));
    for component in [Component::TransactionManager, Component::Database] {
        assert_eq!(spread(&validator, component), [], "{component:?}");
    }
    let member = sample::alone(&sample::managed());
    for component in Component::ALL {
        assert_eq!(spread(&member, component), [], "{component:?}");
        assert_eq!(away(&member, component).preferred_during_scheduling_ignored_during_execution, None);
    }
}

/// Whether a pod of `component` must not run on the host of that other pod.
fn avoids(node: &Validated, component: Component, other_node: &Validated, other: Component) -> bool {
    let labels = other_node.names.component_labels(other);
    terms(node, component).iter().any(|term| {
        // without namespaces, a term applies to the pod's own namespace
        term.topology_key == "kubernetes.io/hostname"
            && term.namespaces.is_none()
            && term.namespace_selector.is_none()
            && term
                .label_selector
                .as_ref()
                .is_some_and(|selector| policy_evaluator::selects(selector, &labels))
    })
}

#[test]
fn the_three_roles_of_a_node_never_share_a_host() {
    let node = sample::alone(&sample::managed());
    for component in Component::ALL {
        for other in Component::ALL {
            assert_eq!(
                avoids(&node, component, &node, other),
                component != other,
                "{component:?} and {other:?}"
            );
        }
    }
}

#[test]
fn a_client_alone_already_stays_away_from_the_roles_that_may_come() {
    let node = sample::alone(&sample::client_alone());
    assert!(avoids(&node, Component::Client, &node, Component::TransactionManager));
    assert!(avoids(&node, Component::Client, &node, Component::Database));
}

#[test]
fn another_nodes_pods_may_share_the_host() {
    let (node, other) = (sample::alone(&sample::managed()), sample::alone(&sample::external_with_password()));
    for component in Component::ALL {
        for theirs in Component::ALL {
            assert!(!avoids(&node, component, &other, theirs), "{component:?} and another's {theirs:?}");
        }
    }
}

#[test]
fn the_labels_that_keep_pods_apart_are_on_the_pods() {
    for node in sample::network() {
        for workload in sample::render(&node).workloads {
            let labels =
                sample::template(&workload).metadata.clone().and_then(|it| it.labels).expect("labels");
            assert_eq!(labels.get(names::NODE), Some(&node.names.node));
            assert!(Component::ALL.iter().any(|one| labels[names::COMPONENT] == one.as_str()), "{labels:?}");
        }
    }
}
