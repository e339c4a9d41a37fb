//! Deletes a node step by step. The remaining objects determine the next step, so the operator may restart at any time.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Namespace, PersistentVolumeClaim, Secret},
    networking::v1::NetworkPolicy,
};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Resource, ResourceExt as _, api::ObjectMeta, runtime::reflector::Store};

use super::{
    Context,
    apply::finalizer,
    observe,
    status::{self, undecodable},
};
use crate::model::irreplaceable;
use crate::{
    api::QuorumNode,
    cluster::write::{Evicted, Kind, timely},
    model::{
        decode::Decoded,
        fault,
        names::{self, Names},
    },
};
use plan::{DeletingNode, Deletions, Remaining, Step};

/// Interval between checks, in case a deletion event is lost.
const REQUEUE_SOON: Duration = Duration::from_secs(30);

/// Takes one step of a node's deletion, also for a node that does not decode. Returns when to take the next step;
/// `None` after the last one, or where this very node is gone. Never touches a new node of the same name.
///
/// # Errors
/// Where a request to the server fails.
pub async fn step(
    context: Context<'_>,
    node: &Decoded<QuorumNode>,
    now: Timestamp,
) -> anyhow::Result<Option<Duration>> {
    let mut ending = DeletingNode::of(node).context("a QuorumNode without namespace")?;
    if !context.writer.is_there::<QuorumNode>(&ending.meta).await? {
        return Ok(None);
    }
    let remains = remains(context, &ending).await?;
    if ending.names.network.is_empty() {
        // the node's policies remain until the last step and carry the label
        let network = remains.policies.iter().find_map(|policy| policy.labels.as_ref()?.get(names::NETWORK));
        ending.names.network = network.cloned().unwrap_or_default();
    }
    let names = &ending.names;
    let namespace_ends = remains.namespace_ends;
    match plan::next(&ending, remains) {
        Step::EndWorkloads(workloads) => {
            let mut end = true;
            for workload in &workloads {
                end &= context.writer.delete::<StatefulSet>(workload).await?;
            }
            let again = report(context, node, "deleting its StatefulSets", now).await?;
            Ok(if end { again } else { Some(super::REQUEUE_SOON) })
        }
        Step::EndPods(pods) => {
            let mut fault = None;
            for pod in &pods {
                let (name, uid) = (pod.name.clone().unwrap_or_default(), pod.uid.clone().unwrap_or_default());
                if context.writer.evict(&names.namespace, &name, &uid).await?
                    == Evicted::MultipleDisruptionBudgets
                {
                    fault = Some(fault::two_budgets(&name).to_string());
                }
            }
            report(context, node, fault.as_deref().unwrap_or("evicting its pods"), now).await
        }
        // a namespace that is being deleted may have lost the permission to write the status
        Step::AwaitPods(_) if namespace_ends => Ok(Some(REQUEUE_SOON)),
        Step::AwaitPods(pods) => {
            let pods: Vec<_> = pods.into_iter().collect();
            report(context, node, &format!("waiting for its pods to end: {}", pods.join(", ")), now).await
        }
        Step::RemoveFinalizers(deletions, policies) => {
            // once the node is gone, the operator no longer looks for its objects
            if !delete_unretained(context, names, &deletions).await? {
                return Ok(Some(super::REQUEUE_SOON));
            }
            finalizer::remove_finalizers(context, &ending, namespace_ends).await?;
            for policy in policies {
                context.writer.remove_finalizer::<NetworkPolicy>(&policy).await?;
            }
            context.writer.remove_finalizer::<QuorumNode>(&ending.meta).await?;
            Ok(None)
        }
    }
}

/// Writes the progress of the deletion into the status, if it differs.
async fn report(
    context: Context<'_>,
    node: &Decoded<QuorumNode>,
    what: &str,
    now: Timestamp,
) -> anyhow::Result<Option<Duration>> {
    match &node.0 {
        Ok(read) => {
            let status = status::ending(read, what, now);
            if read.status.as_ref() != Some(&status) {
                context.writer.status(&read.metadata, &status).await?;
            }
        }
        Err(undecodable) => {
            if let Some(status) = undecodable::ending(undecodable, what, now) {
                context.writer.status(&undecodable.metadata, &status).await?;
            }
        }
    }
    Ok(Some(REQUEUE_SOON))
}

async fn remains(context: Context<'_>, ending: &DeletingNode) -> anyhow::Result<Remaining> {
    let (caches, names) = (context.caches, &ending.names);
    let policies = of_node(&caches.policies, ending);
    let pods = of_node(&caches.pods, ending);
    let is_unmanaged = |pod: &&ObjectMeta| {
        names::Component::ALL.iter().any(|part| pod.name.as_ref() == Some(&names.pod(*part)))
            && pod.deletion_timestamp.is_none()
            && !pod.owner_references.iter().flatten().any(|owner| owner.controller == Some(true))
    };
    Ok(Remaining {
        unmanaged: pods.iter().filter(is_unmanaged).cloned().collect(),
        workloads: of_node(&caches.workloads, ending)
            .into_iter()
            .filter(|meta| meta.deletion_timestamp.is_none())
            .collect(),
        pods: pods.into_iter().filter_map(|meta| meta.name).collect(),
        policies: policies.into_iter().filter(irreplaceable::has_finalizer).collect(),
        namespace_ends: namespace_ends(context, &names.namespace).await?,
    })
}

/// Whether a namespace is being deleted. Reads it from the server, since namespaces are not watched.
pub(super) async fn namespace_ends(context: Context<'_>, name: &str) -> anyhow::Result<bool> {
    let api = Api::<Namespace>::all(context.client.clone());
    let found = timely(api.get_metadata_opt(name)).await?.with_context(|| format!("Namespace {name}"))?;
    Ok(found.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some()))
}

/// Metadata of the node's objects of a kind. Checks the owner as well as the label, since the objects of a later node
/// with the same name have the same labels.
fn of_node<K>(store: &Store<K>, ending: &DeletingNode) -> Vec<ObjectMeta>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let is_ours = |object: &Arc<K>| {
        object.meta().namespace.as_deref() == Some(&ending.names.namespace)
            && object.labels().get(names::NODE) == Some(&ending.names.node)
            && ending.has(object.meta())
    };
    store.state().iter().filter(|object| is_ours(object)).map(|object| object.meta().clone()).collect()
}

/// Deletes claims and Secrets that the spec does not retain, each read from the server first and deleted only in that
/// very version. Returns whether all deletions were accepted.
async fn delete_unretained(
    context: Context<'_>,
    names: &Names,
    deletions: &Deletions,
) -> anyhow::Result<bool> {
    let mut end = true;
    for name in &deletions.claims {
        end &= delete::<PersistentVolumeClaim>(context, names, name).await?;
    }
    for name in &deletions.secrets {
        end &= delete::<Secret>(context, names, name).await?;
    }
    if deletions.secrets.contains(&names.node_authority()) {
        for name in observe::generations(context.caches, names, &names.node_authority()).into_iter().skip(1) {
            end &= delete::<Secret>(context, names, &name).await?;
        }
    }
    Ok(end)
}

async fn delete<K: Kind>(context: Context<'_>, names: &Names, name: &str) -> anyhow::Result<bool> {
    let api = Api::<K>::namespaced(context.client.clone(), &names.namespace);
    let found = timely(api.get_metadata_opt(name)).await?.with_context(|| name.to_owned())?;
    match found {
        Some(object) if object.metadata.deletion_timestamp.is_none() => {
            context.writer.delete::<K>(&object.metadata).await
        }
        _ => Ok(true),
    }
}

pub mod plan;
