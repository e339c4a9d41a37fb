//! Tests that messages of the server, of hosts and of storage drivers about missing objects reach the status.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    permissions::{CLUSTER, ROLE, allowed},
    world::{NAMESPACE, World, client, node, object},
};
use crate::testing::{server::Target, specs};

const QUOTA: &str = "create Pod alice-client-0 in StatefulSet alice-client failed error: pods \"alice-client-0\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=3, limited: pods=3";

fn pod() -> Target {
    object("v1", "pods", "alice-client-0")
}

/// Creates an Event about an object of the node.
pub(super) fn tell(world: &World, about: &Target, (reason, message): (&str, &str)) {
    let uid = world.server.get(about).expect("it is there")["metadata"]["uid"].clone();
    world.server.put(&json!({"apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": reason,
        "metadata": {"name": format!("{}.17", about.name), "namespace": NAMESPACE},
        "involvedObject": {"uid": uid}, "message": message, "lastTimestamp": "2027-01-15T08:00:00Z"}));
}

/// The pod of `alice`, which was ready, is gone, and a quota rejects a new one.
pub(super) async fn refused() -> World {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    world.assert_ready("alice");
    world.server.hold_pods(true);
    world.server.delete(&pod(), &json!({}));
    tell(&world, &object("apps/v1", "statefulsets", "alice-client"), ("FailedCreate", QUOTA));
    world
}

/// Status, reason and message of a condition of `alice`.
fn told(world: &World, kind: &str) -> (String, String, String) {
    world.condition("alice", kind).unwrap_or_default()
}

fn lists(world: &World) -> usize {
    let is_asked = |call: &&String| call.as_str() == "list events";
    world.server.calls().iter().map(ToString::to_string).filter(|call| is_asked(&call)).count()
}

#[tokio::test(start_paused = true)]
async fn why_a_pod_cannot_be_made_is_told_within_a_minute_and_asked_for_ever_more_rarely() {
    let mut world = refused().await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!((told(&world, "ClientAvailable").1.as_str(), lists(&world)), ("NotStarted", 0), "not at once");
    tokio::time::sleep(Duration::from_secs(30)).await;
    let (status, reason, message) = told(&world, "ClientAvailable");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "FailedCreate"));
    assert!(message.contains("exceeded quota: small, requested: pods=1"), "{message}");
    assert_eq!(told(&world, "Ready").1, "FailedCreate");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!((5..=40).contains(&lists(&world)), "{} in an hour", lists(&world));
    assert_eq!(told(&world, "ClientAvailable").2, message);
    world.server.hold_pods(false);
    world.rest().await;
    world.assert_ready("alice");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_read_events_goes_on_without() {
    let mut world = refused().await;
    let mut rights: std::collections::BTreeSet<_> = allowed(ROLE).union(&allowed(CLUSTER)).cloned().collect();
    assert!(rights.remove("list events."));
    world.server.allow_only(Some(rights));
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(lists(&world) > 0, "it was tried");
    assert_eq!(told(&world, "ClientAvailable").1, "NotStarted");
    assert_eq!(world.condition("alice", "Synced"), None);
    world.server.hold_pods(false);
    world.rest().await;
    world.assert_ready("alice");
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_nobody_provides_is_named_with_class_mode_and_what_its_driver_says() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    let claim = object("v1", "persistentvolumeclaims", "data-alice-client-0");
    let set = |phase: &str, host: Value| {
        world.server.edit(&claim, "binder", |claim| {
            claim["spec"]["storageClassName"] = json!("fast");
            claim["status"] = json!({"phase": phase});
        });
        world.server.edit(&pod(), "scheduler", |pod| pod["spec"]["nodeName"] = host);
    };
    tell(&world, &claim, ("ProvisioningFailed", "storageclass.storage.k8s.io \"fast\" not found"));
    set("Pending", json!(null));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (status, reason, message) = told(&world, "PlacementIsolated");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "VolumePending"));
    for part in ["data-alice-client-0 (class fast, ReadWriteOncePod, 20Gi)", "'fast' not found"] {
        assert!(message.contains(part), "{message}");
    }
    set("Bound", json!("host-1"));
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.assert_ready("alice");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_no_longer_reports_is_named_until_it_is_back() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    let host = Target { namespace: String::new(), ..object("v1", "nodes", "host-1") };
    let report = |ready: &str| {
        world.server.edit(&host, "kubelet", |host| host["status"]["conditions"][0]["status"] = json!(ready));
    };
    report("Unknown");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (status, reason, message) = told(&world, "PlacementIsolated");
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "HostUnreachable"));
    assert!(message.contains("kubectl taint nodes host-1 "), "{message}");
    assert_eq!(told(&world, "Ready").0, "False");
    report("True");
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.assert_ready("alice");
}

#[tokio::test(start_paused = true)]
async fn a_pod_with_two_budgets_is_told_and_replaced_when_one_of_them_is_gone() {
    let mut world = World::new();
    world.start();
    let mut alice = client("alice");
    alice["spec"]["role"] = json!("Validator");
    world.server.put(&alice);
    world.rest().await;
    let uid = |world: &World| world.server.get(&pod()).expect("a pod")["metadata"]["uid"].clone();
    let before = uid(&world);
    let second = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "theirs", "namespace": NAMESPACE},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"quorum.security/node": "alice"}}}});
    world.server.put(&second);
    world.server.edit(&node("alice"), "kubectl-edit", |alice| {
        alice["spec"]["client"]["image"] = json!(specs::image("goquorum-next"));
    });
    tokio::time::sleep(Duration::from_secs(30)).await;
    let (status, reason, message) = told(&world, "Stalled");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "MultipleDisruptionBudgets"));
    assert!(message.contains("Pod alice-client-0"), "{message}");
    assert_eq!((world.condition("alice", "Synced"), uid(&world)), (None, before.clone()));
    world.server.delete(&object("policy/v1", "poddisruptionbudgets", "theirs"), &json!({}));
    world.rest().await;
    world.assert_ready("alice");
    assert_ne!(uid(&world), before);
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_refuses_the_end_of_a_pod_is_told_until_it_is_gone() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    let uid = |world: &World| world.server.get(&pod()).expect("a pod")["metadata"]["uid"].clone();
    let before = uid(&world);
    let theirs = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "theirs", "namespace": NAMESPACE},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"quorum.security/node": "alice"}}}});
    world.server.put(&theirs);
    world.server.edit(&node("alice"), "kubectl-edit", |alice| {
        alice["spec"]["client"]["image"] = json!(specs::image("goquorum-next"));
    });
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (status, reason, message) = told(&world, "RolledOut");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "EvictionRefused"));
    assert!(message.contains("the client of node alice") && message.contains("kubectl get pdb"), "{message}");
    assert_eq!(uid(&world), before);
    world.server.delete(&object("policy/v1", "poddisruptionbudgets", "theirs"), &json!({}));
    world.rest().await;
    world.assert_ready("alice");
    assert_ne!(uid(&world), before);
    assert_eq!(world.condition("alice", "RolledOut"), None);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_killed_for_memory_is_told_while_it_serves_again() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    world.server.edit(&pod(), "kubelet", |pod| {
        let containers = pod["status"]["containerStatuses"].as_array_mut().expect("containers");
        let client = containers.iter_mut().find(|it| it["name"] == "client").expect("the client");
        client["lastState"] = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        client["restartCount"] = json!(1);
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.assert_ready("alice");
    let message = told(&world, "ClientAvailable").2;
    assert!(
        message.contains("out of memory and was killed: raise spec.client.resources.memory"),
        "{message}"
    );
}
