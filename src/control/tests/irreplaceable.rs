//! Tests of irreplaceable Secrets: no other tool owns them, and a deletion does not remove their content.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{NAMESPACE, World, client, member, node, object, secret};
use crate::testing::server::{Target, place};

const CLEANUP: &str = "quorum.security/cleanup";
const ALICES: [&str; 3] = ["qn-alice-nodekey", "qn-alice-ca", "qnet-acme-ca"];

fn finalizers(world: &World, name: &str) -> Value {
    let found = world.server.get(&secret(name)).unwrap_or_else(|| panic!("{name} is gone"));
    found["metadata"]["finalizers"].clone()
}

fn is_held(world: &World, name: &str) -> bool {
    finalizers(world, name).as_array().is_some_and(|listed| listed.contains(&json!(CLEANUP)))
}

fn delete(world: &World, target: &Target) {
    world.server.delete(target, &json!({"propagationPolicy": "Background"}));
}

/// Output of `kubectl get -o yaml`, without what the server adds.
fn copy(world: &World, name: &str) -> Value {
    let found = world.server.get(&secret(name)).expect("the Secret");
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE},
        "type": "Opaque", "immutable": true, "data": found["data"]})
}

fn let_go(world: &World, name: &str) {
    world.server.edit(&secret(name), "kubectl-patch", |it| it["metadata"]["finalizers"] = json!([]));
}

async fn with(alice: &Value) -> World {
    let mut world = World::new();
    world.start();
    world.server.put(alice);
    world.rest().await;
    world.assert_ready("alice");
    world
}

