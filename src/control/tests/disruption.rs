//! Tests of drains, quotas and concurrent evictions: a network's validators never fall below the quorum.

use std::time::Duration;

use kube::{Api, api::EvictParams};
use serde_json::{Value, json};

use super::{
    safety,
    world::{NAMESPACE, World, client, node, object},
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

/// Status code of the rejection, or `None`.
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

/// A pod that a quota rejects does not exist and cannot be counted, and its validator is absent all the same.
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

/// The budget alone protects the quorum, whichever client evicts.
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

/// Uids of the validators' pods.
fn uids(world: &World, names: &[&str]) -> Vec<Value> {
    let pod = |name: &&str| object("v1", "pods", &format!("{name}-client-0"));
    let uid = |name: &&str| world.server.get(&pod(name)).map(|pod| pod["metadata"]["uid"].clone());
    names.iter().filter_map(uid).collect()
}

/// One of four validators is deleted and recreated: until it serves it is absent, and no other one may be evicted.
#[tokio::test(start_paused = true)]
async fn a_validator_that_is_deleted_and_made_again_is_away_until_it_serves() {
    let others = ["val-a", "val-c", "val-d"];
    for said in [None, Some(4)] {
        let mut world = World::new();
        world.start();
        let spec = |name: &str| {
            let mut node = validator(name);
            node["spec"]["consensus"]["validators"] = json!(said);
            if said.is_none() {
                node["spec"]["consensus"].as_object_mut().expect("a part").remove("validators");
            }
            node
        };
        for name in NAMES {
            world.server.put(&spec(name));
        }
        world.rest().await;
        let before = uids(&world, &others);
        let bar = |world: &World| {
            let budget = object("policy/v1", "poddisruptionbudgets", "qnet-acme-validators");
            world.server.get(&budget).expect("a budget")["spec"]["minAvailable"].clone()
        };
        world.server.start_slowly(true);
        // its pod takes time to terminate
        let pod = object("v1", "pods", "val-b-client-0");
        world.server.edit(&pod, "kubelet", |pod| pod["metadata"]["finalizers"] = json!(["test/running"]));
        world.server.delete(&node("val-b"), &json!({}));
        for at in 0..130 {
            if at == 20 {
                world.server.edit(&pod, "kubelet", |pod| pod["metadata"]["finalizers"] = json!([]));
            }
            // another replica leads now, and knows only what is in the cluster
            if at == 40 {
                assert_eq!(world.server.get(&node("val-b")), None);
                world.start();
            }
            if at == 70 {
                world.server.put(&spec("val-b"));
            }
            if at > 2 {
                assert_eq!(evict(&world, "val-a").await, Some(429), "{said:?}: after {at} s");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(
                (bar(&world), uids(&world, &others)),
                (json!(3), before.clone()),
                "{said:?}: after {at} s"
            );
        }
        world.server.start_slowly(false);
        world.server.all_started();
        world.rest().await;
        tokio::time::sleep(Duration::from_secs(700)).await;
        assert_eq!(uids(&world, &others), before, "nobody has left in the end");
        for name in NAMES {
            world.assert_ready(name);
        }
        assert_eq!(evict(&world, "val-a").await, None);
        safety::assert_safe(&world.server);
    }
}

/// The others do not wait forever for a validator that stays absent.
#[tokio::test(start_paused = true)]
async fn a_validator_that_is_deleted_for_good_counts_for_five_minutes_more() {
    let mut world = four().await;
    let others = ["val-a", "val-c", "val-d"];
    let before = uids(&world, &others);
    world.server.delete(&node("val-b"), &json!({}));
    world.rest().await;
    assert_eq!(evict(&world, "val-a").await, Some(429));
    assert_eq!(uids(&world, &others), before);
    tokio::time::sleep(Duration::from_secs(310)).await;
    world.rest().await;
    let after = uids(&world, &others);
    assert!(after.iter().all(|uid| !before.contains(uid)) && after.len() == 3, "its connections end");
    assert_eq!(evict(&world, "val-a").await, None);
    safety::assert_safe(&world.server);
}

/// Other outdated pods wait too.
#[tokio::test(start_paused = true)]
async fn no_validator_is_replaced_while_another_one_is_being_deleted_or_was_a_moment_ago() {
    let mut world = four().await;
    let others = ["val-a", "val-c", "val-d"];
    let before = uids(&world, &others);
    let pod = object("v1", "pods", "val-b-client-0");
    world.server.edit(&pod, "kubelet", |pod| pod["metadata"]["finalizers"] = json!(["test/running"]));
    world.server.delete(&node("val-b"), &json!({}));
    for name in others {
        world.server.edit(&node(name), "kubectl-edit", |node| {
            node["spec"]["client"]["image"] = json!(specs::image("goquorum-next"));
        });
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(uids(&world, &others), before, "it is being deleted");
    for name in others {
        // the budget would reject it too, but the operator does not try
        let (_, reason, message) = world.condition(name, "RolledOut").expect("told");
        assert!(reason == "WaitingForHealth" && message.contains("node val-b"), "{name} {reason}: {message}");
    }
    world.server.edit(&pod, "kubelet", |pod| pod["metadata"]["finalizers"] = json!([]));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.server.get(&node("val-b")), None);
    assert_eq!(uids(&world, &others), before, "it was a moment ago");
    world.server.put(&validator("val-b"));
    world.rest().await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let after = uids(&world, &others);
    assert!(after.iter().all(|uid| !before.contains(uid)) && after.len() == 3, "it is back");
    safety::assert_safe(&world.server);
}

fn address(world: &World, name: &str) -> String {
    let node = world.server.get(&node(name)).expect("a node");
    node["status"]["identity"]["address"].as_str().expect("an address").to_owned()
}

/// Lists the addresses of all validators in the spec of each of these nodes.
async fn list(world: &mut World, names: &[&str], addresses: &[String]) {
    for name in names {
        world.server.edit(&node(name), "kubectl-edit", |node| {
            let consensus = node["spec"]["consensus"].as_object_mut().expect("a part");
            consensus.remove("validators");
            consensus.insert("validatorAddresses".into(), json!(addresses));
        });
    }
    world.rest().await;
}

/// Four validators make the blocks, three are not voted in: no two of the four may be evicted, whatever the number of
/// pods.
#[tokio::test(start_paused = true)]
async fn validators_that_are_not_voted_in_let_no_more_of_the_others_go() {
    let mut world = four().await;
    let more = ["val-x", "val-y", "val-z"];
    for name in more {
        world.server.put(&validator(name));
    }
    world.rest().await;
    let voted: Vec<_> = NAMES.iter().map(|name| address(&world, name)).collect();
    list(&mut world, &[&NAMES[..], &more].concat(), &voted).await;
    world.server.start_slowly(true);
    assert_eq!(evict(&world, "val-a").await, None);
    for other in ["val-b", "val-c", "val-d"] {
        assert_eq!(evict(&world, other).await, Some(429), "{other}");
    }
    world.server.start_slowly(false);
    world.server.all_started();
    world.rest().await;
    // once they are voted in, two of seven may be evicted
    let all: Vec<_> = NAMES.iter().chain(&more).map(|name| address(&world, name)).collect();
    list(&mut world, &[&NAMES[..], &more].concat(), &all).await;
    world.server.start_slowly(true);
    assert_eq!((evict(&world, "val-a").await, evict(&world, "val-b").await), (None, None));
    assert_eq!(evict(&world, "val-c").await, Some(429));
}

/// Nor is more than one of the four replaced at once, although seven could lose two.
#[tokio::test(start_paused = true)]
async fn validators_that_are_not_voted_in_let_no_more_of_the_others_be_replaced() {
    let mut world = four().await;
    let all = [&NAMES[..], &["val-x", "val-y", "val-z"]].concat();
    for name in &all[4..] {
        world.server.put(&validator(name));
    }
    world.rest().await;
    let voted: Vec<_> = NAMES.iter().map(|name| address(&world, name)).collect();
    list(&mut world, &all, &voted).await;
    let before = uids(&world, &all);
    world.server.start_slowly(true);
    for name in &all {
        world.server.edit(&node(name), "kubectl-edit", |node| {
            node["spec"]["rollout"] = json!({"maxUnavailable": 7});
            node["spec"]["client"]["image"] = json!(specs::image("goquorum-next"));
        });
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    let replaced = uids(&world, &all).iter().filter(|uid| !before.contains(uid)).count();
    assert_eq!(replaced, 1);
    for name in &all[1..] {
        let (_, reason, _) = world.condition(name, "RolledOut").expect("it waits");
        assert_ne!(reason, "EvictionRefused", "{name}: the budget is not asked for what is known");
    }
}

/// The chain expects its vote until it is voted out, so neither a drain nor the operator may evict another one.
#[tokio::test(start_paused = true)]
async fn a_validator_of_the_chain_that_is_deleted_for_good_is_missing_until_it_is_voted_out() {
    let mut world = four().await;
    let others = ["val-a", "val-c", "val-d"];
    let voted: Vec<_> = NAMES.iter().map(|name| address(&world, name)).collect();
    list(&mut world, &NAMES, &voted).await;
    assert_eq!(world.condition("val-a", "QuorumTolerant"), None);
    let before = uids(&world, &others);
    world.server.delete(&node("val-b"), &json!({}));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    // another replica leads now, and knows only what is in the cluster
    world.start();
    for name in others {
        world.server.edit(&node(name), "kubectl-edit", |node| {
            node["spec"]["client"]["image"] = json!(specs::image("goquorum-next"));
        });
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    world.rest().await;
    assert_eq!(uids(&world, &others), before);
    for name in others {
        assert_eq!(evict(&world, name).await, Some(429), "{name}");
        let (status, reason, message) = world.condition(name, "QuorumTolerant").expect("told");
        assert_eq!((status.as_str(), reason.as_str()), ("False", "ValidatorMissing"));
        assert!(message.contains(&voted[1]), "{message}");
        let (_, reason, _) = world.condition(name, "RolledOut").expect("it waits");
        assert_eq!(reason, "ValidatorMissing");
    }
    let left: Vec<_> = others.iter().map(|name| address(&world, name)).collect();
    list(&mut world, &others, &left).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    world.rest().await;
    let after = uids(&world, &others);
    assert!(after.len() == 3 && after.iter().all(|uid| !before.contains(uid)), "{after:?}");
    assert_eq!(evict(&world, "val-a").await, None);
}
