//! Renders all objects of a node. The same input gives the same bytes.

mod admitted_peers;
mod affinity;
mod arguments;
pub(in crate::node) mod certificate_digest;
pub mod certificates;
mod client;
mod config;
mod database;
pub mod disruption_budget;
mod known_managers;
mod live;
mod manager;
mod network_policies;
mod pod_monitor;
mod pods;
mod requests;
pub(in crate::node) mod rpc;
mod services;
mod tessera;

#[cfg(test)]
mod tests;

use super::validate::{Database, Validated};
use crate::{
    api::parts::SecretKey,
    model::{
        names::{Component, Purpose},
        secrets::{keys::NodeIdentity, tls::LeafFacts},
        third_party::{Certificate, PodMonitor},
    },
    settings::RenderConfig,
};
pub use admitted_peers::Leaving;
pub use known_managers::{Joining, next_meeting};
pub use live::Live;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::api::resource::Quantity,
};

/// Result of the issue stage.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The node's identity.
    pub identity: NodeIdentity,
    /// CA certificates of the network, for callers and scrapers to trust, as PEM.
    pub network_authorities: String,
    /// The node's certificates, including new ones.
    pub certificates: BTreeMap<Purpose, LeafFacts>,
}

/// All objects of a node by kind, in the order in which they are written.
#[derive(Clone, Debug)]
pub struct Desired {
    /// One ServiceAccount per component, without permissions and without a token.
    pub accounts: Vec<ServiceAccount>,
    /// Network policies: first the one that denies all, then one per allowed flow.
    pub policies: Vec<NetworkPolicy>,
    /// Disruption budget of the network's validators.
    pub budgets: Vec<PodDisruptionBudget>,
    /// Services. Enode URLs need their addresses.
    pub services: Vec<Service>,
    /// Certificate requests for cert-manager.
    pub certificates: Vec<Certificate>,
    /// PodMonitor for the client's metrics.
    pub monitors: Vec<PodMonitor>,
    /// Configuration without secrets.
    pub config_maps: Vec<ConfigMap>,
    /// Configuration with a password.
    pub secret_templates: Vec<SecretTemplate>,
    /// Workloads, last: the objects that they mount must exist first.
    pub workloads: Vec<StatefulSet>,
}

/// A Secret with a placeholder for a password, which is filled in only when the Secret is written.
#[derive(Clone, Debug)]
pub struct SecretTemplate {
    /// The Secret, with [`SecretTemplate::PLACE`] where the password goes.
    pub secret: Secret,
    /// Reference to the password.
    pub password: SecretKey,
}

impl SecretTemplate {
    /// Placeholder for the password.
    pub const PLACE: &str = "\u{1}PASSWORD\u{1}";
}

/// Renders all objects of a node.
#[must_use]
pub fn desired(node: &Validated, issued: &Issued, render_config: &RenderConfig, live: &Live) -> Desired {
    let (manager_config, secret_templates) = config::manager(node, live);
    let client = client::workload(node, render_config, live);
    let mut config_maps = vec![config::network_authority(node, issued)];
    // each new node changes the lists: they are first written with the client that reads them, and then always
    config_maps
        .extend((client.is_some() || live.admitted_peers.is_some()).then(|| config::peers(node, live)));
    config_maps.extend(rpc::policy_map(node, live));
    config_maps.extend(manager_config);
    config_maps.extend(config::database(node));

    let mut workloads = Vec::from_iter(client);
    workloads.extend(manager::workload(node, render_config, live));
    workloads.extend(database::workload(node, render_config));
    for workload in &mut workloads {
        certificate_digest::name(workload, &issued.certificates);
        keep_size(workload, live);
    }

    Desired {
        accounts: components(node).into_iter().map(|component| pods::account(node, component)).collect(),
        policies: network_policies::all(node, render_config),
        budgets: disruption_budget::validators(node).into_iter().collect(),
        services: services::all(node, live),
        certificates: requests::all(node),
        monitors: pod_monitor::all(node).into_iter().collect(),
        config_maps,
        secret_templates: secret_templates.into_iter().collect(),
        workloads,
    }
}

/// Sets the size in the claim template to that of the existing workload. A claim template is immutable, so other
/// changes could not be written otherwise.
fn keep_size(workload: &mut StatefulSet, live: &Live) {
    let size = workload.metadata.name.as_ref().and_then(|name| live.sizes.get(name));
    let templates = workload.spec.as_mut().and_then(|spec| spec.volume_claim_templates.as_mut());
    for template in templates.into_iter().flatten() {
        let resources = template.spec.as_mut().and_then(|spec| spec.resources.as_mut());
        if let (Some(size), Some(requests)) = (size, resources.and_then(|it| it.requests.as_mut())) {
            requests.insert("storage".into(), Quantity(size.clone()));
        }
    }
}

/// The components a node has.
#[must_use]
pub fn components(node: &Validated) -> Vec<Component> {
    let mut components = vec![Component::Client];
    if let Some(manager) = &node.manager {
        components.push(Component::TransactionManager);
        if matches!(manager.database, Database::Managed(_)) {
            components.push(Component::Database);
        }
    }
    components
}
