//! Tests of additions to the operator's objects by others, of their deletion, and of changes by webhooks.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{World, client, manager_keys, member, node, object};
use crate::testing::server::{Server, Target, merge_patch};

const SECOND: Duration = Duration::from_secs(1);

async fn alice() -> World {
    let mut world = World::new();
    world.start();
    let mut alice = member("alice");
    alice["spec"]["role"] = json!("Validator");
    world.server.put(&alice);
    world.rest().await;
    world.assert_ready("alice");
    world
}

fn deny() -> Target {
    object("networking.k8s.io/v1", "networkpolicies", "alice-deny")
}

fn workload() -> Target {
    object("apps/v1", "statefulsets", "alice-client")
}

fn pod() -> Target {
    object("v1", "pods", "alice-client-0")
}

/// One addition to an object of each kind: the object, the addition, and its path.
fn additions() -> Vec<(Target, Value, &'static str)> {
    let thief = json!({"name": "thief", "image": "x", "command": ["cat", "/keys/nodekey"],
        "volumeMounts": [{"name": "nodekey", "mountPath": "/keys"}]});
    vec![
        (deny(), json!([{}]), "/spec/ingress"),
        (deny(), json!([{}]), "/spec/egress"),
        (object("v1", "services", "alice-p2p"), json!(["192.0.2.7"]), "/spec/externalIPs"),
        (
            object("v1", "services", "alice-p2p"),
            json!({"name": "rpc", "port": 8545, "protocol": "TCP"}),
            "/spec/ports/-",
        ),
        (object("v1", "configmaps", "qn-alice-peers"), json!("x"), "/data/added"),
        (object("v1", "secrets", "qn-alice-tls-metrics"), json!("eA=="), "/data/added"),
        (
            object("policy/v1", "poddisruptionbudgets", "qnet-acme-validators"),
            json!([{"key": "x", "operator": "Exists"}]),
            "/spec/selector/matchExpressions",
        ),
        (object("v1", "serviceaccounts", "alice-client"), json!("x"), "/added"),
        (workload(), json!(true), "/spec/template/spec/shareProcessNamespace"),
        (workload(), thief, "/spec/template/spec/containers/-"),
        (workload(), json!("yes"), "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt"),
        (workload(), json!(2), "/spec/replicas"),
    ]
}

fn add(server: &Server, (target, value, pointer): &(Target, Value, &str)) {
    server.edit(target, "kubectl-patch", |object| {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        let name = name.replace("~1", "/");
        match object.pointer_mut(parent) {
            Some(Value::Array(items)) => items.push(value.clone()),
            Some(Value::Object(members)) => drop(members.insert(name, value.clone())),
            _ => panic!("{parent} is there"),
        }
    });
}

fn said(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"] =
        json!({"labels": object["metadata"]["labels"], "owners": object["metadata"]["ownerReferences"]});
    object["status"] = Value::Null;
    object
}

#[tokio::test(start_paused = true)]
async fn what_is_added_is_gone_within_a_second_and_the_pod_stays() {
    let mut world = alice().await;
    let first = world.server.get(&pod()).expect("a pod")["metadata"]["uid"].clone();
    for addition in additions() {
        let before = world.server.get(&addition.0).unwrap_or_else(|| panic!("{:?}", addition.0));
        add(&world.server, &addition);
        let added = world.server.get(&addition.0).expect("it is there");
        assert_ne!(said(&added), said(&before), "{} is a change", addition.2);
        tokio::time::sleep(SECOND).await;
        let now = world.server.get(&addition.0).expect("it is there");
        assert_eq!(said(&now), said(&before), "{}", addition.2);
        // too rarely for a field conflict
        tokio::time::sleep(Duration::from_secs(21)).await;
    }
    world.rest().await;
    world.assert_ready("alice");
    let evicted = world.server.calls().iter().any(|call| call.subresource == "eviction");
    assert!(!evicted, "no pod is replaced to bring in what somebody else wrote");
    assert_eq!(world.server.get(&pod()).expect("a pod")["metadata"]["uid"], first);
}

