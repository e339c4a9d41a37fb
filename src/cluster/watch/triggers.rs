//! Triggers: which nodes a watch event concerns. Pure.

use std::hash::Hash;

use k8s_openapi::api::core::v1::Node;
use kube::{
    Resource as _, ResourceExt as _,
    api::ObjectMeta,
    runtime::{reflector::ObjectRef, watcher::Event},
};

use super::{caches::DecodedNode, relist::Relist};
use crate::{
    api::QuorumNode,
    model::{
        identity, names,
        network_member::{self, NetworkMember},
    },
};

/// What a watch event concerns.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// A node's own object: its spec, annotations or finalizers.
    Node(ObjectRef<DecodedNode>),
    /// A node claims its identity from now on.
    Claim(ObjectRef<DecodedNode>),
    /// Something that all nodes of a network read: another node's key or address, or a shared object.
    Network {
        /// Namespace of the network.
        namespace: String,
        /// Its name.
        network: String,
        /// Identity of the node that has changed; nodes elsewhere may claim it too.
        identity: Option<String>,
    },
    /// An object that belongs to a node, by its label or its owner.
    Child {
        /// Its namespace.
        namespace: String,
        /// The node it belongs to.
        node: String,
    },
    /// An object that a spec may reference, or that belongs to a node by its name only.
    Reference {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A host.
    Host,
    /// Any change may have been missed: a kind was relisted, or its watch was forbidden.
    All,
    /// The state of an optional kind has changed.
    Optional,
    /// An object does not decode, decodes again, or was deleted.
    Undecodable {
        /// Its kind.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Whether it does not decode from now on.
        begins: bool,
    },
}

/// Trigger for an object, from its labels or else its owners, if they agree with its name. Any writer can change labels
/// and owners together with the object, and could otherwise hide that change.
pub(crate) fn woken_by(meta: &ObjectMeta) -> Trigger {
    let label = |name: &str| meta.labels.as_ref().and_then(|labels| labels.get(name)).cloned();
    let namespace = meta.namespace.clone().unwrap_or_default();
    let mut owners = meta.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.kind == QuorumNode::kind(&())).map(|owner| owner.name.clone());
    let name = meta.name.clone().unwrap_or_default();
    match (label(names::NODE), label(names::NETWORK), label(names::MANAGED_BY).as_deref()) {
        (Some(node), _, Some(names::MANAGER)) if names::is_named_for(&name, &node) => {
            Trigger::Child { namespace, node }
        }
        (None, Some(network), Some(names::MANAGER)) if names::is_named_for_network(&name, &network) => {
            Trigger::Network { namespace, network, identity: None }
        }
        _ => match owner.filter(|owner| names::is_named_for(&name, owner)) {
            Some(node) => Trigger::Child { namespace, node },
            None => Trigger::Reference { namespace, name },
        },
    }
}

/// Trigger for a PersistentVolumeClaim. Its immutable template gives it only the two labels that select a node's pods.
pub(crate) fn woken_by_claim(meta: &ObjectMeta) -> Trigger {
    let node = meta.labels.as_ref().and_then(|labels| labels.get(names::NODE)).cloned();
    Trigger::Child { namespace: meta.namespace.clone().unwrap_or_default(), node: node.unwrap_or_default() }
}

/// Last seen state of each node.
pub(crate) type SeenNodes = Relist<ObjectRef<DecodedNode>, Seen>;

/// Hashes of a node's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// State whose change triggers the node itself.
    own: u64,
    /// State whose change triggers the other nodes of its network.
    shown: u64,
    /// The identity that the node claims.
    claimed: Option<u64>,
}

/// Triggers for the event of a node. A change by users, or a new claim to an identity, triggers the node itself. A
/// change of what other nodes read triggers its network. Other writes of its status trigger nothing.
pub(crate) fn woken_by_node(seen: &mut SeenNodes, event: &Event<DecodedNode>) -> Vec<Trigger> {
    match event {
        Event::Init => {
            seen.begin();
            vec![]
        }
        Event::InitDone => seen.gone().into_iter().map(Trigger::Node).collect(),
        Event::Delete(node) => {
            let reference = ObjectRef::from_obj(node);
            seen.remove(&reference);
            [Trigger::Node(reference)].into_iter().chain(network(node)).collect()
        }
        Event::Apply(node) | Event::InitApply(node) => {
            let reference = ObjectRef::from_obj(node);
            let claimed = node.0.as_ref().ok().and_then(identity::claimed).map(|key| hashed(&key));
            let now = Seen { own: own(node), shown: shown(node), claimed };
            let before = seen.replace(reference.clone(), now);
            let claims = claimed.is_some() && before.is_none_or(|before| before.claimed != claimed);
            let claim = claims.then(|| Trigger::Claim(reference.clone()));
            let itself =
                before.is_none_or(|before| before.own != now.own).then_some(Trigger::Node(reference));
            let others =
                before.is_none_or(|before| before.shown != now.shown).then(|| network(node)).flatten();
            claim.into_iter().chain(itself).chain(others).collect()
        }
    }
}

/// Trigger for the event of a host: all nodes, if the trimmed host changed. A kubelet reports every few minutes, mostly
/// without a change.
pub(crate) fn woken_by_host(seen: &mut Relist<String, u64>, event: &Event<Node>) -> Option<Trigger> {
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
    news.then_some(Trigger::Host)
}

/// Hash of what users write.
fn own(node: &DecodedNode) -> u64 {
    let meta = node.meta();
    let deleted = meta.deletion_timestamp.is_some();
    hashed(&(meta.generation, &meta.annotations, &meta.finalizers, &meta.uid, deleted, node.0.is_ok()))
}

/// Hash of what other nodes of the network read.
fn shown(node: &DecodedNode) -> u64 {
    let meta = node.meta();
    let network_member = NetworkMember::from(node);
    hashed(&(
        meta.generation,
        &meta.uid,
        meta.deletion_timestamp.is_some(),
        node.0.as_ref().ok().map(identity::stands_back),
        (
            network_member.is_awaited(),
            network_member.public_key,
            network_member.is_held,
            network_member.peer_address,
        ),
        is_ready(node),
        network_member.manager_since.is_some(),
    ))
}

/// Whether the node is ready. When it becomes ready, another node may be next in the rollout.
fn is_ready(node: &DecodedNode) -> bool {
    let status = node.0.as_ref().ok().and_then(|node| node.status.as_ref());
    let mut conditions = status.into_iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn network(node: &DecodedNode) -> Option<Trigger> {
    Some(Trigger::Network {
        namespace: node.namespace().unwrap_or_default(),
        network: network_member::network(node)?.to_owned(),
        identity: NetworkMember::from(node).public_key,
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
