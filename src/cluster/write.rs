//! The only writes: apply what differs, create once, delete what is ours and no longer wanted.

mod ensure;
mod imposed;
mod live;
mod own;

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
    Echoes, Fence,
    contests::{Contest, Contests, Object},
    drift::{Content, Drift},
    fence::REQUEST,
    guard::Guard,
};
use crate::{
    api::QuorumNode,
    node::{fault::Fault, names},
};
pub use imposed::Imposed;
pub use live::writers;

/// A kind of object that lives in a namespace.
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

/// What a write came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was right already: no request.
    Unchanged,
    /// It was written.
    Written,
    /// It belongs to someone else and was left alone.
    Refused(Fault),
    /// Someone else changes it again and again, and it was left as it is for now.
    Held,
    /// It is not as it was seen any more, or has to be made again: it is to be looked at again.
    Again,
}

/// What is known of an object that lives.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its metadata.
    pub meta: ObjectMeta,
    /// Its content; `None` where a cache has the metadata alone, as of Secrets.
    pub content: Option<Content>,
    /// Whether it is the answer to a write of this process, and its event is still due.
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
    contests: Arc<Contests>,
    echoes: Arc<Echoes>,
    imposed: Arc<imposed::All>,
    recorder: Recorder,
}

impl Writer {
    /// A writer through `client`, for as long as `fence` allows, by the name that events have of it. What it writes goes
    /// into `echoes`.
    #[must_use]
    pub fn new(client: Client, fence: Fence, identity: &str, echoes: Arc<Echoes>) -> Self {
        let reporter = Reporter { controller: names::MANAGER.into(), instance: Some(identity.to_owned()) };
        let recorder = Recorder::new(client.clone(), reporter);
        Self { client, fence, contests: Arc::default(), echoes, imposed: Arc::default(), recorder }
    }

    /// Sends a write, if the lease is sure to hold until it has ended one way or the other.
    pub(super) async fn send<T>(
        &self,
        write: impl Future<Output = kube::Result<T>>,
    ) -> anyhow::Result<kube::Result<T>> {
        self.fence.check()?;
        timely(write).await
    }

    /// Whether an object that someone else changed, or deleted, may be put back now. It is counted when it has been.
    #[must_use]
    pub fn may_repair<K: Kind>(&self, object: &K, drift: Drift) -> bool {
        self.contests.admit(&place(object), drift, Instant::now())
    }

    /// The fight over an object, if there is one.
    #[must_use]
    pub fn contest<K: Kind>(&self, object: &K) -> Option<Contest> {
        self.contests.over(&place(object), Instant::now())
    }

    /// What others make of every write of an object, if they do.
    #[must_use]
    pub fn imposed<K: Kind>(&self, object: &K) -> Option<Imposed> {
        self.imposed.on(&place(object))
    }

    /// Creates a Secret that is never written again, and gives what the server holds then. `None` where someone
    /// was first: theirs stands.
    ///
    /// # Errors
    /// Where the server refuses for another reason than that it exists.
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

    /// Takes keys out of a Secret that others have put there, exactly as it was seen. Whether it was still so.
    ///
    /// # Errors
    /// Where the server refuses for another reason than that it is gone or has changed.
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
                tracing::info!(namespace = seen.namespace, name, ?keys, "keys of others removed");
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

