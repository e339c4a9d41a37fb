//! Reads Kubernetes Events about objects that are not created. Read live, and only after something has been missing for
//! a while: there are too many Events to watch.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Event, jiff::Timestamp};
use kube::{Api, Client, ResourceExt as _, api::ListParams};

use crate::{
    api::QuorumNode,
    cluster::write::timely,
    model::{names::Component, redact::quoted},
    node::{
        decide::rejected_pods,
        observed::{Pod, Workload},
    },
};

/// An object whose Events are read.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) namespace: &'a str,
    pub(super) uid: &'a str,
    /// Reason of the Events.
    pub(super) reason: &'a str,
}

/// Why parts have no pod that should have had one for a while.
pub(super) async fn rejected_pods(
    client: &Client,
    node: &QuorumNode,
    (workloads, pods): (&BTreeMap<Component, Workload>, &BTreeMap<Component, Pod>),
    now: Timestamp,
) -> BTreeMap<Component, String> {
    let namespace = &node.namespace().unwrap_or_default();
    let mut found = BTreeMap::new();
    for (part, workload) in rejected_pods::missing(workloads, pods) {
        if !rejected_pods::is_overdue(node, part, now) {
            continue;
        }
        let about = About { namespace, uid: &workload.uid, reason: "FailedCreate" };
        found.extend(said(client, about).await.map(|said| (part, said)));
    }
    found
}

/// Message of the newest Event about an object; `None` if Events cannot be read: they only explain, and affect no
/// decision.
pub(super) async fn said(client: &Client, about: About<'_>) -> Option<String> {
    let api = Api::<Event>::namespaced(client.clone(), about.namespace);
    let fields = format!("involvedObject.uid={},reason={}", about.uid, about.reason);
    match timely(api.list(&ListParams::default().fields(&fields).limit(5))).await {
        Ok(Ok(events)) => rejected_pods::newest(&events.items).map(quoted),
        Ok(Err(error)) => {
            tracing::debug!(namespace = about.namespace, "cannot read Events: {error}");
            None
        }
        Err(error) => {
            tracing::debug!(namespace = about.namespace, "cannot read Events: {error:#}");
            None
        }
    }
}
