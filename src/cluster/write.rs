//! All writes to the cluster: applies objects that differ, creates Secrets once, deletes owned objects that are no
//! longer wanted.

mod admission_changes;
mod ensure;
pub mod fence;
pub mod managed_fields;
pub mod metadata;
mod own_writes;
pub mod pending_writes;
pub mod pvc_resize;
pub mod repair_limit;
mod secret_drift;
pub mod status_debounce;

use std::{fmt::Debug, sync::Arc};

use anyhow::Context as _;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ObjectReference, Pod, Secret},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, EvictParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions},
    runtime::events::{Event, Recorder, Reporter},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Fence, PendingWrites,
    drift::{Content, Drift},
    write::{
        fence::REQUEST,
        repair_limit::{FieldConflict, Object, RepairLimit},
    },
};
use crate::{
    api::QuorumNode,
    model::{decode::Decoded, fault::Fault, names},
};
pub use admission_changes::AdmissionChanges;
pub use secret_drift::writers;

/// A namespaced kind.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug
{
}

/// Result of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The object was correct already; no request was sent.
    Unchanged,
    /// The object was written.
    Written,
    /// The object belongs to another owner and was not changed.
    NotOwned(Fault),
    /// Another writer changes the object repeatedly; the operator leaves it for now.
    RateLimited,
    /// The object has changed since it was read, or must be recreated: reconcile again.
    Requeue,
}

/// Known state of a live object.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its metadata.
    pub meta: ObjectMeta,
    /// Its content; `None` if the cache has only metadata, as for Secrets.
    pub content: Option<Content>,
    /// Whether it comes from the response to a write of this process whose event has not arrived.
    pub due: bool,
}

impl From<ObjectMeta> for Seen {
    fn from(meta: ObjectMeta) -> Self {
        Self { meta, content: None, due: false }
    }
}

/// Writes to one cluster.
#[derive(Clone)]
pub struct Writer {
    pub(super) client: Client,
    fence: Fence,
    repair_limit: Arc<RepairLimit>,
    pending_writes: Arc<PendingWrites>,
    admission_changes: Arc<admission_changes::All>,
    recorder: Recorder,
}

impl Writer {
    /// Creates a writer that sends only while `fence` allows it. `identity` names it in events, and it records its
    /// writes in `pending_writes`.
    #[must_use]
    pub fn new(client: Client, fence: Fence, identity: &str, pending_writes: Arc<PendingWrites>) -> Self {
        let reporter = Reporter { controller: names::MANAGER.into(), instance: Some(identity.to_owned()) };
        let recorder = Recorder::new(client.clone(), reporter);
        Self {
            client,
            fence,
            repair_limit: Arc::default(),
            pending_writes,
            admission_changes: Arc::default(),
            recorder,
        }
    }

    /// Sends a write if the lease is certain to hold until the request has ended.
    pub(super) async fn send<T>(
        &self,
        write: impl Future<Output = kube::Result<T>>,
    ) -> anyhow::Result<kube::Result<T>> {
        self.fence.check()?;
        timely(write).await
    }

    /// Whether an object that another writer changed or deleted may be repaired now. The repair counts once it is
    /// written.
    #[must_use]
    pub fn may_repair<K: Kind>(&self, object: &K, drift: Drift) -> bool {
        self.repair_limit.admit(&place(object), drift, Instant::now())
    }

    /// The field conflict over an object, if there is one.
    #[must_use]
    pub fn field_conflict<K: Kind>(&self, object: &K) -> Option<FieldConflict> {
        self.repair_limit.over(&place(object), Instant::now())
    }

    /// Changes that are made to every write of an object, if any.
    #[must_use]
    pub fn admission_changes<K: Kind>(&self, object: &K) -> Option<AdmissionChanges> {
        self.admission_changes.on(&place(object))
    }

