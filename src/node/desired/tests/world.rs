//! Test world: a network of different nodes, with neighbours that try to connect.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use super::{
    policy_evaluator::{End, allowed},
    sample,
};
use crate::{
    model::names::Component,
    node::validate::Validated,
    settings::{Dns, Pods, RenderConfig, Users},
};

/// All nodes: those of the network `acme`, one of another network, and one of another `acme` in another namespace.
pub(super) struct World {
    pub(super) nodes: BTreeMap<String, Validated>,
    pub(super) policies: Vec<NetworkPolicy>,
}

impl World {
    pub(super) fn new() -> Self {
        let rival = sample::with(renamed(sample::managed(), "ruth"), &json!({"network": "rival"}));
        let mut far = renamed(sample::managed(), "zoe");
        far["metadata"]["namespace"] = "faraway".into();
        let mut nodes = sample::network();
        nodes.extend([sample::alone(&rival), sample::alone(&far)]);
        Self::of(nodes)
    }

    /// A world with only these nodes.
    pub(super) fn of(nodes: Vec<Validated>) -> Self {
        let policies = nodes.iter().flat_map(|node| sample::render(node).policies).collect();
        Self { nodes: nodes.into_iter().map(|node| (node.names.node.clone(), node)).collect(), policies }
    }

    /// A pod of a node, with the labels of its template.
    pub(super) fn pod(&self, node: &str, component: Component) -> End {
        let node = &self.nodes[node];
        let desired = sample::render(node);
        let workload = sample::workload(&desired, component).expect("the component");
        let labels = sample::template(workload).metadata.clone().and_then(|it| it.labels).expect("labels");
        End::pod(&node.names.namespace, labels, "10.244.3.9")
    }

    pub(super) fn allows(&self, from: &End, to: &End, port: i32) -> bool {
        allowed(&self.policies, from, to, "TCP", port)
    }
}

/// The operator's settings for all samples.
pub(super) fn render_config() -> RenderConfig {
    RenderConfig {
        guard_image: sample::image("quorum-guard"),
        dns: Dns {
            namespace: "dns-system".into(),
            pod_labels: BTreeMap::from([("k8s-app".into(), "coredns".into())]),
            cidrs: vec!["169.254.20.10/32".into()],
            ports: vec![53],
        },
        domain: "cluster.local".into(),
        users: Users::Fixed,
        operator: Some(Pods {
            namespace: "operator-system".into(),
            labels: BTreeMap::from([("app".into(), "the-operator".into())]),
        }),
    }
}

pub(super) fn renamed(mut node: Value, name: &str) -> Value {
    node["metadata"]["name"] = name.into();
    // the status belongs to the old name
    node["status"] = json!({});
    node
}

pub(super) fn unlisted_validator(namespace: &str, labels: &[(&str, &str)]) -> End {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    End::pod(namespace, labels, "10.244.9.1")
}

pub(super) fn internet() -> End {
    End::outside("93.184.215.14")
}

pub(super) fn every_pod(world: &World) -> Vec<(String, End)> {
    let mut pods = Vec::new();
    for node in world.nodes.values() {
        for workload in sample::render(node).workloads {
            let metadata = sample::template(&workload).metadata.clone().expect("metadata");
            let end = End::pod(&node.names.namespace, metadata.labels.expect("labels"), "10.244.3.9");
            pods.push((workload.metadata.name.unwrap_or_default(), end));
        }
    }
    pods
}
