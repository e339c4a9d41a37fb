//! Writes for volume growth: resizes the PersistentVolumeClaim, and deletes the StatefulSet without its pod.

use anyhow::Context as _;
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::PersistentVolumeClaim};
use kube::{
    Api,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, Preconditions},
    core::Status,
};
use serde_json::json;

use crate::{
    cluster::Writer,
    model::{names, redact::quoted},
};

/// Result of a resize request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resized {
    /// The server accepted the size.
    Taken,
    /// The claim is gone; its event triggers the next reconcile.
    Gone,
    /// The server rejected the size, with this message.
    Refused(String),
}

impl Writer {
    /// Requests another size for a claim, if it still has the version in `seen`.
    ///
    /// # Errors
    /// Fails if the claim has changed, or if the server rejects the request for a reason other than the size, such as a
    /// missing permission.
    pub async fn resize(&self, seen: &ObjectMeta, size: &str) -> anyhow::Result<Resized> {
        let name = seen.name.clone().unwrap_or_default();
        let namespace = seen.namespace.as_deref().unwrap_or_default();
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), namespace);
        let patch = json!({
            "metadata": {"uid": seen.uid, "resourceVersion": seen.resource_version},
            "spec": {"resources": {"requests": {"storage": size}}},
        });
        let parameters = PatchParams { field_manager: Some(names::MANAGER.into()), ..PatchParams::default() };
        match self.send(api.patch_metadata(&name, &parameters, &Patch::Merge(&patch))).await? {
            Ok(_) => {
                tracing::info!(namespace, name, size, "volume claim resized");
                Ok(Resized::Taken)
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Resized::Gone),
            Err(kube::Error::Api(status)) if refuses(&status) => {
                Ok(Resized::Refused(quoted(&status.message)))
            }
            Err(error) => Err(error).with_context(|| format!("PersistentVolumeClaim {name}")),
        }
    }

    /// Deletes a workload, if it still has the version in `seen`, and leaves its pod running.
    ///
    /// # Errors
    /// Fails if the server rejects the request or the workload has changed, but not if it is gone.
    pub async fn orphan(&self, seen: &ObjectMeta) -> anyhow::Result<()> {
        let name = seen.name.clone().unwrap_or_default();
        let namespace = seen.namespace.as_deref().unwrap_or_default();
        let api = Api::<StatefulSet>::namespaced(self.client.clone(), namespace);
        let exactly =
            Preconditions { uid: seen.uid.clone(), resource_version: seen.resource_version.clone() };
        let parameters = DeleteParams::orphan().preconditions(exactly);
        let Some(ending) = self.ending(seen) else { return Ok(()) };
        match self.send(api.delete(&name, &parameters)).await? {
            Ok(_) => {
                ending.done();
                tracing::info!(namespace, name, "workload deleted, its pod keeps running");
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => ending.done(),
            Err(error) => return Err(error).with_context(|| format!("StatefulSet {name}")),
        }
        Ok(())
    }
}

/// Whether the rejection concerns the size: storage class, quota or validation. A missing permission has the same code,
/// and only its message differs.
fn refuses(status: &Status) -> bool {
    status.code == 422 || status.code == 403 && !status.message.contains(" cannot patch resource ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_may_not_do_is_no_refusal_of_the_claim() {
        let said = |code: u16, message: &str| refuses(&Status::failure(message, "").with_code(code));
        assert!(said(403, "persistentvolumeclaims \"c\" is forbidden: exceeded quota: disk"));
        assert!(said(422, "spec is immutable"));
        let lacking = "persistentvolumeclaims \"c\" is forbidden: User \"u\" cannot patch resource \"persistentvolumeclaims\" in API group \"\" in the namespace \"n\"";
        assert!(!said(403, lacking));
        assert!(!said(500, "etcd is away"));
    }
}
