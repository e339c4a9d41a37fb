//! Observes the pods of a node.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use kube::{ResourceExt as _, runtime::reflector::ObjectRef};

use super::database;
use crate::{
    cluster::Caches,
    model::names::{self, Component, Names},
    node::{decide::container_failures, observed::Pod},
};

/// The pods of a node.
pub(super) fn pods(caches: &Caches, names: &Names) -> BTreeMap<Component, Pod> {
    let of = |component| Some((component, pod(caches, names, component)?));
    Component::ALL.into_iter().filter_map(of).collect()
}

/// The pod of one component.
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
        created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
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
        trouble: status.and_then(container_failures::trouble),
        killed: status.and_then(container_failures::killed),
    }
}

fn is_guarded(status: &core::PodStatus) -> bool {
    status.container_statuses.iter().flatten().any(|container| container.name == names::GUARD)
}

/// Whether `geth init` has succeeded, or the client has started after it.
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
