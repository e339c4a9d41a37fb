use k8s_openapi::api::core::v1::PodAffinityTerm;

use super::{reach, sample};
use crate::node::{
    names::{self, Component},
    validate::Validated,
};

/// The rules that keep a component's pod away from others.
fn terms(node: &Validated, component: Component) -> Vec<PodAffinityTerm> {
    let desired = sample::render(node);
    let pod = sample::pod(sample::workload(&desired, component).expect("the component"));
    let affinity = pod.affinity.as_ref().and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    affinity.and_then(|it| it.required_during_scheduling_ignored_during_execution.clone()).unwrap_or_default()
}

/// Whether a pod of `component` of the node must stay away from a host of that other pod.
fn avoids(node: &Validated, component: Component, other_node: &Validated, other: Component) -> bool {
    let labels = other_node.names.component_labels(other);
    terms(node, component).iter().any(|term| {
        // without namespaces, those of the pod's own
        term.topology_key == "kubernetes.io/hostname"
            && term.namespaces.is_none()
            && term.namespace_selector.is_none()
            && term.label_selector.as_ref().is_some_and(|selector| reach::selects(selector, &labels))
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
