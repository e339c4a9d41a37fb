//! Writes that change only the metadata of an object.

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Resource as _,
    api::{ObjectMeta, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::Kind;
use crate::{cluster::Writer, model::names};

impl Writer {
    /// Whether the object with the uid in `seen` still exists. Sends a patch of the uid, which changes nothing, and
    /// which the server rejects if the object is gone or has another uid.
    ///
    /// # Errors
    /// Fails if the server rejects the request for another reason.
    pub async fn is_there<K: Kind>(&self, seen: &ObjectMeta) -> anyhow::Result<bool> {
        let name = seen.name.clone().unwrap_or_default();
        let api = Api::<K>::namespaced(self.client.clone(), seen.namespace.as_deref().unwrap_or_default());
        let patch = json!({"metadata": {"uid": seen.uid}});
        let parameters = PatchParams { field_manager: Some(names::MANAGER.into()), ..PatchParams::default() };
        match self.send(api.patch_metadata(&name, &parameters, &Patch::Merge(&patch))).await? {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            // another uid is rejected as a change of an immutable field; an object that became invalid after its
            // creation is rejected for its content, and exists
            Err(kube::Error::Api(status)) if status.code == 422 => {
                Ok(!status.message.contains("metadata.uid"))
            }
            Err(error) => Err(error).with_context(|| format!("{} {name}", K::kind(&()))),
        }
    }

    /// Changes the metadata of an object by a merge patch, if it still has the version in `seen`. Returns whether it
    /// was changed; if not, it is gone or has changed, and the caller must reconcile again.
    ///
    /// # Errors
    /// Fails if the server rejects the request for another reason.
    pub async fn amend<K: Kind>(&self, seen: &ObjectMeta, change: &Value) -> anyhow::Result<bool> {
        let name = seen.name.clone().unwrap_or_default();
        let api = Api::<K>::namespaced(self.client.clone(), seen.namespace.as_deref().unwrap_or_default());
        let mut metadata = change.clone();
        metadata["uid"] = json!(seen.uid);
        metadata["resourceVersion"] = json!(seen.resource_version);
        let patch = json!({ "metadata": metadata });
        let parameters = PatchParams { field_manager: Some(names::MANAGER.into()), ..PatchParams::default() };
        match self.send(api.patch_metadata(&name, &parameters, &Patch::Merge(&patch))).await? {
            Ok(held) => {
                if K::kind(&()) == Secret::kind(&()) {
                    self.wrote_secret(&held.metadata);
                }
                tracing::info!(kind = %K::kind(&()), namespace = seen.namespace, name, "metadata changed");
                Ok(true)
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("metadata of {} {name}", K::kind(&()))),
        }
    }
}
