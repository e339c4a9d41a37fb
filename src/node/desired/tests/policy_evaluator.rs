//! Evaluates network policies by the rules of the API: policies add up, a pod that none selects is open, and both ends
//! must allow a connection.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use serde_json::json;

/// One end of a connection.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// The pod at that address; `None` for a host, or for anything outside the cluster.
    pub(super) pod: Option<PodLabels>,
    pub(super) address: IpAddr,
}

#[derive(Clone, Debug)]
pub(super) struct PodLabels {
    pub(super) namespace: String,
    pub(super) labels: BTreeMap<String, String>,
}

impl End {
    pub(super) fn pod(namespace: &str, labels: BTreeMap<String, String>, address: &str) -> Self {
        let pod = PodLabels { namespace: namespace.into(), labels };
        Self { pod: Some(pod), address: address.parse().expect("an address") }
    }

    pub(super) fn outside(address: &str) -> Self {
        Self { pod: None, address: address.parse().expect("an address") }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Ingress,
    Egress,
}

/// Whether both ends allow a connection.
pub(super) fn allowed(policies: &[NetworkPolicy], from: &End, to: &End, protocol: &str, port: i32) -> bool {
    lets(policies, Direction::Egress, from, to, protocol, port)
        && lets(policies, Direction::Ingress, to, from, protocol, port)
}

/// Whether the policies of `own` allow traffic with `other` in that direction.
pub(super) fn lets(
    policies: &[NetworkPolicy],
    direction: Direction,
    own: &End,
    other: &End,
    protocol: &str,
    port: i32,
) -> bool {
    let selecting = selecting(policies, direction, own);
    selecting.is_empty()
        || selecting.into_iter().any(|policy| {
            let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
            rules(policy, direction).iter().any(|(peers, ports)| {
                (peers.is_empty() || peers.iter().any(|peer| is(peer, other, namespace)))
                    && (ports.is_empty() || ports.iter().any(|rule| opens(rule, protocol, port)))
            })
        })
}

/// Policies that select a pod in a direction; none for an end that is no pod.
pub(super) fn selecting<'a>(
    policies: &'a [NetworkPolicy],
    direction: Direction,
    end: &End,
) -> Vec<&'a NetworkPolicy> {
    let Some(pod) = &end.pod else { return vec![] };
    let selects_it = |policy: &&NetworkPolicy| {
        let Some(spec) = &policy.spec else { return false };
        let types = spec.policy_types.as_ref().filter(|types| !types.is_empty());
        let applies = match types {
            Some(types) => types.contains(&format!("{direction:?}")),
            None => {
                direction == Direction::Ingress || spec.egress.as_ref().is_some_and(|rules| !rules.is_empty())
            }
        };
        applies
            && policy.metadata.namespace.as_ref() == Some(&pod.namespace)
            && spec.pod_selector.as_ref().is_none_or(|selector| selects(selector, &pod.labels))
    };
    policies.iter().filter(selects_it).collect()
}

type Rule = (Vec<NetworkPolicyPeer>, Vec<NetworkPolicyPort>);

fn rules(policy: &NetworkPolicy, direction: Direction) -> Vec<Rule> {
    let Some(spec) = &policy.spec else { return vec![] };
    match direction {
        Direction::Ingress => {
            let rule = |rule: &NetworkPolicyIngressRule| {
                (rule.from.clone().unwrap_or_default(), rule.ports.clone().unwrap_or_default())
            };
            spec.ingress.iter().flatten().map(rule).collect()
        }
        Direction::Egress => {
            let rule = |rule: &NetworkPolicyEgressRule| {
                (rule.to.clone().unwrap_or_default(), rule.ports.clone().unwrap_or_default())
            };
            spec.egress.iter().flatten().map(rule).collect()
        }
    }
}

/// An address range is taken to include pods; real network plugins differ in that.
fn is(peer: &NetworkPolicyPeer, end: &End, namespace: &str) -> bool {
    if let Some(block) = &peer.ip_block {
        let within = |cidr: &String| cidr.parse::<ipnet::IpNet>().expect("a range").contains(&end.address);
        return within(&block.cidr) && !block.except.iter().flatten().any(within);
    }
    let Some(pod) = &end.pod else { return false };
    let in_namespace = match &peer.namespace_selector {
        None => pod.namespace == namespace,
        Some(selector) => {
            let labels = BTreeMap::from([("kubernetes.io/metadata.name".into(), pod.namespace.clone())]);
            selects(selector, &labels)
        }
    };
    in_namespace && peer.pod_selector.as_ref().is_none_or(|selector| selects(selector, &pod.labels))
}

