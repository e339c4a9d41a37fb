//! The only writes: apply what differs, create once, delete what is ours and no longer wanted.

use std::{borrow::Cow, fmt::Debug, sync::Arc};

use anyhow::Context as _;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ObjectReference, Pod, Secret},
    apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, EvictParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions},
    runtime::events::{Event, Recorder, Reporter},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::{
    Fence,
    contests::{Contest, Contests, Drift, Object},
    fence::REQUEST,
    fields,
    guard::Guard,
};
use crate::{
    api::QuorumNode,
    node::{
        fault::{Fault, Reason},
        names,
    },
};

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
}

/// Writes to one cluster.
#[derive(Clone)]
pub struct Writer {
    pub(super) client: Client,
    fence: Fence,
    contests: Arc<Contests>,
    recorder: Recorder,
}

impl Writer {
    /// A writer through `client`, for as long as `fence` allows, by the name that events have of it.
    #[must_use]
    pub fn new(client: Client, fence: Fence, identity: &str) -> Self {
        let reporter = Reporter { controller: names::MANAGER.into(), instance: Some(identity.to_owned()) };
        let recorder = Recorder::new(client.clone(), reporter);
        Self { client, fence, contests: Arc::default(), recorder }
    }

    /// Sends a write, if the lease is sure to hold until it has ended one way or the other.
    pub(super) async fn send<T>(
        &self,
        write: impl Future<Output = kube::Result<T>>,
    ) -> anyhow::Result<kube::Result<T>> {
        self.fence.check()?;
        timely(write).await
    }

    /// Applies `desired`, unless the object that lives under its name is the same already.
    ///
    /// # Errors
    /// Where the server refuses.
    pub async fn ensure<K: Kind>(&self, live: Option<&ObjectMeta>, desired: &K) -> anyhow::Result<Outcome> {
        self.ensure_with(live, desired, async { Ok(desired.clone()) }).await
    }

    /// As [`Self::ensure`], where what is sent differs from `desired` by something that is fetched only
    /// when it is sent.
    ///
    /// # Errors
    /// Where the server refuses, or `filled` fails.
    pub async fn ensure_with<K: Kind>(
        &self,
        live: Option<&ObjectMeta>,
        desired: &K,
        filled: impl Future<Output = anyhow::Result<K>>,
    ) -> anyhow::Result<Outcome> {
        let (body, digest) = stamped(desired)?;
        let name = desired.name_any();
        if let Some(live) = live {
            if let Some(fault) = foreign::<K>(live, desired) {
                return Ok(Outcome::Refused(fault));
            }
            if is_current(live, &digest, &body) {
                return Ok(Outcome::Unchanged);
            }
            if let Some(drift) = drift(live, &digest, &body)
                && !self.may_repair(desired, drift)
            {
                return Ok(Outcome::Held);
            }
        }
        let mut filled = serde_json::to_value(filled.await?).context("rendered object")?;
        filled["apiVersion"] = body["apiVersion"].clone();
        filled["kind"] = body["kind"].clone();
        filled["metadata"] = body["metadata"].clone();
        self.apply::<K>(&desired.namespace().unwrap_or_default(), &name, &filled).await?;
        tracing::info!(kind = %K::kind(&()), namespace = desired.namespace(), name, "applied");
        Ok(Outcome::Written)
    }

    /// Whether an object that someone else changed, or deleted, may be put back now; if so that is counted.
    #[must_use]
    pub fn may_repair<K: Kind>(&self, object: &K, drift: Drift) -> bool {
        self.contests.admit(&place(object), drift, Instant::now())
    }

    /// The fight over an object, if there is one.
    #[must_use]
    pub fn contest<K: Kind>(&self, object: &K) -> Option<Contest> {
        self.contests.over(&place(object), Instant::now())
    }

    async fn apply<K: Kind>(&self, namespace: &str, name: &str, body: &Value) -> anyhow::Result<()> {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let (parameters, patch) = (PatchParams::apply(names::MANAGER).force(), Patch::Apply(body));
        let written = self.send(api.patch_metadata(name, &parameters, &patch)).await?;
        written.with_context(|| format!("{} {name}", K::kind(&())))?;
        Ok(())
    }

