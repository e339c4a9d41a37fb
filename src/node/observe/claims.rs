//! Observes claims of others to a node's identity, in all watched namespaces.

use kube::{ResourceExt as _, api::ObjectMeta};

use super::{Sources, pods, workload};
use crate::{
    api::QuorumNode,
    cluster::Caches,
    model::{
        identity,
        names::{self, Component, Names},
    },
    node::decide::{identity::Claim, volume_growth},
};

/// All claims of others to the node's identity.
pub(super) fn claims(sources: Sources<'_>, node: &QuorumNode, own: &Names) -> Vec<Claim> {
    let Some(identity) = node.status.as_ref().and_then(|status| status.identity.as_ref()) else {
        return vec![];
    };
    let mut claims = Vec::new();
    for caches in sources.everywhere {
        for other in caches.nodes.state().iter().filter_map(|other| other.0.as_ref().ok()) {
            if identity::claimed(other) == Some(&identity.public_key) {
                claims.push(claim(caches, other));
            }
        }
    }
    // a running client was checked for this when it was started
    if workload(sources.caches, own, Component::Client).is_none_or(|own| own.stopped) {
        strays(sources.everywhere, &identity.address, &mut claims);
    }
    claims.retain(|claim| (&claim.namespace, &claim.name) != (&own.namespace, &own.node));
    claims
}

fn claim(caches: &Caches, other: &QuorumNode) -> Claim {
    let names = Names {
        node: other.name_any(),
        namespace: other.namespace().unwrap_or_default(),
        network: other.spec.network.clone(),
    };
    let (workload, pod) =
        (workload(caches, &names, Component::Client), pods::pod(caches, &names, Component::Client));
    let status = other.status.as_ref();
    let address =
        status.and_then(|status| status.identity.as_ref()).map(|identity| identity.address.as_str());
    Claim {
        since: other.creation_timestamp().map(|made| made.0),
        wants: workload.as_ref().is_some_and(|workload| !workload.stopped)
            || volume_growth::runs_alone(workload.as_ref(), pod.as_ref(), address),
        has_pod: pod.is_some(),
        stands_back: identity::stands_back(other),
        namespace: names.namespace,
        name: names.node,
    }
}

/// Workloads and pods with the identity whose node does not claim it, because the node is gone or does not decode.
fn strays(everywhere: &[Caches], address: &str, claims: &mut Vec<Claim>) {
    let mut found = |meta: &ObjectMeta| {
        let label = |name: &str| meta.labels.as_ref()?.get(name);
        if label(names::IDENTITY).is_none_or(|identity| identity != address) {
            return;
        }
        let (namespace, name) =
            (meta.namespace.clone().unwrap_or_default(), label(names::NODE).cloned().unwrap_or_default());
        if !claims.iter().any(|claim| (&claim.namespace, &claim.name) == (&namespace, &name)) {
            claims.push(Claim { namespace, name, wants: true, has_pod: true, ..Claim::default() });
        }
    };
    for caches in everywhere {
        caches.workloads.state().iter().for_each(|workload| found(&workload.metadata));
        caches.pods.state().iter().for_each(|pod| found(&pod.metadata));
    }
}
