//! Tests that only one client runs with a key.

use serde_json::{Value, json};

use super::world::{NAMESPACE, World, client, genesis_in, node, object, secret};
use crate::{
    cluster::watch::caches::Scope,
    testing::{
        server::{Change, Server, Target},
        specs,
    },
};

const KEY: &str = "b0057716d5917badaf911b193b12b910811c1497b5bada8d7711f758981c3773";
const OTHER_KEY: &str = "45a915e4d060149eb4365960e6a7a45f334393093061116b197e3240065ff2d8";

fn in_namespace(namespace: &str, target: Target) -> Target {
    Target { namespace: namespace.into(), ..target }
}

/// A Secret with a node key in some textual form.
fn key_in(namespace: &str, text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine", "namespace": namespace},
        "data": {"nodekey": super::world::base64(text.as_bytes())}})
}

/// A node that adopts the Secret `mine`, in a network of its own.
fn adopts(namespace: &str, name: &str) -> Value {
    let mut node = client(name);
    node["metadata"]["namespace"] = json!(namespace);
    node["spec"]["nodeKey"] = json!({"secretRef": {"name": "mine", "key": "nodekey"}});
    node
}

fn workload(name: &str) -> Target {
    object("apps/v1", "statefulsets", &format!("{name}-client"))
}

fn pod(name: &str) -> Target {
    object("v1", "pods", &format!("{name}-client-0"))
}

