//! New member: it becomes a peer, and no other node restarts.

use std::time::Duration;

use crate::support::{
    kubectl::{self, eventually},
    network, pods,
};

const NAMESPACE: &str = "e2e-join";

/// Start time and restart count of a node's client container.
fn client_start(node: &str) -> (String, u64) {
    let pod = kubectl::get(&["-n", NAMESPACE, "pod", &format!("{node}-client-0")]);
    let states = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
    let client = states.into_iter().find(|state| state["name"] == "client").unwrap_or_default();
    (client["state"]["running"]["startedAt"].to_string(), client["restartCount"].as_u64().unwrap_or(99))
}

#[test]
fn a_joining_node_becomes_a_peer_of_the_others_without_their_restart() {
    network::prepare(NAMESPACE, &[]);
    kubectl::apply(&[network::client(NAMESPACE, "first")]);
    kubectl::wait_condition(NAMESPACE, "first", "Ready", "True", "");
    let before = client_start("first");

    let mut second = network::client(NAMESPACE, "second");
    // it becomes ready only with a peer
    second["spec"]["readiness"] = serde_json::json!({"minPeers": 1});
    kubectl::apply(&[second]);
    kubectl::wait_condition(NAMESPACE, "second", "Ready", "True", "");

    assert_eq!(client_start("first"), before, "the first was not restarted");
    let list = kubectl::get(&["-n", NAMESPACE, "configmap", "qn-first-peers"]);
    let enode = kubectl::get(&["-n", NAMESPACE, "quorumnode", "second"])["status"]["enode"].clone();
    let permitted = list["data"]["permissioned-nodes.json"].as_str().unwrap_or_default().to_owned();
    assert!(permitted.contains(enode.as_str().expect("an enode")), "{permitted}");
    eventually("the first's file has the newcomer", Duration::from_secs(120), || {
        pods::enter(
            NAMESPACE,
            "first-client-0",
            "looker",
            &kubectl::variable("DIALER_IMAGE"),
            serde_json::json!({"args": ["wait"], "volumeMounts": [{"name": "peers", "mountPath": "/peers", "readOnly": true}]}),
        );
        let from = pods::From { namespace: NAMESPACE, pod: "first-client-0", container: "looker" };
        let (file, _) = pods::exec(from, &["/dialer", "cat", "/peers/permissioned-nodes.json"]);
        if file == permitted { Ok(()) } else { Err(file) }
    });
}
