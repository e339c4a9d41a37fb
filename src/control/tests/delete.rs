//! Tests of the deletion of a node while others act at the same time, or while the node does not decode.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::world::{NAMESPACE, World, client, member, node, object, secret};
use crate::testing::server::{Server, Target};

/// All objects with the node's label, except Events.
fn children(server: &Server) -> Vec<(Target, Value)> {
    let is_child =
        |(_, object): &(Target, Value)| object["metadata"]["labels"]["quorum.security/node"] == "alice";
    server.objects().into_iter().filter(is_child).collect()
}

fn hold_pods(server: &Server, held: &Value) {
    for (target, _) in children(server).into_iter().filter(|(target, _)| target.resource == "pods") {
        server.edit(&target, "kubelet", |pod| pod["metadata"]["finalizers"] = held.clone());
    }
}

/// A replica whose watch of nodes is silent continues to delete a node that is gone, while another replica, now the
/// leader, builds a new node of the same name.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_node_touches_nothing_of_one_that_was_made_again_under_its_name() {
    let mut world = World::new();
    world.start();
    let mut alice = member("alice");
    alice["spec"]["deletionPolicy"] = json!({"keys": "Delete", "data": "Delete"});
    world.server.put(&alice);
    world.rest().await;
    hold_pods(&world.server, &json!(["test/running"]));
    world.server.delete(&node("alice"), &json!({}));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (_, reason, _) = world.condition("alice", "Ready").expect("told");
    assert_eq!(reason, "Terminating");
    world.server.fall_silent_of("quorumnodes");
    // a user removes the finalizers of the node and its policies
    let is_held = |target: &Target| ["quorumnodes", "networkpolicies"].contains(&target.resource.as_str());
    for (target, _) in world.server.objects().into_iter().filter(|(target, _)| is_held(target)) {
        world.server.edit(&target, "kubectl-edit", |it| it["metadata"]["finalizers"] = json!([]));
    }
    hold_pods(&world.server, &json!([]));
    assert_eq!(world.server.get(&node("alice")), None);

    let mut other = World::on(Arc::clone(&world.server));
    world.server.put(&alice);
    other.start();
    // the first replica's watch of nodes is reopened after 90 s
    tokio::time::sleep(Duration::from_secs(30)).await;
    let uid = world.server.get(&node("alice")).expect("made again")["metadata"]["uid"].clone();
    let of_the_new = |(_, object): &(Target, Value)| {
        let owners = object["metadata"]["ownerReferences"].as_array();
        owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == uid))
    };
    let made: Vec<_> = children(&world.server).into_iter().filter(of_the_new).collect();
    for resource in ["statefulsets", "networkpolicies", "services"] {
        assert!(
            made.iter().any(|(target, _)| target.resource == resource),
            "{resource}: {:#?}",
            other.condition("alice", "Ready")
        );
    }
    tokio::time::sleep(Duration::from_secs(45)).await;
    for (target, object) in made {
        let now = world.server.get(&target).unwrap_or_else(|| panic!("{target:?} is gone"));
        for field in ["uid", "deletionTimestamp", "finalizers"] {
            assert_eq!(now["metadata"][field], object["metadata"][field], "{field} of {target:?}");
        }
    }
    let key = world.server.get(&secret("qn-alice-nodekey")).expect("its key");
    assert!(key["metadata"]["deletionTimestamp"].is_null(), "{:#}", key["metadata"]);
    assert_eq!(key["metadata"]["finalizers"], json!(["quorum.security/cleanup"]));
    world.stop();
    other.rest().await;
    other.assert_ready("alice");
}

/// A newer CRD admits a node that this operator does not decode. It must not block its deletion forever.
#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_be_read_goes_and_what_cannot_be_made_again_stays() {
    for network in [json!("acme"), json!(5)] {
        let mut world = World::new();
        world.start();
        let mut alice = client("alice");
        alice["spec"]["deletionPolicy"] = json!({"keys": "Delete", "data": "Delete"});
        world.server.put(&alice);
        world.rest().await;
        world.server.edit(&node("alice"), "kubectl-edit", |node| {
            node["spec"]["client"] = json!(1);
            node["spec"]["network"] = network.clone();
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(world.condition("alice", "Stalled").map(|found| found.1).as_deref(), Some("Undecodable"));
        hold_pods(&world.server, &json!(["test/running"]));
        world.server.delete(&node("alice"), &json!({}));
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (_, reason, message) = world.condition("alice", "Ready").expect("told");
        assert_eq!(reason, "Terminating");
        assert!(message.contains("alice-client-0") && message.contains("retained"), "{message}");
        let deny = object("networking.k8s.io/v1", "networkpolicies", "alice-deny");
        assert!(world.server.get(&deny).is_some(), "its pod still runs");
        hold_pods(&world.server, &json!([]));
        world.rest().await;
        assert_eq!(world.server.get(&node("alice")), None);
        let left: Vec<_> = children(&world.server).into_iter().map(|(target, _)| target.name).collect();
        assert_eq!(left, ["data-alice-client-0", "qn-alice-nodekey"]);
        for kept in ["qn-alice-nodekey", "qnet-acme-ca"] {
            let kept = world.server.get(&secret(kept)).expect("retained");
            assert_eq!(kept["metadata"]["finalizers"].as_array().map_or(0, Vec::len), 0, "{kept:#}");
        }
        let is_policy =
            |target: &Target| target.namespace == NAMESPACE && target.resource == "networkpolicies";
        assert!(!world.server.objects().iter().any(|(target, _)| is_policy(target)), "policies are let go");
    }
}
