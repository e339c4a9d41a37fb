//! Certificates of a node: their DNS names, and the CA that signs each.

use std::collections::BTreeMap;

use k8s_openapi::jiff::SignedDuration;

use super::rpc;
use crate::model::secrets::renewal;
use crate::{
    api::tls::Issuer,
    model::{
        names::{Component, DATABASE, Purpose},
        secrets::tls::{KeyAlgorithm, LeafRequest, Usage, Validity},
    },
    node::{
        observed::Observed,
        validate::{Database, Validated},
    },
};

/// Signer of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The network's CA: for scrapers and callers, and between managers.
    Network,
    /// The node's own CA: between client and manager, and between manager and database, since a manager in CA mode
    /// accepts every certificate of the CA.
    Node,
    /// An external issuer, through cert-manager: the certificate is requested, read and checked, and never issued here.
    Requested,
    /// An external issuer: the certificate is read and checked, and never issued here.
    Provided,
}

impl Authority {
    /// Whether the operator issues its certificates.
    #[must_use]
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Network | Self::Node)
    }
}

/// Why an external certificate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It is missing.
    Missing,
    /// What is wrong with it.
    Of(String),
}

/// Why an external certificate cannot be used; `None` if it can.
#[must_use]
pub fn lack(observed: &Observed, purpose: Purpose, wanted: &Wanted) -> Option<Lack> {
    match observed.certificates.get(&purpose) {
        None => Some(Lack::Missing),
        Some(Err(why)) => Some(Lack::Of(why.to_string())),
        Some(Ok(facts)) => {
            let lacking = renewal::lacking(&wanted.request, facts)?;
            Some(Lack::Of(format!("tls.crt {lacking}: reissue it accordingly")))
        }
    }
}

/// Whether a certificate from cert-manager is missing or unusable. Workloads then stay as they are, and none is started
/// with it.
#[must_use]
pub fn is_waited_for(node: &Validated, observed: &Observed) -> bool {
    wanted(node).iter().any(|(purpose, wanted)| {
        wanted.authority == Authority::Requested && lack(observed, *purpose, wanted).is_some()
    })
}

/// A certificate that the node needs.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Who signs it.
    pub authority: Authority,
    /// Its content.
    pub request: LeafRequest,
}

/// Every certificate of the node.
#[must_use]
pub fn wanted(node: &Validated) -> BTreeMap<Purpose, Wanted> {
    let mut wanted = BTreeMap::from([(Purpose::Metrics, metrics(node))]);
    if node.has_callers() {
        wanted.insert(Purpose::Rpc, rpc(node));
    }
    if let Some(manager) = &node.manager {
        wanted.extend([
            (Purpose::Client, client(node)),
            (Purpose::Manager, transaction_manager(node)),
            (Purpose::ManagerPeers, manager_peers(node)),
            (Purpose::Probe, probe(node)),
        ]);
        if matches!(manager.database, Database::Managed(_)) {
            wanted.extend([
                (Purpose::DatabaseClient, database_client(node)),
                (Purpose::Database, database(node)),
            ]);
        }
    }
    wanted
}

/// Signer of the certificates that others see.
fn outward(node: &Validated) -> Authority {
    match node.spec.tls.issuer {
        Issuer::BuiltIn => Authority::Network,
        Issuer::CertManager => Authority::Requested,
        Issuer::Provided => Authority::Provided,
    }
}

fn request(node: &Validated, common_name: &str, usage: Usage) -> LeafRequest {
    LeafRequest {
        common_name: common_name.into(),
        dns_names: Vec::new(),
        usage,
        algorithm: KeyAlgorithm::EcdsaP256,
        validity: validity(node),
        pkcs8_der: false,
    }
}

/// Lifetime and renewal time from the spec.
#[must_use]
pub fn validity(node: &Validated) -> Validity {
    let hours = |text: &str| text.trim_end_matches('h').parse::<i64>().unwrap_or(24);
    Validity {
        duration: SignedDuration::from_hours(hours(&node.spec.tls.duration)),
        renew_before: SignedDuration::from_hours(hours(&node.spec.tls.renew_before)),
    }
}

/// All DNS names of a Service of the namespace.
pub(super) fn service_names(node: &Validated, service: &str) -> Vec<String> {
    let dns = node.names.dns(service);
    vec![format!("{dns}.{}", node.domain), dns]
}

fn metrics(node: &Validated) -> Wanted {
    let names = service_names(node, &node.names.metrics_service());
    let request = LeafRequest { dns_names: names, ..request(node, "metrics", Usage::Server) };
    Wanted { authority: outward(node), request }
}

fn rpc(node: &Validated) -> Wanted {
    let request = LeafRequest { dns_names: rpc::hosts(node), ..request(node, "rpc", Usage::Server) };
    Wanted { authority: outward(node), request }
}

fn client(node: &Validated) -> Wanted {
    let name = format!("{}-client", node.names.node);
    Wanted { authority: Authority::Node, request: request(node, &name, Usage::Client) }
}

/// Tessera reads PEM keys only as RSA PKCS#8.
fn transaction_manager(node: &Validated) -> Wanted {
    let request = LeafRequest {
        dns_names: service_names(node, &node.names.workload(Component::TransactionManager)),
        algorithm: KeyAlgorithm::Rsa2048,
        ..request(node, "transaction manager", Usage::Server)
    };
    Wanted { authority: Authority::Node, request }
}

fn manager_peers(node: &Validated) -> Wanted {
    let mut dns_names = service_names(node, &node.names.workload(Component::TransactionManager));
    let advertised = node.spec.transaction_manager.iter().filter_map(|manager| manager.advertise.as_deref());
    dns_names.extend(advertised.filter_map(host_of));
    dns_names.sort();
    let request = LeafRequest {
        dns_names,
        algorithm: KeyAlgorithm::Rsa2048,
        ..request(node, &format!("{}-tm", node.names.node), Usage::Both)
    };
    Wanted { authority: outward(node), request }
}

fn host_of(url: &str) -> Option<String> {
    Some(url.strip_prefix("https://")?.rsplit_once(':')?.0.to_owned())
}

fn probe(node: &Validated) -> Wanted {
    Wanted { authority: Authority::Node, request: request(node, "probe", Usage::Client) }
}

/// PostgreSQL takes the common name as the role; its Java driver requires the key as PKCS#8 DER.
fn database_client(node: &Validated) -> Wanted {
    let request = LeafRequest { pkcs8_der: true, ..request(node, DATABASE, Usage::Client) };
    Wanted { authority: Authority::Node, request }
}

fn database(node: &Validated) -> Wanted {
    let request = LeafRequest {
        dns_names: service_names(node, &node.names.workload(Component::Database)),
        ..request(node, "database", Usage::Server)
    };
    Wanted { authority: Authority::Node, request }
}
