//! Tests of restores from a backup, in any order: no new identity is created if one is expected.

use serde_json::{Value, json};

use super::world::{NAMESPACE, World, base64, client, member, node, object, secret};

const KEY: &str = "b0057716d5917badaf911b193b12b910811c1497b5bada8d7711f758981c3773";
const OTHER_KEY: &str = "45a915e4d060149eb4365960e6a7a45f334393093061116b197e3240065ff2d8";

fn key(text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "qn-alice-nodekey", "namespace": NAMESPACE},
        "data": {"nodekey": base64(text.as_bytes())}})
}

fn identity(of: &str) -> crate::protocol::node_key::NodeIdentity {
    crate::protocol::node_key::read(of.as_bytes()).expect("a key")
}

fn expecting(expected: &str) -> Value {
    let mut alice = client("alice");
    alice["spec"]["nodeKey"] = json!({"expect": expected});
    alice
}

fn stalled(world: &World) -> (String, String) {
    let (_, reason, message) = world.condition("alice", "Stalled").expect("it stalls");
    (reason, message)
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_before_its_key_waits_for_it_and_makes_none() {
    let expected = [identity(KEY).address, identity(KEY).public_key.to_uppercase()];
    for expected in [expected[0].clone(), expected[1].clone(), format!("0x{}", expected[1])] {
        let mut world = World::new();
        world.start();
        world.server.put(&expecting(&expected));
        world.rest().await;
        let (reason, message) = stalled(&world);
        assert_eq!(reason, "NodeKeyMissing");
        let named = expected.trim_start_matches("0x").to_lowercase();
        assert!(message.contains(&named) && message.contains("Secret qn-alice-nodekey"), "{message}");
        assert_eq!(world.server.get(&secret("qn-alice-nodekey")), None);

        world.server.put(&key(OTHER_KEY));
        world.rest().await;
        let (reason, message) = stalled(&world);
        assert_eq!(reason, "NodeKeyChanged");
        assert!(message.contains(&named), "{message}");
        assert_eq!(world.server.get(&object("apps/v1", "statefulsets", "alice-client")), None);
        let alice = world.server.get(&node("alice")).expect("alice");
        assert_eq!(alice["status"]["identity"], Value::Null, "another identity is not taken down");

        world.server.delete(&secret("qn-alice-nodekey"), &json!({}));
        world.server.put(&key(KEY));
        world.rest().await;
        world.assert_ready("alice");
        let alice = world.server.get(&node("alice")).expect("alice");
        assert_eq!(alice["status"]["identity"]["address"], identity(KEY).address);
    }
}

/// An identity that is written into the spec after the key exists makes the next restore safe.
#[tokio::test(start_paused = true)]
async fn an_identity_that_is_expected_later_changes_nothing_and_a_wrong_one_stalls() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    let pod = object("v1", "pods", "alice-client-0");
    let ran = world.server.get(&pod).expect("a pod")["metadata"]["uid"].clone();
    let alice = world.server.get(&node("alice")).expect("alice");
    let address = alice["status"]["identity"]["address"].clone();
    let expect = |world: &World, expected: &Value| {
        world.server.edit(&node("alice"), "kubectl-edit", |alice| {
            alice["spec"]["nodeKey"] = json!({"expect": expected});
        });
    };
    expect(&world, &address);
    world.rest().await;
    world.assert_ready("alice");
    expect(&world, &json!(identity(KEY).address));
    world.rest().await;
    let (reason, message) = stalled(&world);
    assert!(reason == "NodeKeyChanged" && message.contains("correct spec.nodeKey.expect"), "{message}");
    expect(&world, &address);
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!(world.server.get(&pod).expect("a pod")["metadata"]["uid"], ran);
}

