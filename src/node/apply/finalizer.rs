//! Finalizers of irreplaceable Secrets: added while their node exists, and removed when it is deleted. Also restores
//! owner references that are missing after a restore from a backup.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::Applier;
use crate::{
    cluster::write::timely,
    model::irreplaceable,
    node::{
        Context,
        delete::{self, plan::DeletingNode},
        desired::certificates::{self, Authority},
        observe,
        observed::Observed,
        validate::Validated,
    },
};

/// Adds the finalizer to irreplaceable Secrets, and removes the tracking labels of other tools from them. If the whole
/// namespace is being deleted, removes the finalizer instead, while the operator still has permission. The deletion of
/// a namespace ends its pods first, so it is checked for only if a pod terminates.
///
/// # Errors
/// Fails if the server rejects a request.
pub async fn add_finalizer(
    context: Context<'_>,
    applier: &mut Applier<'_>,
    observed: &Observed,
    may_write: bool,
) -> anyhow::Result<()> {
    let changes: Vec<_> = observed
        .irreplaceable_secrets
        .iter()
        .filter(|_| may_write)
        .filter_map(|meta| Some((meta, irreplaceable::change(meta)?)))
        .collect();
    let held: Vec<_> =
        observed.irreplaceable_secrets.iter().filter(|meta| irreplaceable::has_finalizer(meta)).collect();
    let may_end = !held.is_empty() && observed.pods.values().any(|pod| pod.terminating);
    if changes.is_empty() && !may_end {
        return Ok(());
    }
    let namespace = observed.node.namespace().unwrap_or_default();
    if delete::namespace_ends(context, &namespace).await? {
        for meta in held {
            context.writer.remove_finalizer::<Secret>(meta).await?;
            applier.applied.writes += 1;
        }
        return Ok(());
    }
    for (meta, change) in changes {
        let written = context.writer.amend::<Secret>(meta, &change).await?;
        applier.applied.writes += usize::from(written);
        applier.applied.changed |= !written;
    }
    Ok(())
}

/// Restores the owner reference of the node's certificates. Without it, a Secret restored from a backup would outlive
/// the node.
///
/// # Errors
/// Fails if the server rejects a request.
pub async fn own(context: Context<'_>, applier: &mut Applier<'_>, node: &Validated) -> anyhow::Result<()> {
    let is_made = |authority: Authority| matches!(authority, Authority::Network | Authority::Node);
    let wanted = certificates::wanted(node);
    for (purpose, _) in wanted.into_iter().filter(|(_, wanted)| is_made(wanted.authority)) {
        let name = node.names.certificate(purpose);
        let Some(meta) = context.caches.secret(&node.names.namespace, &name) else { continue };
        let is_owned = meta.owner_references.as_ref().is_some_and(|owners| !owners.is_empty());
        if is_owned || meta.deletion_timestamp.is_some() {
            continue;
        }
        let owner = json!({"ownerReferences": [node.owner]});
        let written = context.writer.amend::<Secret>(&meta, &owner).await?;
        applier.applied.writes += usize::from(written);
        applier.applied.changed |= !written;
    }
    Ok(())
}

/// Removes the finalizer from irreplaceable Secrets when their node is deleted, and from the network's CA with the last
/// node of the network. Reads live, since no later reconcile would find a Secret that was missed.
///
/// # Errors
/// Fails if the server rejects a request. In a namespace that is being deleted, a missing permission is only logged,
/// and a user must remove the finalizer.
pub async fn remove_finalizers(
    context: Context<'_>,
    ending: &DeletingNode,
    namespace_ends: bool,
) -> anyhow::Result<()> {
    let names = &ending.names;
    let mut irreplaceable_secrets = observe::generations(context.caches, names, &names.node_authority());
    if ending.keeps_key {
        irreplaceable_secrets.push(names.node_key());
    }
    if namespace_ends || observe::network_members(context.caches, names).is_empty() {
        irreplaceable_secrets.extend(observe::generations(context.caches, names, &names.network_authority()));
    }
    for name in irreplaceable_secrets {
        match remove_finalizer(context, &names.namespace, &name).await {
            Err(error) if namespace_ends && is_forbidden(&error) => {
                tracing::warn!(
                    namespace = names.namespace,
                    name,
                    "the Secret keeps its finalizer: the permission to remove it was deleted with the RoleBinding"
                );
            }
            other => other?,
        }
    }
    Ok(())
}

async fn remove_finalizer(context: Context<'_>, namespace: &str, name: &str) -> anyhow::Result<()> {
    let api = Api::<Secret>::namespaced(context.client.clone(), namespace);
    match timely(api.get_metadata_opt(name)).await?? {
        Some(found) if irreplaceable::has_finalizer(&found.metadata) => {
            context.writer.remove_finalizer::<Secret>(&found.metadata).await
        }
        _ => Ok(()),
    }
}

fn is_forbidden(error: &anyhow::Error) -> bool {
    let kube = error.chain().find_map(|cause| cause.downcast_ref::<kube::Error>());
    matches!(kube, Some(kube::Error::Api(status)) if status.code == 403)
}
