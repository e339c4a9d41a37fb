use std::collections::BTreeSet;

use k8s_openapi::jiff::SignedDuration;
use serde_json::json;

use super::sample::{
    self, alone, client_alone, everything, external_with_certificate, external_with_password, managed,
    validator,
};
use crate::{
    model::{
        names::Purpose,
        secrets::tls::{KeyAlgorithm, Usage},
    },
    node::desired::certificates::{Authority, Wanted, wanted},
};

fn purposes(node: &serde_json::Value) -> Vec<Purpose> {
    wanted(&alone(node)).into_keys().collect()
}

#[test]
fn a_node_has_the_certificates_that_its_parts_use() {
    use Purpose::{Client, Database, DatabaseClient, Manager, ManagerPeers, Metrics, Probe, Rpc};
    assert_eq!(purposes(&client_alone()), [Metrics]);
    assert_eq!(purposes(&validator()), [Metrics]);
    let without_database = [Metrics, Client, Manager, ManagerPeers, Probe];
    assert_eq!(purposes(&external_with_password()), without_database);
    assert_eq!(
        purposes(&external_with_certificate()),
        without_database,
        "its certificate is somebody else's"
    );
    let all = [Metrics, Client, Manager, ManagerPeers, Probe, DatabaseClient, Database];
    assert_eq!(purposes(&managed()), all);
    let with_callers = [&[Metrics, Rpc], &all[1..]].concat();
    assert_eq!(purposes(&everything()), with_callers);
}

fn service(name: &str) -> Vec<String> {
    vec![format!("{name}.ledger.svc"), format!("{name}.ledger.svc.cluster.local")]
}

/// Every DNS name of a server is in the cluster's domain, whatever the issuer of its certificates.
#[test]
fn services_are_called_by_the_domain_that_the_cluster_has() {
    let mut node = alone(&everything());
    node.domain = "corp.example".into();
    let mut servers = 0;
    for (purpose, wanted) in wanted(&node) {
        let names = wanted.request.dns_names;
        assert!(!names.iter().any(|name| name.ends_with("cluster.local")), "{purpose:?}: {names:?}");
        if let Some(plain) = names.iter().find(|name| name.ends_with(".ledger.svc")) {
            assert!(names.contains(&format!("{plain}.corp.example")), "{purpose:?}: {names:?}");
            servers += 1;
        }
    }
    assert_eq!(servers, 5, "metrics, rpc, both of the manager, database");
}

/// Summary: signer, common name, sorted DNS names, usage, key algorithm, whether DER is needed.
fn short(wanted: &Wanted) -> (Authority, &str, Vec<String>, Usage, KeyAlgorithm, bool) {
    let request = &wanted.request;
    let names: BTreeSet<String> = request.dns_names.iter().cloned().collect();
    (
        wanted.authority,
        &request.common_name,
        names.into_iter().collect(),
        request.usage,
        request.algorithm,
        request.pkcs8_der,
    )
}

#[test]
fn each_certificate_says_what_it_is_for_and_no_more() {
    use KeyAlgorithm::{EcdsaP256, Rsa2048};
    let wanted = wanted(&alone(&everything()));
    let rpc = [vec!["rpc.alice.example".to_owned()], service("alice-rpc")].concat();
    let rpc = BTreeSet::from_iter(rpc).into_iter().collect();
    let peers = [service("alice-tm"), vec!["tm.alice.example".to_owned()]].concat();
    let (ours, network) = (Authority::Node, Authority::Network);
    for (purpose, expected) in [
        (Purpose::Metrics, (network, "metrics", service("alice-metrics"), Usage::Server, EcdsaP256, false)),
        (Purpose::Rpc, (network, "rpc", rpc, Usage::Server, EcdsaP256, false)),
        (Purpose::Client, (ours, "alice-client", vec![], Usage::Client, EcdsaP256, false)),
        (Purpose::Manager, (ours, "transaction manager", service("alice-tm"), Usage::Server, Rsa2048, false)),
        (Purpose::ManagerPeers, (network, "alice-tm", peers, Usage::Both, Rsa2048, false)),
        (Purpose::Probe, (ours, "probe", vec![], Usage::Client, EcdsaP256, false)),
        (Purpose::DatabaseClient, (ours, "tessera", vec![], Usage::Client, EcdsaP256, true)),
        (Purpose::Database, (ours, "database", service("alice-tm-db"), Usage::Server, EcdsaP256, false)),
    ] {
        assert_eq!(short(&wanted[&purpose]), expected, "{purpose:?}");
    }
}

#[test]
fn an_advertised_host_is_a_name_of_the_managers_peers_certificate_alone() {
    for (purpose, wanted) in wanted(&alone(&everything())) {
        let named = wanted.request.dns_names.iter().any(|name| name == "tm.alice.example");
        assert_eq!(named, purpose == Purpose::ManagerPeers, "{purpose:?}");
    }
}

#[test]
fn what_the_networks_authority_signs_opens_nothing_inside_a_node() {
    for node in sample::network() {
        for (purpose, wanted) in wanted(&node) {
            let outward = matches!(purpose, Purpose::Metrics | Purpose::Rpc | Purpose::ManagerPeers);
            assert_eq!(wanted.authority == Authority::Network, outward, "{}: {purpose:?}", node.names.node);
        }
    }
}

#[test]
fn only_a_server_that_is_dialled_by_name_has_names() {
    for node in sample::network() {
        for (purpose, wanted) in wanted(&node) {
            let serves = wanted.request.usage != Usage::Client;
            assert_eq!(!wanted.request.dns_names.is_empty(), serves, "{}: {purpose:?}", node.names.node);
        }
    }
}

#[test]
fn every_certificate_lasts_as_the_spec_says() {
    let changed = sample::with(managed(), &json!({"tls": {"duration": "100h", "renewBefore": "37h"}}));
    for (node, duration, renew_before) in [(managed(), 2160, 720), (changed, 100, 37)] {
        for (purpose, wanted) in wanted(&alone(&node)) {
            let validity = wanted.request.validity;
            assert_eq!(validity.duration, SignedDuration::from_hours(duration), "{purpose:?}");
            assert_eq!(validity.renew_before, SignedDuration::from_hours(renew_before), "{purpose:?}");
        }
    }
}