/// A tool that also restores the status thereby restores the expected identity.
#[tokio::test(start_paused = true)]
async fn a_status_that_was_restored_is_as_good_as_what_the_spec_expects() {
    let mut world = World::new();
    let mut alice = client("alice");
    let of = identity(KEY);
    alice["status"] = json!({"observedGeneration": 1, "certificates": [], "conditions": [], "identity": {
        "publicKey": of.public_key, "address": of.address, "secretName": "qn-alice-nodekey"}});
    world.server.put(&alice);
    world.start();
    world.rest().await;
    assert_eq!(stalled(&world).0, "NodeKeyMissing");
    assert_eq!(world.server.get(&secret("qn-alice-nodekey")), None);
    world.server.put(&key(KEY));
    world.rest().await;
    world.assert_ready("alice");
}

#[tokio::test(start_paused = true)]
async fn certificates_that_were_restored_without_their_owner_are_owned_again_as_they_are() {
    let mut world = World::new();
    world.start();
    world.server.put(&member("alice"));
    world.rest().await;
    world.stop();
    let is_certificate = |name: &str| name.starts_with("qn-alice-tls-");
    let certificates = |world: &World| {
        let objects = world.server.objects().into_iter();
        objects
            .filter(|(target, _)| target.resource == "secrets" && is_certificate(&target.name))
            .collect::<Vec<_>>()
    };
    let before = certificates(&world);
    assert!(before.len() > 5);
    for (target, restored) in &before {
        world.server.delete(target, &json!({}));
        let metadata = &restored["metadata"];
        world.server.put(&json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": target.name, "namespace": NAMESPACE, "labels": metadata["labels"],
                "annotations": metadata["annotations"]},
            "data": restored["data"]}));
    }
    world.start();
    world.rest().await;
    world.assert_ready("alice");
    let after = certificates(&world);
    for ((target, before), (_, after)) in before.iter().zip(&after) {
        assert_eq!(before["data"], after["data"], "{}", target.name);
        assert_eq!(
            before["metadata"]["ownerReferences"], after["metadata"]["ownerReferences"],
            "{}",
            target.name
        );
    }
    let version = world.server.version();
    world.start();
    world.rest().await;
    assert_eq!(world.server.version(), version, "once");
    world.server.delete(&node("alice"), &json!({"propagationPolicy": "Background"}));
    world.rest().await;
    assert_eq!(certificates(&world).len(), 0, "they go with their node");
}

/// Pods of a StatefulSet that a user has scaled up while nothing was written for the node.
#[tokio::test(start_paused = true)]
async fn what_a_workload_that_was_scaled_up_leaves_is_named_until_it_is_deleted() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    world.server.edit(&node("alice"), "kubectl-edit", |alice| alice["spec"]["paused"] = json!(true));
    world.rest().await;
    let labels = json!({"quorum.security/node": "alice", "quorum.security/component": "client",
        "app.kubernetes.io/managed-by": "quorum-operator"});
    let pod = object("v1", "pods", "alice-client-1");
    let claim = object("v1", "persistentvolumeclaims", "data-alice-client-1");
    world.server.put(&json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": claim.name, "namespace": NAMESPACE, "labels": labels},
        "spec": {"resources": {"requests": {"storage": "20Gi"}}}, "status": {"phase": "Bound"}}));
    world.server.put(&json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": pod.name, "namespace": NAMESPACE, "labels": labels}, "spec": {"containers": []}}));
    world.rest().await;
    let (_, reason, message) = world.condition("alice", "SurplusFound").expect("it is named");
    assert!(reason == "SurplusPod" && message.contains("alice-client-1"), "{message}");
    world.server.delete(&pod, &json!({}));
    world.rest().await;
    let (_, reason, message) = world.condition("alice", "SurplusFound").expect("it is named");
    assert!(reason == "SurplusClaim", "{message}");
    assert!(message.contains("kubectl -n ledger delete pvc data-alice-client-1"), "{message}");
    world.server.delete(&claim, &json!({}));
    world.rest().await;
    assert_eq!(world.condition("alice", "SurplusFound"), None);
    world.assert_ready("alice");
}
