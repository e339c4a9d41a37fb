//! Live facts that rendering needs.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::{Joining, Leaving};
use crate::{
    model::names::Component,
    node::{
        decide::{rollout, volume_growth},
        observed::Observed,
        validate::Validated,
    },
};

/// The few live facts that rendering needs.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Whether the client's workload exists. It is first written when every other node of the network has a key and an
    /// address, since geth reads the list of peers to dial only once.
    pub client_exists: bool,
    /// Whether it is scaled to zero.
    pub client_stopped: bool,
    /// Whether its pod has a guard, wanted or not.
    pub client_guarded: bool,
    /// Address to request again if the P2P Service was lost.
    pub lost_peer_address: Option<String>,
    /// Peers that the client has admitted, as recorded on its workload, or else on its peer lists.
    pub admitted_peers: Option<String>,
    /// Whether peers that have left may cause a restart.
    pub leaving: Leaving,
    /// Managers that the transaction manager knows, as recorded on its workload, or else on its configuration.
    pub managers: Option<String>,
    /// Whether new managers may cause a restart of the transaction manager.
    pub joining: Joining,
    /// Storage sizes in the claim templates of existing workloads, by name of the workload.
    pub sizes: BTreeMap<String, String>,
}

impl Live {
    /// Takes the facts from what was observed.
    #[must_use]
    pub fn of(observed: &Observed, node: &Validated, now: Timestamp) -> Self {
        let client = observed.workloads.get(&Component::Client);
        Self {
            client_exists: client.is_some() || volume_growth::client_runs_alone(observed),
            client_stopped: client.is_some_and(|client| client.stopped),
            client_guarded: observed.pods.get(&Component::Client).is_some_and(|pod| pod.guarded),
            admitted_peers: client
                .and_then(|client| client.admitted_peers.clone())
                .or_else(|| observed.admitted_peers.clone()),
            managers: observed.managers.clone(),
            joining: Joining::of(observed, now),
            leaving: Leaving { now, waits: rollout::is_validator_away(observed, node) },
            sizes: observed
                .workloads
                .iter()
                .filter_map(|(part, workload)| Some((node.names.workload(*part), workload.size.clone()?)))
                .collect(),
            lost_peer_address: match observed.peer_address {
                Some(_) => None,
                None => observed.node.status.as_ref().and_then(|status| status.peer_address.clone()),
            },
        }
    }
}
