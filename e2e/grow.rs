//! Volumes that grow: claim and template have the new size, and the pods run on.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    kubectl::{self, condition, eventually},
    network,
};

const NAMESPACE: &str = "e2e-grow";

/// What the claim of a part asks for, what its StatefulSet's template asks for, and who manages its pod.
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

/// Which pod it is, since when it runs, and the revision it is made from.
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

/// The server admits it, so that a size that was refused can be taken back; the pass refuses it.
#[test]
fn a_volume_does_not_shrink() {
    network::prepare(NAMESPACE, &[]);
    let mut node = network::client(NAMESPACE, "shrink");
    // a peer that leaves would restart the clients of the other one's network
    node["spec"]["network"] = json!("shrink");
    kubectl::apply(&[node.clone()]);
    kubectl::wait_condition(NAMESPACE, "shrink", "Ready", "True", "");
    node["spec"]["client"]["storage"]["size"] = json!("1023Mi");
    kubectl::apply(&[node]);
    kubectl::wait_condition(NAMESPACE, "shrink", "Stalled", "True", "ShrinkRefused");
    kubectl::text(&["-n", NAMESPACE, "delete", "quorumnode", "shrink", "--wait=false"]);
}
