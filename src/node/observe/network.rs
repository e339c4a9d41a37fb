//! Observes the pods of a whole network before one of them is replaced.

use kube::runtime::reflector::ObjectRef;

use super::{host_facts, pods, workload};
use crate::{
    api::node::Role,
    cluster::Caches,
    model::{
        names::{Component, Names},
        network_member::NetworkMember,
    },
    node::{
        decide::rollout::{
            self,
            plan::{Absence, Health, Named, Part},
        },
        desired::components,
        observed::{Host, Observed, Pod},
        validate::Validated,
    },
};

/// Parts of the node and of the other nodes of its network, by node and in replacement order, and remaining parts of
/// nodes that are being deleted. `due` are the node's own parts to replace.
pub(in crate::node) fn parts(
    caches: &Caches,
    (node, observed): (&Validated, &Observed),
    due: &[Component],
) -> Vec<Part> {
    let own_parts = components(node);
    let is_validator = node.spec.role == Role::Validator;
    let own = rollout::ORDER.into_iter().filter(|component| own_parts.contains(component)).filter_map(
        |component| {
            let part = part(caches, &node.names, component)?;
            let is_waiting = part.is_waiting && due.contains(&component);
            Some(Part { is_waiting, is_validator: is_validator && component == Component::Client, ..part })
        },
    );
    let network_members = observed.network_members.iter().filter(|network_member| !network_member.is_held);
    let ending = observed.absent.ending.iter().filter(|ending| !ending.is_held);
    own.chain(network_members.flat_map(|network_member| of_sibling(caches, &node.names, network_member)))
        .chain(ending.flat_map(|ending| of_ending(caches, &node.names, ending)))
        .collect()
}

/// Parts of a node that is being deleted. They count as absent until its last pod is gone, so that its deletion and a
/// replacement never coincide.
fn of_ending(caches: &Caches, own: &Names, ending: &NetworkMember) -> impl Iterator<Item = Part> {
    let has_pod = |part: &Part| !part.pod.is_empty();
    of_sibling(caches, own, ending).filter(has_pod).map(|part| {
        let absence = Absence { why: "its node is being deleted".to_owned(), since: None };
        Part { health: Health::Away(absence), is_waiting: false, ..part }
    })
}

fn of_sibling(caches: &Caches, own: &Names, network_member: &NetworkMember) -> impl Iterator<Item = Part> {
    let names = Names { node: network_member.name.clone(), ..own.clone() };
    let (is_validator, goes_on) = (network_member.may_be_validator(), network_member.goes_on());
    rollout::ORDER.into_iter().filter_map(move |component| {
        let part = part(caches, &names, component)?;
        let is_validator = is_validator && component == Component::Client;
        Some(Part { is_validator, is_waiting: part.is_waiting && goes_on, ..part })
    })
}

/// A part of a node; `None` if it has neither a pod nor a workload that should have one.
pub(in crate::node) fn part(caches: &Caches, names: &Names, component: Component) -> Option<Part> {
    let (workload, pod) = (workload(caches, names, component), pods::pod(caches, names, component));
    if pod.is_none() && workload.as_ref().is_none_or(|workload| workload.stopped) {
        return None;
    }
    let outdated =
        workload.zip(pod.as_ref()).is_some_and(|(workload, pod)| rollout::is_outdated(pod, &workload));
    let host = pod.as_ref().and_then(|pod| caches.hosts.get(&ObjectRef::new(pod.host.as_ref()?)));
    let host = host.map(|host| host_facts(&host));
    // on an unreachable host the pod may still serve, and its deletion would not complete
    let is_lost = host.as_ref().is_some_and(|host| host.lost);
    Some(Part {
        named: Named { node: names.node.clone(), component },
        is_validator: false,
        health: health(pod.as_ref(), host.as_ref()),
        is_waiting: outdated && !is_lost && pod.as_ref().is_some_and(|pod| !pod.terminating),
        pod: pod.map(|pod| pod.uid).unwrap_or_default(),
    })
}

/// Health of a pod. That it is not ready counts only from the time at which its host reports again.
fn health(pod: Option<&Pod>, host: Option<&Host>) -> Health {
    let away = |why: &str, since| Health::Away(Absence { why: why.to_owned(), since });
    let Some(pod) = pod else { return away("it has no pod", None) };
    if pod.terminating {
        return away("its pod is terminating", None);
    }
    if pod.ready {
        return Health::Serves(pod.since);
    }
    let since = pod.since.max(host.and_then(|host| host.since));
    match (&pod.unschedulable, &pod.trouble) {
        _ if host.is_some_and(|host| host.lost) => away("its host no longer reports", since),
        (Some(_), _) => away("its pod is not scheduled", since),
        // other nodes repeat this text: leave out the quoted output, which differs each time
        (None, Some(trouble)) => away(trouble.split([',', '"']).next().unwrap_or_default(), since),
        (None, None) => away("it is starting", since),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    #[test]
    fn what_a_container_said_last_is_not_repeated_by_other_nodes() {
        for (trouble, told) in [
            ("tm exited with code 2, message: \"10:00:01 no database\"", "tm exited with code 2"),
            (
                "container tm waits: CrashLoopBackOff, tm exited with code 2",
                "container tm waits: CrashLoopBackOff",
            ),
            ("container tm is not ready", "container tm is not ready"),
        ] {
            let pod = Pod { trouble: Some(trouble.into()), ..Pod::default() };
            let Health::Away(absence) = health(Some(&pod), None) else { panic!("it serves") };
            assert_eq!(absence.why, told);
        }
    }

    /// While hosts do not report, and for a moment afterwards, all pods of a network are not ready although they serve.
    #[test]
    fn a_pod_is_not_ready_of_itself_for_as_long_as_its_host_has_reported() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let since = |ready: bool, host: Option<(bool, i64)>| {
            let pod = Pod { ready, since: Some(at(100)), ..Pod::default() };
            let host = host.map(|(lost, since)| Host { lost, since: Some(at(since)), ..Host::default() });
            match health(Some(&pod), host.as_ref()) {
                Health::Serves(since) => ("it serves".to_owned(), since),
                Health::Away(Absence { why, since }) => (why, since),
            }
        };
        let told = |why: &str, second| (why.to_owned(), Some(at(second)));
        assert_eq!(since(false, Some((false, 40))), told("it is starting", 100));
        assert_eq!(since(false, Some((false, 400))), told("it is starting", 400));
        assert_eq!(since(false, Some((true, 400))), told("its host no longer reports", 400));
        assert_eq!(since(false, None), told("it is starting", 100));
        assert_eq!(since(true, Some((false, 400))), told("it serves", 100));
    }
}
