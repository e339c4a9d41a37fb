//! Writes to the metadata of an object and nothing else of it.

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Resource as _,
    api::{ObjectMeta, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{Writer, write::Kind};
use crate::node::names;

impl Writer {
    /// Whether this very object is still there: a patch of its uid alone, which changes nothing, and is refused where the
    /// object is gone or another one has its name.
    ///
    /// # Errors
    /// Where the server refuses for another reason.
    pub async fn is_there<K: Kind>(&self, seen: &ObjectMeta) -> anyhow::Result<bool> {
        let name = seen.name.clone().unwrap_or_default();
        let api = Api::<K>::namespaced(self.client.clone(), seen.namespace.as_deref().unwrap_or_default());
        let patch = json!({"metadata": {"uid": seen.uid}});
        let parameters = PatchParams { field_manager: Some(names::MANAGER.into()), ..PatchParams::default() };
        match self.send(api.patch_metadata(&name, &parameters, &Patch::Merge(&patch))).await? {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            // another uid is refused as a change of what cannot change; an object that was let in before it became invalid
            // is refused for what it says, and there
            Err(kube::Error::Api(status)) if status.code == 422 => {
                Ok(!status.message.contains("metadata.uid"))
            }
            Err(error) => Err(error).with_context(|| format!("{} {name}", K::kind(&()))),
        }
    }

    /// Changes the metadata of an object, exactly as it was seen, by a merge patch. Whether it was changed: one that is
    /// gone or has changed is left, and has to be looked at again.
    ///
    /// # Errors
    /// Where the server refuses for another reason.
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
