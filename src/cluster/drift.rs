//! Drift detection: whether a live object as a whole equals the object that the operator rendered. Pure.
//!
//! A cache computes the comparison when an event arrives, and stores a digest of the object. Only for an object that
//! does not match its own stamp, it also stores the content and its writers, until the object is repaired.

pub mod allowed;
mod canonical;
mod differences;
mod quantity;
mod tree;

use std::{fmt, sync::Arc};

use anyhow::Context as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::ObjectMeta;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::write::{Kind, managed_fields};
use crate::model::names;

/// Digest of a canonical object.
type Digest = [u8; 16];

/// Comparable content of a live object.
#[derive(Clone, Debug, Default)]
pub struct Content {
    digest: Digest,
    /// Whether the content matches the object's stamp, so that it is what the operator rendered last.
    stamped: bool,
    /// Whether the operator has ever applied the object.
    applied: bool,
    /// Other field managers that own fields outside the metadata.
    others: Box<[Box<str>]>,
    /// Present only if the content does not match the stamp.
    differing: Option<Arc<Differing>>,
}

/// Content of an object that does not match its stamp. It may come from a Secret, so `Debug` prints none of it.
struct Differing {
    canonical: Value,
    /// Field managers other than the operator, with the fields that they own.
    writers: Vec<(String, Value)>,
    /// Whether the operator wrote the stamp.
    stamp_is_ours: bool,
}

impl Content {
    /// Content of an object as the server returned it.
    #[must_use]
    pub fn of(kind: &str, mut object: Value) -> Self {
        let entries: Vec<ManagedFieldsEntry> =
            serde_json::from_value(object["metadata"]["managedFields"].take()).unwrap_or_default();
        let stamp = object["metadata"]["annotations"][names::DIGEST].as_str().map(str::to_owned);
        let canonical = canonical::canonical(kind, object);
        let digest = digest(&canonical);
        let stamped = stamp.is_some_and(|stamp| stamp == hex(&digest));
        let writers: Vec<_> = entries.iter().filter_map(other).collect();
        let others = writers.iter().filter(|(_, fields)| writes_content(fields));
        let others = others.map(|(manager, _)| manager.as_str().into()).collect();
        let differing = (!stamped).then(|| {
            let stamp_is_ours = entries.iter().any(has_stamp);
            Arc::new(Differing { canonical, writers, stamp_is_ours })
        });
        let applied = entries.iter().any(is_our_apply);
        Self { digest, stamped, applied, others, differing }
    }

    /// Whether the object is as the operator rendered it last, and no other field manager owns any of its content.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.stamped && self.others.is_empty()
    }

    /// Whether the operator has ever applied the object, regardless of its current labels and owners.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        self.applied
    }

    /// Field managers that changed the object; `None` if it is what the operator rendered last.
    #[must_use]
    pub fn changed_by(&self) -> Option<Vec<String>> {
        let managers = || self.others.iter().map(|manager| manager.to_string()).collect();
        (!self.stamped).then(managers)
    }

    /// Whether the object equals `wanted`. The same as [`Self::is`], without rendering the request body.
    ///
    /// # Errors
    /// Never in practice: rendered objects are plain data.
    pub fn is_of<K: Kind>(&self, wanted: &K) -> anyhow::Result<bool> {
        let canonical = canonical::canonical(&K::kind(&()), to_value(wanted)?);
        Ok(self.stamped && self.digest == digest(&canonical))
    }

    /// Whether the object equals `rendered` and matches its own stamp.
    #[must_use]
    pub fn is(&self, rendered: &Rendered) -> bool {
        self.stamped && self.digest == rendered.digest
    }

    /// Whether the content equals `rendered`, whatever the stamp.
    #[must_use]
    pub fn has(&self, rendered: &Rendered) -> bool {
        self.digest == rendered.digest
    }

    /// Whether two contents are equal, regardless of their stamps.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// Changes by others to an object that differs from `rendered`. `None` if the operator wrote the object and renders
    /// something else now.
    #[must_use]
    pub fn drift(&self, rendered: &Rendered) -> Option<Drift> {
        let differing = self.differing.as_ref()?;
        let mut fields = differences::paths(&differing.canonical, &rendered.canonical);
        let stamp = "metadata.annotations".to_owned();
        if (!differing.stamp_is_ours || fields.is_empty()) && !fields.contains(&stamp) {
            fields.push(stamp);
        }
        let holds = |tree: &Value| fields.iter().any(|path| managed_fields::leads(tree, path));
        let holders = differing.writers.iter().filter(|(_, tree)| holds(tree));
        Some(Drift { managers: holders.map(|(manager, _)| manager.clone()).collect(), fields })
    }

    /// Paths at which an object that was just written differs from what was sent; empty if it does not differ.
    #[must_use]
    pub fn differs(&self, rendered: &Rendered) -> Vec<String> {
        let Some(differing) = self.differing.as_ref().filter(|_| !self.has(rendered)) else { return vec![] };
        differences::paths(&differing.canonical, &rendered.canonical)
    }

    /// Merge patch that turns the object into `rendered`; `None` if the object does not differ. The patch applies only
    /// to the version in `seen`.
    #[must_use]
    pub fn repair(&self, seen: &ObjectMeta, rendered: &Rendered) -> Option<Value> {
        let differing = self.differing.as_ref()?;
        let listed = seen.finalizers.clone().unwrap_or_default();
        let mut patch =
            differences::patch(&differing.canonical, &rendered.canonical, &rendered.body, &listed);
        patch["metadata"]["uid"] = json!(seen.uid);
        patch["metadata"]["resourceVersion"] = json!(seen.resource_version);
        Some(patch)
    }
}

