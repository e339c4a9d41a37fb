use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Service, apimachinery::pkg::util::intstr::IntOrString};

use super::{
    sample::{self, alone, client_alone, everything, external_with_password},
    world,
};
use crate::{
    model::names::Component,
    node::{
        desired::{Live, desired},
        validate::Validated,
    },
};

fn services(node: &Validated) -> BTreeMap<String, Service> {
    let services = sample::render(node).services;
    services.into_iter().map(|service| (service.metadata.name.clone().unwrap_or_default(), service)).collect()
}

fn ports(service: &Service) -> Vec<i32> {
    service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).map(|port| port.port).collect()
}

#[test]
fn a_node_has_the_services_that_its_parts_need() {
    let table = |node: &Validated| -> Vec<(String, Vec<i32>)> {
        services(node).iter().map(|(name, service)| (name.clone(), ports(service))).collect()
    };
    let row = |name: &str, ports: &[i32]| (name.to_owned(), ports.to_vec());
    assert_eq!(
        table(&alone(&client_alone())),
        [row("carol-client-pods", &[30303]), row("carol-p2p", &[30303])]
    );
    assert_eq!(
        table(&alone(&external_with_password())),
        [
            row("bob-client-pods", &[30303]),
            row("bob-p2p", &[30303]),
            row("bob-tm", &[9101, 9000]),
            row("bob-tm-pods", &[9101]),
        ]
    );
    assert_eq!(
        table(&alone(&everything())),
        [
            row("alice-client-pods", &[30303]),
            row("alice-metrics", &[9545]),
            row("alice-p2p", &[30303]),
            row("alice-rpc", &[8545]),
            row("alice-tm", &[9101, 9000]),
            row("alice-tm-db", &[5432]),
            row("alice-tm-db-pods", &[5432]),
            row("alice-tm-pods", &[9101]),
        ]
    );
}

#[test]
fn no_service_is_reachable_from_outside_the_cluster() {
    for node in sample::network() {
        for (name, service) in services(&node) {
            let spec = service.spec.expect("a spec");
            assert_eq!(spec.type_.as_deref(), Some("ClusterIP"), "{name}");
            assert_eq!(spec.external_ips, None, "{name}");
            for port in spec.ports.into_iter().flatten() {
                assert_eq!(port.node_port, None, "{name}");
                assert_eq!(
                    port.target_port,
                    Some(IntOrString::Int(port.port)),
                    "{name}: a number, not a name"
                );
                assert_eq!(port.protocol.as_deref(), Some("TCP"), "{name}");
            }
        }
    }
}

#[test]
fn each_workload_is_governed_by_a_headless_service_of_its_pod() {
    for node in sample::network() {
        let services = services(&node);
        for workload in sample::render(&node).workloads {
            let spec = workload.spec.expect("a spec");
            let service = &services[spec.service_name.as_deref().expect("a service")];
            let governing = service.spec.clone().expect("a spec");
            assert_eq!(governing.cluster_ip.as_deref(), Some("None"));
            assert_eq!(governing.selector, spec.selector.match_labels);
        }
    }
}

#[test]
fn peers_and_scrapers_find_a_client_that_is_not_ready() {
    let services = services(&alone(&everything()));
    let published =
        |name: &str| services[name].spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses);
    assert_eq!(published("alice-p2p"), Some(true));
    assert_eq!(published("alice-metrics"), Some(true));
    assert_eq!(published("alice-rpc"), None, "a client that is not fit to serve is not called");
    assert_eq!(published("alice-tm"), None, "a manager that is not ready is not called");
    assert_eq!(published("alice-tm-db"), None);
}

#[test]
fn a_lost_address_is_asked_for_again_for_peers_alone() {
    let node = alone(&everything());
    let live = Live { client_exists: true, lost_peer_address: Some("10.96.7.7".into()), ..Live::default() };
    let rendered = desired(&node, &sample::issued(&node), &world::render_config(), &live);
    for service in rendered.services {
        let address = service.spec.and_then(|spec| spec.cluster_ip).filter(|address| address != "None");
        let is_peers = service.metadata.name.as_deref() == Some("alice-p2p");
        assert_eq!(address.as_deref(), is_peers.then_some("10.96.7.7"), "{:?}", service.metadata.name);
    }
}

#[test]
fn a_service_selects_the_component_that_it_is_named_for() {
    let node = alone(&everything());
    for (name, service) in services(&node) {
        let component = match name.as_str() {
            "alice-tm" | "alice-tm-pods" => Component::TransactionManager,
            "alice-tm-db" | "alice-tm-db-pods" => Component::Database,
            _ => Component::Client,
        };
        assert_eq!(
            service.spec.and_then(|spec| spec.selector),
            Some(node.names.pod_labels(component)),
            "{name}"
        );
    }
}
