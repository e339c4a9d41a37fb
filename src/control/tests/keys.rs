//! Tests of issuer keys: they arrive, change, and stay if they cannot be read again.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    callers::{call, called, caller, pod, policy},
    world::{NAMESPACE, World, client, node, object},
};
use crate::{
    protocol::policy::{Algorithm, Issuer, Key, Public},
    testing::server::ISSUER,
};

const ROUND: Duration = Duration::from_secs(330);
const URL: &str = "https://id.example/realm";

/// IDs of the keys in the policy, by issuer.
fn keys(world: &World) -> Vec<(String, Vec<String>)> {
    let names = |issuer: Issuer| (issuer.issuer, issuer.keys.into_iter().map(|key| key.id).collect());
    policy(world).issuers.into_iter().map(names).collect()
}

fn of(issuer: &str, key: &str) -> (String, Vec<String>) {
    (issuer.into(), vec![key.into()])
}

fn known(world: &World) -> (String, String, String) {
    world.condition("alice", "CallerKeysAvailable").expect("it has callers")
}

fn asked_at(world: &World) -> Option<f64> {
    let text = world.metrics.text();
    let line = text
        .lines()
        .find(|line| line.starts_with("quorum_issuer_keys_timestamp_seconds{issuer=\"cluster"))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test(start_paused = true)]
async fn the_clusters_keys_arrive_and_change_and_no_pod_is_replaced() {
    let mut world = called(json!([caller("wallet")])).await;
    assert_eq!(keys(&world), [of(ISSUER, "one")]);
    assert_eq!(policy(&world).cluster.as_deref(), Some(ISSUER));
    assert_eq!(known(&world).0, "True");
    let (runs, first) = (pod(&world), asked_at(&world).expect("they were read"));
    world.server.issue(Some("two"));
    tokio::time::sleep(ROUND).await;
    world.rest().await;
    assert_eq!(keys(&world), [of(ISSUER, "two")]);
    assert_eq!(pod(&world), runs);
    assert!(asked_at(&world).is_some_and(|again| again >= first + 300.0));
    call(&world.server, json!([]));
    world.rest().await;
    tokio::time::sleep(ROUND).await;
    assert_eq!(asked_at(&world), None, "nobody is known by its word any more");
    let before = world.server.calls().len();
    tokio::time::sleep(ROUND * 4).await;
    assert_eq!(world.server.calls().len(), before, "nor is it asked");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_tell_its_keys_is_asked_until_it_does() {
    let mut world = World::new();
    world.server.issue(None);
    world.start();
    let mut alice = client("alice");
    alice["spec"]["rpc"] = json!({"callers": [caller("wallet")]});
    world.server.put(&alice);
    world.rest().await;
    let (status, reason, message) = known(&world);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "KeysUnavailable"), "{message}");
    assert!(message.contains("rejects these callers: wallet"), "{message}");
    assert_eq!(world.condition("alice", "Ready").map(|ready| ready.0).as_deref(), Some("False"));
    assert_eq!((keys(&world), policy(&world).cluster), (vec![], None));
    assert_eq!(policy(&world).callers.len(), 1, "the guard knows whom it refuses");
    let before = world.server.calls().len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let calls = world.server.calls().split_off(before);
    assert!((5..=7).contains(&calls.len()), "{calls:?}");
    world.server.issue(Some("one"));
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(keys(&world), [of(ISSUER, "one")]);
    world.rest().await;
    world.assert_ready("alice");
}

#[tokio::test(start_paused = true)]
async fn keys_that_were_read_stand_while_they_cannot_be_read_and_through_a_restart() {
    let mut world = called(json!([caller("wallet")])).await;
    let first = asked_at(&world);
    world.server.issue(None);
    tokio::time::sleep(Duration::from_secs(6 * 3600)).await;
    assert_eq!((keys(&world), asked_at(&world)), (vec![of(ISSUER, "one")], first), "their age is told");
    let version = world.server.version();
    world.start();
    world.rest().await;
    assert_eq!(world.server.version(), version, "nothing is written");
    world.assert_ready("alice");
    // and changes of the spec are applied meanwhile
    call(&world.server, json!([caller("shop")]));
    world.rest().await;
    let policy = policy(&world);
    assert_eq!(policy.callers.iter().map(|caller| caller.name.as_str()).collect::<Vec<_>>(), ["shop"]);
    assert_eq!(keys(&world), [of(ISSUER, "one")]);
}

