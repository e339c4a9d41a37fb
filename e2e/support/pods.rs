//! Sources of test connections: separate pods of several kinds, and diallers inside a node's own pods.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    kubectl::{self, eventually, variable},
    network::NAMESPACE,
};

/// Source of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct From {
    pub(crate) namespace: &'static str,
    pub(crate) pod: &'static str,
    pub(crate) container: &'static str,
}

/// The scraper that the nodes allow.
pub(crate) const SCRAPER: From = From { namespace: "monitoring", pod: "prometheus", container: "dialer" };
/// Another pod in the scraper's namespace.
pub(crate) const BYSTANDER: From = From { namespace: "monitoring", pod: "bystander", container: "dialer" };
/// A pod in the nodes' namespace that belongs to no node.
pub(crate) const STRANGER: From = From { namespace: NAMESPACE, pod: "stranger", container: "dialer" };

/// The dialler inside a node's pod.
pub(crate) const fn inside(pod: &'static str) -> From {
    From { namespace: NAMESPACE, pod, container: "dialer" }
}

fn restricted() -> Value {
    json!({
        "allowPrivilegeEscalation": false, "runAsNonRoot": true, "runAsUser": 65532,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        "readOnlyRootFilesystem": true,
    })
}

/// Starts the separate pods. They listen on port 8080, so that a refused egress connection means a policy.
pub(crate) fn strangers() {
    kubectl::apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}})]);
    for from in [SCRAPER, BYSTANDER, STRANGER] {
        kubectl::apply(&[json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": from.pod, "namespace": from.namespace, "labels": {"app": from.pod}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "dialer", "image": variable("DIALER_IMAGE"), "imagePullPolicy": "IfNotPresent",
                    "args": ["serve", ":8080"], "securityContext": restricted(),
                }],
            },
        })]);
    }
    for from in [SCRAPER, BYSTANDER, STRANGER] {
        kubectl::text(&[
            "-n",
            from.namespace,
            "wait",
            "--for=condition=Ready",
            "--timeout=60s",
            "pod",
            from.pod,
        ]);
    }
}

/// Adds an ephemeral container to a running pod, with the pod's address and access to its volumes.
pub(crate) fn enter(namespace: &str, pod: &str, name: &str, image: &str, more: Value) {
    let there = kubectl::get(&["-n", namespace, "pod", pod]);
    let ephemeral = there["spec"]["ephemeralContainers"].as_array().cloned().unwrap_or_default();
    if !ephemeral.iter().any(|container| container["name"] == name) {
        let mut container = json!({
            "name": name, "image": image, "imagePullPolicy": "IfNotPresent", "securityContext": restricted(),
        });
        for (key, value) in more.as_object().expect("fields of a container") {
            container[key] = value.clone();
        }
        let patch = json!({"spec": {"ephemeralContainers": [container]}}).to_string();
        kubectl::text(&[
            "-n",
            namespace,
            "patch",
            "pod",
            pod,
            "--subresource=ephemeralcontainers",
            "--type=strategic",
            "-p",
            &patch,
        ]);
    }
    eventually(&format!("container {name} in {pod}"), Duration::from_secs(60), || {
        let now = kubectl::get(&["-n", namespace, "pod", pod]);
        let states = now["status"]["ephemeralContainerStatuses"].as_array().cloned().unwrap_or_default();
        let state = states.into_iter().find(|state| state["name"] == name).unwrap_or_default();
        if state["state"]["running"].is_object() { Ok(()) } else { Err(state.to_string()) }
    });
}

/// Adds a dialler to each of these pods.
pub(crate) fn enter_all(pods: &[&str]) {
    for pod in pods {
        enter(NAMESPACE, pod, "dialer", &variable("DIALER_IMAGE"), json!({"args": ["wait"]}));
    }
}

/// Result of a TCP connection: `open`, `refused`, `timeout` or `unresolved`.
pub(crate) fn dial(from: From, to: &str) -> String {
    exec(from, &["/dialer", "tcp", to, "--timeout", "2s"]).0.trim().to_owned()
}

/// Output and success of a command in a container. The output is standard error if standard output is empty.
pub(crate) fn exec(from: From, command: &[&str]) -> (String, bool) {
    let arguments = [&["-n", from.namespace, "exec", from.pod, "-c", from.container, "--"], command].concat();
    let output = kubectl::run(&arguments, "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said =
        if text.trim().is_empty() { String::from_utf8_lossy(&output.stderr).into_owned() } else { text };
    (said, output.status.success())
}

/// Address of a pod.
pub(crate) fn address(namespace: &str, pod: &str) -> String {
    let pod = kubectl::get(&["-n", namespace, "pod", pod]);
    pod["status"]["podIP"].as_str().expect("a running pod has an address").to_owned()
}