    /// Deletes an object that is ours and no longer wanted, exactly as it was seen. Whether it ends, or has ended:
    /// one that has changed is left, and has to be looked at again, as nothing else may tell of it.
    ///
    /// # Errors
    /// Where the server refuses for another reason than that it is gone or has changed.
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
            // not what was decided about
            Err(kube::Error::Api(status)) if status.is_conflict() => return Ok(false),
            Err(error) => return Err(error).with_context(|| format!("{} {name}", K::kind(&()))),
        }
        Ok(true)
    }

    /// Asks for the end of this very pod, as far as disruption budgets allow.
    ///
    /// # Errors
    /// Where the server refuses for another reason than a budget, or that the pod is gone or another one.
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
            // no other way tells it from any other failure of the server
            Err(kube::Error::Api(status))
                if status.code == 500 && status.message.contains("more than one PodDisruptionBudget") =>
            {
                Ok(Evicted::TwoBudgets)
            }
            Err(error) => Err(error).with_context(|| format!("eviction of Pod {name}")),
        }
    }

    /// Writes on this very pod which version of its callers' policy there is.
    ///
    /// # Errors
    /// Where the server refuses for another reason than that the pod is gone or another one.
    pub async fn tell_policy(
        &self,
        (namespace, name, uid): (&str, &str, &str),
        version: &str,
    ) -> anyhow::Result<()> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let patch = json!({"metadata": {"uid": uid, "annotations": {names::POLICY: version}}});
        let parameters = PatchParams { field_manager: Some(names::MANAGER.into()), ..PatchParams::default() };
        match self.send(api.patch_metadata(name, &parameters, &Patch::Merge(&patch))).await? {
            Ok(_) => tracing::debug!(namespace, name, version, "pod told of its policy"),
            // another uid is refused as a change of what cannot change
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {}
            Err(error) => return Err(error).with_context(|| format!("annotation of Pod {name}")),
        }
        Ok(())
    }

    /// Puts our finalizer on a node.
    ///
    /// # Errors
    /// Where the server refuses, or the node is not as it was seen.
    pub async fn hold(&self, node: &QuorumNode) -> anyhow::Result<()> {
        let listed = node.metadata.finalizers.iter().flatten().map(String::as_str);
        self.finalizers::<QuorumNode>(&node.metadata, listed.chain([names::CLEANUP]).collect()).await
    }

    /// Takes our finalizer off an object, exactly as it was seen.
    ///
    /// # Errors
    /// Where the server refuses for another reason than that it is gone, that it is not as it was seen included.
    pub async fn release<K: Kind>(&self, seen: &ObjectMeta) -> anyhow::Result<()> {
        let listed = seen.finalizers.iter().flatten().map(String::as_str);
        let left: Vec<_> = listed.filter(|listed| *listed != names::CLEANUP).collect();
        let ends = left.is_empty() && seen.deletion_timestamp.is_some();
        // it may be one that this process has deleted: what counts is that it is let go
        let ending = ends.then(|| self.letting_go(seen));
        self.finalizers::<K>(seen, left).await?;
        ending.into_iter().for_each(own::Ending::done);
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

    /// Writes the status, as a whole.
    ///
    /// # Errors
    /// Where the server refuses.
    pub async fn status(&self, of: &ObjectMeta, status: &impl Serialize) -> anyhow::Result<()> {
        let name = of.name.clone().unwrap_or_default();
        let body = json!({
            "apiVersion": QuorumNode::api_version(&()),
            "kind": QuorumNode::kind(&()),
            "status": status,
        });
        let namespace = of.namespace.clone().unwrap_or_default();
        let api = Api::<Guard<QuorumNode>>::namespaced(self.client.clone(), &namespace);
        let written = self.send(api.patch_status(&name, &forced(), &Patch::Apply(&body))).await?;
        written.with_context(|| format!("status of QuorumNode {name}"))?;
        Ok(())
    }

    /// Tells people of an event.
    ///
    /// # Errors
    /// Where the server refuses.
    pub async fn publish(&self, event: &Event, about: &ObjectReference) -> anyhow::Result<()> {
        Ok(self.send(self.recorder.publish(event, about)).await??)
    }
}

/// What became of an eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evicted {
    /// The server ends the pod.
    Done,
    /// A disruption budget is in the way.
    Refused,
    /// The pod is gone, or another one.
    Gone,
    /// More than one disruption budget selects the pod, so nobody may evict it.
    TwoBudgets,
}

/// Whole objects, and what another manager holds of them is taken over.
fn forced() -> PatchParams {
    PatchParams::apply(names::MANAGER).force()
}

/// A request that ends in time, or is given up. Its error quotes nothing of an answer, which may be a Secret.
///
/// # Errors
/// Where there is no answer in time.
pub async fn timely<T>(request: impl Future<Output = kube::Result<T>>) -> anyhow::Result<kube::Result<T>> {
    tokio::select! {
        // the time is looked at first: a process that was stopped for longer sends nothing when it goes on
        biased;
        () = tokio::time::sleep(REQUEST) => {
            anyhow::bail!("the API server did not answer for {} s", REQUEST.as_secs())
        }
        answered = request => Ok(answered.map_err(unquoted)),
    }
}

/// What does not decode is named by its place; the decoder would quote it.
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
