use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::sample;
use crate::{
    model::names::Component,
    node::{desired::certificates, validate::Validated},
};

/// A node with all parts, under these names; its caller has the name of its scraper.
fn node(name: &str, network: &str, scraper: &str) -> Validated {
    let change = json!({
        "network": network,
        "metrics": {"podMonitor": "Enabled", "scrapers": [{"name": scraper, "from": {"cidr": "192.0.2.9/32"}}]},
        "rpc": {"callers": [
            sample::caller(scraper, &json!({"serviceAccount": {"namespace": "shop", "name": "till"}})),
        ]},
    });
    let mut node = sample::with(sample::managed(), &change);
    node["metadata"]["name"] = name.into();
    node["status"] = json!({});
    sample::alone(&node)
}

/// Kind and name of every object of a node: rendered, generated, and created by the cluster. Without the objects that
/// the nodes of a network share.
fn objects(node: &Validated) -> Vec<(&'static str, String)> {
    let rendered = sample::objects(sample::render(node)).into_iter();
    let mut all: Vec<_> = rendered.map(|(kind, meta)| (kind, meta.name.expect("a name"))).collect();
    let mut add = |kind, name| all.push((kind, name));
    let names = &node.names;
    add("Secret", names.node_key());
    add("Secret", names.node_authority());
    add("Secret", names.manager_config());
    for purpose in certificates::wanted(node).into_keys() {
        add("Secret", names.certificate(purpose));
        add("Secret", names.requested(purpose));
    }
    for component in Component::ALL {
        add("Pod", names.pod(component));
        add("PersistentVolumeClaim", names.claim(component));
    }
    all.retain(|(_, name)| *name != names.network_authority() && *name != names.validators());
    all
}

fn own(node: &Validated) -> BTreeSet<(&'static str, String)> {
    let objects = objects(node);
    let distinct: BTreeSet<_> = objects.iter().cloned().collect();
    assert_eq!(objects.len(), distinct.len(), "two objects of one node share a name: {objects:?}");
    distinct
}

fn shared(node: &Validated) -> BTreeSet<(&'static str, String)> {
    ["Secret", "ConfigMap"].map(|kind| (kind, node.names.network_authority())).into()
}

fn is_label(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty()
        && name.len() <= 63
        && name.chars().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn is_subdomain(name: &str) -> bool {
    let label = |part: &str| {
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        ends(part.chars().next()) && ends(part.chars().last())
    };
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    name.len() <= 253 && name.chars().all(allowed) && name.split('.').all(label)
}

fn is_label_value(value: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let ends = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    value.len() <= 63 && value.chars().all(inner) && ends(value.chars().next()) && ends(value.chars().last())
}

/// Faults of the names of a node's objects.
fn refused(node: &Validated) -> Vec<String> {
    let mut refused = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            refused.push(what);
        }
    };
    for (kind, name) in objects(node).into_iter().chain(shared(node)) {
        // a pod's name is its host name, and a Service's name is a label of its DNS name
        let fits = if matches!(kind, "Service" | "Pod") { is_label(&name) } else { is_subdomain(&name) };
        check(fits, format!("{kind} {name}"));
        if kind == "StatefulSet" {
            // the label controller-revision-hash of its pods
            check(is_label_value(&format!("{name}-5b8f9d7c46")), format!("revision of {name}"));
        }
    }
    let desired = sample::render(node);
    let metadata = desired.policies.iter().map(|it| &it.metadata);
    let metadata = metadata.chain(desired.services.iter().map(|it| &it.metadata));
    let metadata = metadata.chain(desired.workloads.iter().map(|it| &it.metadata));
    let templates = desired.workloads.iter().filter_map(|it| sample::template(it).metadata.as_ref());
    for (key, value) in metadata.chain(templates).flat_map(|it| it.labels.iter().flatten()) {
        check(is_label_value(value), format!("{key}={value}"));
    }
    for workload in &desired.workloads {
        let pod = sample::pod(workload);
        for name in
            pod.volumes.iter().flatten().map(|it| &it.name).chain(sample::containers(pod).map(|it| &it.name))
        {
            check(is_label(name), name.clone());
        }
        for port in sample::containers(pod).flat_map(|it| it.ports.iter().flatten()) {
            let name = port.name.clone().unwrap_or_default();
            check(is_label(&name) && name.len() <= 15, format!("port {name}"));
        }
    }
    for (purpose, wanted) in certificates::wanted(node) {
        check((1..=64).contains(&wanted.request.common_name.len()), format!("common name of {purpose:?}"));
        for name in &wanted.request.dns_names {
            check(is_subdomain(name) && name.split('.').all(is_label), format!("{name} of {purpose:?}"));
        }
    }
    refused
}

