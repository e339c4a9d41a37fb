//! What is seen of a node's pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use kube::{ResourceExt as _, runtime::reflector::ObjectRef};

use super::database;
use crate::{
    cluster::Caches,
    node::{
        names::{self, Component, Names},
        observed::Pod,
    },
};

/// The pods of a node.
pub(super) fn pods(caches: &Caches, names: &Names) -> BTreeMap<Component, Pod> {
    let of = |component| Some((component, pod(caches, names, component)?));
    Component::ALL.into_iter().filter_map(of).collect()
}

/// One of them.
pub(super) fn pod(caches: &Caches, names: &Names, component: Component) -> Option<Pod> {
    let reference = ObjectRef::new(&names.pod(component)).within(&names.namespace);
    Some(pod_facts(&*caches.pods.get(&reference)?))
}

pub(super) fn pod_facts(pod: &core::Pod) -> Pod {
    let status = pod.status.as_ref();
    let condition = |name: &str| {
        status.and_then(|status| status.conditions.as_ref()?.iter().find(|found| found.type_ == name))
    };
    let unschedulable = condition("PodScheduled")
        .filter(|scheduled| {
            scheduled.status == "False" && scheduled.reason.as_deref() == Some("Unschedulable")
        })
        .map(|scheduled| scheduled.message.clone().unwrap_or_default());
    Pod {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        identity: pod.labels().get(names::IDENTITY).cloned(),
        unmanaged: !pod.owner_references().iter().any(|owner| owner.controller == Some(true)),
        host: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        revision: pod.labels().get(names::REVISION).cloned(),
        ready: condition("Ready").is_some_and(|ready| ready.status == "True"),
        since: condition("Ready").and_then(|ready| Some(ready.last_transition_time.as_ref()?.0)),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        certificates: pod.annotations().get(names::CERTIFICATES).cloned(),
        initialised: status.is_some_and(is_initialised),
        guarded: status.is_some_and(is_guarded),
        policy: pod.annotations().get(names::POLICY).cloned(),
        unschedulable,
        database: status.and_then(database::report),
        trouble: status.and_then(trouble),
    }
}

fn is_guarded(status: &core::PodStatus) -> bool {
    status.container_statuses.iter().flatten().any(|container| container.name == names::GUARD)
}

/// `geth init` has ended well, or what comes after it has begun.
pub(super) fn is_initialised(status: &core::PodStatus) -> bool {
    let of = |containers: &Option<Vec<core::ContainerStatus>>, name: &str| {
        containers.iter().flatten().find(|container| container.name == name).cloned()
    };
    let ended_well = of(&status.init_container_statuses, names::GENESIS_CONTAINER)
        .and_then(|genesis| genesis.state?.terminated)
        .is_some_and(|ended| ended.exit_code == 0);
    let runs = of(&status.container_statuses, names::CLIENT_CONTAINER).is_some_and(|client| {
        client.restart_count > 0 || client.state.is_some_and(|state| state.running.is_some())
    });
    ended_well || runs
}

/// The first container that waits for a reason, or ended badly; in the order in which they start.
pub(super) fn trouble(status: &core::PodStatus) -> Option<String> {
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    containers.filter_map(container_trouble).next()
}

fn container_trouble(container: &core::ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    let ended = state.terminated.as_ref().or(container.last_state.as_ref()?.terminated.as_ref());
    let exit =
        ended.filter(|ended| ended.exit_code != 0).map(|ended| exit_code(&container.name, ended.exit_code));
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.clone().unwrap_or_default();
        if matches!(reason.as_str(), "PodInitializing" | "ContainerCreating" | "") {
            return exit;
        }
        let ended = exit.map(|exit| format!(", {exit}")).unwrap_or_default();
        return Some(format!("container {} waits: {reason}{ended}", container.name));
    }
    (state.terminated.is_some() || !container.ready && state.running.is_some()).then_some(())?;
    match (&state.running, exit) {
        (Some(_), exit) if container.restart_count > 0 => exit,
        (Some(_), _) if container.started == Some(true) => {
            Some(format!("container {} is not ready", container.name))
        }
        (Some(_), _) => None,
        (None, exit) => exit,
    }
}

/// geth's own exit codes, in words.
pub(super) fn exit_code(container: &str, code: i32) -> String {
    match (container, code) {
        ("client", 112) => "geth ended with 112: it lost its transaction manager".into(),
        ("client", 1) => "geth ended with 1: a fatal error of its configuration, see its log".into(),
        ("genesis", code) => format!(
            "geth init ended with {code}: it refuses the genesis, or a change of a block of its config that has passed, or the volume holds another chain; see the log of the container genesis, and put the genesis back as it was"
        ),
        _ => format!("{container} ended with {code}, see its log"),
    }
}
