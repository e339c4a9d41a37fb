//! Maps a trigger to the nodes that it concerns, and to the kind of change. Pure.

use std::sync::Arc;

use kube::{ResourceExt as _, runtime::reflector::ObjectRef};

use super::work_queue::Change;
use crate::{
    api::QuorumNode,
    cluster::watch::caches::{DecodedNode, Trigger},
    model::{
        identity, irreplaceable,
        names::{self, Names, Purpose},
        optional_kinds,
    },
};

/// Nodes to reconcile.
pub(super) fn nodes(woken: &Trigger, known: &[Arc<DecodedNode>]) -> Vec<ObjectRef<DecodedNode>> {
    let chosen = |concerned: &dyn Fn(&QuorumNode) -> bool| {
        known
            .iter()
            .filter(|node| node.0.as_ref().is_ok_and(concerned))
            .map(|node| ObjectRef::from_obj(&**node))
            .collect()
    };
    match woken {
        Trigger::Node(node) | Trigger::Claim(node) => vec![node.clone()],
        Trigger::Child { namespace, node } => vec![ObjectRef::new(node).within(namespace)],
        Trigger::Network { namespace, network, identity } => chosen(&|node| {
            let claims = || identity.as_deref().is_some_and(|it| identity::claimed(node) == Some(it));
            lives_in(node, namespace) && node.spec.network == *network || claims()
        }),
        Trigger::Reference { namespace, name } => {
            let is_named = |node: &QuorumNode| {
                names::is_named_for(name, &node.name_any())
                    || names::is_named_for_network(name, &node.spec.network)
            };
            chosen(&|node| lives_in(node, namespace) && (is_named(node) || refers_to(node, name)))
        }
        Trigger::Host => chosen(&|_| true),
        Trigger::All => known.iter().map(|node| ObjectRef::from_obj(&**node)).collect(),
        Trigger::Optional => chosen(&optional_kinds::asks),
        Trigger::Undecodable { .. } => vec![],
    }
}

/// Kind of change for these nodes; `None` if it is not known, and they are resynced.
pub(super) fn news(woken: &Trigger) -> Option<Change> {
    match woken {
        Trigger::All => None,
        Trigger::Child { .. } => Some(Change::Own),
        Trigger::Claim(_) => Some(Change::Claim),
        Trigger::Node(_) | Trigger::Network { .. } => Some(Change::Said),
        Trigger::Reference { .. } | Trigger::Host | Trigger::Optional | Trigger::Undecodable { .. } => {
            Some(Change::Other)
        }
    }
}

fn lives_in(node: &QuorumNode, namespace: &str) -> bool {
    node.namespace().as_deref() == Some(namespace)
}

/// Whether a spec references a Secret or ConfigMap.
fn refers_to(node: &QuorumNode, name: &str) -> bool {
    let spec = &node.spec;
    let mut named = vec![&spec.genesis.config_map_ref.name];
    named.extend(spec.adopted_key().map(|key| &key.name));
    if let Some(provided) = &spec.tls.provided {
        named.push(&provided.metrics.name);
        named.extend(provided.tm_peers.iter().chain(&provided.rpc).map(|secret| &secret.name));
    }
    let names = names_of(node);
    let requested = spec.tls.cert_manager.iter().flat_map(|_| Purpose::ALL);
    let requested: Vec<_> = requested.map(|purpose| names.requested(purpose)).collect();
    named.extend(&requested);
    named.extend(spec.tls.trust.iter().map(|trust| &trust.config_map_ref.name));
    named.extend(spec.metrics.client_authority.iter().map(|authority| &authority.name));
    named.extend(spec.rpc.callers.iter().filter_map(|caller| Some(&caller.identity.authority()?.name)));
    if let Some(manager) = &spec.transaction_manager {
        named.push(&manager.keys.secret_ref.name);
        named.extend(manager.keys.password_ref.iter().map(|password| &password.name));
        if let Some(external) = &manager.database.external {
            named.push(&external.ca_ref.name);
            named.extend(external.password_ref.iter().map(|password| &password.name));
            named.extend(external.client_certificate_ref.iter().map(|certificate| &certificate.name));
        }
    }
    named.iter().any(|reference| *reference == name) || is_lasting(node, name)
}

/// Whether a name is that of an irreplaceable Secret of the node or its network. The name decides, since a Secret
/// restored from a backup may have no labels.
fn is_lasting(node: &QuorumNode, name: &str) -> bool {
    let names = names_of(node);
    let authorities = [names.node_authority(), names.network_authority()];
    name == names.node_key()
        || authorities.iter().any(|authority| irreplaceable::is_generation(authority, name))
}

fn names_of(node: &QuorumNode) -> Names {
    Names {
        node: node.name_any(),
        namespace: node.namespace().unwrap_or_default(),
        network: node.spec.network.clone(),
    }
}

#[cfg(test)]
mod tests;