fn opens(rule: &NetworkPolicyPort, protocol: &str, port: i32) -> bool {
    let first = match &rule.port {
        None => return rule.protocol.as_deref().unwrap_or("TCP") == protocol,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => panic!("{name}: what a name stands for is up to the pod"),
    };
    rule.protocol.as_deref().unwrap_or("TCP") == protocol
        && (first..=rule.end_port.unwrap_or(first)).contains(&port)
}

/// Whether a selector matches these labels. An empty one matches everything.
pub(super) fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    equal
        && selector.match_expressions.iter().flatten().all(|wanted| {
            let value = labels.get(&wanted.key);
            let listed = value.is_some_and(|value| wanted.values.iter().flatten().any(|one| one == value));
            match wanted.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                other => panic!("{other} is no operator"),
            }
        })
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A policy of the namespace `a` for pods `app=x`.
fn policy(spec: serde_json::Value) -> NetworkPolicy {
    let mut spec = spec;
    spec["podSelector"] = json!({"matchLabels": {"app": "x"}});
    serde_json::from_value(json!({"metadata": {"namespace": "a"}, "spec": spec})).expect("a policy")
}

fn x() -> End {
    End::pod("a", labels(&[("app", "x")]), "10.1.0.1")
}

fn y(namespace: &str) -> End {
    End::pod(namespace, labels(&[("app", "y")]), "10.1.0.2")
}

#[test]
fn a_pod_is_open_until_a_policy_of_its_namespace_selects_it() {
    let deny = policy(json!({"policyTypes": ["Ingress"]}));
    assert!(allowed(&[], &y("a"), &x(), "TCP", 1));
    assert!(!allowed(std::slice::from_ref(&deny), &y("a"), &x(), "TCP", 1));
    assert!(allowed(std::slice::from_ref(&deny), &x(), &y("a"), "TCP", 1), "the other direction");
    assert!(allowed(std::slice::from_ref(&deny), &y("b"), &y("a"), "TCP", 1), "another pod");
    let elsewhere = End::pod("b", labels(&[("app", "x")]), "10.1.0.3");
    assert!(allowed(&[deny], &y("b"), &elsewhere, "TCP", 1), "another namespace");
}

#[test]
fn policies_add_up_and_an_empty_rule_admits_everybody() {
    let deny = policy(json!({"policyTypes": ["Ingress", "Egress"]}));
    let open = policy(json!({"policyTypes": ["Ingress"], "ingress": [{}]}));
    assert!(allowed(&[deny.clone(), open], &End::outside("1.1.1.1"), &x(), "UDP", 7));
    assert!(!allowed(&[deny], &x(), &End::outside("1.1.1.1"), "UDP", 7));
}

#[test]
fn peers_are_named_by_pod_by_namespace_by_both_or_by_range() {
    let admits = |from: serde_json::Value, end: &End| {
        let rules = json!({"policyTypes": ["Ingress"], "ingress": [{"from": [from]}]});
        allowed(&[policy(rules)], end, &x(), "TCP", 1)
    };
    let pods = json!({"podSelector": {"matchLabels": {"app": "y"}}});
    assert!(admits(pods.clone(), &y("a")));
    assert!(!admits(pods, &y("b")), "without a namespace, the policy's own");
    let namespace = json!({"matchLabels": {"kubernetes.io/metadata.name": "b"}});
    assert!(admits(json!({"namespaceSelector": namespace}), &y("b")));
    assert!(!admits(json!({"namespaceSelector": namespace}), &y("a")));
    let both = json!({"namespaceSelector": namespace, "podSelector": {"matchLabels": {"app": "z"}}});
    assert!(!admits(both, &y("b")));
    let range = json!({"ipBlock": {"cidr": "10.1.0.0/24", "except": ["10.1.0.128/25"]}});
    assert!(admits(range.clone(), &y("b")));
    assert!(!admits(range.clone(), &End::outside("10.1.0.200")));
    assert!(!admits(range, &End::outside("10.2.0.1")));
}

#[test]
fn a_port_is_a_number_of_a_protocol_or_every_number() {
    let admits = |port: serde_json::Value, protocol: &str, number: i32| {
        let rules = json!({"policyTypes": ["Ingress"], "ingress": [{"ports": [port]}]});
        allowed(&[policy(rules)], &y("a"), &x(), protocol, number)
    };
    assert!(admits(json!({"port": 53, "protocol": "UDP"}), "UDP", 53));
    assert!(!admits(json!({"port": 53, "protocol": "UDP"}), "TCP", 53));
    assert!(!admits(json!({"port": 53}), "TCP", 54));
    assert!(admits(json!({"port": 53, "endPort": 60}), "TCP", 54));
    assert!(admits(json!({"protocol": "TCP"}), "TCP", 1), "left out means every port");
}
