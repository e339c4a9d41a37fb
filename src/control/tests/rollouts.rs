//! Tests of what tools that wait for a node see of a rollout: its end, and nothing before.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    disruption::validator,
    safety,
    world::{World, node, object},
};
use crate::testing::{
    kstatus::{Computed, compute, wait_for_ready_returns},
    specs,
};

const NAMES: [&str; 4] = ["val-a", "val-b", "val-c", "val-d"];

/// Four serving validators, whose new pods become ready only when the test says so.
async fn four() -> World {
    let mut world = World::new();
    world.start();
    for name in NAMES {
        world.server.put(&validator(name));
    }
    world.rest().await;
    world.server.start_slowly(true);
    world
}

/// Patches all nodes at once.
fn patch(world: &World, image: &str) {
    for name in NAMES {
        world.server.edit(&node(name), "kubectl-patch", |node| {
            node["spec"]["client"]["image"] = json!(specs::image(image));
        });
    }
}

fn read(world: &World, name: &str) -> Value {
    world.server.get(&node(name)).expect("a node")
}

/// Nodes that count as done by kstatus or by the rule of `kubectl wait`.
fn done(world: &World) -> Vec<&'static str> {
    let is_done = |name: &&str| {
        let node = read(world, name);
        compute(&node) == Computed::Current || wait_for_ready_returns(&node)
    };
    NAMES.into_iter().filter(is_done).collect()
}

fn new_pods(world: &World, image: &str) -> Vec<&'static str> {
    let is_new = |name: &&str| {
        let pod = world.server.get(&object("v1", "pods", &format!("{name}-client-0"))).unwrap_or_default();
        let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
        containers.iter().any(|container| container["image"] == specs::image(image))
    };
    NAMES.into_iter().filter(is_new).collect()
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_four_validators_patched_at_once_goes_on_when_the_last_one_is_new() {
    let mut world = four().await;
    assert_eq!(done(&world), NAMES);
    patch(&world, "goquorum-next");
    for replaced in 1..=4 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(new_pods(&world, "goquorum-next"), NAMES[..replaced]);
        // the pod that was replaced last does not serve yet
        assert_eq!(done(&world), NAMES[..replaced - 1]);
        for waits in &NAMES[replaced..] {
            world.assert_ready(waits);
            let (status, reason, _) = world.condition(waits, "Reconciling").expect("told");
            assert_eq!((status.as_str(), reason.as_str()), ("True", "RollingOut"));
            assert_eq!(read(&world, waits)["status"]["observedGeneration"], 1, "what it ran last");
        }
        world.server.all_started();
    }
    world.rest().await;
    assert_eq!(done(&world), NAMES);
    for name in NAMES {
        let node = read(&world, name);
        assert_eq!(node["status"]["observedGeneration"], node["metadata"]["generation"]);
        assert_eq!(world.condition(name, "Reconciling"), None);
    }
    safety::assert_safe(&world.server);
}

/// For example with an image that cannot be pulled.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_rollout_that_stops_waits_until_it_is_taken_back() {
    let mut world = four().await;
    patch(&world, "goquorum-broken");
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(done(&world), [""; 0]);
    }
    assert_eq!(new_pods(&world, "goquorum-broken"), NAMES[..1]);
    patch(&world, "goquorum");
    world.server.start_slowly(false);
    world.rest().await;
    assert_eq!(done(&world), NAMES);
    safety::assert_safe(&world.server);
}

/// The stall concerns the current generation; its end is not the end of the rollout.
#[tokio::test(start_paused = true)]
async fn a_rollout_that_a_stall_interrupts_is_not_done_when_the_stall_ends() {
    let mut world = four().await;
    let genesis = object("v1", "configmaps", "acme-genesis");
    let kept = world.server.get(&genesis).expect("a genesis");
    patch(&world, "goquorum-next");
    tokio::time::sleep(Duration::from_secs(20)).await;
    world.server.delete(&genesis, &json!({}));
    tokio::time::sleep(Duration::from_secs(60)).await;
    for name in NAMES {
        assert_eq!(compute(&read(&world, name)), Computed::Failed, "{name}");
    }
    let (metadata, data) = (&kept["metadata"], &kept["data"]);
    world.server.put(&json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]}}));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(done(&world), [""; 0]);
    world.server.start_slowly(false);
    world.server.all_started();
    world.rest().await;
    assert_eq!(done(&world), NAMES);
    safety::assert_safe(&world.server);
}

/// Each pod waits only until the one before it has been ready for a second.
#[tokio::test(start_paused = true)]
async fn the_next_turn_comes_as_soon_as_the_one_before_it_is_over() {
    let mut world = four().await;
    world.server.start_slowly(false);
    for name in NAMES {
        world.server.edit(&node(name), "kubectl-patch", |node| {
            node["spec"]["rollout"] = json!({"minReadySeconds": 1});
        });
    }
    world.rest().await;
    world.server.start_slowly(true);
    patch(&world, "goquorum-next");
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.server.all_started();
        if done(&world) == NAMES {
            return assert_eq!(new_pods(&world, "goquorum-next"), NAMES);
        }
    }
    panic!("after 20 s {:?} are new, and {:?} done", new_pods(&world, "goquorum-next"), done(&world));
}
