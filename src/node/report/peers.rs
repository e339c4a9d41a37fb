//! Whether the client is connected to every peer of its list. No part of being ready: whom a node lacks may be another
//! organisation's, and to replace a client brings nobody back.

use super::{Condition, Finding, finding};
use crate::{
    connections::{ShortId, Suspect, Trial},
    node::{
        chain::{Told, View},
        enode::Enode,
        met::Met,
        observed::Observed,
        validate::Validated,
    },
};

/// Type of the condition.
pub const PEERS_CONNECTED: &str = "PeersConnected";

/// What to do where a peer cannot be reached, and where it can.
const OPEN_THE_WAY: &str = "See that the other client runs, that its address is right, and that network policies let the connection out here (peering.to beside peering.static where the address is a Service's) and in there (peering.from)";
const BE_ADMITTED: &str = "The other side must admit this node (its status.enode in their peering.static or peering.permissioned), have the same genesis and network id, and have room (maxPeers). A client dials whom its list named when it started: restart one of the two if neither has started since";

pub(super) fn connected(observed: &Observed, node: &Validated) -> Option<Finding> {
    let listed: Vec<_> = node.peers.dialled.iter().filter_map(|url| url.parse::<Enode>().ok()).collect();
    if listed.is_empty() {
        return None;
    }
    let mut before = observed.node.status.iter().flat_map(|status| &status.conditions);
    let before = before.find(|condition| condition.type_ == PEERS_CONNECTED).map(of_before);
    let unknown = |message: &str| Some(finding(PEERS_CONNECTED, "Unknown", "NotSeen", message));
    match (&observed.chain, &observed.met) {
        (None, _) => unknown("nobody looks: the operator's pods are not named in --operator-pod-labels"),
        // whoever has just begun to look knows less
        (Some(View { looked: false, .. }), _) if before.is_some() => before,
        (_, Met::Unseen) => unknown("the metrics sidecar could not be asked for the client's connections"),
        (_, Met::All) => {
            let message = "the client has a connection to each of its peers";
            Some(finding(PEERS_CONNECTED, "True", "Connected", message))
        }
        (_, Met::Missing { count, suspects })
            if suspects.iter().any(|suspect| of(&listed, suspect).is_some()) =>
        {
            Some(missing(observed, &listed, (*count, suspects)))
        }
        // whom the list no longer names the sidecar has still to forget
        (_, Met::Untold | Met::Missing { .. }) => before
            .filter(|before| before.status != "Unknown")
            .or_else(|| unknown("some peers have no connection yet: they are named after two minutes")),
    }
}

fn of_before(condition: &Condition) -> Finding {
    let Told { status, reason, .. } = Told::from(condition);
    finding(PEERS_CONNECTED, status, reason, condition.message.clone())
}

/// The peer that a sidecar means: it says ids alone, so names and addresses are those of the spec and of the network.
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
            "{least} can be reached and have had no connection for two minutes or longer, among these: {others}. {BE_ADMITTED}"
        );
        return finding(PEERS_CONNECTED, "False", "PeerNotConnected", message);
    }
    let others = if others.is_empty() { String::new() } else { format!("; perhaps also: {others}") };
    let message = format!(
        "{least} have had no connection for two minutes or longer; not reached: {failed}{others}. {OPEN_THE_WAY}"
    );
    finding(PEERS_CONNECTED, "False", "PeerUnreachable", message)
}

/// Which node it is, or the beginning of its key; and where.
fn name(observed: &Observed, peer: &Enode) -> String {
    let place = format!("{}… at {}", peer.public_key.get(..16).unwrap_or_default(), peer.endpoint);
    let key = Some(peer.public_key.as_str());
    let Some(sibling) = observed.siblings.iter().find(|sibling| sibling.public_key.as_deref() == key) else {
        return place;
    };
    let pods = observed.neighbours.iter().filter(|neighbour| neighbour.name == sibling.name);
    let is_ready = pods.filter_map(|neighbour| neighbour.pod.as_ref()).any(|pod| pod.ready);
    let remark = if is_ready { "" } else { ", whose client is not ready" };
    format!("{}{remark}, {place}", sibling.name)
}

fn outcome(trial: Trial) -> &'static str {
    match trial {
        Trial::Refused => "connection refused",
        Trial::TimedOut => "no answer in time",
        Trial::NoRoute => "no way there",
        Trial::Untried => "not tried yet",
        Trial::Reached => "something listens there",
    }
}
