//! Which pod is replaced next by one of the newest revision. StatefulSets leave that to us (`OnDelete`): their
//! own rollout asks no disruption budget, and knows nothing of the other validators of a network.

use super::{
    absent, chain,
    desired::components,
    names::Component,
    observed::{Neighbour, Observed, Pod, Workload},
    validate::Validated,
};
use crate::api::node::Role;

/// The database first: without it the manager cannot start, and without that the client cannot.
const ORDER: [Component; 3] = [Component::Database, Component::TransactionManager, Component::Client];

/// The component whose pod is to be replaced now, one at a time.
#[must_use]
pub fn next(observed: &Observed, node: &Validated) -> Option<Component> {
    let parts = components(node);
    let part = ORDER.into_iter().find(|part| parts.contains(part) && is_outdated_part(observed, *part))?;
    // one that does not serve can only gain
    let serves = observed.pods.get(&part).is_some_and(|pod| pod.ready);
    let others_serve = parts
        .iter()
        .filter(|other| **other != part)
        .all(|other| observed.pods.get(other).is_some_and(|pod| pod.ready && !pod.terminating));
    let is_validator = part == Component::Client && node.spec.role == Role::Validator;
    let turn = !is_validator || is_our_turn(observed, node);
    (!serves || others_serve && turn && !chain::holds_back(observed, node, part)).then_some(part)
}

/// Whether any part of the node waits for its turn.
#[must_use]
pub fn is_pending(observed: &Observed, node: &Validated) -> bool {
    !node.spec.paused && components(node).into_iter().any(|part| is_outdated_part(observed, part))
}

/// Whether a part does not run the newest revision of its workload, or is not known to.
#[must_use]
pub fn is_behind(observed: &Observed, part: Component) -> bool {
    let runs = observed.pods.get(&part).zip(observed.workloads.get(&part));
    !runs.is_some_and(|(pod, workload)| workload.settled && !is_outdated(pod, workload))
}

/// One validator at a time: by name, and only while every other one serves.
fn is_our_turn(observed: &Observed, node: &Validated) -> bool {
    let earlier = |other: &&Neighbour| other.name < node.names.node && is_outdated_neighbour(other);
    !is_validator_away(observed, node) && !validators(observed).any(|other| earlier(&other))
}

/// Whether another validator of the network does not serve, or is being deleted, or was a moment ago.
#[must_use]
pub fn is_validator_away(observed: &Observed, node: &Validated) -> bool {
    let serves = |other: &Neighbour| other.pod.as_ref().is_some_and(|pod| pod.ready && !pod.terminating);
    absent::is_validator_leaving(observed, &node.roll) || !validators(observed).all(serves)
}

/// Whose role is not known may be one.
fn validators(observed: &Observed) -> impl Iterator<Item = &Neighbour> {
    observed.neighbours.iter().filter(|other| other.role.is_none_or(|role| role == Role::Validator))
}

fn is_outdated_part(observed: &Observed, part: Component) -> bool {
    let (pod, workload) = (observed.pods.get(&part), observed.workloads.get(&part));
    pod.zip(workload).is_some_and(|(pod, workload)| is_outdated(pod, workload) && !pod.terminating)
}

fn is_outdated_neighbour(neighbour: &Neighbour) -> bool {
    neighbour
        .pod
        .as_ref()
        .zip(neighbour.workload.as_ref())
        .is_some_and(|(pod, workload)| is_outdated(pod, workload))
}

fn is_outdated(pod: &Pod, workload: &Workload) -> bool {
    pod.revision.is_some() && workload.update_revision.is_some() && pod.revision != workload.update_revision
}

#[cfg(test)]
mod tests;
