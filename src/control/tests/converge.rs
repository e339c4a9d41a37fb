//! Tests of a run without faults: what is written, in which order, and that it is written once.

use std::time::Duration;

use serde_json::json;

use super::world::{World, client, member, node, object, secret};
use crate::testing::server::{Call, Server};

fn writes(calls: &[Call]) -> Vec<String> {
    // events about a reconcile are no part of what it writes
    calls
        .iter()
        .filter(|call| call.is_write() && call.target.resource != "events")
        .map(ToString::to_string)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn two_nodes_of_one_network_become_ready_and_know_each_other() {
    let world = World::network().await;
    let peers = world.server.get(&object("v1", "configmaps", "qn-alice-peers")).expect("a list of peers");
    let enode = world.server.get(&node("bob")).expect("bob")["status"]["enode"].clone();
    assert!(
        peers["data"]["static-nodes.json"].to_string().contains(enode.as_str().expect("an enode")),
        "{peers}"
    );
}

/// One status write with what the other nodes wait for, and one when the node is ready; one more for nodes that meet
/// another node while it creates the network's CA. One list of peers, for the client that reads it.
#[tokio::test(start_paused = true)]
async fn each_node_of_a_new_network_is_told_about_twice_or_three_times_and_its_peers_are_listed_once() {
    let mut world = World::new();
    let names = ["alice", "bob", "carol", "dave"];
    for name in names {
        world.server.put(&client(name));
    }
    world.start();
    world.rest().await;
    let calls = world.server.calls();
    let count = |what: String| calls.iter().filter(|call| call.to_string() == what).count();
    let told = names.map(|name| count(format!("apply quorumnodes/{name}/status")));
    assert_eq!(told, [2, 3, 3, 3], "{:#?}", writes(&calls));
    for name in names {
        assert!(world.server.get(&object("apps/v1", "statefulsets", &format!("{name}-client"))).is_some());
        assert_eq!(count(format!("apply configmaps/qn-{name}-peers")), 1, "{name}");
        let peers =
            world.server.get(&object("v1", "configmaps", &format!("qn-{name}-peers"))).expect("peers");
        assert_eq!(peers["data"]["static-nodes.json"].to_string().matches("enode://").count(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_converged_node_costs_no_request_for_a_day() {
    let world = World::network().await;
    let before = world.server.calls().len();
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert_eq!(
        world.server.calls().split_off(before).iter().map(ToString::to_string).collect::<Vec<_>>(),
        [""; 0]
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_writes_nothing() {
    let mut world = World::network().await;
    let before = world.server.calls().len();
    world.start();
    world.rest().await;
    let calls = world.server.calls().split_off(before);
    assert!(!calls.is_empty(), "it has looked at everything anew");
    assert_eq!(writes(&calls), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_closes_a_pod_is_written_before_it_runs() {
    let world = World::network().await;
    let calls = world.server.calls();
    let position = |what: &str| {
        calls
            .iter()
            .position(|call| call.to_string() == what)
            .unwrap_or_else(|| panic!("no {what}: {calls:#?}"))
    };
    let workloads =
        ["apply statefulsets/alice-client", "apply statefulsets/alice-tm", "apply statefulsets/alice-tm-db"];
    let first = workloads.map(position).into_iter().min().unwrap_or_default();
    for call in &calls {
        if call.target.resource == "networkpolicies" && call.target.name.starts_with("alice-") {
            assert!(position(&call.to_string()) < first, "{call}");
        }
    }
    assert!(position("create secrets/qn-alice-nodekey") < first);
    assert!(position("apply services/alice-p2p") < first);
    assert!(position("apply networkpolicies/alice-deny") < first);
}

#[tokio::test(start_paused = true)]
async fn each_object_is_written_once_but_for_what_grows_with_the_network() {
    let world = World::network().await;
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for write in writes(&world.server.calls()) {
        *counts.entry(write).or_default() += 1;
    }
    // shared objects of a network have both nodes as owners, and lists of peers grow
    let grows = |write: &str| write.contains("status") || write.ends_with("-peers") || write.contains("acme");
    for (write, count) in &counts {
        assert!(*count == 1 || grows(write), "{write}: {count} times");
        assert!(*count <= 6, "{write}: {count} times");
    }
}

#[tokio::test(start_paused = true)]
async fn what_someone_changes_is_put_back_and_what_is_theirs_stays() {
    let mut world = World::network().await;
    let service = object("v1", "services", "alice-p2p");
    let calls = world
        .calls_of(|server: &Server| {
            server.edit(&service, "kubectl-edit", |service| {
                service["spec"]["selector"] = json!({"app": "mine"});
                service["metadata"]["annotations"]["example.com/note"] = json!("keep me");
            });
        })
        .await;
    let now = world.server.get(&service).expect("the Service");
    assert_eq!(now["spec"]["selector"]["quorum.security/node"], "alice", "{now:#}");
    assert_eq!(now["metadata"]["annotations"]["example.com/note"], "keep me");
    assert_eq!(writes(&calls), ["apply services/alice-p2p"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_just_made_is_not_read_back_and_an_authority_once_for_all_that_it_signs() {
    let mut world = World::new();
    world.start();
    world.server.put(&member("alice"));
    world.rest().await;
    world.assert_ready("alice");
    let calls = world.server.calls();
    let count = |what: &str| calls.iter().filter(|call| call.to_string() == what).count();
    for name in ["qnet-acme-ca", "qn-alice-ca"] {
        assert_eq!(count(&format!("get secrets/{name}")), 1, "{name}: {calls:#?}");
    }
    for name in ["qn-alice-nodekey", "qn-alice-tls-metrics", "qn-alice-tls-tm-peers"] {
        assert!(world.server.get(&secret(name)).is_some(), "{name}");
        assert_eq!(count(&format!("get secrets/{name}")), 0, "{name}: {calls:#?}");
    }
}

/// Much sooner than the time that a burst of events may take to settle.
#[tokio::test(start_paused = true)]
async fn what_someone_changes_of_a_node_at_rest_is_put_back_at_once() {
    let mut world = World::network().await;
    let service = object("v1", "services", "alice-p2p");
    for _ in 0..3 {
        world.server.edit(&service, "kubectl-edit", |it| it["spec"]["selector"] = json!({"app": "mine"}));
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = world.server.get(&service).expect("the Service");
        assert_eq!(now["spec"]["selector"]["quorum.security/node"], "alice", "{now:#}");
        world.rest().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_no_generation_is_put_back_too() {
    let mut world = World::network().await;
    for (kind, name) in [("configmaps", "qn-alice-tm-config"), ("secrets", "qn-alice-tls-metrics")] {
        let target = object("v1", kind, name);
        let before = world.server.get(&target).unwrap_or_else(|| panic!("{name} is not there"));
        let key = before["data"].as_object().and_then(|data| data.keys().next().cloned()).expect("a key");
        let calls = world
            .calls_of(|server: &Server| {
                server.edit(&target, "kubectl-edit", |object| object["data"][&key] = json!("AAAA"));
            })
            .await;
        let after = world.server.get(&target).expect("still there");
        assert_ne!(after["data"][&key], "AAAA", "{name}: {:?}", writes(&calls));
    }
    world.assert_ready("alice");
}

#[tokio::test(start_paused = true)]
async fn an_object_of_someone_else_is_never_taken_over() {
    let mut world = World::new();
    let service = object("v1", "services", "alice-p2p");
    world.server.put(&json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "alice-p2p", "namespace": "ledger"}, "spec": {"selector": {"app": "other"}}}));
    let before = world.server.get(&service);
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    assert_eq!(world.server.get(&service), before);
    let (status, reason, message) = world.condition("alice", "Stalled").expect("it is stalled");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "NameConflict"));
    assert!(message.contains("Service alice-p2p"), "{message}");
    assert!(world.server.get(&object("apps/v1", "statefulsets", "alice-client")).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_scraper_that_is_removed_loses_its_policy() {
    let mut world = World::new();
    world.start();
    let mut alice = client("alice");
    alice["spec"]["metrics"] = json!({"scrapers": [
        {"name": "prometheus", "from": {"namespace": "monitoring", "podLabels": {"app": "prometheus"}}}]});
    world.server.put(&alice);
    world.rest().await;
    let policies = |world: &World| -> Vec<String> {
        let objects = world.server.objects();
        let policies = objects.into_iter().filter(|(target, _)| target.resource == "networkpolicies");
        policies.map(|(target, _)| target.name).filter(|name| name.contains("prometheus")).collect()
    };
    assert_eq!(policies(&world).len(), 1);
    world
        .server
        .edit(&node("alice"), "kubectl-edit", |alice| alice["spec"]["metrics"] = json!({"scrapers": []}));
    world.rest().await;
    assert_eq!(policies(&world), [""; 0]);
    world.assert_ready("alice");
}

#[tokio::test(start_paused = true)]
async fn a_key_is_made_once_and_never_again() {
    let mut world = World::network().await;
    let key = secret("qn-alice-nodekey");
    let before = world.server.get(&key).expect("a key");
    world.server.edit(&node("alice"), "kubectl-edit", |alice| alice["spec"]["role"] = json!("Validator"));
    world.rest().await;
    assert_eq!(world.server.get(&key), Some(before));
    world.server.delete(&key, &json!({}));
    world.server.edit(&key, "kubectl-edit", |key| key["metadata"]["finalizers"] = json!([]));
    world.rest().await;
    assert_eq!(world.server.get(&key), None, "a lost key is not replaced");
    let (_, reason, _) = world.condition("alice", "Stalled").expect("it is stalled");
    assert_eq!(reason, "NodeKeyMissing");
    assert!(world.server.get(&object("v1", "pods", "alice-client-0")).is_some(), "what runs goes on");
}
