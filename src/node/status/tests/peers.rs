use super::{kstatus::read, *};
use crate::{
    api::node::Role,
    model::{chain::View, peering::PeerState},
    node::observed::{Neighbour, Pod},
    protocol::peer_connections::{ShortId, Suspect, Trial},
    testing::kstatus::{Computed, compute},
};

const KIND: &str = "PeersConnected";

/// `bob`, with `carol` of its network and an outside peer, whose client has these connections.
fn seen(met: PeerState) -> Observed {
    let mut observed = in_order(member());
    let outside = format!("enode://{}@192.0.2.7:31000", identity('d').public_key);
    spec(&mut observed).peering = serde_json::from_value(json!({"static": [outside]})).expect("peering");
    observed.network_members = vec![samples::network_member("carol", Some(('c', "10.96.0.9")))];
    let pod = Some(Pod { ready: true, ..Pod::default() });
    observed.neighbours = vec![Neighbour { name: "carol".into(), role: Some(Role::Member), pod }];
    observed.chain = Some(View { probed: true, ..View::default() });
    observed.met = met;
    observed
}

fn missing(count: u32, suspects: &[(char, Trial)]) -> PeerState {
    let suspect = |(digit, trial): &(char, Trial)| Suspect {
        id: ShortId::of(&identity(*digit).public_key).expect("an id"),
        trial: *trial,
    };
    PeerState::Missing { count, suspects: suspects.iter().map(suspect).collect() }
}

/// One status of every kind, with the condition's status and reason.
fn situations() -> [(PeerState, &'static str, &'static str); 5] {
    [
        (PeerState::Unseen, "Unknown", "NotObserved"),
        (PeerState::Untold, "Unknown", "NotObserved"),
        (PeerState::All, "True", "Connected"),
        (missing(1, &[('d', Trial::Refused)]), "False", "PeerUnreachable"),
        (missing(1, &[('d', Trial::Reached)]), "False", "PeerNotConnected"),
    ]
}

pub(super) fn all() -> [QuorumNodeStatus; 5] {
    situations().map(|(met, ..)| report(&seen(met)))
}

fn told(status: &QuorumNodeStatus) -> (String, String, String) {
    let found = condition(status, KIND).expect("there are peers");
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

#[test]
fn a_node_whose_peers_are_missing_is_as_ready_as_another() {
    for (met, known, reason) in situations() {
        let observed = seen(met);
        let status = report(&observed);
        let (is, why, _) = told(&status);
        assert_eq!((is.as_str(), why.as_str()), (known, reason));
        assert_eq!(ready(&status).status, "True");
        assert_eq!(compute(&read(&observed, &status)), Computed::Current, "{reason}");
    }
}

#[test]
fn a_node_without_peers_is_not_judged_and_one_whom_nobody_looks_at_is_not_known() {
    assert!(condition(&report(&in_order(smallest())), KIND).is_none());
    let mut unwatchable = seen(PeerState::Unseen);
    unwatchable.chain = None;
    let (known, reason, message) = told(&report(&unwatchable));
    assert_eq!((known.as_str(), reason.as_str()), ("Unknown", "NotObserved"));
    assert!(message.contains("--operator-pod-labels"), "{message}");
}

#[test]
fn a_missing_peer_is_named_with_its_address_and_what_to_look_at() {
    let (_, _, message) = told(&report(&seen(missing(2, &[('d', Trial::TimedOut), ('c', Trial::Reached)]))));
    for part in [
        "at least 2 of the client's 2 peers have had no connection",
        "Unreachable peers: dddddddddddddddd… at 192.0.2.7:31000 (timeout)",
        "peers that may also be missing: carol, cccccccccccccccc… at 10.96.0.9:30303 (port open)",
        "peering.to",
        "peering.from",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let (_, _, message) = told(&report(&seen(missing(1, &[('d', Trial::Reached)]))));
    for part in [
        "at least 1 of the client's 2 peers have had no connection for two minutes or longer, although their ports",
        "among these: dddd",
        "status.enode",
        "restart one",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    // a peer that the list does not name cannot be named
    let (_, _, message) = told(&report(&seen(missing(1, &[('d', Trial::Refused), ('e', Trial::Refused)]))));
    assert!(!message.contains("eeee"), "{message}");
    let before = report(&seen(PeerState::All));
    let forgotten = seen(missing(1, &[('e', Trial::Refused)]));
    assert_eq!(told(&again(&before, forgotten, later(9))).0, "True", "it was removed from the list");
}

#[test]
fn a_sibling_whose_client_is_not_ready_is_told_to_be() {
    let mut observed = seen(missing(1, &[('c', Trial::Refused)]));
    let message = |observed: &Observed| told(&report(observed)).2;
    assert!(!message(&observed).contains("not ready"));
    observed.neighbours[0].pod.as_mut().expect("a pod").ready = false;
    assert!(message(&observed).contains("carol, whose client is not ready, cccc"), "{}", message(&observed));
    observed.neighbours[0].pod = None;
    assert!(message(&observed).contains("carol, whose client is not ready, cccc"));
}

#[test]
fn what_was_told_is_told_until_it_is_known_not_to_be_so() {
    let connected = report(&seen(PeerState::All));
    let lost = report(&seen(missing(1, &[('d', Trial::Refused)])));
    for before in [&connected, &lost] {
        assert_eq!(told(&again(before, seen(PeerState::Untold), later(9))), told(before));
        let mut begins = seen(PeerState::Unseen);
        begins.chain.as_mut().expect("a view").probed = false;
        assert_eq!(told(&again(before, begins, later(9))), told(before));
        assert_eq!(told(&again(before, seen(PeerState::Unseen), later(9))).0, "Unknown");
    }
    let unknown = report(&seen(PeerState::Unseen));
    assert_eq!(told(&again(&unknown, seen(PeerState::Untold), later(9))).0, "Unknown");
    assert_eq!(told(&again(&lost, seen(PeerState::All), later(9))).0, "True");
    assert_eq!(told(&again(&connected, seen(missing(1, &[('d', Trial::Refused)])), later(9))).0, "False");
}
