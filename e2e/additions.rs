//! Additions to a node's objects by other clients: the operator removes them, or reports them if it must not.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    kubectl::{self, condition, eventually},
    network,
};

const NAMESPACE: &str = "e2e-drift";
/// Time for a repair, which takes about a second, and for kubectl on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// Creates a node with only a client and waits until it is ready.
fn ready(name: &str) {
    network::prepare(NAMESPACE, &[]);
    let mut node = network::client(NAMESPACE, name);
    // a separate network, so that no test waits for another test's node
    node["spec"]["network"] = json!(name);
    kubectl::apply(&[node]);
    kubectl::wait_condition(NAMESPACE, name, "Ready", "True", "");
}

fn patch(kind: &str, name: &str, how: &str, patch: &Value) {
    kubectl::text(&["-n", NAMESPACE, "patch", kind, name, "--type", how, "-p", &patch.to_string()]);
}

fn object(kind: &str, name: &str) -> Value {
    kubectl::get(&["-n", NAMESPACE, kind, name])
}

/// Waits until a part of an object is as in `before`.
fn put_back(kind: &str, name: &str, pointer: &str, before: &Value) {
    eventually(&format!("{kind} {name} {pointer} is put back"), SOON, || {
        let now = object(kind, name);
        let part = now.pointer(pointer).cloned().unwrap_or_default();
        if part == *before.pointer(pointer).unwrap_or(&Value::Null) { Ok(()) } else { Err(part.to_string()) }
    });
}

/// Runs several checks one after another on one node.
#[test]
fn additions_by_other_clients_are_removed_and_the_pod_keeps_running() {
    ready("dora");
    rules_ports_and_addresses_are_removed();
    a_container_never_runs();
    a_policy_that_is_opened_and_deleted_is_closed_and_made_again();
    kubectl::wait_condition(NAMESPACE, "dora", "Ready", "True", "");
}

fn rules_ports_and_addresses_are_removed() {
    let deny = object("networkpolicy", "dora-deny");
    patch("networkpolicy", "dora-deny", "merge", &json!({"spec": {"ingress": [{}], "egress": [{}]}}));
    put_back("networkpolicy", "dora-deny", "/spec", &deny);
    let service = object("service", "dora-p2p");
    patch("service", "dora-p2p", "merge", &json!({"spec": {"externalIPs": ["192.0.2.7"]}}));
    put_back("service", "dora-p2p", "/spec", &service);
    let port = json!([{"op": "add", "path": "/spec/ports/-", "value": {"name": "rpc", "port": 8545, "protocol": "TCP"}}]);
    patch("service", "dora-p2p", "json", &port);
    put_back("service", "dora-p2p", "/spec/ports", &service);
    let map = object("configmap", "qn-dora-peers");
    patch("configmap", "qn-dora-peers", "merge", &json!({"data": {"added": "x"}}));
    put_back("configmap", "qn-dora-peers", "/data", &map);
    patch(
        "configmap",
        "qn-dora-peers",
        "merge",
        &json!({"immutable": true, "data": {"static-nodes.json": "[]"}}),
    );
    eventually("a frozen ConfigMap is made again", SOON, || {
        let found = kubectl::find(&["-n", NAMESPACE, "configmap", "qn-dora-peers"]);
        match found {
            Some(now) if now["data"] == map["data"] && now["immutable"].is_null() => Ok(()),
            now => Err(format!("{now:?}")),
        }
    });
}

/// An added container is removed before it runs, and the pod is not replaced.
fn a_container_never_runs() {
    let (before, pod) = (object("statefulset", "dora-client"), object("pod", "dora-client-0"));
    let thief = json!({"name": "thief", "image": kubectl::variable("DIALER_IMAGE"), "command": ["/dialer", "read", "/keys/nodekey"],
        "volumeMounts": [{"name": "nodekey", "mountPath": "/keys"}]});
    let added =
        json!({"spec": {"template": {"spec": {"shareProcessNamespace": true, "containers": [thief]}}}});
    patch("statefulset", "dora-client", "strategic", &added);
    put_back("statefulset", "dora-client", "/spec", &before);
    kubectl::wait_condition(NAMESPACE, "dora", "Ready", "True", "");
    let now = object("pod", "dora-client-0");
    assert_eq!(now["metadata"]["uid"], pod["metadata"]["uid"]);
    assert!(!now["spec"].to_string().contains("thief"));
    // the change that `kubectl rollout restart` makes
    let restart = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}});
    patch("statefulset", "dora-client", "strategic", &restart);
    put_back("statefulset", "dora-client", "/spec", &before);
}

