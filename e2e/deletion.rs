//! Deletion of a node on a real cluster: its network policies stay until its pods are gone, however it is deleted.

use std::{process::Command, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    kubectl::{self, eventually},
    network,
};

/// Adds or removes a finalizer that delays the deletion of a pod.
fn hold(namespace: &str, pod: &str, held: bool) {
    let finalizers = if held { json!(["e2e.quorum.security/held"]) } else { Value::Null };
    let patch = json!({"metadata": {"finalizers": finalizers}}).to_string();
    kubectl::text(&["-n", namespace, "patch", "pod", pod, "--type=merge", "-p", &patch]);
}

/// Checks that a node's policies stay while the finalizer delays its pod, and that `what` is gone after the pod.
fn goes_closed(namespace: &str, name: &str, what: &[&str]) {
    let pod = format!("{name}-client-0");
    let pod_is_there = || kubectl::find(&["-n", namespace, "pod", &pod]);
    let deny_is_there =
        || kubectl::find(&["-n", namespace, "networkpolicy", &format!("{name}-deny")]).is_some();
    eventually("the pod has ended but for what holds it", Duration::from_secs(120), || {
        let now = pod_is_there().ok_or("the pod is gone")?;
        let phase = now["status"]["phase"].as_str().unwrap_or_default();
        let ending = now["metadata"]["deletionTimestamp"].is_string();
        if ending && phase != "Running" { Ok(()) } else { Err(format!("{phase}, ending: {ending}")) }
    });
    assert!(deny_is_there() && kubectl::find(what).is_some(), "it waits for its pod");
    hold(namespace, &pod, false);
    eventually(&format!("{what:?} is gone"), Duration::from_secs(120), || match kubectl::find(what) {
        None => Ok(()),
        Some(left) => Err(left["status"].to_string()),
    });
    assert!(pod_is_there().is_none() && !deny_is_there());
}

fn delete(arguments: &[&str]) {
    kubectl::text(&[&["delete", "--wait=false"], arguments].concat());
}

#[test]
fn a_node_that_is_deleted_stays_closed_until_its_pods_are_gone_and_leaves_key_and_data() {
    let namespace = "e2e-gone";
    network::prepare(namespace, &[]);
    let mut key = None;
    for cascade in ["foreground", "background"] {
        kubectl::apply(&[network::client(namespace, "gone")]);
        kubectl::wait_condition(namespace, "gone", "Ready", "True", "");
        let enode = kubectl::get(&["-n", namespace, "quorumnode", "gone"])["status"]["identity"].clone();
        assert_eq!(*key.get_or_insert_with(|| enode.clone()), enode, "the retained key is taken up again");
        let how = format!("--cascade={cascade}");
        hold(namespace, "gone-client-0", true);
        delete(&["-n", namespace, "quorumnode", "gone", &how]);
        goes_closed(namespace, "gone", &["-n", namespace, "quorumnode", "gone"]);
        for kept in [["secret", "qn-gone-nodekey"], ["persistentvolumeclaim", "data-gone-client-0"]] {
            assert!(kubectl::find(&["-n", namespace, kept[0], kept[1]]).is_some(), "{cascade}: {kept:?}");
        }
    }
}

#[test]
fn a_whole_namespace_can_be_deleted() {
    let namespace = "e2e-doomed";
    network::prepare(namespace, &[]);
    kubectl::apply(&[network::client(namespace, "doomed")]);
    kubectl::wait_condition(namespace, "doomed", "Ready", "True", "");
    hold(namespace, "doomed-client-0", true);
    delete(&["namespace", namespace]);
    goes_closed(namespace, "doomed", &["namespace", namespace]);
}

/// Follows `docs/deletion.md` for clusters without an operator.
#[test]
#[ignore = "stops the operator: make e2e runs it on its own"]
fn alone_without_an_operator_one_command_lets_a_node_be_deleted() {
    let namespace = "e2e-gone";
    network::prepare(namespace, &[]);
    kubectl::apply(&[network::client(namespace, "stuck")]);
    kubectl::wait_condition(namespace, "stuck", "Ready", "True", "");
    let replicas =
        kubectl::get(&["-n", "quorum-system", "deployment", "quorum-operator"])["spec"]["replicas"].clone();
    let scale = |to: &str| {
        let to = format!("--replicas={to}");
        kubectl::text(&["-n", "quorum-system", "scale", "deployment/quorum-operator", &to]);
    };
    scale("0");
    kubectl::text(&["-n", "quorum-system", "wait", "--for=delete", "--timeout=60s", "pod", "--all"]);
    delete(&["-n", namespace, "quorumnode", "stuck"]);
    let line = include_str!("../docs/deletion.md")
        .lines()
        .find(|line| line.starts_with("kubectl") && line.contains("quorumnodes,networkpolicies"))
        .expect("deletion.md has the line")
        .replace("NAMESPACE", namespace);
    let output = Command::new("bash").args(["-ec", &line]).output().expect("bash");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    eventually("the node is gone", Duration::from_secs(60), || {
        match kubectl::find(&["-n", namespace, "quorumnode", "stuck"]) {
            None => Ok(()),
            Some(left) => Err(left["metadata"].to_string()),
        }
    });
    scale(&replicas.to_string());
    kubectl::text(&[
        "-n",
        "quorum-system",
        "rollout",
        "status",
        "deployment/quorum-operator",
        "--timeout=60s",
    ]);
}
