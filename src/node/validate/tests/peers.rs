//! Tests of a node's peers.

use super::*;
use crate::node::observed::samples::{network_member, of_network};

fn url(digit: char, endpoint: &str) -> String {
    format!("enode://{}@{endpoint}?discport=0", identity(digit).public_key)
}

#[test]
fn a_node_alone_has_no_peers() {
    let peers = valid(&in_order(smallest())).peers;
    assert!(peers.dialled.is_empty() && peers.admitted_peers.is_empty() && peers.incomplete.is_empty());
}

#[test]
fn the_other_nodes_of_the_network_are_dialled_and_admitted() {
    let mut observed = in_order(smallest());
    observed.network_members = vec![
        network_member("bob", Some(('e', "10.96.0.9"))),
        network_member("carol", Some(('c', "fd00::7"))),
    ];
    let peers = valid(&observed).peers;
    let expected = [url('c', "[fd00::7]:30303"), url('e', "10.96.0.9:30303")];
    assert_eq!(peers.dialled, expected, "sorted, an IPv6 address in brackets");
    assert_eq!(peers.admitted_peers, expected);
    assert!(peers.incomplete.is_empty());
}

#[test]
fn a_node_without_key_or_address_is_incomplete_and_named() {
    let mut observed = in_order(smallest());
    let mut no_key = network_member("bob", Some(('e', "10.96.0.9")));
    no_key.public_key = None;
    let mut no_address = network_member("carol", Some(('c', "10.96.0.10")));
    no_address.peer_address = None;
    observed.network_members = vec![
        no_key,
        no_address,
        network_member("dave", None),
        network_member("erin", Some(('f', "10.96.0.11"))),
    ];
    let peers = valid(&observed).peers;
    assert_eq!(peers.incomplete, ["bob", "carol", "dave"]);
    assert_eq!(peers.dialled, [url('f', "10.96.0.11:30303")]);
}

/// Waiting only makes the first peer lists of a new network complete; no node depends on it.
#[test]
fn only_a_new_node_waits_and_for_none_that_stalls() {
    let mut observed = in_order(smallest());
    let mut stalls = network_member("carol", None);
    stalls.is_stalled = true;
    observed.network_members = vec![network_member("bob", None), stalls];
    assert_eq!(valid(&observed).peers.incomplete, ["bob"]);
    status(&mut observed).genesis = Some(pinned());
    assert!(valid(&observed).peers.incomplete.is_empty(), "its client ran before");
}

#[test]
fn outside_nodes_are_dialled_or_only_admitted_as_the_spec_says() {
    let mut observed = in_order(smallest());
    let (both, admitted) = (url('2', "198.51.100.7:30303"), url('1', "203.0.113.9:30303"));
    spec(&mut observed).peering.dialled = vec![both.clone()];
    spec(&mut observed).peering.permissioned = vec![both.clone(), admitted.clone()];
    let peers = valid(&observed).peers;
    assert_eq!(peers.dialled, std::slice::from_ref(&both));
    assert_eq!(peers.admitted_peers, [admitted, both], "sorted, each once");
}

#[test]
fn a_peer_that_is_named_twice_is_dialled_once() {
    let mut observed = in_order(smallest());
    let named = url('e', "10.96.0.9:30303");
    spec(&mut observed).peering.dialled = vec![named.clone(), named.clone()];
    observed.network_members = vec![network_member("bob", Some(('e', "10.96.0.9")))];
    let peers = valid(&observed).peers;
    assert_eq!((peers.dialled, peers.admitted_peers), (vec![named.clone()], vec![named]));
}

#[test]
fn the_order_of_the_nodes_changes_nothing() {
    let all =
        [network_member("bob", Some(('e', "10.96.0.9"))), network_member("carol", Some(('c', "10.96.0.10")))];
    let of = |order: [usize; 2]| {
        let mut observed = in_order(smallest());
        observed.network_members = order.map(|i| all[i].clone()).to_vec();
        let node = valid(&observed);
        (node.peers.dialled, node.peers.admitted_peers, node.network_owners)
    };
    assert_eq!(of([0, 1]), of([1, 0]));
}

