//! The node's volume claims.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{ResourceExt as _, runtime::reflector::ObjectRef};

use crate::{
    cluster::Caches,
    node::{
        names::{Component, Names},
        volumes::Volume,
    },
};

/// Those that carry the labels which their template gave them.
pub(super) fn volumes(caches: &Caches, names: &Names) -> BTreeMap<Component, Volume> {
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
    })
}

/// What a claim, or a template of one, asks for.
pub(super) fn size(claim: &PersistentVolumeClaim) -> Option<String> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    Some(requests.get("storage")?.0.clone())
}
