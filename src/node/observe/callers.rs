//! What callers of JSON-RPC refer to: authorities in ConfigMaps, and the keys of those who issue tokens.

use std::sync::Arc;

use kube::{Client, ResourceExt as _};

use super::Sources;
use crate::{
    api::QuorumNode,
    cluster::{
        Caches, Facts,
        caches::seen,
        drift::Content,
        facts::{self, Fact, Question},
        keys::Signer,
        write::Seen,
    },
    node::{
        names::Names,
        observed::{Found, ObservedCallers},
    },
    policy::{Issuer, Policy},
};

pub(super) async fn callers(
    sources: Sources<'_>,
    names: &Names,
    node: &QuorumNode,
) -> anyhow::Result<ObservedCallers> {
    let mut seen = ObservedCallers::default();
    let mut kept = None;
    for caller in &node.spec.rpc.callers {
        if let Some(at) = caller.identity.authority() {
            let question = Question::Authorities(at.key.clone());
            let found = facts::authorities(sources.config_map(&names.namespace, at, question).await?);
            seen.authorities.insert(caller.name.clone(), found);
        }
        let authorities = seen.authorities.get(&caller.name).and_then(Found::usable);
        let Some(signer) = Signer::of(&caller.identity, authorities) else { continue };
        let mut found = sources.keys.of(&signer);
        if !matches!(found, Found::Is(_)) {
            if kept.is_none() {
                kept = Some(policy(sources.client, sources.caches, sources.facts, (names, node)).await?);
            }
            let known = kept.as_ref().and_then(|kept| of_policy(kept.as_ref()?, &signer)).cloned();
            found = known.map_or(found, Found::Is);
        }
        match signer {
            Signer::Cluster => seen.cluster = Some(found),
            Signer::Issuer { url, .. } => drop(seen.issuers.insert(url, found)),
        }
    }
    Ok(seen)
}

/// The policy that was written last. Whoever has just begun to work has asked nobody for keys yet, and a caller must not
/// be refused for it. What someone else has put there does not count.
///
/// # Errors
/// Where it cannot be read.
pub(in crate::node) async fn policy(
    client: &Client,
    caches: &Caches,
    facts: &Facts,
    (names, node): (&Names, &QuorumNode),
) -> anyhow::Result<Option<Arc<Policy>>> {
    let live = seen(&caches.config_maps, &names.namespace, &names.guard_config());
    let is_ours = |live: &Seen| {
        let mut owners = live.meta.owner_references.iter().flatten();
        owners.any(|owner| Some(&owner.uid) == node.uid().as_ref())
            && live.content.as_ref().is_some_and(Content::is_untouched)
    };
    let Some(live) = live.filter(is_ours) else { return Ok(None) };
    match facts.config_map(client, &live.meta, Question::Policy).await? {
        Some(Fact::Policy(policy)) => Ok(policy),
        _ => Ok(None),
    }
}

fn of_policy<'a>(policy: &'a Policy, signer: &Signer) -> Option<&'a Issuer> {
    let wanted = match signer {
        Signer::Cluster => policy.cluster.as_ref()?,
        Signer::Issuer { url, .. } => url,
    };
    policy.issuers.iter().find(|issuer| issuer.issuer == *wanted)
}
