//! What is seen of the pods of a whole network, when one of them is to be replaced.

use kube::runtime::reflector::ObjectRef;

use super::{host_facts, pods, workload};
use crate::{
    api::node::Role,
    cluster::Caches,
    node::{
        desired::components,
        names::{Component, Names},
        observed::{Host, Observed, Pod},
        rollout::{
            self,
            plan::{Absence, Health, Named, Part},
        },
        sibling::Sibling,
        validate::Validated,
    },
};

/// The parts of the node and of its siblings, by node and in the order in which they are replaced, and what is left of nodes
/// that are being deleted. Of the node's own parts `due` are those that it would replace.
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
    let siblings = observed.siblings.iter().filter(|sibling| !sibling.is_held);
    let ending = observed.absent.ending.iter().filter(|ending| !ending.is_held);
    own.chain(siblings.flat_map(|sibling| of_sibling(caches, &node.names, sibling)))
        .chain(ending.flat_map(|ending| of_ending(caches, &node.names, ending)))
        .collect()
}

/// A node that is being deleted is away until its last pod is gone: its end and a replacement never come together.
fn of_ending(caches: &Caches, own: &Names, ending: &Sibling) -> impl Iterator<Item = Part> {
    let has_pod = |part: &Part| !part.pod.is_empty();
    of_sibling(caches, own, ending).filter(has_pod).map(|part| {
        let absence = Absence { why: "its node is being deleted".to_owned(), since: None };
        Part { health: Health::Away(absence), is_waiting: false, ..part }
    })
}

fn of_sibling(caches: &Caches, own: &Names, sibling: &Sibling) -> impl Iterator<Item = Part> {
    let names = Names { node: sibling.name.clone(), ..own.clone() };
    let (is_validator, goes_on) = (sibling.may_be_validator(), sibling.goes_on());
    rollout::ORDER.into_iter().filter_map(move |component| {
        let part = part(caches, &names, component)?;
        let is_validator = is_validator && component == Component::Client;
        Some(Part { is_validator, is_waiting: part.is_waiting && goes_on, ..part })
    })
}

/// `None` where there is neither a workload that is to have a pod, nor a pod.
pub(in crate::node) fn part(caches: &Caches, names: &Names, component: Component) -> Option<Part> {
    let (workload, pod) = (workload(caches, names, component), pods::pod(caches, names, component));
    if pod.is_none() && workload.as_ref().is_none_or(|workload| workload.stopped) {
        return None;
    }
    let outdated =
        workload.zip(pod.as_ref()).is_some_and(|(workload, pod)| rollout::is_outdated(pod, &workload));
    let host = pod.as_ref().and_then(|pod| caches.hosts.get(&ObjectRef::new(pod.host.as_ref()?)));
    let host = host.map(|host| host_facts(&host));
    // on a host that does not report it may well serve, and it would end nowhere
    let is_lost = host.as_ref().is_some_and(|host| host.lost);
    Some(Part {
        named: Named { node: names.node.clone(), component },
        is_validator: false,
        health: health(pod.as_ref(), host.as_ref()),
        is_waiting: outdated && !is_lost && pod.as_ref().is_some_and(|pod| !pod.terminating),
        pod: pod.map(|pod| pod.uid).unwrap_or_default(),
    })
}

/// A pod that is not ready says something of its own only from when its host reports on.
fn health(pod: Option<&Pod>, host: Option<&Host>) -> Health {
    let away = |why: &str, since| Health::Away(Absence { why: why.to_owned(), since });
    let Some(pod) = pod else { return away("it has no pod", None) };
    if pod.terminating {
        return away("its pod is ending", None);
    }
    if pod.ready {
        return Health::Serves(pod.since);
    }
    let since = pod.since.max(host.and_then(|host| host.since));
    match (&pod.unschedulable, &pod.trouble) {
        _ if host.is_some_and(|host| host.lost) => away("its host no longer reports", since),
        (Some(_), _) => away("its pod has no host", since),
        // other nodes repeat it: without what was said last, which is another line each time
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
            ("tm ended with 2, its last words: \"10:00:01 no database\"", "tm ended with 2"),
            ("container tm waits: CrashLoopBackOff, tm ended with 2", "container tm waits: CrashLoopBackOff"),
            ("container tm is not ready", "container tm is not ready"),
        ] {
            let pod = Pod { trouble: Some(trouble.into()), ..Pod::default() };
            let Health::Away(absence) = health(Some(&pod), None) else { panic!("it serves") };
            assert_eq!(absence.why, told);
        }
    }

    /// All of a network's pods are not ready while their hosts do not report, and for a moment afterwards: they serve all the same.
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
