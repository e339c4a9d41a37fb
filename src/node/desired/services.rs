//! Services: stable addresses for peers, callers and components, and headless ones that govern the StatefulSets.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use kube::api::ObjectMeta;
use sha2::{Digest as _, Sha256};

use super::{Live, components, pods};
use crate::{
    api::parts::Notes,
    model::names::{self, Component},
    node::validate::Validated,
};

pub(super) fn all(node: &Validated, live: &Live) -> Vec<Service> {
    let components = components(node);
    let mut services: Vec<_> = components.iter().map(|component| governing(node, *component)).collect();
    services.push(peers(node, live.lost_peer_address.clone()));
    if !node.spec.metrics.scrapers.is_empty() {
        services.push(metrics(node));
    }
    if node.has_callers() {
        services.push(rpc(node));
    }
    if components.contains(&Component::TransactionManager) {
        services.push(transaction_manager(node));
    }
    if components.contains(&Component::Database) {
        services.push(database(node));
    }
    services
}

/// Headless Service. A StatefulSet must name one; nothing dials it.
fn governing(node: &Validated, component: Component) -> Service {
    let port = match component {
        Component::Client => port("p2p", names::P2P),
        Component::TransactionManager => port("client", names::CLIENT_TO_MANAGER),
        Component::Database => port("postgres", names::POSTGRES),
    };
    let mut service = service(node, component, node.names.governing_service(component), vec![port]);
    if let Some(spec) = &mut service.spec {
        spec.cluster_ip = Some("None".into());
    }
    service
}

/// Service that peers dial. It publishes not-ready addresses, so that no node waits for another one.
fn peers(node: &Validated, lost_address: Option<String>) -> Service {
    let ports = vec![port("p2p", names::P2P)];
    let mut service = service(node, Component::Client, node.names.peer_service(), ports);
    if let Some(spec) = &mut service.spec {
        spec.publish_not_ready_addresses = Some(true);
        spec.cluster_ip = lost_address;
    }
    service
}

/// Service that scrapers dial; only with scrapers. It publishes not-ready addresses, since the metrics of a client that
/// is not ready matter most.
fn metrics(node: &Validated) -> Service {
    let ports = vec![port("metrics", names::METRICS)];
    let mut service = service(node, Component::Client, node.names.metrics_service(), ports);
    if let Some(spec) = &mut service.spec {
        spec.publish_not_ready_addresses = Some(true);
    }
    service
}

/// Service that JSON-RPC callers dial; only with callers.
fn rpc(node: &Validated) -> Service {
    let ports = vec![port("rpc", names::RPC)];
    service(node, Component::Client, node.names.rpc_service(), ports)
}

fn transaction_manager(node: &Validated) -> Service {
    let component = Component::TransactionManager;
    let ports = vec![port("client", names::CLIENT_TO_MANAGER), port("peers", names::MANAGER_TO_MANAGER)];
    service(node, component, node.names.workload(component), ports)
}

fn database(node: &Validated) -> Service {
    let component = Component::Database;
    service(node, component, node.names.workload(component), vec![port("postgres", names::POSTGRES)])
}

fn service(node: &Validated, component: Component, name: String, ports: Vec<ServicePort>) -> Service {
    Service {
        metadata: noted(node, node.names.meta(name, node.names.component_labels(component), &node.owner)),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            selector: Some(node.names.pod_labels(component)),
            ports: Some(ports),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Adds labels and annotations from the spec. Drift detection ignores those without the operator's prefix, so an
/// annotation of the operator records their digest, and the Service is written when that changes.
fn noted(node: &Validated, mut meta: ObjectMeta) -> ObjectMeta {
    let notes = &node.spec.service_metadata;
    if *notes == Notes::default() {
        return meta;
    }
    let digest = Sha256::digest(serde_json::to_vec(notes).unwrap_or_default());
    let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    pods::note(meta.labels.get_or_insert_default(), &notes.labels);
    let annotations = meta.annotations.get_or_insert_default();
    pods::note(annotations, &notes.annotations);
    annotations.insert(names::NOTES.into(), digest);
    meta
}

fn port(name: &str, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        port,
        target_port: Some(IntOrString::Int(port)),
        protocol: Some("TCP".into()),
        ..ServicePort::default()
    }
}
