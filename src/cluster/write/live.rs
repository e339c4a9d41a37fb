//! What lives, compared with what is wanted. Pure.

use std::borrow::Cow;

use anyhow::Context as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use kube::{ResourceExt as _, api::ObjectMeta};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Kind;
use crate::{
    cluster::{contests::Drift, fields},
    node::{
        fault::{Fault, Reason},
        names,
    },
};

/// The object as it is sent, with the digest of what was rendered.
pub(super) fn stamped<K: Kind>(desired: &K) -> anyhow::Result<(Value, String)> {
    let mut body = serde_json::to_value(desired).context("rendered object")?;
    let digest: String =
        Sha256::digest(body.to_string()).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    body["apiVersion"] = json!(K::api_version(&()));
    body["kind"] = json!(K::kind(&()));
    body["metadata"]["annotations"][names::DIGEST] = json!(digest);
    Ok((body, digest))
}

/// Whether an object is there as it is wanted.
///
/// # Errors
/// Never in practice: what is rendered is plain data.
pub fn is_settled<K: Kind>(live: Option<&ObjectMeta>, desired: &K) -> anyhow::Result<bool> {
    let (body, digest) = stamped(desired)?;
    Ok(live.is_some_and(|live| is_current(live, &digest, &body)))
}

/// What someone else did to an object that is not as it is wanted. `None` where that is our own change: it
/// carries our digest of another rendering.
pub(super) fn drift(live: &ObjectMeta, digest: &str, body: &Value) -> Option<Drift> {
    let stamped = live.annotations.as_ref().and_then(|annotations| annotations.get(names::DIGEST));
    let owned = &*our_fields(live).unwrap_or_default();
    let path = ["f:metadata", "f:annotations", &format!("f:{}", names::DIGEST)];
    let stamp_is_ours = path.iter().try_fold(owned, |at, name| at.get(name)).is_some();
    if stamp_is_ours && stamped.is_some_and(|stamped| stamped != digest) {
        return None;
    }
    let fields = fields::lost(owned, body);
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
    let holds = |fields: &FieldsV1| held.iter().any(|path| fields::holds(&fields::unfold(fields), path));
    let holders = others.iter().filter(|(_, fields)| fields.is_some_and(holds));
    holders.map(|(manager, _)| (*manager).to_owned()).collect()
}

fn our_fields(live: &ObjectMeta) -> Option<Cow<'_, Value>> {
    let ours = |entry: &&ManagedFieldsEntry| {
        entry.manager.as_deref() == Some(names::MANAGER) && entry.operation.as_deref() == Some("Apply")
    };
    Some(fields::unfold(live.managed_fields.iter().flatten().find(ours)?.fields_v1.as_ref()?))
}

pub(super) fn is_current(live: &ObjectMeta, digest: &str, body: &Value) -> bool {
    let stamped = live.annotations.as_ref().and_then(|annotations| annotations.get(names::DIGEST));
    stamped.is_some_and(|stamped| stamped == digest)
        && our_fields(live).is_some_and(|owned| fields::covers(&owned, body))
}

/// An object under our name that another one owns is never taken over.
pub(super) fn foreign<K: Kind>(live: &ObjectMeta, desired: &K) -> Option<Fault> {
    let ours: Vec<_> = desired.owner_references().iter().map(|owner| owner.uid.as_str()).collect();
    let managed = live.labels.as_ref().and_then(|labels| labels.get(names::MANAGED_BY));
    let controller = live.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let conflict = match controller {
        Some(owner) => !ours.contains(&owner.uid.as_str()),
        // one that has lost either its label or its owners is still ours
        None => {
            let mut owners = live.owner_references.iter().flatten();
            managed.map(String::as_str) != Some(names::MANAGER)
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
            format!("an object of this name is there and belongs to {holder}: rename it or this node"),
        )
    })
}