/// Remarks about entries of `static` and `permissioned` that name no new peer.
#[test]
fn the_node_itself_and_nodes_of_its_network_are_told_and_do_no_harm() {
    let mut observed = in_order(smallest());
    observed.network_members = vec![
        network_member("bob", Some(('e', "10.96.0.9"))),
        network_member("carol", None),
        network_member("dave", None),
    ];
    // dave has a key but no address yet, so only the list gives its address
    observed.network_members[2].public_key = Some(identity('d').public_key);
    let (itself, bob) = (url('b', "10.96.0.8:30303"), url('e', "198.51.100.9:30999"));
    let (dave, outside) = (url('d', "10.96.0.4:30303"), url('1', "203.0.113.9:30303"));
    let peering = &mut spec(&mut observed).peering;
    peering.dialled = vec![itself.clone(), bob.clone(), dave.clone(), outside.clone()];
    peering.permissioned = vec![itself.to_uppercase().replace("DISCPORT", "discport")];
    let peers = valid(&observed).peers;
    assert_eq!(
        peers.remarks,
        [
            "spec.peering.static[0] names this node itself, and has no effect",
            "spec.peering.static[1] names node bob of this network, which is a peer even without this entry",
            "spec.peering.permissioned[0] names this node itself, and has no effect",
        ]
    );
    assert_eq!(peers.dialled, [outside.clone(), dave.clone(), url('e', "10.96.0.9:30303")]);
    let ends: Vec<_> = peers.outside.iter().map(ToString::to_string).collect();
    assert_eq!(ends, ["10.96.0.4:30303", "203.0.113.9:30303"], "to nobody else the way is opened");
    // unchanged: removing a peer from this list requires a restart
    for admitted in [&itself, &bob, &dave, &outside] {
        assert!(peers.admitted_peers.contains(admitted), "{admitted}");
    }
}

#[test]
fn an_outside_node_is_one_in_whatever_form_it_is_written() {
    let mut observed = in_order(smallest());
    let one = url('a', "203.0.113.9:30303");
    let forms =
        [one.clone(), one.replace("?discport=0", ""), one.replace("discport=0", "raftport=50400&discport=7")];
    spec(&mut observed).peering.dialled = forms.to_vec();
    spec(&mut observed).peering.permissioned = vec![one.replace(&"a".repeat(128), &"A".repeat(128))];
    let peers = valid(&observed).peers;
    assert_eq!((peers.dialled, peers.admitted_peers), (vec![one.clone()], vec![one]));
}

#[test]
fn managers_of_the_network_and_of_others_are_peers_each_once() {
    let mut observed = in_order(member());
    let with_manager = |name: &str, serves: &str| {
        let mut network_member = member();
        network_member["metadata"]["name"] = json!(name);
        network_member["status"] = json!({"conditions": [{"type": "TransactionManagerAvailable", "status": serves,
            "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        of_network(crate::node::observed::samples::node(network_member))
    };
    observed.network_members = vec![
        with_manager("dora", "False"),
        with_manager("carol", "True"),
        network_member("alice", Some(('a', "10.96.0.8"))),
    ];
    let peer = |url: &str| json!({"url": url, "cidrs": ["192.0.2.0/24"]});
    spec(&mut observed).transaction_manager.as_mut().expect("a transaction manager").peers =
        serde_json::from_value(json!([
            peer("https://tm.example:9000"),
            peer("https://tm.example:9000/"),
            peer("https://a.example:1/")
        ]))
        .expect("peers");
    let manager = valid(&observed).manager.expect("a transaction manager");
    assert_eq!(manager.outside, ["https://a.example:1/", "https://tm.example:9000/"]);
    let serves = "2026-01-01T00:00:00Z".parse().expect("a time");
    assert_eq!(
        manager.network_members,
        [("carol".to_owned(), Some(serves)), ("dora".to_owned(), None)].into(),
        "alice has no transaction manager"
    );
}

#[test]
fn all_nodes_of_the_network_own_what_they_share_and_none_controls_it() {
    let mut observed = in_order(smallest());
    observed.network_members = vec![network_member("zoe", None), network_member("aaron", None)];
    let owners = valid(&observed).network_owners;
    let named: Vec<_> = owners.iter().map(|owner| (owner.name.as_str(), owner.uid.as_str())).collect();
    assert_eq!(named, [("aaron", "uid-aaron"), ("alice", "uid-alice"), ("zoe", "uid-zoe")]);
    assert!(owners.iter().all(|owner| owner.controller.is_none()));
}
