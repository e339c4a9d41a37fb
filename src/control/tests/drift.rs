//! Tests of changes to the operator's objects by others: they are repaired, with a limit if they are repeated.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::world::{World, client, member, object};
use crate::testing::server::{Server, Target};

/// A node with an object of every kind that the operator writes.
async fn everything() -> World {
    let mut world = World::new();
    world.start();
    let mut alice = member("alice");
    alice["spec"]["role"] = json!("Validator");
    world.server.put(&alice);
    world.rest().await;
    world.assert_ready("alice");
    world
}

fn applied(server: &Server) -> BTreeMap<Target, Value> {
    let ours = |object: &Value| {
        object["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "quorum-operator"
            && object["metadata"]["annotations"]["quorum.security/digest"].is_string()
    };
    server.objects().into_iter().filter(|(_, object)| ours(object)).collect()
}

/// Fields of an object that the operator writes, to the second level.
fn fields(object: &Value) -> Vec<String> {
    let skipped = ["apiVersion", "kind", "metadata", "status"];
    let mut paths =
        vec!["/metadata/labels".to_owned(), "/metadata/annotations/quorum.security~1digest".to_owned()];
    if object["metadata"]["ownerReferences"].is_array() {
        paths.push("/metadata/ownerReferences".to_owned());
    }
    for (name, value) in object.as_object().into_iter().flatten() {
        match value {
            _ if skipped.contains(&name.as_str()) => {}
            Value::Object(inner) => {
                paths.extend(inner.keys().map(|inner| format!("/{name}/{}", inner.replace('/', "~1"))));
            }
            _ => paths.push(format!("/{name}")),
        }
    }
    // set by the server
    paths.retain(|path| path != "/spec/clusterIP");
    paths
}

/// Another value of the same type.
fn other(value: &Value) -> Value {
    match value {
        Value::String(_) => json!("RFJJRlQ="),
        Value::Number(_) => json!(7),
        Value::Bool(is) => json!(!is),
        Value::Object(_) => json!({"drift": "RFJJRlQ="}),
        _ => json!([]),
    }
}

/// The object without the metadata about its writers.
fn said(object: &Value) -> Value {
    let mut object = object.clone();
    for kept_by_the_server in ["managedFields", "resourceVersion", "generation"] {
        object["metadata"][kept_by_the_server] = Value::Null;
    }
    object["status"] = Value::Null;
    object
}

#[tokio::test(start_paused = true)]
async fn each_field_of_each_object_is_put_back() {
    let mut world = everything().await;
    let mut kinds = BTreeSet::new();
    let mut count = 0;
    for (target, before) in applied(&world.server) {
        kinds.insert(target.resource.clone());
        // only the content of a certificate is compared
        let is_certificate = target.resource == "secrets" && target.name.contains("-tls-");
        for path in fields(&before).into_iter().filter(|path| !is_certificate || path.starts_with("/data/")) {
            let before = world.server.get(&target).expect("it is there");
            world.server.edit(&target, "kubectl-edit", |object| {
                if let Some(field) = object.pointer_mut(&path) {
                    *field = other(field);
                }
            });
            // too rarely for a field conflict
            tokio::time::sleep(Duration::from_secs(21)).await;
            let now = world.server.get(&target).unwrap_or_else(|| panic!("{target:?} {path}: it is gone"));
            // it is not repaired but reissued
            let same = if is_certificate {
                now.pointer(&path) != Some(&json!("RFJJRlQ="))
            } else {
                said(&now) == said(&before)
            };
            // what others add to a map stays
            let theirs =
                |object: &Value| object.pointer(&path).is_some_and(|field| field["drift"].is_string());
            assert!(same || theirs(&now), "{} {} {path}: {now:#}", target.resource, target.name);
            for (name, value) in before.pointer(&path).and_then(Value::as_object).into_iter().flatten() {
                let pointer = format!("{path}/{}", name.replace('/', "~1"));
                assert_eq!(
                    now.pointer(&pointer),
                    Some(value),
                    "{} {} {pointer}",
                    target.resource,
                    target.name
                );
            }
            count += 1;
        }
    }
    let all = [
        "configmaps",
        "networkpolicies",
        "poddisruptionbudgets",
        "secrets",
        "serviceaccounts",
        "services",
        "statefulsets",
    ];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), all);
    assert!(count > 100, "{count} fields");
    world.rest().await;
    world.assert_ready("alice");
}

