//! Whom an event concerns. Pure.

use std::hash::Hash;

use k8s_openapi::api::core::v1::Node;
use kube::{
    Resource as _, ResourceExt as _,
    api::ObjectMeta,
    runtime::{reflector::ObjectRef, watcher::Event},
};

use super::{caches::Guarded, listed::Listed};
use crate::{
    api::QuorumNode,
    node::{
        identity, names,
        sibling::{self, Sibling},
    },
};

/// Something happened to an object.
#[derive(Clone, Debug)]
pub enum Woken {
    /// A node's own object: its spec, annotations or finalizers.
    Node(ObjectRef<Guarded>),
    /// The identity of a node: it is claimed from now on.
    Claim(ObjectRef<Guarded>),
    /// Something that every node of a network looks at: a sibling's key or address, or what they share.
    Network {
        /// Where the network is.
        namespace: String,
        /// Its name.
        network: String,
        /// The identity of the node that has changed; others may claim it elsewhere.
        identity: Option<String>,
    },
    /// An object that carries a node's label.
    Child {
        /// Where it is.
        namespace: String,
        /// The node it belongs to.
        node: String,
    },
    /// An object that a spec may name, or that is a node's by its name alone.
    Reference {
        /// Where it is.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A host.
    Host,
    /// Whatever may have been missed: a kind was listed anew, or may not be watched any more.
    All,
    /// A kind that may not be there: whether it is has changed, or what there is of it is known now.
    Optional,
    /// An object that does not decode, or does again, or is gone.
    Unreadable {
        /// Its kind.
        kind: String,
        /// Where it is.
        namespace: String,
        /// Its name.
        name: String,
        /// Whether it cannot be read from now on.
        begins: bool,
    },
}

/// Whom an object concerns: from its labels, or else from its owners, as long as they agree with its name. Anybody may change
/// the former, and would have nobody look at what was changed with them.
pub(super) fn woken_by(meta: &ObjectMeta) -> Woken {
    let label = |name: &str| meta.labels.as_ref().and_then(|labels| labels.get(name)).cloned();
    let namespace = meta.namespace.clone().unwrap_or_default();
    let mut owners = meta.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.kind == QuorumNode::kind(&())).map(|owner| owner.name.clone());
    let name = meta.name.clone().unwrap_or_default();
    match (label(names::NODE), label(names::NETWORK), label(names::MANAGED_BY).as_deref()) {
        (Some(node), _, Some(names::MANAGER)) if names::is_named_for(&name, &node) => {
            Woken::Child { namespace, node }
        }
        (None, Some(network), Some(names::MANAGER)) if names::is_named_for_network(&name, &network) => {
            Woken::Network { namespace, network, identity: None }
        }
        _ => match owner.filter(|owner| names::is_named_for(&name, owner)) {
            Some(node) => Woken::Child { namespace, node },
            None => Woken::Reference { namespace, name },
        },
    }
}

/// A claim is made from a template that cannot change, and carries the pair that selects a node's pods alone.
pub(super) fn woken_by_claim(meta: &ObjectMeta) -> Woken {
    let node = meta.labels.as_ref().and_then(|labels| labels.get(names::NODE)).cloned();
    Woken::Child { namespace: meta.namespace.clone().unwrap_or_default(), node: node.unwrap_or_default() }
}

/// What was last seen of each node.
pub(super) type SeenNodes = Listed<ObjectRef<Guarded>, Seen>;

/// Of a node, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// What wakes itself.
    own: u64,
    /// What wakes others.
    shown: u64,
    /// The identity that it claims.
    claimed: Option<u64>,
}

/// A node wakes itself when what people write changes, or its claim to an identity is there, and its siblings when
/// what they read of it changes. Other writes of its own status wake nobody else, and not itself.
pub(super) fn woken_by_node(seen: &mut SeenNodes, event: &Event<Guarded>) -> Vec<Woken> {
    match event {
        Event::Init => {
            seen.begin();
            vec![]
        }
        Event::InitDone => seen.gone().into_iter().map(Woken::Node).collect(),
        Event::Delete(node) => {
            let reference = ObjectRef::from_obj(node);
            seen.remove(&reference);
            [Woken::Node(reference)].into_iter().chain(network(node)).collect()
        }
        Event::Apply(node) | Event::InitApply(node) => {
            let reference = ObjectRef::from_obj(node);
            let claimed = node.0.as_ref().ok().and_then(identity::claimed).map(|key| hashed(&key));
            let now = Seen { own: own(node), shown: shown(node), claimed };
            let before = seen.replace(reference.clone(), now);
            let claims = claimed.is_some() && before.is_none_or(|before| before.claimed != claimed);
            let claim = claims.then(|| Woken::Claim(reference.clone()));
            let itself = before.is_none_or(|before| before.own != now.own).then_some(Woken::Node(reference));
            let others =
                before.is_none_or(|before| before.shown != now.shown).then(|| network(node)).flatten();
            claim.into_iter().chain(itself).chain(others).collect()
        }
    }
}

/// A host wakes all nodes when what is kept of it changes: a kubelet reports every few minutes, mostly nothing new.
pub(super) fn woken_by_host(seen: &mut Listed<String, u64>, event: &Event<Node>) -> Option<Woken> {
    let news = match event {
        Event::Init => {
            seen.begin();
            false
        }
        Event::InitDone => !seen.gone().is_empty(),
        Event::Delete(host) => {
            seen.remove(&host.name_any());
            true
        }
        Event::Apply(host) | Event::InitApply(host) => {
            let facts = hashed(&serde_json::to_string(host).unwrap_or_default());
            seen.replace(host.name_any(), facts) != Some(facts)
        }
    };
    news.then_some(Woken::Host)
}

/// What people write.
fn own(node: &Guarded) -> u64 {
    let meta = node.meta();
    let deleted = meta.deletion_timestamp.is_some();
    hashed(&(meta.generation, &meta.annotations, &meta.finalizers, &meta.uid, deleted, node.0.is_ok()))
}

/// What siblings read.
fn shown(node: &Guarded) -> u64 {
    let meta = node.meta();
    let sibling = Sibling::from(node);
    hashed(&(
        meta.generation,
        &meta.uid,
        meta.deletion_timestamp.is_some(),
        node.0.as_ref().ok().map(identity::stands_back),
        (sibling.is_awaited(), sibling.public_key, sibling.is_held, sibling.peer_address),
        is_ready(node),
        sibling.manager_since.is_some(),
    ))
}

/// Whether it is ready: when it is again, another one's turn may have come.
fn is_ready(node: &Guarded) -> bool {
    let status = node.0.as_ref().ok().and_then(|node| node.status.as_ref());
    let mut conditions = status.into_iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn network(node: &Guarded) -> Option<Woken> {
    Some(Woken::Network {
        namespace: node.namespace().unwrap_or_default(),
        network: sibling::network(node)?.to_owned(),
        identity: Sibling::from(node).public_key,
    })
}

fn hashed(value: &impl Hash) -> u64 {
    use std::hash::{DefaultHasher, Hasher as _};
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