#[tokio::test(start_paused = true)]
async fn what_was_added_while_the_operator_was_away_is_removed_and_so_is_the_pod_made_from_it() {
    let mut world = alice().await;
    let before: Vec<_> = additions()
        .iter()
        .map(|(target, ..)| said(&world.server.get(target).expect("it is there")))
        .collect();
    world.stop();
    for addition in additions().iter().filter(|addition| !addition.2.contains("replicas")) {
        add(&world.server, addition);
    }
    // the deleted pod is replaced from the current template
    world.server.delete(&pod(), &json!({}));
    let made = world.server.get(&pod()).expect("a pod");
    assert!(made["spec"]["containers"].to_string().contains("thief"));
    world.start();
    world.rest().await;
    world.assert_ready("alice");
    for ((target, ..), before) in additions().iter().zip(before) {
        assert_eq!(said(&world.server.get(target).expect("it is there")), before, "{target:?}");
    }
    let now = world.server.get(&pod()).expect("a pod");
    assert!(!now["spec"]["containers"].to_string().contains("thief"), "{now:#}");
}

#[tokio::test(start_paused = true)]
async fn a_paused_node_says_what_differs_and_who_wrote_it() {
    let mut world = alice().await;
    world.server.edit(&node("alice"), "kubectl", |node| node["spec"]["paused"] = json!(true));
    world.rest().await;
    world.assert_ready("alice");
    for addition in additions() {
        if addition.0.resource != "secrets" {
            add(&world.server, &addition);
        }
    }
    world.rest().await;
    let (status, _, message) = world.condition("alice", "Paused").expect("it is told");
    assert_eq!(status, "True");
    for named in [
        "NetworkPolicy alice-deny differs from the spec in the fields spec.egress, spec.ingress (changed by kubectl-patch)",
        "Service alice-p2p differs from the spec in the fields spec.externalIPs, spec.ports",
        "ConfigMap qn-alice-peers differs from the spec in the fields data.added",
        "StatefulSet alice-client differs from the spec in the fields spec.replicas, spec.template",
    ] {
        assert!(message.contains(named), "{named}: {message}");
    }
    let (status, reason, message) = world.condition("alice", "NetworkPoliciesApplied").expect("it is told");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Drifted"), "{message}");
    assert!(message.contains("alice-deny") && !message.contains("alice-p2p "), "{message}");
    let (status, _, message) = world.condition("alice", "ObjectsApplied").expect("it is told");
    assert!(status == "False" && message.contains("StatefulSet alice-client"), "{message}");
    assert_eq!(world.condition("alice", "Ready").expect("it is told").0, "False");
    assert_eq!(world.condition("alice", "Stalled").expect("a person has to act").0, "True");
    let evicted = world.server.calls().iter().any(|call| call.subresource == "eviction");
    assert!(!evicted);
    world.server.edit(&node("alice"), "kubectl", |node| node["spec"]["paused"] = json!(false));
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!(world.condition("alice", "ObjectsApplied"), None);
    assert!(world.server.get(&deny()).expect("a policy")["spec"]["ingress"].is_null());
}

/// While the spec is invalid, the desired content of an object is not known, but that others have changed it is.
#[tokio::test(start_paused = true)]
async fn a_node_that_stalls_says_what_was_changed_since_it_was_written() {
    let mut world = alice().await;
    world.server.edit(&object("v1", "secrets", "alice-tm-keys"), "kubectl", |keys| keys["data"] = json!({}));
    world.rest().await;
    assert_eq!(world.condition("alice", "Stalled").expect("it stalls").0, "True");
    assert_eq!(world.condition("alice", "NetworkPoliciesApplied"), None, "nothing is claimed");
    for addition in additions().iter().take(4) {
        add(&world.server, addition);
    }
    world.rest().await;
    let (status, reason, message) = world.condition("alice", "NetworkPoliciesApplied").expect("it is told");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Drifted"));
    let named =
        "NetworkPolicy alice-deny differs from what the operator last wrote (changed by kubectl-patch)";
    assert!(message.contains(named) && !message.contains("alice-p2p"), "{message}");
    let (_, _, message) = world.condition("alice", "ObjectsApplied").expect("it is told");
    assert!(message.contains("Service alice-p2p differs from what"), "{message}");
    world.server.put(&manager_keys("alice", [7; 32]));
    world.rest().await;
    world.assert_ready("alice");
    assert!(world.server.get(&deny()).expect("a policy")["spec"]["ingress"].is_null());
}