    /// Creates a Secret that is never written again, and returns what the server stored. Returns `None` if the Secret
    /// exists already; the existing one stays.
    ///
    /// # Errors
    /// Fails if the server rejects the request, except if the Secret exists.
    pub async fn create_once(&self, secret: &Secret) -> anyhow::Result<Option<Secret>> {
        let api = Api::<Secret>::namespaced(self.client.clone(), &secret.namespace().unwrap_or_default());
        let parameters = PostParams { field_manager: Some(names::MANAGER.into()), ..PostParams::default() };
        match self.send(api.create(&parameters, secret)).await? {
            Ok(held) => {
                tracing::info!(namespace = secret.namespace(), name = secret.name_any(), "secret created");
                self.wrote_secret(&held.metadata);
                Ok(Some(held))
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
            Err(error) => Err(error).with_context(|| format!("Secret {}", secret.name_any())),
        }
    }

    /// Removes keys that others added to a Secret, if it still has the version in `seen`. Returns whether it had.
    ///
    /// # Errors
    /// Fails if the server rejects the request, except if the object is gone or has changed.
    pub async fn drop_keys(&self, seen: &ObjectMeta, keys: &[String]) -> anyhow::Result<bool> {
        let name = seen.name.clone().unwrap_or_default();
        let api =
            Api::<Secret>::namespaced(self.client.clone(), seen.namespace.as_deref().unwrap_or_default());
        let none: serde_json::Map<_, _> = keys.iter().map(|key| (key.clone(), Value::Null)).collect();
        let patch = json!({
            "metadata": {"uid": seen.uid, "resourceVersion": seen.resource_version}, "data": none,
        });
        let parameters = PatchParams { field_manager: Some(names::MANAGER.into()), ..PatchParams::default() };
        match self.send(api.patch_metadata(&name, &parameters, &Patch::Merge(&patch))).await? {
            Ok(held) => {
                tracing::info!(namespace = seen.namespace, name, ?keys, "removed keys that others added");
                self.wrote_secret(&held.metadata);
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return Ok(false),
            Err(kube::Error::Api(status)) if ensure::is_frozen(&status) => {
                self.make_room::<Secret>(seen).await?;
                return Ok(false);
            }
            Err(error) => return Err(error).with_context(|| format!("Secret {name}")),
        }
        Ok(true)
    }

    /// Deletes an owned object that is no longer wanted, if it still has the version in `seen`. Returns whether it is
    /// deleted or gone. If it has changed, the caller must reconcile again, since no event may follow.
    ///
    /// # Errors
    /// Fails if the server rejects the request, except if the object is gone or has changed.
    pub async fn delete<K: Kind>(&self, seen: &ObjectMeta) -> anyhow::Result<bool> {
        let name = seen.name.clone().unwrap_or_default();
        let api = Api::<K>::namespaced(self.client.clone(), seen.namespace.as_deref().unwrap_or_default());
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: seen.uid.clone(),
                resource_version: seen.resource_version.clone(),
            }),
            ..DeleteParams::background()
        };
        let Some(ending) = self.ending(seen) else { return Ok(true) };
        match self.send(api.delete(&name, &parameters)).await? {
            Ok(_) => {
                ending.done();
                tracing::info!(kind = %K::kind(&()), namespace = seen.namespace, name, "deleted");
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            // the object has changed since the decision
            Err(kube::Error::Api(status)) if status.is_conflict() => return Ok(false),
            Err(error) => return Err(error).with_context(|| format!("{} {name}", K::kind(&()))),
        }
        Ok(true)
    }

