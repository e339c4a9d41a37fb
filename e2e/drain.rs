//! Drained host: a pod with local data waits for the host, the node reports that, and the pod runs afterwards.

use std::time::Duration;

use serde_json::Value;

use crate::support::{
    kubectl::{self, condition, eventually},
    network,
};

const NAMESPACE: &str = "e2e-drain";

fn pod() -> Option<Value> {
    kubectl::find(&["-n", NAMESPACE, "pod", "drained-client-0"])
}

fn computed(node: &Value) -> [Option<String>; 2] {
    ["Reconciling", "Stalled"].map(|kind| condition(node, kind).map(|found| found.0))
}

/// The client's volume is local, so no other host can run it, though two are free.
#[test]
#[ignore = "drains a host: make e2e runs it on its own"]
fn alone_a_client_waits_for_its_drained_host_and_runs_when_that_is_back() {
    network::prepare(NAMESPACE, &[]);
    kubectl::apply(&[network::client(NAMESPACE, "drained")]);
    kubectl::wait_condition(NAMESPACE, "drained", "Ready", "True", "");
    let before = pod().expect("it runs");
    let host = before["spec"]["nodeName"].as_str().expect("a host").to_owned();
    let selected = "--pod-selector=quorum.security/node=drained";
    kubectl::text(&[
        "drain",
        &host,
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--timeout=120s",
        selected,
    ]);

    let kind = "PlacementIsolated";
    let message = kubectl::wait_condition(NAMESPACE, "drained", kind, "False", "Unschedulable");
    assert!(
        message.contains("has its volume bed-") && message.contains(&format!("kubectl uncordon {host}")),
        "{message}"
    );
    let node = kubectl::get(&["-n", NAMESPACE, "quorumnode", "drained"]);
    assert_eq!(computed(&node), [Some("True".to_owned()), None], "{}", node["status"]["conditions"]);
    let (ready, reason, told) = condition(&node, "Ready").expect("Ready is always there");
    let message = condition(&node, kind).expect("it was there").2;
    assert_eq!((ready.as_str(), reason.as_str(), told), ("False", "Unschedulable", message));
    let waiting = pod().expect("it was made again");
    assert_ne!(waiting["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(
        (&waiting["spec"]["nodeName"], &waiting["status"]["phase"]),
        (&Value::Null, &"Pending".into())
    );

    kubectl::text(&["uncordon", &host]);
    kubectl::wait_condition(NAMESPACE, "drained", "Ready", "True", "");
    eventually("it is the pod that waited, on its host", Duration::from_secs(10), || {
        let now = pod().ok_or("no pod")?;
        let same =
            now["metadata"]["uid"] == waiting["metadata"]["uid"] && now["spec"]["nodeName"] == host.as_str();
        if same { Ok(()) } else { Err(now["metadata"].to_string()) }
    });
    kubectl::text(&["-n", NAMESPACE, "delete", "quorumnode", "drained", "--wait=false"]);
}