#[tokio::test(start_paused = true)]
async fn what_others_add_stays() {
    let mut world = everything().await;
    for (target, _) in applied(&world.server) {
        world.server.edit(&target, "someone", |object| {
            object["metadata"]["annotations"]["example.com/note"] = json!("keep me");
            object["metadata"]["labels"]["example.com/team"] = json!("ledger");
        });
    }
    world.rest().await;
    for (target, object) in applied(&world.server) {
        assert_eq!(object["metadata"]["annotations"]["example.com/note"], "keep me", "{target:?}");
        assert_eq!(object["metadata"]["labels"]["example.com/team"], "ledger", "{target:?}");
    }
    world.assert_ready("alice");
}

/// Changes an object repeatedly for some minutes, and returns when it was repaired, in seconds.
async fn fight(world: &World, deed: impl Fn(&Server), is_put_back: impl Fn(&Server) -> bool) -> Vec<f64> {
    let (began, mut repairs) = (Instant::now(), Vec::new());
    deed(&world.server);
    while began.elapsed() < Duration::from_secs(300) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if is_put_back(&world.server) {
            repairs.push(began.elapsed().as_secs_f64());
            deed(&world.server);
        }
    }
    repairs
}

fn assert_limited(repairs: &[f64]) {
    for from in repairs {
        let minute = repairs.iter().filter(|at| **at >= *from && **at < from + 60.0).count();
        assert!(minute <= 6, "{minute} in the minute from {from}: {repairs:?}");
    }
    assert!(repairs.len() >= 24, "it is not given up: {repairs:?}");
}

async fn assert_named_until_it_ends(world: &mut World, words: &[&str]) {
    let (status, reason, message) = world.condition("alice", "FieldConflict").expect("it is told");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "RepeatedlyChanged"));
    for word in words {
        assert!(message.contains(word), "{word}: {message}");
    }
    assert_eq!(world.condition("alice", "Ready").map(|found| found.0).as_deref(), Some("False"));
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(world.condition("alice", "FieldConflict"), None, "it has ended");
    world.assert_ready("alice");
    let version = world.server.version();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.server.version(), version, "and nothing is written any more");
}

async fn one_client() -> World {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_fighter_is_answered_six_times_a_minute_and_named() {
    let mut world = one_client().await;
    let service = object("v1", "services", "alice-p2p");
    // a writer of other fields is not named
    world.server.edit(&service, "annotator", |service| service["metadata"]["annotations"]["x"] = json!("y"));
    let deed = |server: &Server| {
        server.edit(&service, "fighter", |service| service["spec"]["selector"] = json!({"app": "mine"}));
    };
    let is_put_back = |server: &Server| {
        server.get(&service).is_some_and(|it| it["spec"]["selector"]["quorum.security/node"] == "alice")
    };
    assert_limited(&fight(&world, deed, is_put_back).await);
    let (_, _, message) = world.condition("alice", "FieldConflict").expect("it is told");
    assert!(!message.contains("annotator"), "{message}");
    assert_named_until_it_ends(&mut world, &["Service alice-p2p", "spec.selector", "by fighter"]).await;
    let now = world.server.get(&service).expect("the Service");
    assert_eq!(now["metadata"]["annotations"]["x"], "y");
}

/// The operator's digest annotation is a field like any other.
#[tokio::test(start_paused = true)]
async fn a_fighter_who_takes_the_digest_too_is_limited() {
    let mut world = one_client().await;
    let service = object("v1", "services", "alice-p2p");
    let deed = |server: &Server| {
        server.edit(&service, "fighter", |service| {
            service["metadata"]["annotations"]["quorum.security/digest"] = json!("00");
        });
    };
    let is_put_back = |server: &Server| {
        server.get(&service).is_some_and(|it| it["metadata"]["annotations"]["quorum.security/digest"] != "00")
    };
    assert_limited(&fight(&world, deed, is_put_back).await);
    assert_named_until_it_ends(&mut world, &["metadata.annotations", "by fighter"]).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_deletes_an_object_again_and_again_is_limited() {
    let mut world = one_client().await;
    let map = object("v1", "configmaps", "qn-alice-peers");
    let deed = |server: &Server| server.delete(&map, &json!({}));
    assert_limited(&fight(&world, deed, |server| server.get(&map).is_some()).await);
    assert_named_until_it_ends(&mut world, &["ConfigMap qn-alice-peers is repeatedly deleted"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_fight_over_a_certificate_is_limited_before_anything_is_signed() {
    let mut world = one_client().await;
    let secret = object("v1", "secrets", "qn-alice-tls-metrics");
    let deed = |server: &Server| {
        server.edit(&secret, "fighter", |secret| secret["data"]["tls.crt"] = json!("AAAA"));
    };
    let is_put_back = |server: &Server| server.get(&secret).is_some_and(|it| it["data"]["tls.crt"] != "AAAA");
    assert_limited(&fight(&world, deed, is_put_back).await);
    assert_named_until_it_ends(&mut world, &["Secret qn-alice-tls-metrics", "by fighter"]).await;
}
