//! Condition `PeersConnected`: whether the client is connected to every peer of its list. Not part of `Ready`: a
//! missing peer may belong to another organisation, and replacing the client would not bring it back.

use super::{Condition, Finding, finding};
use crate::{
    model::{chain::View, enode::Enode, peering::PeerState},
    node::{decide::chain_message::ChainMessage, observed::Observed, validate::Validated},
    protocol::peer_connections::{ShortId, Suspect, Trial},
};

/// Type of the condition.
pub const PEERS_CONNECTED: &str = "PeersConnected";

/// Remedy for a peer that cannot be reached.
const UNREACHABLE: &str = "Check that the other client runs, that its address is correct, and that network policies allow the connection. If the address is that of a Service, set peering.to on this node in addition to peering.static. On the other node, set peering.from";
/// Remedy for a peer that can be reached but has no connection.
const NOT_CONNECTED: &str = "Check that the other node lists this node's status.enode in peering.static or peering.permissioned, has the same genesis and network id, and has a free peer slot (maxPeers). A client dials only peers that were listed when the client started: if both clients started before the nodes listed each other, restart one of the two clients";

pub(super) fn connected(observed: &Observed, node: &Validated) -> Option<Finding> {
    let listed: Vec<_> = node.peers.dialled.iter().filter_map(|url| url.parse::<Enode>().ok()).collect();
    if listed.is_empty() {
        return None;
    }
    let mut before = observed.node.status.iter().flat_map(|status| &status.conditions);
    let before = before.find(|condition| condition.type_ == PEERS_CONNECTED).map(of_before);
    let unknown = |message: &str| Some(finding(PEERS_CONNECTED, "Unknown", "NotObserved", message));
    match (&observed.chain, &observed.met) {
        (None, _) => {
            unknown("the operator does not probe clients: set the operator's flag --operator-pod-labels")
        }
        // the operator has not probed every client since it started, so the earlier message stays
        (Some(View { probed: false, .. }), _) if before.is_some() => before,
        (_, PeerState::Unseen) => {
            unknown(
                "the metrics sidecar does not report the client's connections: check the log of the container metrics in the client's pod",
            )
        }
        (_, PeerState::All) => {
            let message = "the client is connected to each of its peers";
            Some(finding(PEERS_CONNECTED, "True", "Connected", message))
        }
        (_, PeerState::Missing { count, suspects })
            if suspects.iter().any(|suspect| of(&listed, suspect).is_some()) =>
        {
            Some(missing(observed, &listed, (*count, suspects)))
        }
        // the sidecar still names peers that have been removed from the list
        (_, PeerState::Untold | PeerState::Missing { .. }) => before
            .filter(|before| before.status != "Unknown")
            .or_else(|| {
                unknown(
                    "some peers are not connected yet; if that lasts for two minutes, this message will name them",
                )
            }),
    }
}

fn of_before(condition: &Condition) -> Finding {
    let ChainMessage { status, reason, .. } = ChainMessage::from(condition);
    finding(PEERS_CONNECTED, status, reason, condition.message.clone())
}

/// The listed peer with a suspect's id. The sidecar reports ids only; names and addresses come from the spec and the
/// network's nodes.
fn of<'a>(listed: &'a [Enode], suspect: &Suspect) -> Option<&'a Enode> {
    listed.iter().find(|peer| ShortId::of(&peer.public_key) == Some(suspect.id))
}

fn missing(observed: &Observed, listed: &[Enode], (count, suspects): (u32, &[Suspect])) -> Finding {
    let names = |is_failed: bool| {
        let suspects = suspects.iter().filter(|suspect| suspect.trial.is_failed() == is_failed);
        let named = suspects.filter_map(|suspect| {
            Some(format!("{} ({})", name(observed, of(listed, suspect)?), outcome(suspect.trial)))
        });
        named.collect::<Vec<_>>().join(", ")
    };
    let (failed, others) = (names(true), names(false));
    let least = format!("at least {count} of the client's {} peers", listed.len());
    if failed.is_empty() {
        let message = format!(
            "{least} have had no connection for two minutes or longer, although their ports are open. The missing peers are among these: {others}. {NOT_CONNECTED}"
        );
        return finding(PEERS_CONNECTED, "False", "PeerNotConnected", message);
    }
    let others =
        if others.is_empty() { String::new() } else { format!("; peers that may also be missing: {others}") };
    let message = format!(
        "{least} have had no connection for two minutes or longer. Unreachable peers: {failed}{others}. {UNREACHABLE}"
    );
    finding(PEERS_CONNECTED, "False", "PeerUnreachable", message)
}

/// The peer's node name if it is a node of the network, the beginning of its key, and its address.
fn name(observed: &Observed, peer: &Enode) -> String {
    let place = format!("{}… at {}", peer.public_key.get(..16).unwrap_or_default(), peer.endpoint);
    let key = Some(peer.public_key.as_str());
    let Some(network_member) =
        observed.network_members.iter().find(|network_member| network_member.public_key.as_deref() == key)
    else {
        return place;
    };
    let pods = observed.neighbours.iter().filter(|neighbour| neighbour.name == network_member.name);
    let is_ready = pods.filter_map(|neighbour| neighbour.pod.as_ref()).any(|pod| pod.ready);
    let remark = if is_ready { "" } else { ", whose client is not ready" };
    format!("{}{remark}, {place}", network_member.name)
}

fn outcome(trial: Trial) -> &'static str {
    match trial {
        Trial::Refused => "connection refused",
        Trial::TimedOut => "timeout",
        Trial::NoRoute => "no route",
        Trial::Untried => "not probed yet",
        Trial::Reached => "port open",
    }
}
