//! Tests of watches that end, fall silent or cannot be streamed, and of objects that do not decode.

use std::time::Duration;

use serde_json::json;

use super::world::{World, client, node, object};
use crate::testing::server::{Call, Silence, Streaming, place};

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_or_is_too_old_loses_nothing() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    let service = object("v1", "services", "alice-p2p");
    for compact in [false, true] {
        world.server.end_watches(compact);
        world
            .server
            .edit(&service, "kubectl-edit", |service| service["spec"]["selector"] = json!({"app": "x"}));
        world.rest().await;
        let now = world.server.get(&service).expect("the Service");
        assert_eq!(now["spec"]["selector"]["quorum.security/node"], "alice", "compacted: {compact}");
    }
}

/// No event shows what was deleted while the watch was down.
#[tokio::test(start_paused = true)]
async fn what_was_deleted_before_a_new_list_is_made_again_soon() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    // the only object of its kind, so that no other one in the list triggers the node
    for target in
        [object("v1", "serviceaccounts", "alice-client"), object("apps/v1", "statefulsets", "alice-client")]
    {
        world.server.end_watches_of(&target.resource);
        world.server.delete(&target, &json!({}));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(world.server.get(&target).is_some(), "{target:?}");
    }
    // also a node, after a user has removed its finalizer
    let ready = "quorum_node_ready{namespace=\"ledger\",name=\"alice\"} 1\n";
    assert!(world.metrics.text().contains(ready), "{}", world.metrics.text());
    world.server.end_watches_of("quorumnodes");
    world.server.edit(&node("alice"), "kubectl-edit", |alice| alice["metadata"]["finalizers"] = json!([]));
    world.server.delete(&node("alice"), &json!({}));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!world.metrics.text().contains("quorum_node_ready{"), "{}", world.metrics.text());
}

/// The connection is open, but its other end is dead.
#[tokio::test(start_paused = true)]
async fn a_watch_that_falls_silent_is_noticed_within_a_hundred_seconds() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    let service = object("v1", "services", "alice-p2p");
    for silence in [Silence::Open, Silence::Unanswered] {
        world.server.fall_silent(silence);
        world
            .server
            .edit(&service, "kubectl-edit", |service| service["spec"]["selector"] = json!({"app": "x"}));
        let selector =
            |world: &World| world.server.get(&service).expect("the Service")["spec"]["selector"].clone();
        if silence == Silence::Unanswered {
            // the watches are given up and reopened, without success
            tokio::time::sleep(Duration::from_secs(300)).await;
            assert_eq!(selector(&world), json!({"app": "x"}));
            world.server.speak();
        }
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(selector(&world)["quorum.security/node"], "alice", "{silence:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_stream_lists_is_asked_for_plain_ones() {
    fn lists(calls: &[Call]) -> usize {
        calls.iter().filter(|call| call.verb == "list").count()
    }
    for otherwise in [Streaming::Refused(422), Streaming::Refused(400), Streaming::Ignored] {
        let mut world = World::new();
        world.server.stream_lists(Some(otherwise));
        world.start();
        world.server.put(&client("alice"));
        world.rest().await;
        world.assert_ready("alice");
        let kinds = lists(&world.server.calls());
        assert_eq!(kinds, 11, "each kind is listed once, {otherwise:?}");
        // the server now supports it, and is asked for it at the next list
        world.server.stream_lists(None);
        let service = object("v1", "services", "alice-p2p");
        world.server.end_watches(true);
        world
            .server
            .edit(&service, "kubectl-edit", |service| service["spec"]["selector"] = json!({"app": "x"}));
        world.rest().await;
        let now = world.server.get(&service).expect("the Service");
        assert_eq!(now["spec"]["selector"]["quorum.security/node"], "alice", "{otherwise:?}");
        assert_eq!(lists(&world.server.calls()), kinds, "{otherwise:?}: the lists are streamed now");
    }
}

/// An object of any kind that does not decode stops no other one, and is counted.
#[tokio::test(start_paused = true)]
async fn an_unreadable_object_stops_nobody() {
    let poisons = [
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"quorum.security/node": "poison"}},
            "spec": {"containers": "none"}}),
        json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": "none"}}),
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {"replicas": "none"}}),
        json!({"apiVersion": "v1", "kind": "Node", "status": {"nodeInfo": "none"}}),
    ];
    for mut poison in poisons {
        let kind = poison["kind"].as_str().unwrap_or_default().to_owned();
        poison["metadata"]["name"] = json!("poison");
        if kind != "Node" {
            poison["metadata"]["namespace"] = json!("ledger");
        }
        let mut world = World::new();
        world.server.put(&poison);
        world.start();
        world.server.put(&client("alice"));
        world.rest().await;
        world.assert_ready("alice");
        let counted = |count: u8| format!("quorum_operator_undecodable_objects{{kind=\"{kind}\"}} {count}\n");
        assert!(world.metrics.text().contains(&counted(1)), "{}", world.metrics.text());
        world.server.delete(&place(&poison), &json!({}));
        world.rest().await;
        assert!(world.metrics.text().contains(&counted(0)), "{}", world.metrics.text());
    }
}

/// A node that does not decode stops no other one, and reports that; what its status pins is not lost.
#[tokio::test(start_paused = true)]
async fn an_unreadable_node_stops_nobody() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("poison"));
    world.rest().await;
    let pinned = world.server.get(&node("poison")).expect("a node")["status"]["identity"].clone();
    assert!(pinned.is_object());
    let before = world.server.calls().len();
    world.server.edit(&node("poison"), "kubectl", |poison| {
        poison["spec"]["client"]["tunables"] = json!({"cacheMib": "many"});
    });
    world.server.put(&client("alice"));
    world.rest().await;
    world.assert_ready("alice");
    for (kind, value) in [("Ready", "False"), ("Stalled", "True")] {
        let (status, reason, message) = world.condition("poison", kind).expect(kind);
        assert_eq!((status.as_str(), reason.as_str()), (value, "Undecodable"));
        assert!(message.contains("many"), "{message}");
    }
    assert_eq!(world.server.get(&node("poison")).expect("a node")["status"]["identity"], pinned);
    let told = world.server.calls().split_off(before);
    let told = told.iter().filter(|call| call.to_string() == "apply quorumnodes/poison/status").count();
    assert_eq!(told, 1, "it is said once");
    let events: Vec<_> = world
        .server
        .objects()
        .into_iter()
        .filter(|(target, event)| {
            target.resource == "events"
                && event["regarding"]["name"] == "poison"
                && event["reason"] == "Undecodable"
        })
        .collect();
    assert_eq!(events.len(), 1, "{events:#?}");
    world.server.edit(&node("poison"), "kubectl", |poison| {
        poison["spec"]["client"].as_object_mut().expect("a client").remove("tunables");
    });
    world.rest().await;
    world.assert_ready("poison");
}
