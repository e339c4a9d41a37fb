//! Drift: whether the object that lives is, as a whole, the one that was rendered. Pure.
//!
//! A cache computes what is needed for that when an event arrives, and keeps a digest. Only of an object that is not as
//! its own stamp says is more kept, until it is repaired: what differs, and who wrote it.

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

use super::{fields, write::Kind};
use crate::node::names;

/// Digest of a canonical object.
type Digest = [u8; 16];

/// What is known of the content of a live object.
#[derive(Clone, Debug, Default)]
pub struct Content {
    digest: Digest,
    /// Whether it is what its stamp says: as the operator rendered it last.
    stamped: bool,
    /// Whether the operator has ever applied it.
    applied: bool,
    /// Who else has fields of it outside its metadata, by the name given to the server.
    others: Box<[Box<str>]>,
    /// Kept only where it is not what its stamp says.
    differing: Option<Arc<Differing>>,
}

/// It may be of a Secret: it is never printed.
struct Differing {
    canonical: Value,
    /// Writers other than the operator, and the fields that they have.
    writers: Vec<(String, Value)>,
    /// Whether the stamp was written by the operator.
    stamp_is_ours: bool,
}

impl Content {
    /// Of an object as the server holds it.
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

    /// Whether the object is as the operator rendered it last, and nobody else has written anything of its content.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.stamped && self.others.is_empty()
    }

    /// Whether the operator has ever applied it, whatever its labels and owners say now.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        self.applied
    }

    /// Who has written it, where it is not what the operator rendered last.
    #[must_use]
    pub fn changed_by(&self) -> Option<Vec<String>> {
        let managers = || self.others.iter().map(|manager| manager.to_string()).collect();
        (!self.stamped).then(managers)
    }

    /// Whether the object is the one that is wanted: as [`Self::is`], without making what would be sent of it.
    ///
    /// # Errors
    /// Never in practice: what is rendered is plain data.
    pub fn is_of<K: Kind>(&self, wanted: &K) -> anyhow::Result<bool> {
        let canonical = canonical::canonical(&K::kind(&()), to_value(wanted)?);
        Ok(self.stamped && self.digest == digest(&canonical))
    }

    /// Whether the object is the one that was rendered.
    #[must_use]
    pub fn is(&self, rendered: &Rendered) -> bool {
        self.stamped && self.digest == rendered.digest
    }

    /// Whether the object holds what was rendered, whatever its stamp.
    #[must_use]
    pub fn has(&self, rendered: &Rendered) -> bool {
        self.digest == rendered.digest
    }

    /// Whether two contents are the same, whoever stamped them.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// What somebody else did to an object that is not the one that was rendered. `None` where the operator wrote it,
    /// and renders something else now.
    #[must_use]
    pub fn drift(&self, rendered: &Rendered) -> Option<Drift> {
        let differing = self.differing.as_ref()?;
        let mut fields = differences::paths(&differing.canonical, &rendered.canonical);
        let stamp = "metadata.annotations".to_owned();
        if (!differing.stamp_is_ours || fields.is_empty()) && !fields.contains(&stamp) {
            fields.push(stamp);
        }
        let holds = |tree: &Value| fields.iter().any(|path| fields::leads(tree, path));
        let holders = differing.writers.iter().filter(|(_, tree)| holds(tree));
        Some(Drift { managers: holders.map(|(manager, _)| manager.clone()).collect(), fields })
    }

    /// Where an object that was just written is not what was sent. Empty where it is.
    #[must_use]
    pub fn differs(&self, rendered: &Rendered) -> Vec<String> {
        let Some(differing) = self.differing.as_ref().filter(|_| !self.has(rendered)) else { return vec![] };
        differences::paths(&differing.canonical, &rendered.canonical)
    }

    /// The merge patch that makes of the object the one that was rendered, where it differs: exactly of the version that
    /// was seen.
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

/// What somebody else did to an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Fields that are not as rendered; none where the object was deleted.
    pub fields: Vec<String>,
    /// Who wrote them, by the name they gave to the server.
    pub managers: Vec<String>,
}

/// An object as it is sent. It may be a Secret: it is never printed.
#[derive(Clone)]
pub struct Rendered {
    /// With kind and stamp.
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
    /// Of a typed object.
    ///
    /// # Errors
    /// Never in practice: what is rendered is plain data.
    pub fn of<K: Kind>(object: &K) -> anyhow::Result<Self> {
        let mut body = to_value(object)?;
        let canonical = canonical::canonical(&K::kind(&()), body.clone());
        let digest = digest(&canonical);
        body["apiVersion"] = json!(K::api_version(&()));
        body["kind"] = json!(K::kind(&()));
        body["metadata"]["annotations"][names::DIGEST] = json!(hex(&digest));
        Ok(Self { body, canonical, digest })
    }

    /// The same object with another content, and the stamp that it has: the content's own would tell of a secret in it.
    ///
    /// # Errors
    /// Never in practice: what is rendered is plain data.
    pub fn filled<K: Kind>(&self, content: &K) -> anyhow::Result<Self> {
        let mut filled = Self::of(content)?;
        filled.body["metadata"] = self.body["metadata"].clone();
        Ok(filled)
    }

    /// What is noted on the object of what was rendered.
    #[must_use]
    pub fn stamp(&self) -> String {
        self.body["metadata"]["annotations"][names::DIGEST].as_str().unwrap_or_default().to_owned()
    }

    /// Whether two have the same content.
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

/// Whether an entry is of a server-side apply of the operator.
pub(super) fn is_our_apply(entry: &ManagedFieldsEntry) -> bool {
    is_ours(entry) && entry.operation.as_deref() == Some("Apply")
}

fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(names::MANAGER)
}

/// A writer that is not the operator, with the fields that it has; the status is nobody's drift.
fn other(entry: &ManagedFieldsEntry) -> Option<(String, Value)> {
    // the server's own word for whatever was there before the first apply names nobody
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
