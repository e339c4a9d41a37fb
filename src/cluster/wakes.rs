//! Whom an event concerns. Pure.

use std::{collections::HashMap, hash::Hash};

use kube::{Resource as _, ResourceExt as _, api::ObjectMeta, runtime::reflector::ObjectRef};

use super::caches::{Guarded, Woken};
use crate::{
    api::QuorumNode,
    node::{identity, names},
};

/// Whom an object concerns, from its labels, or else from its owners.
pub(super) fn woken_by(meta: &ObjectMeta) -> Woken {
    let label = |name: &str| meta.labels.as_ref().and_then(|labels| labels.get(name)).cloned();
    let namespace = meta.namespace.clone().unwrap_or_default();
    let mut owners = meta.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.kind == QuorumNode::kind(&())).map(|owner| owner.name.clone());
    match (label(names::NODE), label(names::NETWORK), label(names::MANAGED_BY).as_deref()) {
        (Some(node), _, Some(names::MANAGER)) => Woken::Child { namespace, node },
        (None, Some(network), Some(names::MANAGER)) => Woken::Network { namespace, network, identity: None },
        // labels can be lost
        _ if owner.is_some() => Woken::Child { namespace, node: owner.unwrap_or_default() },
        _ => Woken::Reference { namespace, name: meta.name.clone().unwrap_or_default() },
    }
}

/// A claim is made from a template that cannot change, and carries the pair that selects a node's pods alone.
pub(super) fn woken_by_claim(meta: &ObjectMeta) -> Woken {
    let node = meta.labels.as_ref().and_then(|labels| labels.get(names::NODE)).cloned();
    Woken::Child { namespace: meta.namespace.clone().unwrap_or_default(), node: node.unwrap_or_default() }
}

/// A node wakes itself when what people write changes, and its siblings when what they read of it does.
/// Its own status writes wake nobody else, and not itself.
pub(super) fn changes(seen: &mut HashMap<ObjectRef<Guarded>, (u64, u64)>, node: &Guarded) -> Vec<Woken> {
    let reference = ObjectRef::from_obj(node);
    let meta = node.meta();
    let own = hashed(&(meta.generation, &meta.annotations, &meta.finalizers, &meta.uid, node.0.is_ok()));
    let valid = node.0.as_ref().ok();
    let status = valid.and_then(|valid| valid.status.as_ref());
    let shown = hashed(&(
        meta.generation,
        &meta.uid,
        meta.deletion_timestamp.is_some(),
        valid.map(|valid| (identity::claimed(valid), identity::stands_back(valid), identity::is_held(valid))),
        status.and_then(|status| status.peer_address.as_ref()),
    ));
    let before = seen.insert(reference.clone(), (own, shown));
    let mut woken = Vec::new();
    // an event that changes neither is our own status write, or a deletion: the latter must be heard
    let unchanged = before == Some((own, shown));
    if before.is_none_or(|(before, _)| before != own) || (unchanged && meta.deletion_timestamp.is_some()) {
        woken.push(Woken::Node(reference));
    }
    if let Ok(valid) = &node.0
        && before.is_none_or(|(_, before)| before != shown)
    {
        woken.push(Woken::Network {
            namespace: valid.namespace().unwrap_or_default(),
            network: valid.spec.network.clone(),
            identity: identity::claimed(valid).map(str::to_owned),
        });
    }
    woken
}

pub(super) fn hashed(value: &impl Hash) -> u64 {
    use std::hash::{DefaultHasher, Hasher as _};
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
