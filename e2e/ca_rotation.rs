//! CA rotation with real kubelets: no handshake of scrapers or managers fails.

use std::{process::Command, time::Duration};

use serde_json::Value;

use crate::{
    happy_path, served_certificates,
    support::{
        kubectl::{self, eventually},
        network::{self, NAMESPACE},
        pods,
    },
};

const NODES: [&str; 2] = ["alice", "bob"];

/// Whether an error message of Go is about a TLS handshake, unlike those about a restarting manager.
fn is_of_a_handshake(said: &str) -> bool {
    ["x509:", "tls:", "certificate"].iter().any(|word| said.contains(word))
}

/// PEM under a key of a Secret, without whitespace.
fn pem(secret: &str, key: &str) -> String {
    let secret = kubectl::get(&["-n", NAMESPACE, "secret", secret]);
    let encoded = secret["data"][key].as_str().unwrap_or_default().to_owned();
    let decoded =
        Command::new("bash").args(["-c", "base64 -d <<<\"$0\"", &encoded]).output().expect("base64");
    String::from_utf8(decoded.stdout).expect("PEM").split_whitespace().collect()
}

/// Copies the network's CA bundle to the scraper if it has changed, as a platform team would.
fn hand_on_the_bundle(last: &mut Value) {
    let bundle = kubectl::get(&["-n", NAMESPACE, "configmap", "qnet-acme-ca"])["data"].clone();
    if bundle != *last {
        happy_path::install_authority();
        *last = bundle;
    }
}

/// Failed handshakes: of scrapes now, and of managers in the last 15 seconds.
fn refusals() -> Vec<String> {
    let mut refused = Vec::new();
    for node in NODES {
        let url = format!("https://{node}-metrics.{NAMESPACE}.svc:9545/metrics");
        let (said, well) =
            pods::exec(happy_path::looker(), &["/dialer", "https", &url, "--ca", "/ca/ca.crt"]);
        if !well && is_of_a_handshake(&said) {
            refused.push(format!("{node}'s metrics: {said}"));
        }
        let pod = format!("{node}-tm-0");
        let log = kubectl::run(&["-n", NAMESPACE, "logs", &pod, "-c", "tm", "--since=15s"], "");
        let log = String::from_utf8_lossy(&log.stdout).into_owned();
        let peers = log.lines().filter(|line| line.contains("peer https://") && is_of_a_handshake(line));
        refused.extend(peers.map(|line| format!("{pod}: {line}")));
    }
    refused
}

/// Whether a node trusts and presents exactly one CA.
fn has_concluded(node: &str) -> bool {
    let status = kubectl::get(&["-n", NAMESPACE, "quorumnode", node])["status"].clone();
    let held = &status["networkAuthorities"];
    held["trusted"].as_array().is_some_and(|trusted| trusted.len() == 1)
        && held["trusted"] == held["presented"]
}

#[test]
#[ignore = "takes a quarter of an hour, as kubelets are waited for: make e2e-long runs it"]
fn long_a_ca_rotation_breaks_no_handshake() {
    network::ready();
    let mut bundle = Value::Null;
    hand_on_the_bundle(&mut bundle);
    eventually("scrapes get through", Duration::from_secs(60), || match refusals().as_slice() {
        [] => Ok(()),
        refused => Err(refused.join("; ")),
    });
    let ask = ["-n", NAMESPACE, "annotate", "secret", "qnet-acme-ca", "quorum.security/rotate=e2e"];
    kubectl::text(&ask);
    let mut looks = 0;
    eventually("both nodes have let go of the first", Duration::from_secs(1500), || {
        hand_on_the_bundle(&mut bundle);
        let refused = refusals();
        assert!(refused.is_empty(), "after {looks} looks: {refused:#?}");
        looks += 1;
        if NODES.into_iter().all(has_concluded) { Ok(()) } else { Err(format!("{looks} looks")) }
    });
    // fewer polls could miss a step of the rotation
    assert!(looks > 100, "{looks} looks");
    let next = pem("qnet-acme-ca-2", "tls.crt");
    for node in NODES {
        for purpose in ["metrics", "tm-peers"] {
            assert_eq!(pem(&format!("qn-{node}-tls-{purpose}"), "ca.crt"), next, "{node} {purpose}");
            served_certificates::is_seen_as(node, purpose, "1");
        }
        kubectl::wait_condition(NAMESPACE, node, "Ready", "True", "");
    }
}
