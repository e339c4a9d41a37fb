//! The node's volume claims.

use std::collections::BTreeMap;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{NodeSelectorTerm, PersistentVolume, PersistentVolumeClaim};
use kube::{Api, Client, ResourceExt as _, runtime::reflector::ObjectRef};

use super::Sources;
use crate::{
    cluster::{Caches, write::timely},
    node::{
        names::{Component, Names},
        observed::Pod,
        volumes::Volume,
    },
};

/// Those that carry the labels which their template gave them; of a pod that finds no host also from where its
/// volume can be reached.
pub(super) async fn volumes(
    sources: Sources<'_>,
    names: &Names,
    pods: &BTreeMap<Component, Pod>,
) -> anyhow::Result<BTreeMap<Component, Volume>> {
    let mut volumes = claimed(sources.caches, names);
    for (part, volume) in &mut volumes {
        let waits = pods.get(part).is_some_and(|pod| pod.unschedulable.is_some());
        if let (true, Some(name)) = (waits, &volume.volume) {
            volume.reach = reach(sources.client, name).await?;
        }
    }
    Ok(volumes)
}

/// Read live, and only where it says why a pod waits: volumes are not watched.
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
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    Some(Volume {
        claim: claim.metadata.clone(),
        size: size(claim)?,
        bound: phase == Some("Bound"),
        class: spec.storage_class_name.clone(),
        volume: spec.volume_name.clone(),
        reach: None,
    })
}

/// What a claim, or a template of one, asks for.
pub(super) fn size(claim: &PersistentVolumeClaim) -> Option<String> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    Some(requests.get("storage")?.0.clone())
}
