//! Placement of roles on separate machines, with too few hosts, and with two hosts on one machine.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    kubectl::{self, condition, eventually},
    network,
};

/// With two hosts for three roles, one role waits and the node reports the missing host.
#[test]
fn with_too_few_machines_the_last_role_waits_and_the_missing_capacity_is_named() {
    let namespace = "e2e-few";
    network::prepare(namespace, &["few"]);
    for host in ["k1", "k2"] {
        kubectl::text(&["label", "--overwrite", "node", host, "e2e/few=yes"]);
    }
    let mut node = network::member(namespace, "few");
    node["spec"]["placement"] = json!({"nodeSelector": {"e2e/few": "yes"}});
    kubectl::apply(&[node]);
    let message = kubectl::wait_condition(namespace, "few", "Stalled", "True", "InsufficientHosts");
    assert!(
        message.contains("3 machines are needed") && message.contains("2 can be used: add 1 more"),
        "{message}"
    );
    // the node may report this before the scheduler has handled every pod
    let hosts = eventually("two of three pods have a host", Duration::from_secs(60), || {
        let pods = kubectl::get(&["-n", namespace, "pods"]);
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let mut hosts: Vec<_> =
            pods.iter().filter_map(|pod| pod["spec"]["nodeName"].as_str().map(str::to_owned)).collect();
        hosts.sort_unstable();
        if (pods.len(), hosts.len()) == (3, 2) { Ok(hosts) } else { Err(format!("{hosts:?}")) }
    });
    assert_eq!(hosts, ["k1", "k2"], "never together");

    // with a third machine the waiting role runs, without further action
    kubectl::text(&["label", "--overwrite", "node", "k3", "e2e/few=yes"]);
    kubectl::wait_condition(namespace, "few", "Ready", "True", "");
    kubectl::text(&["-n", namespace, "delete", "quorumnode", "few", "--wait=false"]);
}

/// A fourth kubelet reports the machine ID of the first: two hosts for the scheduler, one machine for the operator.
#[test]
#[ignore = "adds a host to the cluster: make e2e runs it on its own"]
fn alone_two_kubelets_that_report_one_machine_id_count_as_one_host() {
    let namespace = "e2e-twins";
    network::prepare(namespace, &["twins"]);
    crate::cluster_tests::run(&["node", "on", "4", "--machine-id-of", "1"]);
    for host in ["k1", "k2", "k4"] {
        kubectl::text(&["label", "--overwrite", "node", host, "e2e/twins=yes"]);
    }
    let mut node = network::member(namespace, "twins");
    node["spec"]["placement"] = json!({"nodeSelector": {"e2e/twins": "yes"}});
    kubectl::apply(&[node]);
    let message = kubectl::wait_condition(namespace, "twins", "PlacementIsolated", "False", "SharedHost");
    assert!(
        message.contains("both hosts report machine id") && message.contains("k1") && message.contains("k4"),
        "{message}"
    );
    let ready = eventually("Ready is False", Duration::from_secs(10), || {
        condition(&kubectl::get(&["-n", namespace, "quorumnode", "twins"]), "Ready")
            .ok_or_else(|| "no Ready".into())
    });
    assert_eq!((ready.0.as_str(), ready.1.as_str()), ("False", "SharedHost"));
    kubectl::text(&["-n", namespace, "delete", "quorumnode", "twins", "--wait=false"]);
    crate::cluster_tests::run(&["node", "off", "4"]);
    kubectl::text(&["delete", "node", "k4"]);
}