/// A mistake elsewhere in the spec must not keep a caller's next key from the guard.
#[tokio::test(start_paused = true)]
async fn keys_go_on_to_arrive_while_a_node_stalls_or_is_paused_and_nothing_else_does() {
    for spoil in [(|alice| alice["spec"]["paused"] = json!(true)) as fn(&mut Value), |alice| {
        alice["spec"]["client"]["tunables"] = json!({"cacheMib": 65536})
    }] {
        let mut world = called(json!([caller("wallet")])).await;
        world.server.edit(&node("alice"), "kubectl-edit", |alice| {
            spoil(alice);
            alice["spec"]["rpc"]["callers"] = json!([caller("shop")]);
        });
        world.rest().await;
        world.server.issue(Some("two"));
        tokio::time::sleep(ROUND).await;
        world.rest().await;
        assert_eq!(keys(&world), [of(ISSUER, "two")]);
        assert_eq!(policy(&world).callers[0].name, "wallet");
        let before = world.server.calls().len();
        tokio::time::sleep(ROUND * 2).await;
        let more = world.server.calls().split_off(before).into_iter().filter(|call| call.verb != "read");
        assert_eq!(more.map(|call| call.to_string()).collect::<Vec<_>>(), [""; 0]);
        world.server.edit(&node("alice"), "kubectl-edit", |alice| {
            alice["spec"]["paused"] = json!(false);
            alice["spec"]["client"]["tunables"] = json!({"cacheMib": 512});
        });
        world.rest().await;
        world.assert_ready("alice");
        assert_eq!(
            (policy(&world).callers[0].name.as_str(), keys(&world)),
            ("shop", vec![of(ISSUER, "two")])
        );
    }
}

/// A writer of ConfigMaps in the namespace must not become the cluster's issuer.
#[tokio::test(start_paused = true)]
async fn keys_that_someone_else_has_put_into_the_policy_do_not_count() {
    let mut world = called(json!([caller("wallet")])).await;
    world.stop();
    world.server.issue(None);
    let map = object("v1", "configmaps", "qn-alice-guard");
    let spoilt = policy(&world).write().replace("\"one\"", "\"mine\"");
    world.server.edit(&map, "kubectl-edit", |map| map["data"]["policy.json"] = json!(spoilt));
    assert_eq!(keys(&world), [of(ISSUER, "mine")]);
    world.start();
    world.rest().await;
    assert_eq!(keys(&world), []);
    assert_eq!(known(&world).1, "KeysUnavailable");
}

/// Issuers that were read, with the CAs used for that.
type Asked = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A node with a caller of an OpenID Connect issuer. The ID of the key is the CA that it was read with.
async fn federated() -> (World, Asked) {
    let asked = Asked::default();
    let mut world = World::new();
    let seen = Arc::clone(&asked);
    world.fetch = Arc::new(move |url, authorities| {
        seen.lock().expect("no panic under it").push((url.clone(), authorities.clone()));
        let x = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4".into();
        let public = Public::Ec { x, y: "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM".into() };
        let id = authorities.map_or_else(|| "public".into(), |pem| format!("by {} bytes", pem.len()));
        let key = Key { id, algorithm: Algorithm::ES256, public };
        Box::pin(std::future::ready(Ok(Issuer { issuer: url, keys: vec![key] })))
    });
    world.start();
    let mut alice = client("alice");
    alice["spec"]["rpc"] = json!({"callers": [auditor(json!({}))]});
    world.server.put(&alice);
    world.rest().await;
    (world, asked)
}

