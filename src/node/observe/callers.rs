//! Observes what JSON-RPC callers reference: CAs in ConfigMaps, and keys of token issuers.

use std::sync::Arc;

use kube::{Client, ResourceExt as _};

use super::Sources;
use crate::{
    api::QuorumNode,
    cluster::{
        Caches, SecretFacts,
        drift::Content,
        jwks::Signer,
        secret_facts::{self, Fact, Question},
        watch::caches::seen,
        write::Seen,
    },
    model::{lookup::Found, names::Names},
    node::observed::ObservedCallers,
    protocol::policy::{Issuer, Policy},
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
            let found = secret_facts::authorities(sources.config_map(&names.namespace, at, question).await?);
            seen.authorities.insert(caller.name.clone(), found);
        }
        let authorities = seen.authorities.get(&caller.name).and_then(Found::usable);
        let Some(signer) = Signer::of(&caller.identity, authorities) else { continue };
        let mut found = sources.keys.of(&signer);
        if !matches!(found, Found::Present(_)) {
            if kept.is_none() {
                kept = Some(policy(sources.client, sources.caches, sources.facts, (names, node)).await?);
            }
            let known = kept.as_ref().and_then(|kept| of_policy(kept.as_ref()?, &signer)).cloned();
            found = known.map_or(found, Found::Present);
        }
        match signer {
            Signer::Cluster => seen.cluster = Some(found),
            Signer::Issuer { url, .. } => drop(seen.issuers.insert(url, found)),
        }
    }
    Ok(seen)
}

/// The policy that was written last. A replica that has just begun to lead has no issuer keys yet, and must not lock
/// out a caller for that. A policy that others have changed does not count.
///
/// # Errors
/// Fails if the policy cannot be read.
pub(in crate::node) async fn policy(
    client: &Client,
    caches: &Caches,
    facts: &SecretFacts,
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
