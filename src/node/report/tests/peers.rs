use super::{kstatus::read, *};
use crate::{
    api::node::Role,
    connections::{ShortId, Suspect, Trial},
    node::{
        chain::View,
        met::Met,
        observed::{Neighbour, Pod},
    },
    testing::kstatus::{Computed, compute},
};

const KIND: &str = "PeersConnected";

/// `bob` with a sibling `carol` and a peer outside, whose client was seen like this.
fn seen(met: Met) -> Observed {
    let mut observed = in_order(member());
    let outside = format!("enode://{}@192.0.2.7:31000", identity('d').public_key);
    spec(&mut observed).peering = serde_json::from_value(json!({"static": [outside]})).expect("peering");
    observed.siblings = vec![samples::sibling("carol", Some(('c', "10.96.0.9")))];
    let pod = Some(Pod { ready: true, ..Pod::default() });
    observed.neighbours = vec![Neighbour { name: "carol".into(), role: Some(Role::Member), pod }];
    observed.chain = Some(View { looked: true, ..View::default() });
    observed.met = met;
    observed
}

fn missing(count: u32, suspects: &[(char, Trial)]) -> Met {
    let suspect = |(digit, trial): &(char, Trial)| Suspect {
        id: ShortId::of(&identity(*digit).public_key).expect("an id"),
        trial: *trial,
    };
    Met::Missing { count, suspects: suspects.iter().map(suspect).collect() }
}

/// One of every kind: the condition's status and reason.
fn situations() -> [(Met, &'static str, &'static str); 5] {
    [
        (Met::Unseen, "Unknown", "NotSeen"),
        (Met::Untold, "Unknown", "NotSeen"),
        (Met::All, "True", "Connected"),
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
    let mut unseen = seen(Met::Unseen);
    unseen.chain = None;
    let (known, reason, message) = told(&report(&unseen));
    assert_eq!((known.as_str(), reason.as_str()), ("Unknown", "NotSeen"));
    assert!(message.contains("--operator-pod-labels"), "{message}");
}

#[test]
fn a_missing_peer_is_named_with_its_address_and_what_to_look_at() {
    let (_, _, message) = told(&report(&seen(missing(2, &[('d', Trial::TimedOut), ('c', Trial::Reached)]))));
    for part in [
        "at least 2 of the client's 2 peers have had no connection",
        "not reached: dddddddddddddddd… at 192.0.2.7:31000 (no answer in time)",
        "perhaps also: carol, cccccccccccccccc… at 10.96.0.9:30303 (something listens there)",
        "peering.to",
        "peering.from",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let (_, _, message) = told(&report(&seen(missing(1, &[('d', Trial::Reached)]))));
    for part in
        ["at least 1 of the client's 2 peers can be reached", "among these: dddd", "admit", "restart one"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    // whom the list does not name a sidecar cannot name
    let (_, _, message) = told(&report(&seen(missing(1, &[('d', Trial::Refused), ('e', Trial::Refused)]))));
    assert!(!message.contains("eeee"), "{message}");
    let before = report(&seen(Met::All));
    let forgotten = seen(missing(1, &[('e', Trial::Refused)]));
    assert_eq!(told(&again(&before, forgotten, later(9))).0, "True", "it was taken off the list");
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
    let connected = report(&seen(Met::All));
    let lost = report(&seen(missing(1, &[('d', Trial::Refused)])));
    for before in [&connected, &lost] {
        assert_eq!(told(&again(before, seen(Met::Untold), later(9))), told(before));
        let mut begins = seen(Met::Unseen);
        begins.chain.as_mut().expect("a view").looked = false;
        assert_eq!(told(&again(before, begins, later(9))), told(before));
        assert_eq!(told(&again(before, seen(Met::Unseen), later(9))).0, "Unknown");
    }
    let unknown = report(&seen(Met::Unseen));
    assert_eq!(told(&again(&unknown, seen(Met::Untold), later(9))).0, "Unknown");
    assert_eq!(told(&again(&lost, seen(Met::All), later(9))).0, "True");
    assert_eq!(told(&again(&connected, seen(missing(1, &[('d', Trial::Refused)])), later(9))).0, "False");
}
