//! Rollout of several nodes at once: `kubectl wait` returns when the last pod is updated, and not before.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{kubectl, network};

const NAMESPACE: &str = "e2e-rollouts";
const NAMES: [&str; 4] = ["roll-a", "roll-b", "roll-c", "roll-d"];

fn validator(name: &str) -> Value {
    let mut node = network::client(NAMESPACE, name);
    node["spec"]["role"] = json!("Validator");
    node
}

/// Patches all four nodes in quick succession.
fn patch(change: &Value) {
    let patch = change.to_string();
    for name in NAMES {
        kubectl::text(&["-n", NAMESPACE, "patch", "quorumnode", name, "--type=merge", "-p", &patch]);
    }
}

/// Whether `kubectl wait` sees all four ready within this time.
fn waited(seconds: u32) -> bool {
    let nodes = NAMES.map(|name| format!("quorumnode/{name}"));
    let timeout = format!("--timeout={seconds}s");
    let mut arguments = vec!["-n", NAMESPACE, "wait", "--for=condition=Ready", &timeout];
    arguments.extend(nodes.iter().map(String::as_str));
    kubectl::run(&arguments, "").status.success()
}

fn pod(name: &str) -> Value {
    kubectl::find(&["-n", NAMESPACE, "pod", &format!("{name}-client-0")]).unwrap_or_default()
}

fn serves(name: &&str) -> bool {
    let conditions = pod(name)["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|found| found["type"] == "Ready" && found["status"] == "True")
}

/// Validators whose pod does not have its StatefulSet's newest revision or does not serve.
fn behind() -> Vec<&'static str> {
    let is_behind = |name: &&str| {
        let set = kubectl::get(&["-n", NAMESPACE, "statefulset", &format!("{name}-client")]);
        set["status"]["observedGeneration"] != set["metadata"]["generation"]
            || set["status"]["updateRevision"] != pod(name)["metadata"]["labels"]["controller-revision-hash"]
            || !serves(name)
    };
    NAMES.into_iter().filter(is_behind).collect()
}

/// `kubectl rollout restart` adds an annotation to the template. The operator removes it and replaces no pod;
/// `kubectl rollout status` refuses the strategy OnDelete.
fn assert_restart_by_kubectl_replaces_no_pod(name: &str) {
    let set = format!("statefulset/{name}-client");
    let before = pod(name)["metadata"]["uid"].clone();
    kubectl::text(&["-n", NAMESPACE, "rollout", "restart", &set]);
    kubectl::eventually("the annotation is removed", Duration::from_secs(30), || {
        let live = kubectl::get(&["-n", NAMESPACE, &set]);
        let annotations = &live["spec"]["template"]["metadata"]["annotations"];
        let is_removed = annotations["kubectl.kubernetes.io/restartedAt"].is_null();
        (is_removed && behind().is_empty()).then_some(()).ok_or_else(|| annotations.to_string())
    });
    assert_eq!(pod(name)["metadata"]["uid"], before, "the pod was replaced");
    let status = kubectl::run(&["-n", NAMESPACE, "rollout", "status", &set, "--timeout=5s"], "");
    let said = String::from_utf8_lossy(&status.stderr);
    assert!(!status.status.success() && said.contains("RollingUpdate"), "{said}");
}

#[test]
fn kubectl_waits_for_the_last_of_four_validators_that_are_patched_at_once() {
    network::prepare(NAMESPACE, &[]);
    kubectl::apply(&NAMES.map(validator));
    assert!(waited(240), "{:?}", behind());
    let before = NAMES.map(pod);

    patch(&json!({"spec": {"client": {"tunables": {"maxPeers": 41}}}}));
    assert!(waited(600), "{:?}", behind());
    assert_eq!(behind(), [""; 0]);
    for (name, before) in NAMES.into_iter().zip(&before) {
        assert_ne!(pod(name)["metadata"]["uid"], before["metadata"]["uid"], "{name}");
        let node = kubectl::get(&["-n", NAMESPACE, "quorumnode", name]);
        assert_eq!(node["status"]["observedGeneration"], node["metadata"]["generation"], "{name}");
    }

    assert_restart_by_kubectl_replaces_no_pod("roll-a");

    // an image that does not exist
    let image = kubectl::variable("GOQUORUM_IMAGE");
    let (repository, _) = image.split_once('@').expect("pinned by digest");
    let broken = format!("{repository}@sha256:{}", "0".repeat(64));
    patch(&json!({"spec": {"client": {"image": broken}}}));
    assert!(!waited(60), "an image that cannot be pulled is rolled out");
    assert_eq!(behind(), NAMES);
    assert_eq!(NAMES.iter().filter(|name| serves(name)).count(), 3, "one pod alone was replaced for it");
    patch(&json!({"spec": {"client": {"image": image}}}));
    assert!(waited(600), "{:?}", behind());
    assert_eq!(behind(), [""; 0]);
    for name in NAMES {
        kubectl::text(&["-n", NAMESPACE, "delete", "quorumnode", name, "--wait=false"]);
    }
}