fn a_policy_that_is_opened_and_deleted_is_closed_and_made_again() {
    let before = object("networkpolicy", "dora-deny");
    patch("networkpolicy", "dora-deny", "merge", &json!({"spec": {"ingress": [{}], "egress": [{}]}}));
    kubectl::text(&["-n", NAMESPACE, "delete", "networkpolicy", "dora-deny", "--wait=false"]);
    eventually("the policy is made again", SOON, || {
        match kubectl::find(&["-n", NAMESPACE, "networkpolicy", "dora-deny"]) {
            Some(now)
                if now["spec"] == before["spec"]
                    && now["metadata"]["deletionTimestamp"].is_null()
                    && now["metadata"]["uid"] != before["metadata"]["uid"] =>
            {
                Ok(())
            }
            now => Err(format!("{now:?}")),
        }
    });
}

#[test]
fn a_paused_node_reports_differing_fields_and_their_writer() {
    ready("duke");
    patch("quorumnode", "duke", "merge", &json!({"spec": {"paused": true}}));
    kubectl::wait_condition(NAMESPACE, "duke", "Paused", "True", "PausedBySpec");
    patch("networkpolicy", "duke-deny", "merge", &json!({"spec": {"ingress": [{}], "egress": [{}]}}));
    let message = kubectl::wait_condition(NAMESPACE, "duke", "NetworkPoliciesApplied", "False", "Drifted");
    let named = "NetworkPolicy duke-deny differs from the spec in the fields spec.egress, spec.ingress (changed by kubectl-patch)";
    assert!(message.contains(named), "{message}");
    let node = object("quorumnode", "duke");
    assert_eq!(condition(&node, "Ready").map(|found| found.0).as_deref(), Some("False"));
    let (_, _, paused) = condition(&node, "Paused").expect("it is paused");
    assert!(paused.contains(named), "{paused}");
    one_client_runs_of_two();
    patch("quorumnode", "duke", "merge", &json!({"spec": {"paused": false}}));
    eventually("the second pod goes", Duration::from_secs(120), || {
        match kubectl::find(&["-n", NAMESPACE, "pod", "duke-client-1"]) {
            None => Ok(()),
            Some(pod) => Err(pod["status"].to_string()),
        }
    });
    kubectl::wait_condition(NAMESPACE, "duke", "Ready", "True", "");
    assert!(object("networkpolicy", "duke-deny")["spec"]["ingress"].is_null());
}

/// Two pods must not run with one node key, so the second must not start.
fn one_client_runs_of_two() {
    kubectl::text(&["-n", NAMESPACE, "scale", "statefulset", "duke-client", "--replicas=2"]);
    eventually("the second pod refuses to start", Duration::from_secs(120), || {
        let Some(pod) = kubectl::find(&["-n", NAMESPACE, "pod", "duke-client-1"]) else {
            return Err("it is not there yet".into());
        };
        let prepare = &pod["status"]["initContainerStatuses"][0];
        let ended = [&prepare["state"]["terminated"], &prepare["lastState"]["terminated"]];
        let refused = ended.iter().any(|ended| ended["exitCode"].as_i64().is_some_and(|code| code != 0));
        if refused { Ok(()) } else { Err(prepare.to_string()) }
    });
    let log = kubectl::text(&["-n", NAMESPACE, "logs", "duke-client-1", "-c", "prepare"]);
    assert!(log.contains("duke-client-0"), "it says which pod is allowed: {log}");
}
