//! Tests of provided certificates: waited for, checked, used, and never written.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    bank::Bank,
    world::{World, member, node, object, secret},
};
use crate::model::secrets::tls::Usage;

const METRICS: &str = "from-the-bank-metrics";
const PEERS: &str = "from-the-bank-peers";

/// A member with provided certificates for what others see.
fn provided() -> Value {
    let mut alice = member("alice");
    alice["spec"]["tls"] = json!({"issuer": "Provided", "provided": {
        "metrics": {"name": METRICS}, "tmPeers": {"name": PEERS}}, "duration": "2160h", "renewBefore": "720h"});
    alice
}

/// `alice` with the provided certificates.
async fn ready() -> (World, Bank) {
    let (mut world, bank) = (World::new(), Bank::new());
    world.start();
    world.server.put(&bank.issue(METRICS, "alice-metrics", Usage::Server));
    world.server.put(&bank.issue(PEERS, "alice-tm", Usage::Both));
    world.server.put(&provided());
    world.rest().await;
    world.assert_ready("alice");
    (world, bank)
}

#[tokio::test(start_paused = true)]
async fn provided_certificates_are_waited_for_judged_and_taken_without_a_write() {
    let (mut world, bank) = (World::new(), Bank::new());
    world.start();
    world.server.put(&provided());
    world.rest().await;
    let (_, reason, message) = world.condition("alice", "Stalled").expect("it cannot go on");
    assert_eq!(reason, "ReferenceMissing");
    for named in [METRICS, PEERS, "spec.tls.provided.metrics", "spec.tls.provided.tmPeers"] {
        assert!(message.contains(named), "{named}: {message}");
    }
    let workload = object("apps/v1", "statefulsets", "alice-client");
    world.server.put(&bank.issue(METRICS, "bob-metrics", Usage::Server));
    world.server.put(&bank.issue(PEERS, "alice-tm", Usage::Both));
    world.rest().await;
    let (_, reason, message) = world.condition("alice", "Stalled").expect("for another name");
    assert_eq!(reason, "ReferenceInvalid");
    assert!(message.contains("lacks the names alice-metrics.ledger.svc,"), "{message}");
    assert!(!message.contains("tmPeers"), "{message}");
    assert_eq!(world.server.get(&workload), None);

    world.server.put(&bank.issue(METRICS, "alice-metrics", Usage::Server));
    world.rest().await;
    world.assert_ready("alice");
    let status = world.server.get(&node("alice")).expect("alice")["status"].clone();
    let end = (bank.now + k8s_openapi::jiff::SignedDuration::from_hours(100)).to_string();
    assert_eq!(status["certificateExpiry"], json!(end), "the first to end is the bank's");
    let mounted = world.server.get(&workload).expect("the client").to_string();
    assert!(mounted.contains(METRICS) && !mounted.contains("qn-alice-tls-metrics"), "{mounted}");
    for ours in ["qn-alice-tls-metrics", "qn-alice-tls-tm-peers"] {
        assert_eq!(world.server.get(&secret(ours)), None, "nobody needs {ours}");
    }
    let touched: Vec<_> = world
        .server
        .calls()
        .into_iter()
        .filter(|call| call.is_write() && [METRICS, PEERS].contains(&call.target.name.as_str()))
        .collect();
    assert!(touched.is_empty(), "{touched:#?}");
    let before = world.server.calls().len();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.server.calls().len(), before, "{:#?}", world.recent());
}

#[tokio::test(start_paused = true)]
async fn a_provided_certificate_that_becomes_wrong_leaves_what_runs_and_one_that_ends_is_told() {
    let (mut world, bank) = ready().await;
    let workload = object("apps/v1", "statefulsets", "alice-tm");
    let before = world.server.get(&workload);

    let calls = {
        let wrong = bank.issue(PEERS, "alice-tm", Usage::Server);
        world.calls_of(|server| server.put(&wrong)).await
    };
    let (_, reason, message) = world.condition("alice", "Stalled").expect("told");
    assert_eq!(reason, "ReferenceInvalid");
    assert!(message.contains("needs the extended key usage serverAuth and clientAuth"), "{message}");
    assert_eq!(world.server.get(&workload), before);
    let children = calls.iter().filter(|call| {
        call.is_write() && !["quorumnodes", "events"].contains(&call.target.resource.as_str())
    });
    assert_eq!(children.count(), 0, "{calls:#?}");

    world.server.put(&bank.issue(PEERS, "alice-tm", Usage::Both));
    world.rest().await;
    world.assert_ready("alice");
    tokio::time::sleep(Duration::from_secs(101 * 3600)).await;
    let (status, reason, message) = world.condition("alice", "CertificatesReady").expect("always there");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Expired"));
    assert!(message.contains(METRICS), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_manager_whose_provided_certificate_changes_is_replaced_in_its_turn_and_nothing_else_is() {
    let (mut world, bank) = ready().await;
    let ended = |calls: usize, world: &World| {
        let changes = world.server.changes().split_off(calls);
        let pods =
            changes.into_iter().filter(|change| change.kind == "DELETED" && change.target.resource == "pods");
        pods.map(|change| change.target.name).collect::<Vec<_>>()
    };
    for (secret, service, usage, expected) in [
        (METRICS, "alice-metrics", Usage::Server, vec![]),
        (PEERS, "alice-tm", Usage::Both, vec!["alice-tm-0"]),
    ] {
        let before = world.server.changes().len();
        world.server.put(&bank.issue(secret, service, usage));
        world.rest().await;
        world.assert_ready("alice");
        assert_eq!(ended(before, &world), expected, "{secret}");
    }
}