fn stalled(world: &World, target: &Target) -> Option<(String, String)> {
    let node = world.server.get(target)?;
    let conditions = node["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|found| found["type"] == "Stalled")?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("reason"), text("message")))
}

fn assert_ready(world: &World, target: &Target) {
    let node = world.server.get(target).expect("the node");
    assert_eq!(node["status"]["conditions"][0]["status"], "True", "{:#}", node["status"]);
}

/// Asserts that two pods never ran with one identity at the same time.
fn assert_never_both(server: &Server) {
    let mut running = std::collections::BTreeMap::<Target, String>::new();
    for Change { kind, target, object, .. } in server.changes() {
        let identity = &object["metadata"]["labels"]["quorum.security/identity"];
        let Some(identity) = identity.as_str().filter(|_| target.resource == "pods") else { continue };
        if kind == "DELETED" {
            running.remove(&target);
        } else {
            running.insert(target.clone(), identity.to_owned());
        }
        let same: Vec<_> = running.iter().filter(|(_, other)| *other == identity).collect();
        assert!(same.len() < 2, "{same:?}");
    }
}

/// Two namespaces, one with the key in another textual form.
fn two_namespaces(scopes: Vec<Scope>) -> World {
    let mut world = World::new();
    world.scopes = scopes;
    world.server.put(&genesis_in("other"));
    world.server.put(&key_in(NAMESPACE, KEY));
    world.server.put(&key_in("other", &format!("{}\r\n", KEY.to_uppercase())));
    world
}

fn both() -> Vec<Scope> {
    vec![Scope::Namespace(NAMESPACE.into()), Scope::Namespace("other".into())]
}

#[tokio::test(start_paused = true)]
async fn the_later_of_two_nodes_with_one_key_runs_when_the_first_is_gone() {
    let second = in_namespace("other", node("zoe"));
    for scopes in [vec![Scope::All], both()] {
        let mut world = two_namespaces(scopes);
        world.start();
        world.server.put(&adopts(NAMESPACE, "alice"));
        world.rest().await;
        world.server.put(&adopts("other", "zoe"));
        world.rest().await;
        world.assert_ready("alice");
        let (reason, message) = stalled(&world, &second).expect("the later one is held");
        assert_eq!(reason, "DuplicateIdentity");
        assert!(message.contains("QuorumNode ledger/alice has the same key"), "{message}");
        assert_eq!(world.server.get(&in_namespace("other", workload("zoe"))), None);

        world.server.delete(&node("alice"), &json!({}));
        world.rest().await;
        assert_eq!(world.server.get(&node("alice")), None);
        assert_ready(&world, &second);
        assert_never_both(&world.server);
    }
}

/// Which node is first depends on which one gets its key first.
#[tokio::test(start_paused = true)]
async fn of_two_that_come_at_once_one_runs() {
    for scopes in [vec![Scope::All], both()] {
        let mut world = two_namespaces(scopes);
        let nodes = [node("alice"), in_namespace("other", node("zoe"))];
        world.server.put(&adopts("other", "zoe"));
        world.server.put(&adopts(NAMESPACE, "alice"));
        world.start();
        world.rest().await;
        let held = nodes.iter().filter_map(|node| Some((node, stalled(&world, node)?.0))).collect::<Vec<_>>();
        let [(held, reason)] = held.as_slice() else { panic!("{held:?}") };
        assert_eq!(reason, "DuplicateIdentity");
        let first = nodes.iter().find(|node| node != held).expect("the other one");
        assert_ready(&world, first);
        world.server.delete(first, &json!({}));
        world.rest().await;
        assert_ready(&world, held);
        assert_never_both(&world.server);
    }
}

#[tokio::test(start_paused = true)]
async fn two_nodes_that_adopt_one_secret_do_not_both_run_and_are_one_peer_to_a_third() {
    let mut world = World::new();
    world.server.put(&key_in(NAMESPACE, KEY));
    world.start();
    world.server.put(&adopts(NAMESPACE, "bob"));
    world.rest().await;
    world.server.put(&adopts(NAMESPACE, "alice"));
    world.server.put(&client("carol"));
    world.rest().await;
    world.assert_ready("bob");
    world.assert_ready("carol");
    let (reason, message) = stalled(&world, &node("alice")).expect("the later one is held");
    assert_eq!(reason, "DuplicateIdentity");
    assert!(message.contains("ledger/bob"), "{message}");
    assert_eq!(world.server.get(&pod("alice")), None);
    let peers = world.server.get(&object("v1", "configmaps", "qn-carol-peers")).expect("peers");
    assert_eq!(peers["data"]["static-nodes.json"].to_string().matches("enode://").count(), 1, "{peers:#}");
    assert_never_both(&world.server);
}

/// Whatever the cause: the later one is stopped, and continues when the first is gone.
#[tokio::test(start_paused = true)]
async fn of_two_that_run_the_later_one_is_stopped() {
    let mut world = two_namespaces(vec![Scope::Namespace(NAMESPACE.into())]);
    world.start();
    world.server.put(&adopts(NAMESPACE, "alice"));
    world.rest().await;
    // an operator that watches only one namespace cannot know
    world.scopes = vec![Scope::Namespace("other".into())];
    world.start();
    world.server.put(&adopts("other", "zoe"));
    world.rest().await;
    let (zoe, its_pod) = (in_namespace("other", node("zoe")), in_namespace("other", pod("zoe")));
    assert_ready(&world, &zoe);
    world.scopes = vec![Scope::All];
    world.start();
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!(stalled(&world, &zoe).expect("it is held").0, "DuplicateIdentity");
    assert_eq!(world.server.get(&its_pod), None);
    let stopped = world.server.get(&in_namespace("other", workload("zoe"))).expect("the workload stays");
    assert_eq!(stopped["spec"]["replicas"], 0);
    world.server.delete(&node("alice"), &json!({}));
    world.rest().await;
    assert_ready(&world, &zoe);
    assert!(world.server.get(&its_pod).is_some());
}

#[tokio::test(start_paused = true)]
async fn what_a_node_that_is_gone_left_running_is_not_joined() {
    let mut world = two_namespaces(both());
    world.start();
    world.server.put(&adopts(NAMESPACE, "alice"));
    world.rest().await;
    world.server.delete(&node("alice"), &json!({"propagationPolicy": "Orphan"}));
    world.rest().await;
    assert_eq!(world.server.get(&node("alice")), None);
    assert!(world.server.get(&pod("alice")).is_some(), "orphaned");
    world.server.put(&adopts("other", "zoe"));
    world.rest().await;
    let second = in_namespace("other", node("zoe"));
    let (reason, message) = stalled(&world, &second).expect("it is held");
    assert_eq!(reason, "DuplicateIdentity");
    assert!(message.contains("the client of ledger/alice still runs with the same key"), "{message}");
    world.server.delete(&workload("alice"), &json!({}));
    world.rest().await;
    assert_ready(&world, &second);
    assert_never_both(&world.server);
}

#[tokio::test(start_paused = true)]
async fn what_a_node_that_cannot_be_read_runs_is_not_joined() {
    let mut world = two_namespaces(both());
    world.start();
    world.server.put(&adopts(NAMESPACE, "alice"));
    world.rest().await;
    world.server.edit(&node("alice"), "kubectl", |alice| {
        alice["spec"]["client"]["tunables"] = json!({"cacheMib": "many"});
    });
    world.server.put(&adopts("other", "zoe"));
    world.rest().await;
    let (reason, message) = stalled(&world, &in_namespace("other", node("zoe"))).expect("it is held");
    assert_eq!(reason, "DuplicateIdentity");
    assert!(message.contains("ledger/alice still runs with the same key"), "{message}");
    assert!(world.server.get(&pod("alice")).is_some());
    assert_never_both(&world.server);
}

/// A Secret that was deleted and recreated with another key.
#[tokio::test(start_paused = true)]
async fn another_key_in_the_secret_stops_every_change_and_leaves_what_runs() {
    let mut world = World::new();
    world.server.put(&key_in(NAMESPACE, KEY));
    world.start();
    world.server.put(&adopts(NAMESPACE, "alice"));
    world.rest().await;
    world.assert_ready("alice");
    let uid = |world: &World| world.server.get(&pod("alice")).expect("a pod")["metadata"]["uid"].clone();
    let (before, mine) = (uid(&world), secret("mine"));
    world.server.delete(&mine, &json!({}));
    world.server.put(&key_in(NAMESPACE, OTHER_KEY));
    world.rest().await;
    assert_eq!(stalled(&world, &node("alice")).expect("it stalls").0, "NodeKeyChanged");
    let calls = world
        .calls_of(|server| {
            server.edit(&node("alice"), "kubectl-edit", |alice| {
                alice["spec"]["client"]["image"] = json!(specs::image("goquorum-next"));
            });
        })
        .await;
    let writes = calls.iter().filter(|call| call.is_write()).map(ToString::to_string);
    assert_eq!(writes.filter(|write| !write.contains("status")).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(uid(&world), before, "what runs goes on");

    world.server.delete(&mine, &json!({}));
    world.server.put(&key_in(NAMESPACE, &format!("{KEY}\n")));
    world.rest().await;
    world.assert_ready("alice");
    assert_ne!(uid(&world), before, "and the image is taken when the key is back");
}
