//! Tests of peers that are added and removed.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{World, client, node, object};

/// How long a peer that has left is expected to come back.
const MOMENT: Duration = Duration::from_secs(310);

fn outside(key: &str) -> String {
    format!("enode://{}@192.0.2.7:30303", key.repeat(64))
}

fn admit(world: &World, keys: &[&str]) {
    let listed: Vec<_> = keys.iter().map(|key| outside(key)).collect();
    world.server.edit(&node("alice"), "kubectl-edit", |alice| {
        alice["spec"]["peering"] = json!({"permissioned": listed});
    });
}

fn pod(world: &World) -> Value {
    world.server.get(&object("v1", "pods", "alice-client-0")).expect("a pod")["metadata"]["uid"].clone()
}

/// A client keeps a connection to a removed peer until it restarts; a new peer requires no restart.
#[tokio::test(start_paused = true)]
async fn a_peer_that_is_no_longer_admitted_costs_a_restart_and_a_new_one_does_not() {
    let mut world = World::new();
    world.start();
    let mut alice = client("alice");
    alice["spec"]["peering"] = json!({"permissioned": [outside("aa")]});
    world.server.put(&alice);
    world.rest().await;
    let first = pod(&world);
    admit(&world, &["aa", "bb"]);
    world.rest().await;
    assert_eq!(pod(&world), first, "bb came");
    // a peer that was added after the start counts too
    admit(&world, &["aa"]);
    world.rest().await;
    assert_eq!(pod(&world), first, "it may be back in a moment");
    tokio::time::sleep(MOMENT).await;
    world.rest().await;
    let second = pod(&world);
    assert_ne!(second, first, "bb left");
    world.start();
    world.rest().await;
    assert_eq!(pod(&world), second, "once");
    world.assert_ready("alice");
}

/// A stalled node has no key and no address: the others start without it, and admit it later.
#[tokio::test(start_paused = true)]
async fn a_newcomer_that_stalls_keeps_nobody_from_starting() {
    let mut world = World::new();
    world.start();
    let mut stuck = client("stuck");
    stuck["spec"]["genesis"]["configMapRef"]["name"] = json!("later");
    world.server.put(&client("alice"));
    world.server.put(&stuck);
    world.rest().await;
    world.assert_ready("alice");
    // nor does a node wait for it whose client is recreated
    let first = pod(&world);
    for (group, resource, name) in
        [("apps/v1", "statefulsets", "alice-client"), ("v1", "pods", "alice-client-0")]
    {
        world.server.delete(&object(group, resource, name), &json!({}));
    }
    world.rest().await;
    world.assert_ready("alice");
    let second = pod(&world);
    assert_ne!(second, first);

    let mut genesis = super::world::genesis_in(super::world::NAMESPACE);
    genesis["metadata"]["name"] = json!("later");
    world.server.put(&genesis);
    world.rest().await;
    for name in ["alice", "stuck"] {
        world.assert_ready(name);
    }
    let list =
        world.server.get(&object("v1", "configmaps", "qn-stuck-peers")).expect("peers")["data"].to_string();
    let enode = world.server.get(&node("alice")).expect("alice")["status"]["enode"].to_string();
    assert!(list.contains(enode.trim_matches('"')), "it dials alice: {list}");
    let admitted =
        world.server.get(&object("v1", "configmaps", "qn-alice-peers")).expect("peers")["data"].to_string();
    let enode = world.server.get(&node("stuck")).expect("stuck")["status"]["enode"].to_string();
    assert!(admitted.contains(enode.trim_matches('"')), "and alice admits it: {admitted}");
    assert_eq!(pod(&world), second, "without a restart");
}

/// A node is often deleted to recreate it with the same key.
#[tokio::test(start_paused = true)]
async fn a_peer_that_is_back_in_a_moment_costs_no_restart() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.server.put(&client("bob"));
    world.rest().await;
    let first = pod(&world);
    let left = |world: &World| {
        let lists = world.server.get(&object("v1", "configmaps", "qn-alice-peers")).expect("peers");
        lists["data"]["permissioned-nodes.json"] == "[]"
    };
    world.server.delete(&node("bob"), &json!({}));
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(left(&world), "nobody is admitted anew");
    // a new leader knows this only from what is written
    world.start();
    tokio::time::sleep(Duration::from_secs(100)).await;
    world.server.put(&client("bob"));
    world.rest().await;
    tokio::time::sleep(2 * MOMENT).await;
    world.rest().await;
    assert!(!left(&world));
    assert_eq!(pod(&world), first);
    for name in ["alice", "bob"] {
        world.assert_ready(name);
    }
}

/// A running client is not disconnected because its node does not decode; it is removed with its node.
#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_be_read_stays_a_peer_until_it_goes() {
    let mut world = World::new();
    world.start();
    for name in ["alice", "poison"] {
        world.server.put(&client(name));
    }
    world.rest().await;
    let enode = world.server.get(&node("poison")).expect("a node")["status"]["enode"].to_string();
    let knows = |world: &World, name: &str| {
        let peers =
            world.server.get(&object("v1", "configmaps", &format!("qn-{name}-peers"))).expect("peers");
        ["static-nodes.json", "permissioned-nodes.json"]
            .map(|list| peers["data"][list].to_string().contains(enode.trim_matches('"')))
    };
    assert_eq!(knows(&world, "alice"), [true; 2]);
    world.server.edit(&node("poison"), "kubectl", |poison| {
        poison["spec"]["client"]["tunables"] = json!({"cacheMib": "many"});
    });
    // a node that is added later, and one that is rendered again
    world.server.put(&client("bob"));
    admit(&world, &["aa"]);
    world.rest().await;
    assert_eq!(["alice", "bob"].map(|name| knows(&world, name)), [[true; 2]; 2]);
    for name in ["alice", "bob"] {
        world.assert_ready(name);
    }
    world.server.delete(&node("poison"), &json!({}));
    world.rest().await;
    assert_eq!(["alice", "bob"].map(|name| knows(&world, name)), [[false; 2]; 2]);
}

/// A peer entry for the node itself, or for a node of its network, is useless and harmless.
#[tokio::test(start_paused = true)]
async fn whoever_lists_itself_or_a_node_of_its_network_is_told() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.server.put(&client("bob"));
    world.rest().await;
    let own = |name: &str| world.server.get(&node(name)).expect("a node")["status"]["enode"].clone();
    let listed = [own("alice"), own("bob")];
    world.server.edit(&node("alice"), "kubectl-edit", |alice| {
        alice["spec"]["peering"] = json!({"static": listed});
    });
    world.rest().await;
    world.assert_ready("alice");
    let message = world.condition("alice", "ConfigValid").expect("told").2;
    for told in [
        "spec.peering.static[0] names this node itself",
        "spec.peering.static[1] names node bob of this network",
    ] {
        assert!(message.contains(told), "{message}");
    }
}
