//! A client's peers: the other nodes of its network, and those outside that its spec names.

use std::net::SocketAddr;

use super::fields;
use crate::node::{
    enode::{self, Enode},
    names,
    observed::Observed,
    secrets::keys::NodeIdentity,
    sibling::Sibling,
};

/// Peers of a client.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// enode URLs to dial.
    pub dialled: Vec<String>,
    /// enode URLs to admit: those to dial and more.
    pub permitted: Vec<String>,
    /// Where those outside are dialled.
    pub outside: Vec<SocketAddr>,
    /// Nodes of the network whose key or address is awaited before the client is started for the first time.
    pub incomplete: Vec<String>,
    /// What the spec names beside the need, in words: the node itself, and nodes of its network.
    pub remarks: Vec<String>,
}

/// The peers of a node whose fields have no fault, and which is `own`.
///
/// A node that is listed and is a node of the network, or the node itself, is no fault: many keep one list for all their
/// nodes, and a node may come to the network that was outside before.
pub(super) fn of(observed: &Observed, own: Option<&NodeIdentity>) -> Peers {
    let spec = &observed.node.spec;
    let mut peers = Peers::default();
    let is_new = observed.node.status.as_ref().is_none_or(|status| status.genesis.is_none());
    let known = observed.siblings.iter().filter(|sibling| !sibling.is_held);
    for sibling in known.clone() {
        match at(sibling) {
            Some((key, address)) => peers.dialled.push(enode::url(key, address, names::P2P)),
            // of two clients the one that starts later knows the other, and dials it
            None if is_new && sibling.is_awaited() => peers.incomplete.push(sibling.name.clone()),
            None => {}
        }
    }
    for (field, _, enode) in fields::enodes(spec) {
        let Ok(enode) = enode else { continue };
        let key = Some(enode.public_key.as_str());
        let sibling = known.clone().find(|sibling| at(sibling).map(|(key, _)| key) == key);
        let is_itself = own.map(|own| own.public_key.as_str()) == key;
        match sibling {
            _ if is_itself => peers.remarks.push(format!("{field} is this node itself")),
            Some(sibling) => peers.remarks.push(format!(
                "{field} is {}, a node of this network, which is dialled and admitted without being listed",
                sibling.name
            )),
            None => {}
        }
        let is_dialled = field.starts_with("spec.peering.static[") && sibling.is_none() && !is_itself;
        peers.name(&enode, is_dialled);
    }
    peers.permitted.extend(peers.dialled.iter().cloned());
    for list in [&mut peers.dialled, &mut peers.permitted] {
        list.sort();
        list.dedup();
    }
    peers
}

impl Peers {
    /// Takes in a node that the spec names. Whoever was admitted once and is no longer costs a restart, so all of them
    /// stay admitted.
    fn name(&mut self, enode: &Enode, is_dialled: bool) {
        if is_dialled {
            self.dialled.push(enode.to_string());
            self.outside.push(enode.endpoint);
        }
        self.permitted.push(enode.to_string());
    }
}

/// Key and address of a node of the network, where it has both.
fn at(sibling: &Sibling) -> Option<(&str, &str)> {
    sibling.public_key.as_deref().zip(sibling.peer_address.as_deref())
}
