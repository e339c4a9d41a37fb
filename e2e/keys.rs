//! Checks that the node key is only in its Secret and one container.

use std::process::Command;

use serde_json::Value;

use crate::support::{
    kubectl,
    network::{self, NAMESPACE},
};

fn node_key() -> String {
    let encoded = kubectl::text(&[
        "-n",
        NAMESPACE,
        "get",
        "secret",
        "qn-alice-nodekey",
        "-o",
        "jsonpath={.data.nodekey}",
    ]);
    let decoded =
        Command::new("bash").args(["-c", "base64 -d <<<\"$0\"", &encoded]).output().expect("base64");
    String::from_utf8(decoded.stdout).expect("64 hex characters").trim().to_owned()
}

#[test]
fn the_secret_of_the_node_key_is_mounted_into_one_container_only() {
    network::ready();
    let pods = kubectl::get(&["-n", NAMESPACE, "pods", "-l", "quorum.security/node=alice"]);
    let mut holders = Vec::new();
    for pod in pods["items"].as_array().into_iter().flatten() {
        let volumes: Vec<&Value> = pod["spec"]["volumes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|volume| volume.to_string().contains("qn-alice-nodekey"))
            .collect();
        let names: Vec<_> = volumes.iter().filter_map(|volume| volume["name"].as_str()).collect();
        for kind in ["containers", "initContainers", "ephemeralContainers"] {
            for container in pod["spec"][kind].as_array().into_iter().flatten() {
                let mounts = container["volumeMounts"].as_array().into_iter().flatten();
                if mounts.filter_map(|mount| mount["name"].as_str()).any(|name| names.contains(&name)) {
                    holders.push(format!("{}/{}", pod["metadata"]["name"], container["name"]));
                }
            }
        }
    }
    assert_eq!(holders, ["\"alice-client-0\"/\"prepare\""]);
}

#[test]
fn the_node_key_is_in_no_log_event_status_or_object_but_its_secret() {
    network::ready();
    let key = node_key();
    assert_eq!(key.len(), 64);
    let mut searched = 0;
    let mut search = |place: &str, text: &str| {
        searched += 1;
        assert!(!text.contains(&key), "the node key is in {place}");
    };
    for kind in [
        "quorumnodes",
        "pods",
        "statefulsets",
        "configmaps",
        "services",
        "networkpolicies",
        "events",
        "persistentvolumeclaims",
    ] {
        search(kind, &kubectl::text(&["-n", NAMESPACE, "get", kind, "-o", "json"]));
    }
    for pod in ["alice-client-0", "alice-tm-0", "alice-tm-db-0"] {
        let spec = kubectl::get(&["-n", NAMESPACE, "pod", pod]);
        let ours = ["initContainers", "containers"].map(|kind| spec["spec"][kind].as_array().cloned());
        for container in ours.into_iter().flatten().flatten() {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            search(&name, &kubectl::text(&["-n", NAMESPACE, "logs", pod, "-c", &name]));
        }
        let log = kubectl::text(&["-n", NAMESPACE, "logs", pod]);
        assert!(!log.is_empty(), "{pod} has a log");
    }
    // logs of every replica, since each may have been the leader
    let replicas =
        kubectl::get(&["-n", "quorum-system", "pods", "-l", "app.kubernetes.io/name=quorum-operator"]);
    let logs: Vec<_> = replicas["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|pod| pod["metadata"]["name"].as_str())
        .map(|pod| kubectl::text(&["-n", "quorum-system", "logs", pod]))
        .collect();
    assert!(logs.iter().any(|log| log.contains("applied")), "the operator has a log");
    for log in &logs {
        search("the operator", log);
    }
    let secrets = kubectl::get(&["-n", NAMESPACE, "secrets"]);
    for secret in secrets["items"].as_array().into_iter().flatten() {
        if secret["metadata"]["name"] != "qn-alice-nodekey" {
            search("another Secret", &secret.to_string());
        }
    }
    assert!(searched > 12, "{searched}");
}

/// `geth init` creates a key if it gets none; the claim must not hold one.
#[test]
fn the_claim_of_the_client_holds_no_node_key() {
    network::ready();
    let claim = kubectl::get(&["-n", NAMESPACE, "persistentvolumeclaim", "data-alice-client-0"]);
    let volume = claim["spec"]["volumeName"].as_str().expect("bound");
    let volume = kubectl::get(&["persistentvolume", volume]);
    let path = volume["spec"]["local"]["path"].as_str().expect("a local volume");
    let files = |pattern: &str| {
        let found = Command::new("find").args([path, "-name", pattern]).output().expect("find");
        String::from_utf8_lossy(&found.stdout).into_owned()
    };
    assert!(files("chaindata").contains("chaindata"), "this is the client's volume: {path}");
    assert_eq!(files("nodekey*"), "");
    let grep = Command::new("grep").args(["-rl", &node_key(), path]).output().expect("grep");
    assert_eq!(String::from_utf8_lossy(&grep.stdout), "");
}
