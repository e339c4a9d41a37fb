//! A Secret that lives, compared with what is wanted by the server's bookkeeping of fields, since its content is not kept;
//! and whom an object belongs to. Pure.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use kube::{ResourceExt as _, api::ObjectMeta};
use serde_json::Value;

use super::{Kind, Seen};
use crate::{
    cluster::{
        drift::{Drift, Rendered, is_our_apply},
        fields,
    },
    node::{
        fault::{Fault, Reason},
        names,
    },
};

/// What someone else did to an object that is not as it is wanted. `None` where that is our own change: it
/// carries our digest of another rendering.
pub(super) fn drift(live: &ObjectMeta, rendered: &Rendered) -> Option<Drift> {
    let stamped = live.annotations.as_ref().and_then(|annotations| annotations.get(names::DIGEST));
    let owned = &*our_fields(live).unwrap_or_default();
    let path = ["f:metadata", "f:annotations", &format!("f:{}", names::DIGEST)];
    let stamp_is_ours = path.iter().try_fold(owned, |at, name| at.get(name)).is_some();
    if stamp_is_ours && stamped.is_some_and(|stamped| *stamped != rendered.stamp()) {
        return None;
    }
    let mut fields = fields::lost(owned, &rendered.body);
    let content = ["data", "type", "immutable"].into_iter().map(str::to_owned);
    fields.extend(content.filter(|field| !writers(live, std::slice::from_ref(field)).is_empty()));
    fields.sort();
    fields.dedup();
    Some(Drift { managers: writers(live, &fields), fields })
}

/// Who else has written since we have: those who hold the fields, if they are known.
#[must_use]
pub fn writers(live: &ObjectMeta, held: &[String]) -> Vec<String> {
    let others: Vec<_> = live
        .managed_fields
        .iter()
        .flatten()
        .filter_map(|entry| Some((entry.manager.as_deref()?, entry.fields_v1.as_ref())))
        .filter(|(manager, _)| *manager != names::MANAGER)
        .collect();
    let holds = |fields: &FieldsV1| held.iter().any(|path| fields::leads(&fields::unfold(fields), path));
    let holders = others.iter().filter(|(_, fields)| fields.is_some_and(holds));
    holders.map(|(manager, _)| (*manager).to_owned()).collect()
}

fn our_fields(live: &ObjectMeta) -> Option<Cow<'_, Value>> {
    let ours = |entry: &&ManagedFieldsEntry| {
        entry.manager.as_deref() == Some(names::MANAGER) && entry.operation.as_deref() == Some("Apply")
    };
    Some(fields::unfold(live.managed_fields.iter().flatten().find(ours)?.fields_v1.as_ref()?))
}

pub(super) fn is_current(live: &ObjectMeta, rendered: &Rendered) -> bool {
    let stamped = live.annotations.as_ref().and_then(|annotations| annotations.get(names::DIGEST));
    stamped.is_some_and(|stamped| *stamped == rendered.stamp())
        && our_fields(live).is_some_and(|owned| fields::covers(&owned, &rendered.body))
        && ["data", "stringData"].iter().all(|field| writers(live, &[(*field).to_owned()]).is_empty())
}

/// An object under our name that another one owns is never taken over. One that the operator has applied is its own, although
/// somebody has taken labels and owners off.
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
        // one that has lost either its label or its owners is still ours
        None => {
            let mut owners = live.owner_references.iter().flatten();
            managed.map(String::as_str) != Some(names::MANAGER)
                && !applied
                && !owners.any(|owner| ours.contains(&owner.uid.as_str()))
        }
    };
    conflict.then(|| {
        let holder = controller
            .map_or_else(|| "nobody we know".to_owned(), |owner| format!("{} {}", owner.kind, owner.name));
        Fault::new(
            Reason::NameConflict,
            "metadata.name",
            format!("{} {}", K::kind(&()), desired.name_any()),
            format!("an object of this name is there and belongs to {holder}: delete it, or rename it or this node"),
        )
    })
}