/// Changes to an object by other field managers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Paths of the fields that differ; empty if the object was deleted.
    pub fields: Vec<String>,
    /// Field managers that wrote them.
    pub managers: Vec<String>,
}

/// An object as the operator sends it. It may be a Secret, so `Debug` prints only the stamp.
#[derive(Clone)]
pub struct Rendered {
    /// Request body, with kind and stamp.
    pub body: Value,
    canonical: Value,
    digest: Digest,
}

impl fmt::Debug for Differing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Differing").finish_non_exhaustive()
    }
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rendered").field("stamp", &self.stamp()).finish_non_exhaustive()
    }
}

impl Rendered {
    /// Renders a typed object.
    ///
    /// # Errors
    /// Never in practice: rendered objects are plain data.
    pub fn of<K: Kind>(object: &K) -> anyhow::Result<Self> {
        let mut body = to_value(object)?;
        let canonical = canonical::canonical(&K::kind(&()), body.clone());
        let digest = digest(&canonical);
        body["apiVersion"] = json!(K::api_version(&()));
        body["kind"] = json!(K::kind(&()));
        body["metadata"]["annotations"][names::DIGEST] = json!(hex(&digest));
        Ok(Self { body, canonical, digest })
    }

    /// The same object with the content of `content`. It keeps its stamp, since a digest of that content would say
    /// something about the secret in it.
    ///
    /// # Errors
    /// Never in practice: rendered objects are plain data.
    pub fn filled<K: Kind>(&self, content: &K) -> anyhow::Result<Self> {
        let mut filled = Self::of(content)?;
        filled.body["metadata"] = self.body["metadata"].clone();
        Ok(filled)
    }

    /// Digest that the object carries as an annotation.
    #[must_use]
    pub fn stamp(&self) -> String {
        self.body["metadata"]["annotations"][names::DIGEST].as_str().unwrap_or_default().to_owned()
    }

    /// Whether two objects have the same content.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

fn to_value<K: Kind>(object: &K) -> anyhow::Result<Value> {
    serde_json::to_value(object).context("rendered object")
}

fn digest(canonical: &Value) -> Digest {
    let mut digest = Digest::default();
    digest.copy_from_slice(&Sha256::digest(canonical.to_string())[..16]);
    digest
}

fn hex(digest: &Digest) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Whether a managed fields entry comes from a server-side apply of the operator.
pub(super) fn is_our_apply(entry: &ManagedFieldsEntry) -> bool {
    is_ours(entry) && entry.operation.as_deref() == Some("Apply")
}

fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(names::MANAGER)
}

/// Name and fields of a field manager other than the operator. Changes of the status are no drift.
fn other(entry: &ManagedFieldsEntry) -> Option<(String, Value)> {
    // the server uses this name for fields set before the first apply, so it names no writer
    let is_somebody = entry.manager.as_deref() != Some("before-first-apply");
    let theirs = !is_ours(entry) && is_somebody && entry.subresource.is_none();
    theirs.then(|| Some((entry.manager.clone()?, entry.fields_v1.clone()?.0)))?
}

fn writes_content(fields: &Value) -> bool {
    fields.as_object().is_some_and(|fields| fields.keys().any(|field| field != "f:metadata"))
}

fn has_stamp(entry: &ManagedFieldsEntry) -> bool {
    let stamp = format!("f:{}", names::DIGEST);
    let fields = entry.fields_v1.as_ref().map(|fields| &fields.0["f:metadata"]["f:annotations"][stamp]);
    is_ours(entry) && fields.is_some_and(|stamp| !stamp.is_null())
}

#[cfg(test)]
mod tests;
