//! The end of a node, carried out. It may start from nothing at any time: what is left says where it is.

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
    Tools,
    ending::{self, Kept, Remains, Step},
    hold,
    names::{self, Names},
    observe, report,
};
use crate::{
    api::QuorumNode,
    cluster::write::{Kind, timely},
};

/// When to look again, should no event tell that something has ended.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// One step towards the end, and when to take the next. `None` where it was the last.
///
/// # Errors
/// Where the server refuses.
pub async fn step(
    tools: Tools<'_>,
    node: &Arc<QuorumNode>,
    now: Timestamp,
) -> anyhow::Result<Option<Duration>> {
    let names = Names {
        node: node.name_any(),
        namespace: node.namespace().context("a QuorumNode without namespace")?,
        network: node.spec.network.clone(),
    };
    let remains = remains(tools, &names).await?;
    let namespace_ends = remains.namespace_ends;
    match ending::next(node, &names, remains) {
        Step::EndWorkloads(workloads) => {
            let mut end = true;
            for workload in &workloads {
                end &= tools.writer.delete::<StatefulSet>(workload).await?;
            }
            let again = say(tools, node, "its workloads are being ended", now).await?;
            Ok(if end { again } else { Some(super::LOOK_AGAIN) })
        }
        Step::EndPods(pods) => {
            for pod in &pods {
                let (name, uid) = (pod.name.clone().unwrap_or_default(), pod.uid.clone().unwrap_or_default());
                tools.writer.evict(&names.namespace, &name, &uid).await?;
            }
            say(tools, node, "its pods are being ended", now).await
        }
        // nothing may be said there any more
        Step::AwaitPods(_) if namespace_ends => Ok(Some(LOOK_AGAIN)),
        Step::AwaitPods(pods) => {
            let pods: Vec<_> = pods.into_iter().collect();
            say(tools, node, &format!("waits for these pods to end: {}", pods.join(", ")), now).await
        }
        Step::LetGo(kept, policies) => {
            // nobody else would look for what is left then
            if !delete_kept(tools, &names, &kept).await? {
                return Ok(Some(super::LOOK_AGAIN));
            }
            hold::let_go(tools, node, &names, namespace_ends).await?;
            for policy in policies {
                tools.writer.release::<NetworkPolicy>(&policy).await?;
            }
            tools.writer.release::<QuorumNode>(&node.metadata).await?;
            Ok(None)
        }
    }
}

/// Where the end stands, in the status; only where that is news.
async fn say(
    tools: Tools<'_>,
    node: &QuorumNode,
    what: &str,
    now: Timestamp,
) -> anyhow::Result<Option<Duration>> {
    let status = report::ending(node, what, now);
    if node.status.as_ref() != Some(&status) {
        tools.writer.status(&node.metadata, &status).await?;
    }
    Ok(Some(LOOK_AGAIN))
}

async fn remains(tools: Tools<'_>, names: &Names) -> anyhow::Result<Remains> {
    let caches = tools.caches;
    let policies = of_node(&caches.policies, names);
    let pods = of_node(&caches.pods, names);
    let is_unmanaged = |pod: &&ObjectMeta| {
        names::Component::ALL.iter().any(|part| pod.name.as_ref() == Some(&names.pod(*part)))
            && pod.deletion_timestamp.is_none()
            && !pod.owner_references.iter().flatten().any(|owner| owner.controller == Some(true))
    };
    Ok(Remains {
        unmanaged: pods.iter().filter(is_unmanaged).cloned().collect(),
        workloads: of_node(&caches.workloads, names)
            .into_iter()
            .filter(|meta| meta.deletion_timestamp.is_none())
            .collect(),
        pods: pods.into_iter().filter_map(|meta| meta.name).collect(),
        policies: policies.into_iter().filter(ending::waits).collect(),
        namespace_ends: namespace_ends(tools, &names.namespace).await?,
    })
}

/// Read live: namespaces are not watched.
pub(super) async fn namespace_ends(tools: Tools<'_>, name: &str) -> anyhow::Result<bool> {
    let api = Api::<Namespace>::all(tools.client.clone());
    let found = timely(api.get_metadata_opt(name)).await?.with_context(|| format!("Namespace {name}"))?;
    Ok(found.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some()))
}

fn of_node<K>(store: &Store<K>, names: &Names) -> Vec<ObjectMeta>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let is_ours = |object: &Arc<K>| {
        object.meta().namespace.as_deref() == Some(&names.namespace)
            && object.labels().get(names::NODE) == Some(&names.node)
    };
    store.state().iter().filter(|object| is_ours(object)).map(|object| object.meta().clone()).collect()
}

/// Read live: a claim or a Secret is deleted exactly as it is now, or not at all. Whether all of them end.
async fn delete_kept(tools: Tools<'_>, names: &Names, kept: &Kept) -> anyhow::Result<bool> {
    let mut end = true;
    for name in &kept.claims {
        end &= delete::<PersistentVolumeClaim>(tools, names, name).await?;
    }
    for name in &kept.secrets {
        end &= delete::<Secret>(tools, names, name).await?;
    }
    if kept.secrets.contains(&names.node_authority()) {
        for name in observe::generations(tools.caches, names, &names.node_authority()).into_iter().skip(1) {
            end &= delete::<Secret>(tools, names, &name).await?;
        }
    }
    Ok(end)
}

async fn delete<K: Kind>(tools: Tools<'_>, names: &Names, name: &str) -> anyhow::Result<bool> {
    let api = Api::<K>::namespaced(tools.client.clone(), &names.namespace);
    let found = timely(api.get_metadata_opt(name)).await?.with_context(|| name.to_owned())?;
    match found {
        Some(object) if object.metadata.deletion_timestamp.is_none() => {
            tools.writer.delete::<K>(&object.metadata).await
        }
        _ => Ok(true),
    }
}
