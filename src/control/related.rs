//! Which nodes an event concerns, and what it is to them. Pure.

use std::sync::Arc;

use kube::{ResourceExt as _, runtime::reflector::ObjectRef};

use super::turns::News;
use crate::{
    api::QuorumNode,
    cluster::caches::{Guarded, Woken},
    node::{
        identity, lasting,
        names::{self, Names, Purpose},
        optional,
    },
};

/// The nodes to look at.
pub(super) fn nodes(woken: &Woken, known: &[Arc<Guarded>]) -> Vec<ObjectRef<Guarded>> {
    let chosen = |concerned: &dyn Fn(&QuorumNode) -> bool| {
        known
            .iter()
            .filter(|node| node.0.as_ref().is_ok_and(concerned))
            .map(|node| ObjectRef::from_obj(&**node))
            .collect()
    };
    match woken {
        Woken::Node(node) | Woken::Claim(node) => vec![node.clone()],
        Woken::Child { namespace, node } => vec![ObjectRef::new(node).within(namespace)],
        Woken::Network { namespace, network, identity } => chosen(&|node| {
            let claims = || identity.as_deref().is_some_and(|it| identity::claimed(node) == Some(it));
            lives_in(node, namespace) && node.spec.network == *network || claims()
        }),
        Woken::Reference { namespace, name } => {
            let is_named = |node: &QuorumNode| {
                names::is_named_for(name, &node.name_any())
                    || names::is_named_for_network(name, &node.spec.network)
            };
            chosen(&|node| lives_in(node, namespace) && (is_named(node) || refers_to(node, name)))
        }
        Woken::Host => chosen(&|_| true),
        Woken::All => known.iter().map(|node| ObjectRef::from_obj(&**node)).collect(),
        Woken::Optional => chosen(&optional::asks),
        Woken::Unreadable { .. } => vec![],
    }
}

/// What has happened to them; `None` where that is not known, and they are to be looked at.
pub(super) fn news(woken: &Woken) -> Option<News> {
    match woken {
        Woken::All => None,
        Woken::Child { .. } => Some(News::Own),
        Woken::Claim(_) => Some(News::Claim),
        Woken::Node(_) | Woken::Network { .. } => Some(News::Said),
        Woken::Reference { .. } | Woken::Host | Woken::Optional | Woken::Unreadable { .. } => {
            Some(News::Other)
        }
    }
}

fn lives_in(node: &QuorumNode, namespace: &str) -> bool {
    node.namespace().as_deref() == Some(namespace)
}

/// Whether a spec names a Secret or ConfigMap.
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

/// What is made once and outlives the node is known by its name: restored from a backup, it may come without labels.
fn is_lasting(node: &QuorumNode, name: &str) -> bool {
    let names = names_of(node);
    let authorities = [names.node_authority(), names.network_authority()];
    name == names.node_key() || authorities.iter().any(|authority| lasting::is_generation(authority, name))
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
