//! Finds outdated pods and absent validators. The operator, not the StatefulSet, replaces pods (`OnDelete`): a
//! StatefulSet's own rollout respects neither disruption budgets nor the other nodes of a network.

pub mod plan;

use super::absent_nodes;
use crate::{
    api::node::Role,
    model::{names::Component, network_member::NetworkMember},
    node::{
        apply::Applied,
        desired::{components, disruption_budget},
        observed::{Neighbour, Observed, Pod, Workload},
        validate::Validated,
    },
};
use plan::{Absence, Named, Part, Wait};

/// Replacement order: the transaction manager needs the database to start, and the client needs the manager.
pub(crate) const ORDER: [Component; 3] =
    [Component::Database, Component::TransactionManager, Component::Client];

/// The parts of a node whose pods are to be replaced, in order. Excludes parts whose pod template another writer or a
/// webhook changed.
#[must_use]
pub fn outdated(observed: &Observed, node: &Validated, applied: &Applied) -> Vec<Component> {
    let parts = components(node);
    let is_ours = |part: &Component| {
        let name = node.names.workload(*part);
        let is_weakened = applied
            .admission_changes
            .iter()
            .any(|it| it.weakens && it.kind == "StatefulSet" && it.name == name);
        applied.settled.contains(&name) && !is_weakened
    };
    let is_due =
        |part: &Component| parts.contains(part) && is_outdated_part(observed, *part) && is_ours(part);
    if node.spec.paused { vec![] } else { ORDER.into_iter().filter(is_due).collect() }
}

/// Whether any part of the node waits to be replaced.
#[must_use]
pub fn is_pending(observed: &Observed, node: &Validated) -> bool {
    !node.spec.paused && components(node).into_iter().any(|part| is_outdated_part(observed, part))
}

/// Whether a part is not known to run the newest revision of its workload.
#[must_use]
pub fn is_behind(observed: &Observed, part: Component) -> bool {
    let runs = observed.pods.get(&part).zip(observed.workloads.get(&part));
    !runs.is_some_and(|(pod, workload)| workload.settled && !is_outdated(pod, workload))
}

/// Whether another validator of the network does not serve, is being deleted, or was deleted in the last five minutes.
#[must_use]
pub fn is_validator_away(observed: &Observed, node: &Validated) -> bool {
    let may_be_one = |other: &&Neighbour| other.role.is_none_or(|role| role == Role::Validator);
    let serves = |other: &Neighbour| other.pod.as_ref().is_some_and(|pod| pod.ready && !pod.terminating);
    absent_nodes::leaving_validator(observed, &node.roll).is_some()
        || !observed.neighbours.iter().filter(may_be_one).all(serves)
}

/// A validator that blocks every replacement of another validator and is not among the `network`'s parts: it is being
/// deleted, was deleted in the last five minutes, or has not started.
#[must_use]
pub fn missing_validator(observed: &Observed, node: &Validated, network: &[Part]) -> Option<Wait> {
    let wait = |node: &str, why: &str| {
        let named = Named { node: node.to_owned(), component: Component::Client };
        Wait::Away(named, Absence { why: why.to_owned(), since: None })
    };
    if let Some(name) = absent_nodes::leaving_validator(observed, &node.roll) {
        return Some(wait(&name, "the node is being deleted, or was deleted less than 5 minutes ago"));
    }
    let has_client = |network_member: &&NetworkMember| {
        let is_its =
            |part: &Part| part.named.node == network_member.name && part.named.component == Component::Client;
        network.iter().any(is_its)
    };
    let mut validators =
        observed.network_members.iter().filter(|network_member| network_member.may_be_validator());
    if let Some(missing) = validators.find(|network_member| !has_client(network_member)) {
        return Some(wait(&missing.name, "the client has not started yet"));
    }
    let voter = node.chain_validators.missing.first().filter(|_| tolerated(node) == 0);
    voter.cloned().map(Wait::MissingValidator)
}

/// Number of validators of the network that may be away in addition to those that no node here has any more.
#[must_use]
pub fn tolerated(node: &Validated) -> usize {
    let may_be_away = node.validators.map(|count| usize::try_from(disruption_budget::may_be_away(count)));
    let may_be_away = may_be_away.and_then(Result::ok).unwrap_or(usize::MAX);
    may_be_away.saturating_sub(node.chain_validators.missing.len())
}

/// Whether a pod has an older revision than the newest of its workload.
#[must_use]
pub fn is_outdated(pod: &Pod, workload: &Workload) -> bool {
    pod.revision.is_some() && workload.update_revision.is_some() && pod.revision != workload.update_revision
}

fn is_outdated_part(observed: &Observed, part: Component) -> bool {
    let (pod, workload) = (observed.pods.get(&part), observed.workloads.get(&part));
    pod.zip(workload).is_some_and(|(pod, workload)| is_outdated(pod, workload) && !pod.terminating)
}

#[cfg(test)]
mod tests;
