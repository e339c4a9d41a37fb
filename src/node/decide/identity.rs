//! Decides which of several nodes with the same key may run. Never two of them run: the operator creates a client only
//! after it has pinned the identity in the node's status, so at least one of two nodes sees the other first.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use super::volume_growth;
use crate::{
    model::{
        fault::{Fault, Reason},
        identity::claimed,
        names::Component,
    },
    node::observed::Observed,
};

/// Another claim to the node's identity, by another node or by a client that a deleted node has left running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Namespace of the other node.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// When it was created; `None` where it does not exist any more.
    pub since: Option<Timestamp>,
    /// Whether its client has a workload that is not stopped.
    pub wants: bool,
    /// Whether its client has a pod.
    pub has_pod: bool,
    /// Whether it reports that it starts no client.
    pub stands_back: bool,
}

/// Whether a node may run under its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityDecision {
    /// The identity is not in the node's status yet, so no client is started.
    Unclaimed,
    /// It may run.
    Free,
    /// It may run once the other node, `NAMESPACE/NAME`, is known not to run.
    Waits(String),
    /// Another node has the identity.
    Held(Fault),
}

/// Ranks a node among the claims to its identity. A node whose client is meant to run goes first, so that a new node
/// never stops a running one; then the older node.
#[must_use]
pub fn standing(observed: &Observed) -> IdentityDecision {
    let node = &observed.node;
    if claimed(node).is_none() {
        return IdentityDecision::Unclaimed;
    }
    let wants = observed.workloads.get(&Component::Client).is_some_and(|workload| !workload.stopped)
        || volume_growth::client_runs_alone(observed);
    let own = (!wants, node.creation_timestamp().map(|made| made.0), node.namespace(), node.name_any());
    let rank = |claim: &Claim| (!claim.wants, claim.since, Some(claim.namespace.clone()), claim.name.clone());
    let first = observed.claims.iter().min_by_key(|claim| rank(claim));
    if let Some(first) = first.filter(|first| rank(first) < own) {
        return IdentityDecision::Held(duplicate(observed, first));
    }
    let unsure = observed.claims.iter().find(|claim| claim.has_pod || !claim.stands_back);
    match unsure.filter(|_| !wants) {
        Some(other) => IdentityDecision::Waits(format!("{}/{}", other.namespace, other.name)),
        None => IdentityDecision::Free,
    }
}

fn duplicate(observed: &Observed, first: &Claim) -> Fault {
    let field =
        if observed.node.spec.adopted_key().is_some() { "spec.nodeKey.secretRef" } else { "metadata.name" };
    let holder = format!("{}/{}", first.namespace, first.name);
    let address = observed.node_key.usable().map_or("unknown", |key| key.address.as_str());
    let remedy = match first.since {
        Some(_) => format!(
            "QuorumNode {holder} has the same key, so this node does not run: delete one of the two nodes, or recreate one of the two with a different key"
        ),
        None => format!(
            "the client of {holder} still runs with the same key, but QuorumNode {holder} is deleted or does not decode: delete the StatefulSet and the pod of that client, or correct the QuorumNode"
        ),
    };
    Fault::new(Reason::DuplicateIdentity, field, address, remedy)
}

#[cfg(test)]
mod tests;
