//! What cannot be made again is held by our finalizer while its node lives, and let go when it ends; and what the node
//! owns is owned again where a backup tool has brought it back without its owner.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::{
    Tools,
    apply::Applier,
    desired::certificates::{self, Authority},
    ending::{self, Ending},
    lasting, observe,
    observed::Observed,
    teardown,
    validate::Validated,
};
use crate::cluster::write::timely;

/// Puts our finalizer on what cannot be made again, and takes off it the labels by which other tools track. Where the
/// whole namespace is being deleted it is let go, while we still may: its pods are ended first.
///
/// # Errors
/// Where the server refuses.
pub async fn hold(
    tools: Tools<'_>,
    applier: &mut Applier<'_>,
    observed: &Observed,
    may_write: bool,
) -> anyhow::Result<()> {
    let changes: Vec<_> = observed
        .lasting
        .iter()
        .filter(|_| may_write)
        .filter_map(|meta| Some((meta, lasting::change(meta)?)))
        .collect();
    let held: Vec<_> = observed.lasting.iter().filter(|meta| ending::waits(meta)).collect();
    let may_end = !held.is_empty() && observed.pods.values().any(|pod| pod.terminating);
    if changes.is_empty() && !may_end {
        return Ok(());
    }
    let namespace = observed.node.namespace().unwrap_or_default();
    if teardown::namespace_ends(tools, &namespace).await? {
        for meta in held {
            tools.writer.release::<Secret>(meta).await?;
            applier.applied.writes += 1;
        }
        return Ok(());
    }
    for (meta, change) in changes {
        let written = tools.writer.amend::<Secret>(meta, &change).await?;
        applier.applied.writes += usize::from(written);
        applier.applied.changed |= !written;
    }
    Ok(())
}

/// Gives the node's certificates their owner back: what a backup tool has restored without one outlives the node.
///
/// # Errors
/// Where the server refuses.
pub async fn own(tools: Tools<'_>, applier: &mut Applier<'_>, node: &Validated) -> anyhow::Result<()> {
    let is_made = |authority: Authority| matches!(authority, Authority::Network | Authority::Node);
    let wanted = certificates::wanted(node);
    for (purpose, _) in wanted.into_iter().filter(|(_, wanted)| is_made(wanted.authority)) {
        let name = node.names.certificate(purpose);
        let Some(meta) = tools.caches.secret(&node.names.namespace, &name) else { continue };
        let is_owned = meta.owner_references.as_ref().is_some_and(|owners| !owners.is_empty());
        if is_owned || meta.deletion_timestamp.is_some() {
            continue;
        }
        let owner = json!({"ownerReferences": [node.owner]});
        let written = tools.writer.amend::<Secret>(&meta, &owner).await?;
        applier.applied.writes += usize::from(written);
        applier.applied.changed |= !written;
    }
    Ok(())
}

/// Takes our finalizer off what cannot be made again when its node ends: off the network's authority with the last node
/// of the network. What stays must not wait for anybody. Read live: nobody else would look for what is left.
///
/// # Errors
/// Where the server refuses; in a namespace that is being deleted we may no longer be allowed to, and then they wait for
/// a person.
pub async fn let_go(tools: Tools<'_>, ending: &Ending, namespace_ends: bool) -> anyhow::Result<()> {
    let names = &ending.names;
    let mut lasting = observe::generations(tools.caches, names, &names.node_authority());
    if ending.keeps_key {
        lasting.push(names.node_key());
    }
    if namespace_ends || observe::siblings(tools.caches, names).is_empty() {
        lasting.extend(observe::generations(tools.caches, names, &names.network_authority()));
    }
    for name in lasting {
        match release(tools, &names.namespace, &name).await {
            Err(error) if namespace_ends && is_forbidden(&error) => {
                tracing::warn!(
                    namespace = names.namespace,
                    name,
                    "the Secret keeps its finalizer: the right to take it off went with the namespace's RoleBinding"
                );
            }
            other => other?,
        }
    }
    Ok(())
}

async fn release(tools: Tools<'_>, namespace: &str, name: &str) -> anyhow::Result<()> {
    let api = Api::<Secret>::namespaced(tools.client.clone(), namespace);
    match timely(api.get_metadata_opt(name)).await?? {
        Some(found) if ending::waits(&found.metadata) => {
            tools.writer.release::<Secret>(&found.metadata).await
        }
        _ => Ok(()),
    }
}

fn is_forbidden(error: &anyhow::Error) -> bool {
    let kube = error.chain().find_map(|cause| cause.downcast_ref::<kube::Error>());
    matches!(kube, Some(kube::Error::Api(status)) if status.code == 403)
}
