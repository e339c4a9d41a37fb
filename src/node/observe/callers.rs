//! What callers of JSON-RPC refer to: authorities in ConfigMaps, and the keys of those who issue tokens.

use std::sync::Arc;

use kube::ResourceExt as _;

use super::Sources;
use crate::{
    api::QuorumNode,
    cluster::{
        caches::find,
        facts::{self, Fact, PolicyKeys, Question},
        keys::Signer,
        write,
    },
    node::{
        names::Names,
        observed::{Found, ObservedCallers},
    },
    policy::Issuer,
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
                kept = Some(policy_keys(sources, names, node).await?);
            }
            let known = kept.as_ref().and_then(|kept| of_policy(kept, &signer)).cloned();
            found = known.map_or(found, Found::Is);
        }
        match signer {
            Signer::Cluster => seen.cluster = Some(found),
            Signer::Issuer { url, .. } => drop(seen.issuers.insert(url, found)),
        }
    }
    Ok(seen)
}

/// What the policy holds that was written last: whoever has just begun to work has asked nobody yet, and a caller must
/// not be refused for it. What someone else has put there does not count.
async fn policy_keys(
    sources: Sources<'_>,
    names: &Names,
    node: &QuorumNode,
) -> anyhow::Result<Arc<PolicyKeys>> {
    let live = find(&sources.caches.config_maps, &names.namespace, &names.guard_config());
    let is_ours = |live: &kube::api::ObjectMeta| {
        let owners = live.owner_references.iter().flatten();
        owners.into_iter().any(|owner| Some(&owner.uid) == node.uid().as_ref())
            && write::writers(live, &["data".into()]).is_empty()
    };
    let Some(live) = live.filter(is_ours) else { return Ok(Arc::default()) };
    match sources.facts.config_map(sources.client, &live, Question::Issuers).await? {
        Some(Fact::Issuers(keys)) => Ok(keys),
        _ => Ok(Arc::default()),
    }
}

fn of_policy<'a>(keys: &'a PolicyKeys, signer: &Signer) -> Option<&'a Issuer> {
    let wanted = match signer {
        Signer::Cluster => keys.cluster.as_ref()?,
        Signer::Issuer { url, .. } => url,
    };
    keys.issuers.iter().find(|issuer| issuer.issuer == *wanted)
}
