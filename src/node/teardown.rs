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
    ending::{self, Ending, Kept, Remains, Step},
    fault, hold,
    names::{self, Names},
    observe, report, unreadable,
};
use crate::{
    api::QuorumNode,
    cluster::{
        guard::Guard,
        write::{Evicted, Kind, timely},
    },
};

/// When to look again, should no event tell that something has ended.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// One step towards the end of a node, whether it can be read or not, and when to take the next. `None` where it was the
/// last, or where this very node is gone: another one of its name may have been made, and nothing of that is touched.
///
/// # Errors
/// Where the server refuses.
pub async fn step(
    tools: Tools<'_>,
    node: &Guard<QuorumNode>,
    now: Timestamp,
) -> anyhow::Result<Option<Duration>> {
    let mut ending = Ending::of(node).context("a QuorumNode without namespace")?;
    if !tools.writer.is_there::<QuorumNode>(&ending.meta).await? {
        return Ok(None);
    }
    let remains = remains(tools, &ending).await?;
    if ending.names.network.is_empty() {
        // its policies stay until the end, and tell
        let network = remains.policies.iter().find_map(|policy| policy.labels.as_ref()?.get(names::NETWORK));
        ending.names.network = network.cloned().unwrap_or_default();
    }
    let names = &ending.names;
    let namespace_ends = remains.namespace_ends;
    match ending::next(&ending, remains) {
        Step::EndWorkloads(workloads) => {
            let mut end = true;
            for workload in &workloads {
                end &= tools.writer.delete::<StatefulSet>(workload).await?;
            }
            let again = say(tools, node, "its workloads are being ended", now).await?;
            Ok(if end { again } else { Some(super::LOOK_AGAIN) })
        }
        Step::EndPods(pods) => {
            let mut held = None;
            for pod in &pods {
                let (name, uid) = (pod.name.clone().unwrap_or_default(), pod.uid.clone().unwrap_or_default());
                if tools.writer.evict(&names.namespace, &name, &uid).await? == Evicted::TwoBudgets {
                    held = Some(fault::two_budgets(&name).to_string());
                }
            }
            say(tools, node, held.as_deref().unwrap_or("its pods are being ended"), now).await
        }
        // nothing may be said there any more
        Step::AwaitPods(_) if namespace_ends => Ok(Some(LOOK_AGAIN)),
        Step::AwaitPods(pods) => {
            let pods: Vec<_> = pods.into_iter().collect();
            say(tools, node, &format!("waits for these pods to end: {}", pods.join(", ")), now).await
        }
        Step::LetGo(kept, policies) => {
            // nobody else would look for what is left then
            if !delete_kept(tools, names, &kept).await? {
                return Ok(Some(super::LOOK_AGAIN));
            }
            hold::let_go(tools, &ending, namespace_ends).await?;
            for policy in policies {
                tools.writer.release::<NetworkPolicy>(&policy).await?;
            }
            tools.writer.release::<QuorumNode>(&ending.meta).await?;
            Ok(None)
        }
    }
}

/// Where the end stands, in the status; only where that is news.
async fn say(
    tools: Tools<'_>,
    node: &Guard<QuorumNode>,
    what: &str,
    now: Timestamp,
) -> anyhow::Result<Option<Duration>> {
    match &node.0 {
        Ok(read) => {
            let status = report::ending(read, what, now);
            if read.status.as_ref() != Some(&status) {
                tools.writer.status(&read.metadata, &status).await?;
            }
        }
        Err(unreadable) => {
            if let Some(status) = unreadable::ending(unreadable, what, now) {
                tools.writer.status(&unreadable.metadata, &status).await?;
            }
        }
    }
    Ok(Some(LOOK_AGAIN))
}

async fn remains(tools: Tools<'_>, ending: &Ending) -> anyhow::Result<Remains> {
    let (caches, names) = (tools.caches, &ending.names);
    let policies = of_node(&caches.policies, ending);
    let pods = of_node(&caches.pods, ending);
    let is_unmanaged = |pod: &&ObjectMeta| {
        names::Component::ALL.iter().any(|part| pod.name.as_ref() == Some(&names.pod(*part)))
            && pod.deletion_timestamp.is_none()
            && !pod.owner_references.iter().flatten().any(|owner| owner.controller == Some(true))
    };
    Ok(Remains {
        unmanaged: pods.iter().filter(is_unmanaged).cloned().collect(),
        workloads: of_node(&caches.workloads, ending)
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

/// By label, and by owner: a node that was made again under the same name has objects with the same labels.
fn of_node<K>(store: &Store<K>, ending: &Ending) -> Vec<ObjectMeta>
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
