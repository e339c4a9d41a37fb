//! What a node becomes: the same input gives the same bytes.

mod admitted;
mod affinity;
mod arguments;
pub mod budget;
pub mod certificates;
mod client;
mod config;
mod database;
pub(in crate::node) mod held;
mod known;
mod manager;
mod monitor;
mod pods;
mod policies;
mod requests;
pub(in crate::node) mod rpc;
mod services;
mod tessera;

#[cfg(test)]
mod tests;

pub use admitted::Leaving;
pub use known::{Joining, next_meeting};

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

use super::{
    foreign::{Certificate, PodMonitor},
    names::{Component, Purpose},
    secrets::{keys::NodeIdentity, tls::LeafFacts},
    validate::{Database, Validated},
};
use crate::{api::parts::SecretKey, settings::Surroundings};

/// What the secrets stage has made sure of.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Who the node is.
    pub identity: NodeIdentity,
    /// The network's authorities, for callers and scrapers to trust: PEM.
    pub network_authorities: String,
    /// The node's certificates, those just made included.
    pub certificates: BTreeMap<Purpose, LeafFacts>,
}

/// Every object a node is to have, by kind, in the order they are written.
#[derive(Clone, Debug)]
pub struct Desired {
    /// One account per component; none has rights or a token.
    pub accounts: Vec<ServiceAccount>,
    /// Closed first, then opened flow by flow.
    pub policies: Vec<NetworkPolicy>,
    /// How many validators of the network may be away at once.
    pub budgets: Vec<PodDisruptionBudget>,
    /// Addresses, which enode URLs need.
    pub services: Vec<Service>,
    /// What cert-manager is asked for.
    pub certificates: Vec<Certificate>,
    /// How Prometheus is told of the client.
    pub monitors: Vec<PodMonitor>,
    /// Configuration without secrets.
    pub config_maps: Vec<ConfigMap>,
    /// Configuration that holds a password.
    pub sealed: Vec<Sealed>,
    /// The workloads, last: what they mount must be there first.
    pub workloads: Vec<StatefulSet>,
}

/// A Secret with a place for a password that is put in only when it is written.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The Secret, with [`Sealed::PLACE`] where the password goes.
    pub secret: Secret,
    /// Where the password is.
    pub password: SecretKey,
}

impl Sealed {
    /// Stands for the password until the Secret is written.
    pub const PLACE: &str = "\u{1}PASSWORD\u{1}";
}

/// Everything the node is to have.
#[must_use]
pub fn desired(node: &Validated, issued: &Issued, surroundings: &Surroundings, live: &Live) -> Desired {
    let (manager_config, sealed) = config::manager(node, live);
    let client = client::workload(node, surroundings, live);
    let mut config_maps = vec![config::network_authority(node, issued)];
    // each node that joins changes them: they are first written for the client that reads them, and then kept
    config_maps.extend((client.is_some() || live.permitted.is_some()).then(|| config::peers(node, live)));
    config_maps.extend(rpc::policy_map(node, live));
    config_maps.extend(manager_config);
    config_maps.extend(config::database(node));

    let mut workloads = Vec::from_iter(client);
    workloads.extend(manager::workload(node, surroundings, live));
    workloads.extend(database::workload(node, surroundings));
    for workload in &mut workloads {
        held::name(workload, &issued.certificates);
        keep_size(workload, live);
    }

    Desired {
        accounts: components(node).into_iter().map(|component| pods::account(node, component)).collect(),
        policies: policies::all(node, surroundings),
        budgets: budget::validators(node).into_iter().collect(),
        services: services::all(node, live),
        certificates: requests::all(node),
        monitors: monitor::all(node).into_iter().collect(),
        config_maps,
        sealed: sealed.into_iter().collect(),
        workloads,
    }
}

/// The few live facts that rendering needs.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Whether the client's workload exists. It is first written when every other node of the network has
    /// a key and an address, since the list of peers to dial is read once.
    pub client_exists: bool,
    /// Whether it has been told to have no pod.
    pub client_stopped: bool,
    /// Whether a guard runs beside it, wanted or not.
    pub client_guarded: bool,
    /// An address to ask for again, where the P2P Service was lost.
    pub lost_peer_address: Option<String>,
    /// Whom the client has admitted, as its workload says, or its lists of peers where it has none.
    pub permitted: Option<String>,
    /// When those who have left may cost a restart.
    pub leaving: Leaving,
    /// Which managers the transaction manager knows, as its workload says, or its configuration.
    pub managers: Option<String>,
    /// When newcomers may cost the transaction manager a restart.
    pub joining: Joining,
    /// What the claim templates of workloads ask for, by name of the workload.
    pub sizes: BTreeMap<String, String>,
}

/// A claim template cannot change: as long as a workload is there its template is left as it is, and whatever
/// else has changed is written all the same.
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
