//! Pod anti-affinity: between the parts of a node, and between the validators of a network.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Affinity, PodAffinityTerm, PodAntiAffinity, WeightedPodAffinityTerm},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};

use crate::{
    api::{node::Role, placement::Spread},
    model::names::{self, Component},
    node::validate::Validated,
};

const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Required and preferred anti-affinity of a component's pod.
pub(super) fn of(node: &Validated, component: Component) -> Affinity {
    let is_validator = component == Component::Client && node.spec.role == Role::Validator;
    let spread = if is_validator { node.spec.placement.spread } else { Spread::None };
    let mut required = vec![apart(node, component)];
    // a host is lost more often than a zone
    let preferred = match spread {
        Spread::Preferred => {
            vec![weighted(100, validators(node, HOST)), weighted(50, validators(node, ZONE))]
        }
        Spread::Required => {
            required.push(validators(node, HOST));
            vec![weighted(100, validators(node, ZONE))]
        }
        Spread::None => vec![],
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            required_during_scheduling_ignored_during_execution: Some(required),
            preferred_during_scheduling_ignored_during_execution: Some(preferred)
                .filter(|preferred| !preferred.is_empty()),
        }),
        ..Affinity::default()
    }
}

/// Never on a host with another component of the same node. Names all three components, also those that the node does
/// not have yet.
fn apart(node: &Validated, component: Component) -> PodAffinityTerm {
    let others: Vec<String> = Component::ALL
        .into_iter()
        .filter(|other| *other != component)
        .map(|other| other.as_str().to_owned())
        .collect();
    PodAffinityTerm {
        label_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from([(names::NODE.into(), node.names.node.clone())])),
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: names::COMPONENT.into(),
                operator: "In".into(),
                values: Some(others),
            }]),
        }),
        topology_key: HOST.into(),
        ..PodAffinityTerm::default()
    }
}

/// The clients of the network's validators, including this node's: a pod does not repel itself.
fn validators(node: &Validated, topology_key: &str) -> PodAffinityTerm {
    let labels = [
        (names::NETWORK, node.names.network.as_str()),
        (names::ROLE, Role::Validator.as_str()),
        (names::COMPONENT, Component::Client.as_str()),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    PodAffinityTerm {
        label_selector: Some(LabelSelector { match_labels: Some(labels.into()), match_expressions: None }),
        topology_key: topology_key.into(),
        ..PodAffinityTerm::default()
    }
}

fn weighted(weight: i32, term: PodAffinityTerm) -> WeightedPodAffinityTerm {
    WeightedPodAffinityTerm { weight, pod_affinity_term: term }
}
