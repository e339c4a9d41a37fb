//! Which pods are outdated, and which validators are away. StatefulSets leave the replacement of pods to us (`OnDelete`):
//! their own rollout asks no disruption budget, and knows nothing of the other nodes of a network.

pub mod plan;

use super::{
    absent,
    apply::Applied,
    desired::{budget, components},
    names::Component,
    observed::{Neighbour, Observed, Pod, Workload},
    sibling::Sibling,
    validate::Validated,
};
use crate::api::node::Role;
use plan::{Absence, Named, Part, Wait};

/// The database first: without it the manager cannot start, and without that the client cannot.
pub(super) const ORDER: [Component; 3] =
    [Component::Database, Component::TransactionManager, Component::Client];

/// The parts of a node whose pods are to be replaced, in order: what somebody else made of a template is never brought in.
#[must_use]
pub fn outdated(observed: &Observed, node: &Validated, applied: &Applied) -> Vec<Component> {
    let parts = components(node);
    let is_ours = |part: &Component| {
        let name = node.names.workload(*part);
        let is_weakened =
            applied.imposed.iter().any(|it| it.weakens && it.kind == "StatefulSet" && it.name == name);
        applied.settled.contains(&name) && !is_weakened
    };
    let is_due =
        |part: &Component| parts.contains(part) && is_outdated_part(observed, *part) && is_ours(part);
    if node.spec.paused { vec![] } else { ORDER.into_iter().filter(is_due).collect() }
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

/// Whether another validator of the network does not serve, or is being deleted, or was a moment ago.
#[must_use]
pub fn is_validator_away(observed: &Observed, node: &Validated) -> bool {
    let may_be_one = |other: &&Neighbour| other.role.is_none_or(|role| role == Role::Validator);
    let serves = |other: &Neighbour| other.pod.as_ref().is_some_and(|pod| pod.ready && !pod.terminating);
    absent::leaving_validator(observed, &node.roll).is_some()
        || !observed.neighbours.iter().filter(may_be_one).all(serves)
}

/// A validator that has no part in its network's rollouts and keeps every other one from being replaced: it is being
/// deleted, was a moment ago, or has not started.
#[must_use]
pub fn missing_validator(observed: &Observed, node: &Validated, network: &[Part]) -> Option<Wait> {
    let wait = |node: &str, why: &str| {
        let named = Named { node: node.to_owned(), component: Component::Client };
        Wait::Away(named, Absence { why: why.to_owned(), since: None })
    };
    if let Some(name) = absent::leaving_validator(observed, &node.roll) {
        return Some(wait(&name, "the node is being deleted, or was less than 5 minutes ago"));
    }
    let has_client = |sibling: &&Sibling| {
        let is_its =
            |part: &Part| part.named.node == sibling.name && part.named.component == Component::Client;
        network.iter().any(is_its)
    };
    let mut validators = observed.siblings.iter().filter(|sibling| sibling.may_be_validator());
    if let Some(missing) = validators.find(|sibling| !has_client(sibling)) {
        return Some(wait(&missing.name, "it has not started yet"));
    }
    let voter = node.voters.missing.first().filter(|_| spared(node) == 0);
    voter.cloned().map(Wait::Voter)
}

/// How many validators of the network may be away beside those that no node here has any more.
#[must_use]
pub fn spared(node: &Validated) -> usize {
    let may_be_away = node.validators.map(|count| usize::try_from(budget::may_be_away(count)));
    let may_be_away = may_be_away.and_then(Result::ok).unwrap_or(usize::MAX);
    may_be_away.saturating_sub(node.voters.missing.len())
}

/// Whether a pod is of an older revision than its workload's newest.
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
