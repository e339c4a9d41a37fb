//! What is served: the operator is let in to look at it, and says where it is not what the Secret holds.

use std::time::Duration;

use serde_json::json;

use crate::{
    kubectl::{self, condition, eventually},
    network::{self, NAMESPACE},
};

/// What the leader's metrics say of a node's certificate: nothing where it was not seen.
fn seen(node: &str, purpose: &str) -> Option<String> {
    let pods = kubectl::get(&["-n", "quorum-system", "pods", "-l", "app.kubernetes.io/name=quorum-operator"]);
    let names =
        pods["items"].as_array().into_iter().flatten().filter_map(|pod| pod["metadata"]["name"].as_str());
    let pages = names.map(|pod| {
        kubectl::text(&[
            "get",
            "--raw",
            &format!("/api/v1/namespaces/quorum-system/pods/{pod}:8080/proxy/metrics"),
        ])
    });
    let labels = [("namespace", NAMESPACE), ("name", node), ("purpose", purpose)];
    let labels = labels.map(|(label, value)| format!("{label}=\"{value}\""));
    pages.collect::<Vec<_>>().iter().flat_map(|page| page.lines()).find_map(|line| {
        let ours = line.starts_with("quorum_cert_served{") && labels.iter().all(|label| line.contains(label));
        ours.then(|| line.rsplit(' ').next().unwrap_or_default().to_owned())
    })
}

/// The operator looks every five minutes, and a tenth longer at most.
const LOOKED: Duration = Duration::from_secs(360);

pub(crate) fn is_seen_as(node: &str, purpose: &str, expected: &str) {
    eventually(&format!("{node}'s {purpose} is seen as {expected}"), LOOKED, || {
        let seen = seen(node, purpose);
        if seen.as_deref() == Some(expected) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

#[test]
fn every_port_is_seen_to_serve_what_its_secret_holds() {
    network::ready();
    for purpose in ["metrics", "tm", "tm-peers", "tm-db"] {
        is_seen_as("alice", purpose, "1");
    }
}

/// A paused node's certificates are renewed and its pods are not replaced: its manager serves what it has read at
/// its start, and its sidecar what is new.
#[test]
#[ignore = "takes half an hour, as an alarm has its grace: make e2e-long runs it"]
fn long_what_a_paused_manager_still_serves_is_told_and_what_was_read_again_is_not() {
    network::ready();
    is_seen_as("alice", "tm", "1");
    let pause = |paused: bool| {
        let patch = json!({"spec": {"paused": paused}}).to_string();
        kubectl::text(&["-n", NAMESPACE, "patch", "quorumnode", "alice", "--type=merge", "-p", &patch]);
    };
    pause(true);
    let renew = "quorum.security/renew-certs-at=served";
    kubectl::text(&["-n", NAMESPACE, "annotate", "quorumnode", "alice", "--overwrite", renew]);
    is_seen_as("alice", "tm", "0");
    let told = eventually("ServedDiffers", Duration::from_secs(1200), || {
        let node = kubectl::get(&["-n", NAMESPACE, "quorumnode", "alice"]);
        match condition(&node, "CertificatesReady") {
            Some((_, reason, message)) if reason == "ServedDiffers" => Ok(message),
            other => Err(format!("{other:?}")),
        }
    });
    assert!(
        told.contains("tm (the transaction manager at port 9101)") && !told.contains("metrics ("),
        "{told}"
    );
    is_seen_as("alice", "metrics", "1");
    pause(false);
    eventually("Ready again", Duration::from_secs(900), || {
        let node = kubectl::get(&["-n", NAMESPACE, "quorumnode", "alice"]);
        match condition(&node, "Ready") {
            Some((is, ..)) if is == "True" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    is_seen_as("alice", "tm", "1");
}