#[test]
fn the_longest_names_stay_within_every_limit() {
    let (name, network, scraper) = ("n".repeat(40), "w".repeat(40), "s".repeat(20));
    assert_eq!(refused(&node(&name, &network, &scraper)), Vec::<String>::new());
}

#[test]
fn a_name_that_is_too_long_would_be_seen() {
    assert_ne!(refused(&node(&"n".repeat(60), "acme", "s")), Vec::<String>::new());
}

#[test]
fn a_node_may_be_named_like_its_network_and_like_another() {
    for (name, network) in [("acme", "acme"), ("acme", "other"), ("acme-ca", "acme"), ("qnet-acme", "acme")] {
        let node = node(name, network, "p");
        for network in ["acme", "other", name] {
            let mut other = node.clone();
            other.names.network = network.into();
            assert!(own(&node).is_disjoint(&shared(&other)), "{name} in {network}");
        }
    }
}

/// Pieces of names, so that a node's name may look like another one with a piece of an object's name.
const PIECES: [&str; 25] = [
    "cm",
    "client",
    "tm",
    "tm-db",
    "db",
    "pods",
    "p2p",
    "metrics",
    "rpc",
    "guard",
    "deny",
    "dns",
    "peers",
    "tm-peers",
    "ca",
    "tls",
    "nodekey",
    "tm-config",
    "config",
    "to",
    "from",
    "tm-client",
    "client-to",
    "tm-from",
    "0",
];

#[test]
fn nodes_whose_names_look_alike_have_no_object_in_common() {
    let scrapers = ["deny", "metrics-p", "p2p"];
    let prefixed = |piece: &&str| format!("a-{piece}");
    for name in PIECES.iter().map(prefixed) {
        for theirs in scrapers {
            for ours in scrapers {
                let (a, b) = (node("a", "net", ours), node(&name, "net", theirs));
                let common: Vec<_> = own(&a).intersection(&own(&b)).cloned().collect();
                assert_eq!(common, [], "a with scraper {ours}, {name} with scraper {theirs}");
            }
        }
    }
}

prop_compose! {
    /// A name that the schema admits, made of pieces that occur in names of objects.
    fn name()(first in "[a-z]", rest in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..4)) -> String {
        let mut name = first;
        for piece in rest {
            name = format!("{name}-{piece}");
        }
        name.chars().take(40).collect::<String>().trim_end_matches('-').to_owned()
    }
}

prop_compose! {
    /// The name of a scraper: it may begin with a digit.
    fn scraper()(name in "[a-z0-9](-?[a-z0-9]){0,9}", piece in prop::sample::select(PIECES.to_vec()), plain: bool) -> String {
        if plain { name } else { piece.to_owned() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_two_nodes_of_a_namespace_share_an_object(
        (one, extension) in (name(), prop::sample::select(PIECES.to_vec())),
        other in name(),
        extended: bool,
        networks in (name(), name()),
        scrapers in (scraper(), scraper()),
    ) {
        let other = if extended { format!("{one}-{extension}") } else { other };
        prop_assume!(one != other && other.len() <= 40);
        let (a, b) = (node(&one, &networks.0, &scrapers.0), node(&other, &networks.1, &scrapers.1));
        let common: Vec<_> = own(&a).intersection(&own(&b)).cloned().collect();
        prop_assert_eq!(common, vec![]);
        for (node, other) in [(&a, &b), (&b, &a), (&a, &a), (&b, &b)] {
            prop_assert!(own(node).is_disjoint(&shared(other)), "{} and {}", node.names.node, other.names.network);
        }
        prop_assert_eq!(shared(&a) == shared(&b), networks.0 == networks.1);
    }

    #[test]
    fn every_admitted_name_gives_names_that_the_server_takes(
        name in "[a-z]([-a-z0-9]{0,38}[a-z0-9])?",
        network in "[a-z]([-a-z0-9]{0,38}[a-z0-9])?",
        scraper in "[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?",
    ) {
        prop_assert_eq!(refused(&node(&name, &network, &scraper)), Vec::<String>::new());
    }
}