fn auditor(more: Value) -> Value {
    let mut oidc = json!({"issuer": URL, "audience": "ledger", "subjects": ["auditor-7"]});
    oidc.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let mut auditor = caller("auditor");
    auditor["identity"] = json!({"oidc": oidc});
    auditor
}

fn authority(name: &str) -> (Value, usize) {
    let now = k8s_openapi::jiff::Timestamp::now();
    let made = crate::model::secrets::generate::authority(name, now).expect("an authority");
    let pem = String::from_utf8(made["tls.crt"].0.clone()).expect("PEM");
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "id-ca", "namespace": NAMESPACE}, "data": {"ca.crt": pem}});
    (map, pem.len())
}

#[tokio::test(start_paused = true)]
async fn an_issuer_is_asked_by_its_url_and_by_the_authority_that_is_named() {
    let (mut world, asked) = federated().await;
    world.assert_ready("alice");
    assert_eq!(keys(&world), [of(URL, "public")]);
    assert_eq!(*asked.lock().expect("no panic under it"), [(URL.to_owned(), None)]);
    assert!(!world.server.calls().iter().any(|call| call.verb == "read"), "the cluster's word is not needed");
    call(&world.server, json!([auditor(json!({"authority": {"name": "id-ca", "key": "ca.crt"}}))]));
    world.rest().await;
    let (_, reason, message) = world.condition("alice", "Stalled").expect("it is not there");
    assert_eq!(reason, "ReferenceMissing", "{message}");
    let (map, length) = authority("id");
    world.server.put(&map);
    world.rest().await;
    assert_eq!(keys(&world), [of(URL, &format!("by {length} bytes"))]);
    let (map, longer) = authority("another, with a longer name than before");
    assert_ne!(length, longer);
    world.server.put(&map);
    world.rest().await;
    assert_eq!(keys(&world), [of(URL, &format!("by {longer} bytes"))]);
    assert_eq!(asked.lock().expect("no panic under it").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_client_certificate_asks_nobody_and_its_authority_is_taken_as_it_is_now() {
    let (map, _) = authority("bank");
    let mut world = World::new();
    world.server.put(&map);
    world.start();
    let mut bank = caller("bank");
    bank["identity"] = json!({"clientCertificate": {
        "authority": {"name": "id-ca", "key": "ca.crt"}, "subjects": ["dns:bank.example"],
    }});
    let mut alice = client("alice");
    alice["spec"]["rpc"] = json!({"callers": [bank]});
    world.server.put(&alice);
    world.rest().await;
    world.assert_ready("alice");
    let trusted = |world: &World| serde_json::to_value(&policy(world).callers[0].identity).expect("JSON");
    let pem = |map: &Value| map["data"]["ca.crt"].clone();
    assert_eq!(trusted(&world)["clientCertificate"]["authority"], pem(&map));
    assert_eq!(keys(&world), []);
    let (runs, (other, _)) = (pod(&world), authority("bank, anew"));
    world.server.put(&other);
    world.rest().await;
    assert_eq!(trusted(&world)["clientCertificate"]["authority"], pem(&other));
    assert_eq!(pod(&world), runs);
    assert!(!world.server.calls().iter().any(|call| call.verb == "read"));
}

#[tokio::test(start_paused = true)]
async fn a_standby_asks_nobody() {
    let mut world = called(json!([caller("wallet")])).await;
    world.stop();
    let before = world.server.calls().len();
    let (_lease, fence) = crate::cluster::Fence::new();
    let standby = world.replica("standby", Arc::new(|| k8s_openapi::jiff::Timestamp::UNIX_EPOCH));
    let loops = standby.loops(&world.scopes, &fence, std::future::pending());
    let loops: Vec<_> = loops.into_iter().map(tokio::spawn).collect();
    tokio::time::sleep(ROUND * 4).await;
    assert!(!world.server.calls().split_off(before).iter().any(|call| call.verb == "read"));
    loops.iter().for_each(tokio::task::JoinHandle::abort);
}
