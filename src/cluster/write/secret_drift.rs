//! Compares a live Secret with the rendered one by its managed fields, since its content is not cached, and checks the
//! ownership of live objects. Pure.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use kube::{ResourceExt as _, api::ObjectMeta};
use serde_json::Value;

use super::{Kind, Seen};
use crate::{
    cluster::{
        drift::{Drift, Rendered, is_our_apply},
        write::managed_fields,
    },
    model::{
        fault::{Fault, Reason},
        names,
    },
};

/// Changes by others to an object that differs from `rendered`. `None` if the operator made the change: the object
/// carries the operator's digest of another rendering.
pub(super) fn drift(live: &ObjectMeta, rendered: &Rendered) -> Option<Drift> {
    let stamped = live.annotations.as_ref().and_then(|annotations| annotations.get(names::DIGEST));
    let owned = &*our_fields(live).unwrap_or_default();
    let path = ["f:metadata", "f:annotations", &format!("f:{}", names::DIGEST)];
    let stamp_is_ours = path.iter().try_fold(owned, |at, name| at.get(name)).is_some();
    if stamp_is_ours && stamped.is_some_and(|stamped| *stamped != rendered.stamp()) {
        return None;
    }
    let mut fields = managed_fields::lost(owned, &rendered.body);
    let content = ["data", "type", "immutable"].into_iter().map(str::to_owned);
    fields.extend(content.filter(|field| !writers(live, std::slice::from_ref(field)).is_empty()));
    fields.sort();
    fields.dedup();
    Some(Drift { managers: writers(live, &fields), fields })
}

/// Field managers other than the operator that own any of the fields in `held`.
#[must_use]
pub fn writers(live: &ObjectMeta, held: &[String]) -> Vec<String> {
    let others: Vec<_> = live
        .managed_fields
        .iter()
        .flatten()
        .filter_map(|entry| Some((entry.manager.as_deref()?, entry.fields_v1.as_ref())))
        .filter(|(manager, _)| *manager != names::MANAGER)
        .collect();
    let holds = |fields: &FieldsV1| {
        held.iter().any(|path| managed_fields::leads(&managed_fields::unfold(fields), path))
    };
    let holders = others.iter().filter(|(_, fields)| fields.is_some_and(holds));
    holders.map(|(manager, _)| (*manager).to_owned()).collect()
}

fn our_fields(live: &ObjectMeta) -> Option<Cow<'_, Value>> {
    let ours = |entry: &&ManagedFieldsEntry| {
        entry.manager.as_deref() == Some(names::MANAGER) && entry.operation.as_deref() == Some("Apply")
    };
    Some(managed_fields::unfold(live.managed_fields.iter().flatten().find(ours)?.fields_v1.as_ref()?))
}

pub(super) fn is_current(live: &ObjectMeta, rendered: &Rendered) -> bool {
    let stamped = live.annotations.as_ref().and_then(|annotations| annotations.get(names::DIGEST));
    stamped.is_some_and(|stamped| *stamped == rendered.stamp())
        && our_fields(live).is_some_and(|owned| managed_fields::covers(&owned, &rendered.body))
        && ["data", "stringData"].iter().all(|field| writers(live, &[(*field).to_owned()]).is_empty())
}

/// Fault if the object belongs to another owner: the operator never takes it over. An object that the operator has
/// applied is its own, even if its labels and owners were removed.
pub(super) fn foreign<K: Kind>(seen: &Seen, desired: &K) -> Option<Fault> {
    let live = &seen.meta;
    let applied = match &seen.content {
        Some(content) => content.is_applied(),
        None => live.managed_fields.iter().flatten().any(is_our_apply),
    };
    let ours: Vec<_> = desired.owner_references().iter().map(|owner| owner.uid.as_str()).collect();
    let managed = live.labels.as_ref().and_then(|labels| labels.get(names::MANAGED_BY));
    let controller = live.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let conflict = match controller {
        Some(owner) => !ours.contains(&owner.uid.as_str()),
        // an object that lost only its label or only its owners is still the operator's
        None => {
            let mut owners = live.owner_references.iter().flatten();
            managed.map(String::as_str) != Some(names::MANAGER)
                && !applied
                && !owners.any(|owner| ours.contains(&owner.uid.as_str()))
        }
    };
    conflict.then(|| {
        let holder = controller.map_or_else(
            || "is not the operator's".to_owned(),
            |owner| format!("belongs to {} {}", owner.kind, owner.name),
        );
        Fault::new(
            Reason::NameConflict,
            "metadata.name",
            format!("{} {}", K::kind(&()), desired.name_any()),
            format!(
                "an object with this name exists and {holder}, but this node needs an object with this name: delete the existing object or recreate it under another name, or recreate this QuorumNode under another name"
            ),
        )
    })
}