/// Labels and owners show whose an object is, and any writer can remove them with the same patch.
#[tokio::test(start_paused = true)]
async fn an_object_that_was_opened_and_stripped_or_labelled_as_anothers_is_put_back() {
    let mut world = alice().await;
    let before = said(&world.server.get(&deny()).expect("a policy"));
    let stripped = json!({"labels": null, "ownerReferences": null, "annotations": null});
    let others = json!({"labels": {"quorum.security/node": "zz"}});
    for metadata in [stripped.clone(), others] {
        world.server.edit(&deny(), "kubectl-patch", |policy| {
            merge_patch(&mut policy["metadata"], &metadata);
            policy["spec"]["ingress"] = json!([{}]);
        });
        tokio::time::sleep(SECOND).await;
        assert_eq!(said(&world.server.get(&deny()).expect("it is there")), before, "{metadata}");
        tokio::time::sleep(Duration::from_secs(21)).await;
    }
    // no event shows whose object is deleted
    let account = object("v1", "serviceaccounts", "alice-client");
    world.stop();
    world.server.edit(&account, "kubectl-patch", |it| merge_patch(&mut it["metadata"], &stripped));
    world.start();
    world.rest().await;
    world.server.delete(&account, &json!({}));
    tokio::time::sleep(SECOND).await;
    assert!(world.server.get(&account).is_some(), "it is made again");
    world.rest().await;
    world.assert_ready("alice");
}

/// The applied fields may be invalid together with those of others: both are changed in one request.
#[tokio::test(start_paused = true)]
async fn what_an_apply_collides_with_is_put_back_and_keeps_nothing_else_from_it() {
    let mut world = alice().await;
    let budget = object("policy/v1", "poddisruptionbudgets", "qnet-acme-validators");
    let before = said(&world.server.get(&budget).expect("a budget"));
    world.server.edit(&budget, "kubectl-patch", |budget| {
        merge_patch(&mut budget["spec"], &json!({"minAvailable": null, "maxUnavailable": "100%"}));
    });
    tokio::time::sleep(SECOND).await;
    assert_eq!(said(&world.server.get(&budget).expect("a budget")), before);
    // a certificate's Secret that can only be deleted
    let secret = object("v1", "secrets", "qn-alice-tls-metrics");
    world.server.edit(&secret, "kubectl-patch", |secret| {
        merge_patch(secret, &json!({"immutable": true, "data": {"evil": "eA=="}}));
    });
    add(&world.server, &additions()[0]);
    world.rest().await;
    assert!(world.server.get(&deny()).expect("a policy")["spec"]["ingress"].is_null());
    let now = world.server.get(&secret).expect("it is made again");
    assert!(now["immutable"].is_null() && now["data"]["evil"].is_null(), "{now:#}");
    world.assert_ready("alice");
}

/// It cannot be repaired: the operator waits for its deletion, and reports the finalizers that block it.
#[tokio::test(start_paused = true)]
async fn what_is_frozen_and_held_by_somebody_elses_finalizer_is_told_and_is_no_fight() {
    let mut world = alice().await;
    let map = object("v1", "configmaps", "qn-alice-peers");
    world.server.edit(&map, "kubectl", |map| {
        merge_patch(map, &json!({"immutable": true, "metadata": {"finalizers": ["evil.example/x"]}}));
    });
    world.rest().await;
    let (_, _, message) = world.condition("alice", "ObjectsApplied").expect("it is told");
    assert!(message.contains("ConfigMap qn-alice-peers") && message.contains("evil.example/x"), "{message}");
    assert_eq!(world.condition("alice", "FieldConflict"), None);
    world.server.edit(&map, "kubectl", |map| map["metadata"]["finalizers"] = json!([]));
    world.rest().await;
    assert!(world.server.get(&map).expect("it is made again")["immutable"].is_null());
    world.assert_ready("alice");
}

/// The operator's policies have a finalizer, so a deleted policy is in force until the operator removes that.
#[tokio::test(start_paused = true)]
async fn a_policy_that_was_opened_and_deleted_is_closed_goes_and_is_made_again() {
    let mut world = alice().await;
    let before = world.server.get(&deny()).expect("a policy");
    for addition in additions().iter().take(2) {
        add(&world.server, addition);
    }
    world.server.delete(&deny(), &json!({}));
    assert!(world.server.get(&deny()).expect("held")["metadata"]["deletionTimestamp"].is_string());
    tokio::time::sleep(3 * SECOND).await;
    let now = world.server.get(&deny()).expect("made again");
    assert_eq!(said(&now), said(&before));
    assert_ne!(now["metadata"]["uid"], before["metadata"]["uid"]);
    assert!(now["metadata"]["deletionTimestamp"].is_null());
    let changes = world.server.changes();
    let of_deny: Vec<_> = changes.iter().filter(|change| change.target == deny()).collect();
    let gone = of_deny.iter().rposition(|change| change.kind == "DELETED").expect("it went");
    assert!(of_deny[gone].object["spec"]["ingress"].is_null(), "it was closed first");
    let gap = of_deny[gone + 1].at - of_deny[gone].at;
    assert!(gap < Duration::from_millis(100), "{gap:?}");
    world.rest().await;
    world.assert_ready("alice");
}