#[tokio::test(start_paused = true)]
async fn they_carry_our_labels_alone_and_are_held() {
    let world = with(&member("alice")).await;
    for name in ALICES {
        let found = world.server.get(&secret(name)).expect("the Secret");
        let labels = found["metadata"]["labels"].as_object().expect("labels");
        assert!(labels.keys().all(|key| key.starts_with("quorum.security/")), "{name}: {labels:?}");
        assert!(is_held(&world, name) && found["immutable"] == true, "{name}");
        assert_eq!(found["metadata"]["ownerReferences"], Value::Null, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn those_of_an_earlier_version_are_held_and_lose_the_labels_of_others_once() {
    let mut world = with(&member("alice")).await;
    world.stop();
    for name in ALICES {
        world.server.edit(&secret(name), "quorum-operator", |it| {
            it["metadata"]["finalizers"] = json!([]);
            for label in ["managed-by", "instance", "part-of", "component", "name"] {
                let value = if label == "managed-by" { "quorum-operator" } else { "alice" };
                it["metadata"]["labels"][format!("app.kubernetes.io/{label}")] = json!(value);
            }
            it["metadata"]["labels"]["example.com/team"] = json!("ledger");
        });
    }
    let before = world.server.calls().len();
    world.start();
    world.rest().await;
    for name in ALICES {
        assert!(is_held(&world, name), "{name}");
        let found = world.server.get(&secret(name)).expect("the Secret");
        let labels = found["metadata"]["labels"].as_object().expect("labels");
        let foreign: Vec<_> = labels.keys().filter(|key| !key.starts_with("quorum.security/")).collect();
        assert_eq!(foreign, ["example.com/team"], "{name}");
    }
    let calls = world.server.calls().split_off(before);
    let patches = calls.iter().filter(|call| call.verb == "patch" && call.target.resource == "secrets");
    assert_eq!(patches.count(), 3, "once each: {calls:#?}");
    let version = world.server.version();
    world.start();
    world.rest().await;
    assert_eq!(world.server.version(), version, "{:#?}", world.recent());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_somebody_deletes_keeps_its_content_and_is_named_until_it_is_back() {
    let mut world = with(&client("alice")).await;
    let identity =
        |world: &World| world.server.get(&node("alice")).expect("alice")["status"]["identity"].clone();
    let pod = object("v1", "pods", "alice-client-0");
    let (before, ran) = (identity(&world), world.server.get(&pod).expect("a pod")["metadata"]["uid"].clone());
    let kept = copy(&world, "qn-alice-nodekey");
    delete(&world, &secret("qn-alice-nodekey"));
    world.rest().await;
    assert_eq!(copy(&world, "qn-alice-nodekey"), kept, "its content is there");
    world.assert_ready("alice");
    let (status, reason, message) = world.condition("alice", "SecretTerminating").expect("it is named");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "SecretDeleted"));
    assert!(
        message.contains("Secret qn-alice-nodekey") && message.contains("create the Secret from the file"),
        "{message}"
    );
    let events = world.server.objects().into_iter().filter(|(target, _)| target.resource == "events");
    assert_eq!(events.filter(|(_, event)| event["reason"] == "SecretDeleted").count(), 1);
    // the client may be restarted meanwhile
    world.server.delete(&pod, &json!({}));
    world.rest().await;
    world.assert_ready("alice");

    let_go(&world, "qn-alice-nodekey");
    world.rest().await;
    assert_eq!(world.condition("alice", "Stalled").expect("it stalls").1, "NodeKeyMissing");
    world.server.put(&kept);
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!(world.condition("alice", "SecretTerminating"), None);
    assert_eq!(identity(&world), before);
    assert!(is_held(&world, "qn-alice-nodekey"), "also what was restored");
    assert_ne!(world.server.get(&pod).expect("a pod")["metadata"]["uid"], ran);
}

/// A reconcile that generates a new CA would be faster than a user who restores the old one.
#[tokio::test(start_paused = true)]
async fn an_authority_that_was_deleted_is_put_back_while_its_node_is_paused() {
    let mut world = with(&member("alice")).await;
    let pause = |world: &World, paused: bool| {
        world.server.edit(&node("alice"), "kubectl-edit", |alice| alice["spec"]["paused"] = json!(paused));
    };
    for name in ["qn-alice-ca", "qnet-acme-ca"] {
        let kept = copy(&world, name);
        delete(&world, &secret(name));
        world.rest().await;
        assert!(world.condition("alice", "SecretTerminating").expect("named").2.contains(name));
        pause(&world, true);
        world.rest().await;
        let_go(&world, name);
        world.rest().await;
        assert_eq!(world.server.get(&secret(name)), None, "none is made meanwhile");
        world.server.put(&kept);
        world.rest().await;
        pause(&world, false);
        world.rest().await;
        world.assert_ready("alice");
        assert_eq!(copy(&world, name), kept);
        assert!(is_held(&world, name));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_retained_waits_for_nobody_when_its_node_ends() {
    for policy in ["Background", "Foreground", "Orphan"] {
        let mut world = World::network().await;
        world.server.delete(&node("alice"), &json!({"propagationPolicy": policy}));
        world.rest().await;
        assert_eq!(world.server.get(&node("alice")), None, "{policy}");
        for name in ["qn-alice-nodekey", "qn-alice-ca"] {
            assert!(!is_held(&world, name), "{policy}: {name}");
        }
        assert!(is_held(&world, "qnet-acme-ca"), "{policy}: bob needs it");
        world.server.delete(&node("bob"), &json!({"propagationPolicy": policy}));
        world.rest().await;
        assert!(!is_held(&world, "qnet-acme-ca"), "{policy}: nobody is left");
        assert!(!is_held(&world, "qn-bob-nodekey"), "{policy}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_nodes_that_end_at_once_leave_nothing_held() {
    let mut world = World::network().await;
    delete(&world, &node("alice"));
    delete(&world, &node("bob"));
    world.rest().await;
    for name in ["qn-alice-nodekey", "qn-alice-ca", "qn-bob-nodekey", "qnet-acme-ca"] {
        assert!(!is_held(&world, name), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_retained_goes_with_its_node_and_all_its_generations() {
    let mut alice = member("alice");
    alice["spec"]["deletionPolicy"] = json!({"keys": "Delete"});
    let mut world = with(&alice).await;
    world.server.edit(&secret("qn-alice-ca"), "kubectl-annotate", |it| {
        it["metadata"]["annotations"]["quorum.security/rotate"] = json!("now");
    });
    world.rest_after(super::world::ROTATED).await;
    assert!(is_held(&world, "qn-alice-ca-2"), "one that followed is held, too");
    delete(&world, &node("alice"));
    world.rest().await;
    assert_eq!(world.server.get(&node("alice")), None, "{:#?}", world.recent());
    for name in ["qn-alice-nodekey", "qn-alice-ca", "qn-alice-ca-2"] {
        assert_eq!(world.server.get(&secret(name)), None, "{name}");
    }
    assert!(!is_held(&world, "qnet-acme-ca"));
}

/// The operator never writes adopted keys, which others manage.
#[tokio::test(start_paused = true)]
async fn an_adopted_key_is_not_held() {
    let mut world = World::new();
    let key = "b0057716d5917badaf911b193b12b910811c1497b5bada8d7711f758981c3773";
    let mut mine =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine", "namespace": NAMESPACE}});
    mine["data"]["nodekey"] = json!(super::world::base64(key.as_bytes()));
    world.server.put(&mine);
    world.start();
    let mut alice = client("alice");
    alice["spec"]["nodeKey"] = json!({"secretRef": {"name": "mine", "key": "nodekey"}});
    world.server.put(&alice);
    world.rest().await;
    world.assert_ready("alice");
    assert!(!is_held(&world, "mine"));
}

/// If the server deletes pods last, or the namespace has none, the permission to write may be gone before the Secrets.
#[tokio::test(start_paused = true)]
async fn a_node_goes_from_a_namespace_that_ends_where_its_secrets_may_no_longer_be_written() {
    let mut world = World::new();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "finalizers": ["kubernetes"]}});
    world.server.put(&namespace);
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    let cluster = super::permissions::allowed(super::permissions::CLUSTER);
    world.server.allow_only(Some(cluster));
    world.server.end_watches(false);
    world.server.delete(&place(&namespace), &json!({}));
    let inside = world.server.objects().into_iter().map(|(target, _)| target);
    for target in inside.filter(|target| target.namespace == NAMESPACE).collect::<Vec<_>>() {
        delete(&world, &target);
    }
    tokio::time::sleep(Duration::from_secs(300)).await;
    let left = world.server.objects().into_iter().map(|(target, _)| target);
    let left: Vec<_> = left.filter(|it| it.namespace == NAMESPACE && it.resource != "events").collect();
    let names: Vec<_> = left.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["qn-alice-nodekey", "qnet-acme-ca"], "a person lets these go");
    for name in names {
        let_go(&world, name);
        assert_eq!(world.server.get(&secret(name)), None);
    }
}
