//! A client's peers: the other nodes of its network, and outside peers that the spec lists.

use std::net::SocketAddr;

use super::fields;
use crate::{
    model::{
        enode::{self, Enode},
        names,
        network_member::NetworkMember,
        secrets::keys::NodeIdentity,
    },
    node::observed::Observed,
};

/// Peers of a client.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// enode URLs to dial.
    pub dialled: Vec<String>,
    /// enode URLs to admit: those to dial and more.
    pub admitted_peers: Vec<String>,
    /// Addresses of the outside peers to dial.
    pub outside: Vec<SocketAddr>,
    /// Nodes of the network without a key or an address. The client starts for the first time only once they have both.
    pub incomplete: Vec<String>,
    /// Remarks about superfluous list entries: the node itself, and nodes of its network.
    pub remarks: Vec<String>,
}

/// The peers of a node with the identity `own`, whose fields have no fault.
///
/// An entry that names the node itself or a node of its network is not a fault: many users share one list among all
/// their nodes, and an outside node may join the network later.
pub(super) fn of(observed: &Observed, own: Option<&NodeIdentity>) -> Peers {
    let spec = &observed.node.spec;
    let mut peers = Peers::default();
    let is_new = observed.node.status.as_ref().is_none_or(|status| status.genesis.is_none());
    let known = observed.network_members.iter().filter(|network_member| !network_member.is_held);
    for network_member in known.clone() {
        match at(network_member) {
            Some((key, address)) => peers.dialled.push(enode::url(key, address, names::P2P)),
            // the client that starts later knows the other one and dials it
            None if is_new && network_member.is_awaited() => {
                peers.incomplete.push(network_member.name.clone())
            }
            None => {}
        }
    }
    for (field, _, enode) in fields::enodes(spec) {
        let Ok(enode) = enode else { continue };
        let key = Some(enode.public_key.as_str());
        let network_member =
            known.clone().find(|network_member| at(network_member).map(|(key, _)| key) == key);
        let is_itself = own.map(|own| own.public_key.as_str()) == key;
        match network_member {
            _ if is_itself => {
                peers.remarks.push(format!("{field} names this node itself, and has no effect"))
            }
            Some(network_member) => peers.remarks.push(format!(
                "{field} names node {} of this network, which is a peer even without this entry",
                network_member.name
            )),
            None => {}
        }
        let is_dialled = field.starts_with("spec.peering.static[") && network_member.is_none() && !is_itself;
        peers.add(&enode, is_dialled);
    }
    peers.admitted_peers.extend(peers.dialled.iter().cloned());
    for list in [&mut peers.dialled, &mut peers.admitted_peers] {
        list.sort();
        list.dedup();
    }
    peers
}

impl Peers {
    /// Adds a peer that the spec lists. It is always admitted, since removing an admitted peer requires a restart.
    fn add(&mut self, enode: &Enode, is_dialled: bool) {
        if is_dialled {
            self.dialled.push(enode.to_string());
            self.outside.push(enode.endpoint);
        }
        self.admitted_peers.push(enode.to_string());
    }
}

/// Key and address of a node of the network, if it has both.
fn at(network_member: &NetworkMember) -> Option<(&str, &str)> {
    network_member.public_key.as_deref().zip(network_member.peer_address.as_deref())
}
