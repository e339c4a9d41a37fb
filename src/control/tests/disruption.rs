//! What drains, quotas and two hands at once may do to a network's validators: never below the quorum.

use std::time::Duration;

use kube::{Api, api::EvictParams};
use serde_json::{Value, json};

use super::{
    safety,
    world::{NAMESPACE, World, client, node},
};
use crate::testing::specs;

const NAMES: [&str; 4] = ["val-a", "val-b", "val-c", "val-d"];

pub(super) fn validator(name: &str) -> Value {
    let mut node = client(name);
    node["spec"]["role"] = json!("Validator");
    node
}

/// Four validators that serve.
async fn four() -> World {
    let mut world = World::new();
    world.start();
    for name in NAMES {
        world.server.put(&validator(name));
    }
    world.rest().await;
    world
}

fn pods(world: &World) -> Api<k8s_openapi::api::core::v1::Pod> {
    Api::namespaced(world.server.client(), NAMESPACE)
}

/// The code of the refusal, or none.
async fn evict(world: &World, name: &str) -> Option<u16> {
    let evicted = pods(world).evict(&format!("{name}-client-0"), &EvictParams::default()).await;
    match evicted {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => Some(status.code),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_evictions_at_once_one_is_granted() {
    let world = four().await;
    world.server.start_slowly(true);
    let (one, other) = tokio::join!(evict(&world, "val-a"), evict(&world, "val-b"));
    let mut codes = [one, other];
    codes.sort();
    assert_eq!(codes, [None, Some(429)]);
    safety::assert_safe(&world.server);
}

/// A pod that a quota refuses is not there to be counted, and its validator is away all the same.
#[tokio::test(start_paused = true)]
async fn a_validator_whose_pod_cannot_be_made_again_is_still_counted() {
    let mut world = four().await;
    world.server.hold_pods(true);
    assert_eq!(evict(&world, "val-a").await, None);
    assert_eq!(evict(&world, "val-b").await, Some(429));
    safety::assert_safe(&world.server);
    world.server.hold_pods(false);
    world.rest().await;
    assert_eq!(evict(&world, "val-b").await, None);
}

/// The budget alone keeps the quorum, whoever thinks that it is his turn.
#[tokio::test(start_paused = true)]
async fn a_drain_in_the_middle_of_a_rollout_waits_for_its_turn() {
    let mut world = four().await;
    world.server.start_slowly(true);
    for name in NAMES {
        world.server.edit(&node(name), "kubectl-edit", |node| {
            node["spec"]["client"]["image"] = json!(specs::image("goquorum-next"));
        });
    }
    for _ in 0..12 {
        for name in NAMES {
            let _ = evict(&world, name).await;
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        world.server.all_started();
    }
    world.server.start_slowly(false);
    world.server.all_started();
    world.rest().await;
    safety::assert_safe(&world.server);
    for name in NAMES {
        world.assert_ready(name);
    }
}
