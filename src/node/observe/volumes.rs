//! Observes the node's volume claims.

use std::collections::BTreeMap;

use anyhow::Context as _;
use k8s_openapi::{
    api::core::v1::{NodeSelectorTerm, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus},
    jiff::Timestamp,
};
use kube::{Api, Client, ResourceExt as _, runtime::reflector::ObjectRef};

use super::{
    Sources,
    events::{self, About},
};
use crate::{
    cluster::{Caches, write::timely},
    model::{
        names::{Component, Names},
        redact::quoted,
    },
    node::{
        decide::{
            placement,
            volume_growth::{Resizing, Volume},
        },
        observed::Pod,
    },
};

/// Claims with the labels of their template. For an unschedulable pod also the hosts that can reach its volume, and for
/// a pod without a volume the message of its storage driver.
pub(super) async fn volumes(
    sources: Sources<'_>,
    names: &Names,
    (pods, now): (&BTreeMap<Component, Pod>, Timestamp),
) -> anyhow::Result<BTreeMap<Component, Volume>> {
    let mut volumes = claimed(sources.caches, names);
    for (part, volume) in &mut volumes {
        let pod = pods.get(part);
        if pod.is_some_and(|pod| placement::is_unprovided(pod, volume, now)) {
            let uid = volume.claim.uid.as_deref().unwrap_or_default();
            let about = About { namespace: &names.namespace, uid, reason: "ProvisioningFailed" };
            volume.said = events::said(sources.client, about).await;
        }
        let waits = pod.is_some_and(|pod| pod.unschedulable.is_some());
        if let (true, Some(name)) = (waits, &volume.volume) {
            volume.reach = reach(sources.client, name).await?;
        }
    }
    Ok(volumes)
}

/// Node affinity of a volume. Read live, and only to explain why a pod waits, since volumes are not watched.
async fn reach(client: &Client, name: &str) -> anyhow::Result<Option<Vec<NodeSelectorTerm>>> {
    let api = Api::<PersistentVolume>::all(client.clone());
    let found = timely(api.get_opt(name)).await?.with_context(|| format!("PersistentVolume {name}"))?;
    let affinity = found.and_then(|volume| volume.spec?.node_affinity?.required);
    Ok(affinity.map(|required| required.node_selector_terms))
}

fn claimed(caches: &Caches, names: &Names) -> BTreeMap<Component, Volume> {
    let of = |part: Component| {
        let claim = caches.claims.get(&ObjectRef::new(&names.claim(part)).within(&names.namespace))?;
        let is_ours =
            names.pod_labels(part).iter().all(|(key, value)| claim.labels().get(key) == Some(value));
        is_ours.then(|| Some((part, volume(&claim)?)))?
    };
    Component::ALL.into_iter().filter_map(of).collect()
}

fn volume(claim: &PersistentVolumeClaim) -> Option<Volume> {
    let spec = claim.spec.as_ref()?;
    let status = claim.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    Some(Volume {
        claim: claim.metadata.clone(),
        size: size(claim)?,
        capacity: status.and_then(|status| Some(status.capacity.as_ref()?.get("storage")?.0.clone())),
        resizing: status.map(resizing).unwrap_or_default(),
        bound: phase == Some("Bound"),
        class: spec.storage_class_name.clone(),
        mode: spec.access_modes.as_ref().and_then(|modes| modes.first().cloned()),
        said: None,
        volume: spec.volume_name.clone(),
        reach: None,
    })
}

/// Progress of a resize, by the conditions of the claim, and by its resize state if the server has one.
fn resizing(status: &PersistentVolumeClaimStatus) -> Resizing {
    let said = |kind: &str| {
        let conditions = status.conditions.iter().flatten();
        let mut found = conditions.filter(|found| found.type_ == kind && found.status == "True");
        found.next().map(|found| found.message.clone().unwrap_or_default())
    };
    let state = status.allocated_resource_statuses.as_ref().and_then(|states| states.get("storage"));
    let state = state.map(String::as_str).unwrap_or_default();
    let failed = ["ControllerResizeError", "NodeResizeError"].into_iter().find_map(said);
    match (failed, state) {
        (Some(why), _) => Resizing::Failed(quoted(&why)),
        (None, "ControllerResizeInfeasible" | "NodeResizeInfeasible") => Resizing::Failed(String::new()),
        (None, "NodeResizePending" | "NodeResizeInProgress") => Resizing::FileSystem,
        _ if said("FileSystemResizePending").is_some() => Resizing::FileSystem,
        _ => Resizing::Driver,
    }
}

/// Storage size that a claim, or a claim template, requests.
pub(super) fn size(claim: &PersistentVolumeClaim) -> Option<String> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    Some(requests.get("storage")?.0.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Observed resize state of a claim with this status.
    fn seen(status: Value) -> Volume {
        let claim = json!({"metadata": {"name": "c"}, "status": status,
            "spec": {"resources": {"requests": {"storage": "30Gi"}}}});
        volume(&serde_json::from_value(claim).expect("a claim")).expect("it asks for something")
    }

    #[test]
    fn a_claim_tells_what_it_has_and_how_far_the_rest_is() {
        let condition = |kind: &str| json!([{"type": kind, "status": "True", "message": "words"}]);
        let state = |state: &str| json!({"allocatedResourceStatuses": {"storage": state}});
        for (status, resizing) in [
            (json!({}), Resizing::Driver),
            (json!({"conditions": condition("Resizing")}), Resizing::Driver),
            (state("ControllerResizeInProgress"), Resizing::Driver),
            (json!({"conditions": condition("FileSystemResizePending")}), Resizing::FileSystem),
            (state("NodeResizePending"), Resizing::FileSystem),
            (state("NodeResizeInProgress"), Resizing::FileSystem),
            (json!({"conditions": condition("ControllerResizeError")}), Resizing::Failed("words".into())),
            (json!({"conditions": condition("NodeResizeError")}), Resizing::Failed("words".into())),
            (state("ControllerResizeInfeasible"), Resizing::Failed(String::new())),
        ] {
            assert_eq!(seen(status.clone()).resizing, resizing, "{status}");
        }
        let bound = seen(json!({"phase": "Bound", "capacity": {"storage": "20Gi"}}));
        assert_eq!((bound.bound, bound.capacity.as_deref()), (true, Some("20Gi")));
        assert_eq!((seen(json!({})).bound, seen(json!({})).capacity), (false, None));
    }
}
