//! Volume growth: claim and template get the new size, and the pods keep running.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    kubectl::{self, condition, eventually},
    network,
};

const NAMESPACE: &str = "e2e-grow";

/// Size that the claim of a component requests, size in its StatefulSet's template, and whether the StatefulSet owns
/// the pod.
fn sizes(part: &str) -> (Value, Value, bool) {
    let find = |kind: &str, name: String| kubectl::find(&["-n", NAMESPACE, kind, &name]).unwrap_or_default();
    let claim = find("persistentvolumeclaim", format!("data-grow-{part}-0"));
    let set = find("statefulset", format!("grow-{part}"));
    let pod = find("pod", format!("grow-{part}-0"));
    let request = |claim: &Value| claim["spec"]["resources"]["requests"]["storage"].clone();
    let managed = set["metadata"]["uid"].is_string()
        && pod["metadata"]["ownerReferences"][0]["uid"] == set["metadata"]["uid"];
    (request(&claim), request(&set["spec"]["volumeClaimTemplates"][0]), managed)
}

/// Uid, start time and revision of a component's pod.
fn running(part: &str) -> (Value, Value, Value) {
    let pod = kubectl::get(&["-n", NAMESPACE, "pod", &format!("grow-{part}-0")]);
    let started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"].clone();
    (pod["metadata"]["uid"].clone(), started, pod["metadata"]["labels"]["controller-revision-hash"].clone())
}

#[test]
fn volumes_of_client_and_database_grow_and_their_pods_run_on() {
    network::prepare(NAMESPACE, &["grow"]);
    kubectl::apply(&[network::member(NAMESPACE, "grow")]);
    kubectl::wait_condition(NAMESPACE, "grow", "Ready", "True", "");
    let parts = ["client", "tm-db"];
    let before = parts.map(running);
    let mut larger = network::member(NAMESPACE, "grow");
    larger["spec"]["client"]["storage"]["size"] = json!("2Gi");
    larger["spec"]["transactionManager"]["database"]["managed"]["storage"]["size"] = json!("3Gi");
    kubectl::apply(&[larger]);
    for (part, wanted) in [("client", "2Gi"), ("tm-db", "3Gi")] {
        eventually(&format!("{part} has {wanted}"), Duration::from_secs(60), || {
            let found = sizes(part);
            if found == (json!(wanted), json!(wanted), true) { Ok(()) } else { Err(format!("{found:?}")) }
        });
        let set = format!("grow-{part}");
        eventually("the revision is the pod's", Duration::from_secs(30), || {
            let set = kubectl::get(&["-n", NAMESPACE, "statefulset", &set]);
            let newest = set["status"]["updateRevision"].clone();
            if newest == running(part).2 { Ok(()) } else { Err(newest.to_string()) }
        });
    }
    assert_eq!(parts.map(running), before, "no pod was restarted");
    let node = kubectl::get(&["-n", NAMESPACE, "quorumnode", "grow"]);
    let ready = condition(&node, "Ready").expect("Ready is always there");
    assert_eq!(ready.0, "True", "{}", node["status"]["conditions"]);
    kubectl::text(&["-n", NAMESPACE, "delete", "quorumnode", "grow", "--wait=false"]);
}

/// The API server admits a smaller size, so that users can undo a refused growth; the operator refuses to shrink.
#[test]
fn a_volume_does_not_shrink() {
    network::prepare(NAMESPACE, &[]);
    let mut node = network::client(NAMESPACE, "shrink");
    // a separate network, since a leaving peer would restart the other node's client
    node["spec"]["network"] = json!("shrink");
    kubectl::apply(&[node.clone()]);
    kubectl::wait_condition(NAMESPACE, "shrink", "Ready", "True", "");
    node["spec"]["client"]["storage"]["size"] = json!("1023Mi");
    kubectl::apply(&[node]);
    kubectl::wait_condition(NAMESPACE, "shrink", "Stalled", "True", "ShrinkRefused");
    kubectl::text(&["-n", NAMESPACE, "delete", "quorumnode", "shrink", "--wait=false"]);
}