/// A third-party finalizer blocks the deletion: the object is repaired meanwhile, and the finalizer is reported.
#[tokio::test(start_paused = true)]
async fn a_policy_that_somebody_elses_finalizer_holds_is_closed_and_told() {
    let mut world = alice().await;
    world.server.edit(&deny(), "holder", |policy| {
        policy["metadata"]["finalizers"] = json!(["example.com/mine"]);
    });
    world.server.delete(&deny(), &json!({}));
    tokio::time::sleep(2 * SECOND).await;
    add(&world.server, &additions()[0]);
    world.rest().await;
    let now = world.server.get(&deny()).expect("held");
    assert!(now["spec"]["ingress"].is_null(), "{now:#}");
    let (status, _, message) = world.condition("alice", "NetworkPoliciesApplied").expect("it is told");
    assert!(status == "False" && message.contains("example.com/mine"), "{message}");
    world.server.edit(&deny(), "holder", |policy| policy["metadata"]["finalizers"] = json!([]));
    world.rest().await;
    assert!(world.server.get(&deny()).expect("made again")["metadata"]["deletionTimestamp"].is_null());
    world.assert_ready("alice");
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_was_made_immutable_is_made_again() {
    let mut world = alice().await;
    let map = object("v1", "configmaps", "qn-alice-peers");
    let before = world.server.get(&map).expect("it is there");
    world.server.edit(&map, "kubectl", |map| {
        map["immutable"] = json!(true);
        map["data"]["static-nodes.json"] = json!("[\"enode://mine\"]");
    });
    world.rest().await;
    assert_eq!(said(&world.server.get(&map).expect("made again")), said(&before));
    world.assert_ready("alice");
}

/// An immutable field: the workload is deleted without its pod, and recreated.
#[tokio::test(start_paused = true)]
async fn a_workload_that_somebody_made_with_other_fixed_fields_is_made_again() {
    let mut world = alice().await;
    let before = world.server.get(&workload()).expect("a workload");
    world.stop();
    world.server.delete(&workload(), &json!({"propagationPolicy": "Orphan"}));
    let mut theirs = before.clone();
    theirs["spec"]["podManagementPolicy"] = json!("Parallel");
    for by_the_server in ["uid", "resourceVersion", "managedFields"] {
        theirs["metadata"][by_the_server] = Value::Null;
    }
    world.server.put(&theirs);
    world.start();
    world.rest().await;
    assert_eq!(said(&world.server.get(&workload()).expect("made again")), said(&before));
    world.assert_ready("alice");
}

/// Two webhooks change every write of a workload, each to something else.
#[tokio::test(start_paused = true)]
async fn what_a_webhook_writes_into_every_object_is_told_and_is_no_fight() {
    let mut world = World::new();
    world.server.mutate(|target, object| {
        let containers = object.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut);
        if target.resource == "statefulsets"
            && let Some(containers) = containers
        {
            if target.name == "alice-client" {
                containers.retain(|container| container["name"] != "sidecar");
                containers.push(json!({"name": "sidecar", "image": "x"}));
            } else {
                containers[0]["resources"]["limits"] = json!({"memory": "8Gi"});
            }
        }
    });
    world.start();
    world.server.put(&client("alice"));
    world.server.put(&client("bob"));
    world.rest().await;
    let version = world.server.version();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.server.version(), version, "nothing is written again and again");
    let (status, reason, message) = world.condition("alice", "ObjectsApplied").expect("it is told");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Drifted"));
    assert!(
        message.contains("of StatefulSet alice-client: exempt") && message.contains("containers"),
        "{message}"
    );
    assert_eq!(world.condition("alice", "Ready").expect("told").0, "False");
    assert_eq!(world.condition("alice", "FieldConflict"), None);
    let ready = world.condition("bob", "Ready").expect("told");
    assert_eq!(ready.0, "True", "{ready:?}");
    let (status, _, message) = world.condition("bob", "ChangedByAdmission").expect("it is told");
    assert!(status == "True" && message.contains("resources.limits"), "{message}");
    // an addition on top of that is drift as usual
    let bob = object("apps/v1", "statefulsets", "bob-client");
    add(&world.server, &(bob.clone(), json!(true), "/spec/template/spec/hostPID"));
    tokio::time::sleep(SECOND).await;
    assert!(world.server.get(&bob).expect("it is there")["spec"]["template"]["spec"]["hostPID"].is_null());
    world.rest().await;
    world.assert_ready("bob");
}
