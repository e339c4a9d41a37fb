//! Tests of a genesis that is corrected before a client has used it, or whose `config` changes afterwards.

use serde_json::{Value, json};

use super::world::{NAMESPACE, World, client, genesis_in, node, object};
use crate::testing::server::Target;

fn map() -> Target {
    object("v1", "configmaps", "acme-genesis")
}

fn pod() -> Target {
    object("v1", "pods", "alice-client-0")
}

fn uid(world: &World) -> Value {
    world.server.get(&pod()).expect("a pod")["metadata"]["uid"].clone()
}

/// Changes the genesis in its ConfigMap.
fn edit(world: &World, change: impl FnOnce(&mut Value)) {
    let map_before = genesis_in(NAMESPACE);
    let text = map_before["data"]["genesis.json"].as_str().expect("a text");
    let mut genesis: Value = serde_json::from_str(text).expect("JSON");
    change(&mut genesis);
    world.server.edit(&map(), "kubectl-edit", |map| map["data"]["genesis.json"] = json!(genesis.to_string()));
}

fn pinned(world: &World) -> Value {
    world.server.get(&node("alice")).expect("a node")["status"]["genesis"].clone()
}

fn stalled(world: &World) -> (String, String) {
    let (_, reason, message) = world.condition("alice", "Stalled").expect("told");
    (reason, message)
}

/// `alice`, whose client has initialised with the genesis.
async fn ready() -> World {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    world.assert_ready("alice");
    world
}

#[tokio::test(start_paused = true)]
async fn a_genesis_is_corrected_in_place_until_a_client_has_taken_it() {
    let mut world = World::new();
    world.server.start_slowly(true);
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    assert_eq!(pinned(&world), Value::Null, "geth init has not ended");
    let first = uid(&world);
    edit(&world, |genesis| genesis["gasLimit"] = json!("0x5f5e100"));
    world.rest().await;
    assert_eq!((pinned(&world), world.condition("alice", "Stalled")), (Value::Null, None));
    assert_ne!(uid(&world), first, "it begins anew with the corrected one");
    world.server.all_started();
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!(pinned(&world)["block"]["gasLimit"], "0x5f5e100");
    edit(&world, |genesis| genesis["gasLimit"] = json!("0x5f5e101"));
    world.rest().await;
    let (reason, message) = stalled(&world);
    assert_eq!(reason, "GenesisChanged");
    assert!(message.contains("gasLimit was 0x5f5e100 and is 0x5f5e101"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn another_config_is_rolled_out_and_pinned_when_it_is_taken() {
    let mut world = ready().await;
    let (before, running) = (pinned(&world), uid(&world));
    edit(&world, |genesis| {
        genesis["config"]["transitions"] = json!([{"block": 900, "blockperiodseconds": 9}])
    });
    world.server.start_slowly(true);
    world.rest().await;
    assert_ne!(uid(&world), running, "geth init reads it");
    assert_eq!(pinned(&world), before, "it has not been taken yet");
    world.server.all_started();
    world.rest().await;
    world.assert_ready("alice");
    let after = pinned(&world);
    assert_ne!(after["sha256"], before["sha256"]);
    assert_eq!((&after["block"], &after["chainId"]), (&before["block"], &before["chainId"]));
}

#[tokio::test(start_paused = true)]
async fn another_chain_id_is_told_with_both_and_leaves_what_runs() {
    let mut world = ready().await;
    let running = uid(&world);
    edit(&world, |genesis| genesis["config"]["chainId"] = json!(7));
    world.rest().await;
    let (reason, message) = stalled(&world);
    assert_eq!(reason, "GenesisChanged");
    assert!(message.contains("config.chainId was 1337 and is 7: restore the original genesis"), "{message}");
    assert_eq!(uid(&world), running);
    edit(&world, |_| {});
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!(uid(&world), running);
}

#[tokio::test(start_paused = true)]
async fn a_config_that_init_refuses_is_named_and_put_back() {
    let mut world = ready().await;
    let before = pinned(&world);
    edit(&world, |genesis| genesis["config"]["transitions"] = json!([{"block": 0, "blockperiodseconds": 9}]));
    world.server.start_slowly(true);
    world.rest().await;
    world.server.edit(&pod(), "kubelet", |pod| {
        let crashed = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let genesis = &mut pod["status"]["initContainerStatuses"][1];
        genesis["state"] = crashed;
        genesis["lastState"] = json!({"terminated": {"exitCode": 1}});
    });
    world.rest().await;
    let (_, reason, message) = world.condition("alice", "ClientAvailable").expect("told");
    assert_eq!(reason, "NotReady");
    assert!(message.contains("geth init exited with code 1. Either geth rejects the genesis"), "{message}");
    assert_eq!(pinned(&world), before);
    world.server.start_slowly(false);
    edit(&world, |_| {});
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!(pinned(&world), before);
}

/// An earlier version's status has only the digest of the bytes and the chain id.
#[tokio::test(start_paused = true)]
async fn what_an_earlier_version_has_pinned_stands_and_gets_its_block() {
    let mut world = ready().await;
    let whole = pinned(&world);
    world.stop();
    world.server.edit(&node("alice"), "quorum-operator", |alice| {
        alice["status"]["genesis"].as_object_mut().expect("a map").remove("block");
    });
    world.start();
    world.rest().await;
    assert_eq!(pinned(&world), whole);
    world.stop();
    world.server.edit(&node("alice"), "quorum-operator", |alice| {
        alice["status"]["genesis"] = json!({"sha256": "6f".repeat(32), "chainId": 1337});
    });
    world.start();
    world.rest().await;
    let (reason, message) = stalled(&world);
    assert_eq!(reason, "GenesisChanged");
    assert!(message.contains("status.genesis.sha256 pins "), "{message}");
}
