//! Two nodes with one key: which of them may run. Never both: a client is first written when its node's
//! identity is pinned in its status, so that of two nodes at least one has seen the other by then.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    fault::{Fault, Reason},
    names::Component,
    observed::Observed,
    volumes,
};
use crate::api::{QuorumNode, status::QuorumNodeStatus};

/// Someone else who claims the node's identity: another node, or what one that is gone has left running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Where it is.
    pub namespace: String,
    /// The node's name.
    pub name: String,
    /// When the node was made; `None` where there is no such node any more.
    pub since: Option<Timestamp>,
    /// Whether its client is meant to run.
    pub wants: bool,
    /// Whether its client has a pod.
    pub has_pod: bool,
    /// Whether its node has said that it starts nothing.
    pub stands_back: bool,
}

/// Whether a node may run under its identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The identity is not in the node's status yet: what does not run is not started.
    Unclaimed,
    /// It may run.
    Free,
    /// It may run when another one, which it names, is sure not to.
    Waits(String),
    /// Another one has the identity.
    Held(Fault),
}

/// The identity that a node has pinned.
#[must_use]
pub fn claimed(node: &QuorumNode) -> Option<&str> {
    Some(node.status.as_ref()?.identity.as_ref()?.public_key.as_str())
}

fn says<'a>(of: &'a QuorumNodeStatus, kind: &str, status: &str) -> Option<&'a str> {
    let found = of.conditions.iter().find(|found| found.type_ == kind && found.status == status)?;
    Some(&found.reason)
}

/// Whether a node says that another one has its identity. It is no peer and no validator beside that one.
#[must_use]
pub fn is_held(status: &QuorumNodeStatus) -> bool {
    says(status, "IdentityReady", "False")
        .is_some_and(|reason| reason == Reason::DuplicateIdentity.to_string())
}

/// Whether a node says that it starts nothing: it looks again at who claims its identity before it does.
#[must_use]
pub fn stands_back(node: &QuorumNode) -> bool {
    let says_so =
        |status: &QuorumNodeStatus| is_held(status) || says(status, "ConfigValid", "False").is_some();
    node.metadata.deletion_timestamp.is_some() || node.status.as_ref().is_some_and(says_so)
}

/// Where a node stands among those who claim its identity. Whoever is meant to run goes before whoever is
/// not, so that nothing that runs is stopped for a newcomer; then the node that was made first.
#[must_use]
pub fn standing(observed: &Observed) -> Standing {
    let node = &observed.node;
    if claimed(node).is_none() {
        return Standing::Unclaimed;
    }
    let wants = observed.workloads.get(&Component::Client).is_some_and(|workload| !workload.stopped)
        || volumes::client_runs_alone(observed);
    let own = (!wants, node.creation_timestamp().map(|made| made.0), node.namespace(), node.name_any());
    let rank = |claim: &Claim| (!claim.wants, claim.since, Some(claim.namespace.clone()), claim.name.clone());
    let first = observed.claims.iter().min_by_key(|claim| rank(claim));
    if let Some(first) = first.filter(|first| rank(first) < own) {
        return Standing::Held(duplicate(observed, first));
    }
    let unsure = observed.claims.iter().find(|claim| claim.has_pod || !claim.stands_back);
    match unsure.filter(|_| !wants) {
        Some(other) => Standing::Waits(format!("{}/{}", other.namespace, other.name)),
        None => Standing::Free,
    }
}

fn duplicate(observed: &Observed, first: &Claim) -> Fault {
    let field =
        if observed.node.spec.adopted_key().is_some() { "spec.nodeKey.secretRef" } else { "metadata.name" };
    let holder = format!("{}/{}", first.namespace, first.name);
    let address = observed.node_key.usable().map_or("unknown", |key| key.address.as_str());
    let way_out = match first.since {
        Some(_) => format!(
            "QuorumNode {holder} has the same key: this node does not run beside it; give one of them another key by making it anew, or delete one"
        ),
        None => format!(
            "the client of {holder}, which is no QuorumNode any more or cannot be read, still runs with the same key: delete its StatefulSet and pod, or mend the QuorumNode"
        ),
    };
    Fault::new(Reason::DuplicateIdentity, field, address, way_out)
}

#[cfg(test)]
mod tests;
