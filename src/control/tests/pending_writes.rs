//! Tests of the operator's own writes before the watches show them: not repeated, and not attributed to others.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::world::{World, client, member, object};
use crate::testing::server::Target;

/// Every kind that the operator writes, except QuorumNode.
const KINDS: [&str; 7] = [
    "configmaps",
    "networkpolicies",
    "poddisruptionbudgets",
    "secrets",
    "serviceaccounts",
    "services",
    "statefulsets",
];

/// A member that is also a validator, so that it has an object of every kind.
fn everything() -> Value {
    let mut alice = member("alice");
    alice["spec"]["role"] = json!("Validator");
    alice
}

/// Number of the operator's writes to each object of a kind, including status and finalizers.
fn writes(world: &World, resource: &str) -> BTreeMap<Target, usize> {
    let mut writes = BTreeMap::new();
    let of_kind = |call: &crate::testing::server::Call| {
        call.is_write() && call.caller == "operator" && call.target.resource == resource
    };
    for call in world.server.calls().into_iter().filter(of_kind) {
        *writes.entry(call.target).or_default() += 1;
    }
    writes
}

/// Triggers the node repeatedly for this many seconds, and asserts that no field conflict is reported meanwhile.
async fn look_often(world: &World, seconds: u64) {
    for at in 0..seconds {
        if world.server.get(&super::world::node("alice")).is_some() {
            world.server.edit(&super::world::node("alice"), "someone", |node| {
                node["metadata"]["annotations"]["example.com/looked"] = json!(at.to_string());
            });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.condition("alice", "FieldConflict"), None, "after {at} s: {:#?}", world.recent());
    }
}

/// One watch is silent for 80 s, as after a lost connection or with a slow API server.
#[tokio::test(start_paused = true)]
async fn what_the_watch_does_not_show_yet_is_written_once_and_nobody_is_blamed() {
    for resource in KINDS {
        let mut world = World::new();
        world.start();
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.server.fall_silent_of(resource);
        world.server.put(&everything());
        look_often(&world, 70).await;
        let written = writes(&world, resource);
        assert!(!written.is_empty(), "{resource}");
        for (target, count) in written {
            assert!(count <= 2, "{count} writes of {target:?}: {:#?}", world.recent());
        }
        world.rest().await;
        world.assert_ready("alice");
    }
}

/// A member is recreated while the watch of its workloads is silent.
#[tokio::test(start_paused = true)]
async fn the_first_workloads_of_a_node_that_was_there_before_are_no_repair() {
    let mut world = World::new();
    world.start();
    world.server.put(&member("alice"));
    world.rest().await;
    world.server.delete(&super::world::node("alice"), &json!({}));
    while world.server.get(&super::world::node("alice")).is_some() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.server.put(&member("alice"));
    while world.condition("alice", "NetworkPoliciesApplied").is_none_or(|found| found.0 != "True") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before: usize = writes(&world, "statefulsets").values().sum();
    world.server.fall_silent_of("statefulsets");
    look_often(&world, 60).await;
    let after: usize = writes(&world, "statefulsets").values().sum();
    assert!(after - before <= 3, "{} writes of three workloads", after - before);
    world.rest().await;
    world.assert_ready("alice");
}

/// One change is no field conflict, however long the event of the repair takes.
#[tokio::test(start_paused = true)]
async fn one_change_is_one_repair_while_its_event_is_due() {
    for name in ["alice-p2p", "deleted"] {
        let mut world = World::new();
        world.start();
        world.server.put(&client("alice"));
        world.rest().await;
        let service = object("v1", "services", "alice-p2p");
        let before = writes(&world, "services").get(&service).copied().unwrap_or_default();
        match name {
            "deleted" => world.server.delete(&service, &json!({})),
            _ => world.server.edit(&service, "kubectl-edit", |service| {
                service["spec"]["selector"] = json!({"app": "x"});
            }),
        }
        // the events so far have arrived
        world.server.fall_silent_of("services");
        look_often(&world, 70).await;
        let after = writes(&world, "services").get(&service).copied().unwrap_or_default();
        assert_eq!(after - before, 1, "{name}: {:#?}", world.recent());
        let now = world.server.get(&service).expect("put back");
        assert_eq!(now["spec"]["selector"]["quorum.security/node"], "alice");
    }
}

/// A deleted policy waits for the operator's finalizer: its removal and the recreation are one repair.
#[tokio::test(start_paused = true)]
async fn an_object_that_somebody_deletes_and_our_finalizer_holds_is_made_again_once() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    let before = writes(&world, "networkpolicies");
    let is_held = |(target, object): &(Target, Value)| {
        target.resource == "networkpolicies" && object["metadata"]["finalizers"].is_array()
    };
    let (policy, was) = world.server.objects().into_iter().find(is_held).expect("a policy");
    world.server.delete(&policy, &json!({}));
    world.server.fall_silent_of("networkpolicies");
    look_often(&world, 70).await;
    let now = world.server.get(&policy).expect("made again");
    assert_ne!(now["metadata"]["uid"], was["metadata"]["uid"]);
    assert_eq!(writes(&world, "networkpolicies")[&policy] - before[&policy], 2, "let go, and made");
}

#[tokio::test(start_paused = true)]
async fn a_repair_that_the_server_refuses_is_none() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    let map = object("v1", "configmaps", "qn-alice-peers");
    world.server.break_for("apply configmaps", Some(500));
    world.server.delete(&map, &json!({}));
    look_often(&world, 60).await;
    world.server.break_for("apply configmaps", None);
    look_often(&world, 70).await;
    assert!(world.server.get(&map).is_some());
    world.assert_ready("alice");
}