    /// Evicts the pod with this uid, if disruption budgets allow it.
    ///
    /// # Errors
    /// Fails if the server rejects the request, except because of a budget, or if the pod is gone or has another uid.
    pub async fn evict(&self, namespace: &str, name: &str, uid: &str) -> anyhow::Result<Evicted> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let exactly = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let options = DeleteParams { preconditions: Some(exactly), ..DeleteParams::default() };
        let parameters = EvictParams { delete_options: Some(options), ..EvictParams::default() };
        match self.send(api.evict(name, &parameters)).await? {
            Ok(_) => {
                tracing::info!(namespace, name, "pod evicted for a newer revision");
                Ok(Evicted::Done)
            }
            Err(kube::Error::Api(status)) if status.code == 429 => Ok(Evicted::Refused),
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                Ok(Evicted::Gone)
            }
            // only the message distinguishes this case from other errors of the server
            Err(kube::Error::Api(status))
                if status.code == 500 && status.message.contains("more than one PodDisruptionBudget") =>
            {
                Ok(Evicted::MultipleDisruptionBudgets)
            }
            Err(error) => Err(error).with_context(|| format!("eviction of Pod {name}")),
        }
    }

    /// Annotates the pod with this uid with the version of its caller policy.
    ///
    /// # Errors
    /// Fails if the server rejects the request, except if the pod is gone or has another uid.
    pub async fn tell_policy(
        &self,
        (namespace, name, uid): (&str, &str, &str),
        version: &str,
    ) -> anyhow::Result<()> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let patch = json!({"metadata": {"uid": uid, "annotations": {names::POLICY: version}}});
        let parameters = PatchParams { field_manager: Some(names::MANAGER.into()), ..PatchParams::default() };
        match self.send(api.patch_metadata(name, &parameters, &Patch::Merge(&patch))).await? {
            Ok(_) => tracing::debug!(namespace, name, version, "policy version written to pod"),
            // another uid is rejected as a change of an immutable field
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {}
            Err(error) => return Err(error).with_context(|| format!("annotation of Pod {name}")),
        }
        Ok(())
    }

    /// Adds the operator's finalizer to a node.
    ///
    /// # Errors
    /// Fails if the server rejects the request, or if the node has changed.
    pub async fn add_finalizer(&self, node: &QuorumNode) -> anyhow::Result<()> {
        let listed = node.metadata.finalizers.iter().flatten().map(String::as_str);
        self.finalizers::<QuorumNode>(&node.metadata, listed.chain([names::CLEANUP]).collect()).await
    }

    /// Removes the operator's finalizer from an object, if it still has the version in `seen`.
    ///
    /// # Errors
    /// Fails if the server rejects the request or the object has changed, but not if it is gone.
    pub async fn remove_finalizer<K: Kind>(&self, seen: &ObjectMeta) -> anyhow::Result<()> {
        let listed = seen.finalizers.iter().flatten().map(String::as_str);
        let left: Vec<_> = listed.filter(|listed| *listed != names::CLEANUP).collect();
        let ends = left.is_empty() && seen.deletion_timestamp.is_some();
        // also for an object that this process has deleted: the removal of the finalizer is what ends it
        let ending = ends.then(|| self.letting_go(seen));
        self.finalizers::<K>(seen, left).await?;
        ending.into_iter().for_each(own_writes::DeletingNode::done);
        Ok(())
    }

    async fn finalizers<K: Kind>(&self, seen: &ObjectMeta, listed: Vec<&str>) -> anyhow::Result<()> {
        let name = seen.name.clone().unwrap_or_default();
        let api = Api::<K>::namespaced(self.client.clone(), seen.namespace.as_deref().unwrap_or_default());
        let patch = json!({"metadata": {
            "uid": seen.uid, "resourceVersion": seen.resource_version, "finalizers": listed,
        }});
        let parameters = PatchParams { field_manager: Some(names::MANAGER.into()), ..PatchParams::default() };
        match self.send(api.patch_metadata(&name, &parameters, &Patch::Merge(&patch))).await? {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(error).with_context(|| format!("finalizers of {} {name}", K::kind(&()))),
        }
    }

    /// Applies the whole status of a node.
    ///
    /// # Errors
    /// Fails if the server rejects the request.
    pub async fn status(&self, of: &ObjectMeta, status: &impl Serialize) -> anyhow::Result<()> {
        let name = of.name.clone().unwrap_or_default();
        let body = json!({
            "apiVersion": QuorumNode::api_version(&()),
            "kind": QuorumNode::kind(&()),
            "status": status,
        });
        let namespace = of.namespace.clone().unwrap_or_default();
        let api = Api::<Decoded<QuorumNode>>::namespaced(self.client.clone(), &namespace);
        let written = self.send(api.patch_status(&name, &forced(), &Patch::Apply(&body))).await?;
        written.with_context(|| format!("status of QuorumNode {name}"))?;
        Ok(())
    }

    /// Publishes a Kubernetes event.
    ///
    /// # Errors
    /// Fails if the server rejects the request.
    pub async fn publish(&self, event: &Event, about: &ObjectReference) -> anyhow::Result<()> {
        Ok(self.send(self.recorder.publish(event, about)).await??)
    }
}

/// Result of an eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evicted {
    /// The server deletes the pod.
    Done,
    /// A disruption budget does not allow it.
    Refused,
    /// The pod is gone, or has another uid.
    Gone,
    /// More than one disruption budget selects the pod, so that no eviction is possible.
    MultipleDisruptionBudgets,
}

/// Parameters of a server-side apply that takes over fields of other field managers.
fn forced() -> PatchParams {
    PatchParams::apply(names::MANAGER).force()
}

/// Runs a request with the deadline [`REQUEST`]. Errors quote nothing from a response, which may be a Secret.
///
/// # Errors
/// Fails if there is no response before the deadline.
pub async fn timely<T>(request: impl Future<Output = kube::Result<T>>) -> anyhow::Result<kube::Result<T>> {
    tokio::select! {
        // check the deadline first: a process that was suspended for longer sends nothing when it resumes
        biased;
        () = tokio::time::sleep(REQUEST) => {
            anyhow::bail!("the API server did not answer within {} s", REQUEST.as_secs())
        }
        answered = request => Ok(answered.map_err(unquoted)),
    }
}

/// Replaces a decoding error by its position, since the decoder would quote the content.
fn unquoted(error: kube::Error) -> kube::Error {
    use serde::de::Error as _;
    let kube::Error::SerdeError(error) = error else { return error };
    let (line, column) = (error.line(), error.column());
    kube::Error::SerdeError(serde_json::Error::custom(format!(
        "the answer does not decode at line {line}, column {column}"
    )))
}

fn place<K: Kind>(object: &K) -> Object {
    (K::kind(&()).into_owned(), object.namespace().unwrap_or_default(), object.name_any())
}
