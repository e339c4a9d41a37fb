//! Two organisations in two namespaces of one cluster, which peer by naming each other's nodes and pods.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    kubectl::{self, eventually, variable},
    network, pods,
};

/// Name and namespace of a node.
type Organisation = (&'static str, &'static str);

const ALICE: Organisation = ("alice", "e2e-ledger");
const DAVE: Organisation = ("dave", "e2e-bank");

/// Result of a connection from a node's client to the other node's Service.
fn dialled((node, namespace): Organisation, (other, elsewhere): Organisation) -> String {
    let pod: &'static str = if node == "alice" { "alice-client-0" } else { "dave-client-0" };
    pods::enter(namespace, pod, "dialer", &variable("DIALER_IMAGE"), json!({"args": ["wait"]}));
    let service = kubectl::get(&["-n", elsewhere, "service", &format!("{other}-p2p")]);
    let address = service["spec"]["clusterIP"].as_str().expect("a Service has an address");
    pods::dial(pods::From { namespace, pod, container: "dialer" }, &format!("{address}:30303"))
}

fn both_ways() -> [(Organisation, Organisation); 2] {
    [(ALICE, DAVE), (DAVE, ALICE)]
}

fn enode((node, namespace): Organisation) -> String {
    let node = kubectl::get(&["-n", namespace, "quorumnode", node]);
    node["status"]["enode"].as_str().expect("a node that is ready has an enode").to_owned()
}

/// The node with `peering` and this minimum of peers for readiness.
fn node((name, namespace): Organisation, peering: &Value, peers: u32) -> Value {
    let mut node = network::client(namespace, name);
    node["spec"]["peering"] = peering.clone();
    node["spec"]["readiness"] = json!({"minPeers": peers});
    node
}

/// Waits until a node's policy has an egress rule with `what`.
fn opened((node, namespace): Organisation, what: &str) {
    eventually(&format!("{namespace}/{node}-p2p leads to {what}"), Duration::from_secs(60), || {
        let policy = kubectl::get(&["-n", namespace, "networkpolicy", &format!("{node}-p2p")]);
        let egress = policy["spec"]["egress"].to_string();
        if egress.contains(what) { Ok(()) } else { Err(egress) }
    });
}

/// Waits until a node's condition `PeersConnected` has this status and its message contains `place`.
fn connected((node, namespace): Organisation, status: &str, place: &str) {
    eventually(&format!("{node}: PeersConnected is {status}"), Duration::from_secs(360), || {
        let found = kubectl::get(&["-n", namespace, "quorumnode", node]);
        let mut conditions = found["status"]["conditions"].as_array().into_iter().flatten();
        let told = conditions.find(|found| found["type"] == "PeersConnected").cloned().unwrap_or_default();
        let is_so = told["status"] == status && told["message"].to_string().contains(place);
        if is_so { Ok(()) } else { Err(told.to_string()) }
    });
}

/// Connections to the other's Service fail while a node names only its address, and work once it names its pods. The
/// clients then become peers.
#[test]
fn two_organisations_become_peers_where_each_names_the_others_pods() {
    for (name, namespace) in [ALICE, DAVE] {
        network::prepare(namespace, &[]);
        kubectl::apply(&[network::client(namespace, name)]);
    }
    for (name, namespace) in [ALICE, DAVE] {
        kubectl::wait_condition(namespace, name, "Ready", "True", "");
    }

    for (own, other) in both_ways() {
        kubectl::apply(&[node(own, &json!({"static": [enode(other)]}), 0)]);
    }
    for (own, other) in both_ways() {
        let enode = enode(other);
        let address = enode.split(['@', ':']).nth(2).expect("an enode has an address");
        opened(own, address);
        assert_ne!(dialled(own, other), "open", "{own:?}: a Service's address alone lets nobody through");
    }
    for (own, other) in both_ways() {
        let enode = enode(other);
        let named = enode.split(['@', '?']).nth(1).expect("an enode has an address");
        connected(own, "False", named);
    }

    let pods = |(_, namespace): Organisation| {
        json!([{"namespace": namespace, "podLabels": {
            "quorum.security/network": "acme", "quorum.security/component": "client",
        }}])
    };
    let named = |other| json!({"static": [enode(other)], "to": pods(other), "from": pods(other)});
    for (own, other) in both_ways() {
        kubectl::apply(&[node(own, &named(other), 0)]);
    }
    for (own, other) in both_ways() {
        opened(own, other.1);
        eventually(&format!("{own:?} reaches {other:?}"), Duration::from_secs(60), || {
            match dialled(own, other).as_str() {
                "open" => Ok(()),
                came_to => Err(came_to.to_owned()),
            }
        });
    }

    // require a peer, which also replaces the pods: a client dials listed peers only from its next start
    for (own, other) in both_ways() {
        kubectl::apply(&[node(own, &named(other), 1)]);
    }
    for (own, _) in both_ways() {
        eventually(&format!("{own:?} has been replaced, and has a peer"), Duration::from_secs(240), || {
            let pod =
                kubectl::find(&["-n", own.1, "pod", &format!("{}-client-0", own.0)]).unwrap_or_default();
            let demands = pod["spec"].to_string().contains("--min-peers=1");
            let ready = pod["status"]["containerStatuses"]
                .as_array()
                .is_some_and(|all| !all.is_empty() && all.iter().all(|container| container["ready"] == true));
            if demands && ready { Ok(()) } else { Err(format!("demands {demands}, ready {ready}")) }
        });
    }
    for (own, _) in both_ways() {
        connected(own, "True", "");
    }
}
