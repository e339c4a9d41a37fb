//! What the API server's Events say of what is not made. Read live, and only where something has been missing for a
//! while: Events are many, and nobody watches them here.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Event, jiff::Timestamp};
use kube::{Api, Client, ResourceExt as _, api::ListParams};

use crate::{
    api::QuorumNode,
    cluster::write::timely,
    node::{
        names::Component,
        observed::{Pod, Workload},
        quoted::quoted,
        unmade,
    },
};

/// An object whose Events are read.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) namespace: &'a str,
    pub(super) uid: &'a str,
    /// Which of its Events.
    pub(super) reason: &'a str,
}

/// Why parts have no pod that should have had one for a while.
pub(super) async fn unmade(
    client: &Client,
    node: &QuorumNode,
    (workloads, pods): (&BTreeMap<Component, Workload>, &BTreeMap<Component, Pod>),
    now: Timestamp,
) -> BTreeMap<Component, String> {
    let namespace = &node.namespace().unwrap_or_default();
    let mut found = BTreeMap::new();
    for (part, workload) in unmade::missing(workloads, pods) {
        if !unmade::is_overdue(node, part, now) {
            continue;
        }
        let about = About { namespace, uid: &workload.uid, reason: "FailedCreate" };
        found.extend(said(client, about).await.map(|said| (part, said)));
    }
    found
}

/// What was said last of an object. Who may not read Events goes on without: they explain, and decide nothing.
pub(super) async fn said(client: &Client, about: About<'_>) -> Option<String> {
    let api = Api::<Event>::namespaced(client.clone(), about.namespace);
    let fields = format!("involvedObject.uid={},reason={}", about.uid, about.reason);
    match timely(api.list(&ListParams::default().fields(&fields).limit(5))).await {
        Ok(Ok(events)) => unmade::newest(&events.items).map(quoted),
        Ok(Err(error)) => {
            tracing::debug!(namespace = about.namespace, "Events are not read: {error}");
            None
        }
        Err(error) => {
            tracing::debug!(namespace = about.namespace, "Events are not read: {error:#}");
            None
        }
    }
}