    /// Creates a Secret that is never written again. If someone was first, theirs stands.
    ///
    /// # Errors
    /// Where the server refuses for another reason than that it exists.
    pub async fn create_once(&self, secret: &Secret) -> anyhow::Result<()> {
        let api = Api::<Secret>::namespaced(self.client.clone(), &secret.namespace().unwrap_or_default());
        let parameters = PostParams { field_manager: Some(names::MANAGER.into()), ..PostParams::default() };
        match self.send(api.create(&parameters, secret)).await? {
            Ok(_) => {
                tracing::info!(namespace = secret.namespace(), name = secret.name_any(), "secret created");
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            Err(error) => Err(error).with_context(|| format!("Secret {}", secret.name_any())),
        }
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
        match self.send(api.delete(&name, &parameters)).await? {
            Ok(_) => tracing::info!(kind = %K::kind(&()), namespace = seen.namespace, name, "deleted"),
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            // not what was decided about
            Err(kube::Error::Api(status)) if status.is_conflict() => return Ok(false),
            Err(error) => return Err(error).with_context(|| format!("{} {name}", K::kind(&()))),
        }
        Ok(true)
    }

    /// Asks for the end of this very pod, as far as disruption budgets allow. Whether it was granted.
    ///
    /// # Errors
    /// Where the server refuses for another reason than a budget, or that the pod is gone or another one.
    pub async fn evict(&self, namespace: &str, name: &str, uid: &str) -> anyhow::Result<bool> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let exactly = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let options = DeleteParams { preconditions: Some(exactly), ..DeleteParams::default() };
        let parameters = EvictParams { delete_options: Some(options), ..EvictParams::default() };
        match self.send(api.evict(name, &parameters)).await? {
            Ok(_) => {
                tracing::info!(namespace, name, "pod evicted for a newer revision");
                Ok(true)
            }
            Err(kube::Error::Api(status))
                if status.code == 429 || status.is_not_found() || status.is_conflict() =>
            {
                Ok(false)
            }
            Err(error) => Err(error).with_context(|| format!("eviction of Pod {name}")),
        }
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
        self.finalizers::<K>(seen, listed.filter(|listed| *listed != names::CLEANUP).collect()).await
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
        let (parameters, patch) = (PatchParams::apply(names::MANAGER).force(), Patch::Apply(&body));
        let written = self.send(api.patch_status(&name, &parameters, &patch)).await?;
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

/// The object as it is sent, with the digest of what was rendered.
fn stamped<K: Kind>(desired: &K) -> anyhow::Result<(Value, String)> {
    let mut body = serde_json::to_value(desired).context("rendered object")?;
    let digest: String =
        Sha256::digest(body.to_string()).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    body["apiVersion"] = json!(K::api_version(&()));
    body["kind"] = json!(K::kind(&()));
    body["metadata"]["annotations"][names::DIGEST] = json!(digest);
    Ok((body, digest))
}

/// Whether an object is there as it is wanted. Pure.
///
/// # Errors
/// Never in practice: what is rendered is plain data.
pub fn is_settled<K: Kind>(live: Option<&ObjectMeta>, desired: &K) -> anyhow::Result<bool> {
    let (body, digest) = stamped(desired)?;
    Ok(live.is_some_and(|live| is_current(live, &digest, &body)))
}

fn place<K: Kind>(object: &K) -> Object {
    (K::kind(&()).into_owned(), object.namespace().unwrap_or_default(), object.name_any())
}

/// What someone else did to an object that is not as it is wanted. `None` where that is our own change: it
/// carries our digest of another rendering.
fn drift(live: &ObjectMeta, digest: &str, body: &Value) -> Option<Drift> {
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

fn is_current(live: &ObjectMeta, digest: &str, body: &Value) -> bool {
    let stamped = live.annotations.as_ref().and_then(|annotations| annotations.get(names::DIGEST));
    stamped.is_some_and(|stamped| stamped == digest)
        && our_fields(live).is_some_and(|owned| fields::covers(&owned, body))
}

/// An object under our name that another one owns is never taken over.
fn foreign<K: Kind>(live: &ObjectMeta, desired: &K) -> Option<Fault> {
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
