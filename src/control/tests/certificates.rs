//! Tests of certificates over time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    handshakes::data as data_of_secret,
    world::{START, World, client, member, node, object},
};
use crate::model::secrets::renewal;
use crate::model::secrets::{
    Data,
    tls::{self, LeafFacts},
};

const RENEW: &str = "quorum.security/renew-certs-at";

/// Content of each certificate's Secret.
fn certificates(world: &World) -> BTreeMap<String, Value> {
    let objects = world.server.objects().into_iter();
    let secrets = objects
        .filter(|(target, _)| target.resource == "secrets" && target.name.starts_with("qn-alice-tls-"));
    secrets.map(|(target, object)| (target.name, object["data"].clone())).collect()
}

fn data_of(data: &Value) -> Data {
    data_of_secret(&json!({"data": data}))
}

/// The certificates that differ from before.
fn renewed(before: &BTreeMap<String, Value>, world: &World) -> BTreeSet<String> {
    let now = certificates(world).into_iter();
    now.filter(|(name, data)| before[name] != *data).map(|(name, _)| name).collect()
}

fn pod(world: &World, part: &str) -> String {
    let pod = world.server.get(&object("v1", "pods", &format!("alice-{part}-0"))).expect("a pod");
    pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

fn ask(world: &World, value: &str) {
    world.server.edit(&node("alice"), "kubectl-annotate", |alice| {
        alice["metadata"]["annotations"][RENEW] = json!(value);
    });
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
async fn certificates_are_made_anew_once_for_each_value_that_asks() {
    let mut world = with(&client("alice")).await;
    for value in ["today", "tomorrow"] {
        let before = certificates(&world);
        ask(&world, value);
        world.rest().await;
        assert_eq!(renewed(&before, &world).len(), before.len(), "{value}");
        let version = world.server.version();
        world.start();
        world.rest().await;
        assert_eq!(world.server.version(), version, "{value} was asked for once: {:#?}", world.recent());
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_there_from_the_beginning_asks_for_nothing_more() {
    let mut alice = client("alice");
    alice["metadata"]["annotations"] = json!({RENEW: "at birth"});
    let world = with(&alice).await;
    let changes = world.server.changes();
    let written = changes.iter().filter(|change| change.target.name == "qn-alice-tls-metrics").count();
    assert_eq!(written, 1);
}

#[tokio::test(start_paused = true)]
async fn a_paused_node_has_its_certificates_made_anew() {
    let mut alice = client("alice");
    alice["spec"]["paused"] = json!(true);
    let mut world = with(&client("alice")).await;
    world.server.edit(&node("alice"), "kubectl-edit", |node| node["spec"] = alice["spec"].clone());
    world.rest().await;
    let before = certificates(&world);
    ask(&world, "now");
    world.rest().await;
    assert_eq!(renewed(&before, &world).len(), before.len());
}

/// Neither earlier nor only at the next resync, also while an invalid spec stalls the node.
#[tokio::test(start_paused = true)]
async fn a_certificate_is_made_anew_in_the_second_in_which_it_is_due() {
    for genesis in ["acme-genesis", "nowhere"] {
        let began = Instant::now();
        let mut alice = client("alice");
        alice["spec"]["tls"] = json!({"duration": "24h", "renewBefore": "12h"});
        let mut world = with(&alice).await;
        world.server.edit(&node("alice"), "kubectl-edit", |alice| {
            alice["spec"]["genesis"]["configMapRef"]["name"] = json!(genesis);
        });
        world.rest().await;
        let uid = world.server.get(&node("alice")).expect("alice")["metadata"]["uid"].clone();
        let name = "qn-alice-tls-metrics";
        for round in 0..3 {
            let before = certificates(&world);
            let facts = tls::read_leaf(&data_of(&before[name])).expect("a certificate");
            let uid = uid.as_str().unwrap_or_default();
            let due = renewal::renewal_time(&facts, SignedDuration::from_hours(12), uid);
            let due = began + Duration::from_secs(due.as_second().abs_diff(START));
            tokio::time::sleep_until(due - Duration::from_millis(1)).await;
            assert_eq!(certificates(&world), before, "{genesis}, {round}: not due yet");
            tokio::time::sleep_until(due + Duration::from_secs(1)).await;
            assert_ne!(certificates(&world)[name], before[name], "{genesis}, {round}: due a second ago");
        }
    }
}

/// A typing error in the spec must not lead to an outage when certificates expire.
#[tokio::test(start_paused = true)]
async fn a_node_that_stalls_has_its_certificates_made_anew_as_they_are_and_nothing_else_is_written() {
    let mut world = with(&member("alice")).await;
    let genesis = |world: &World, name: &str| {
        world.server.edit(&node("alice"), "kubectl-edit", |alice| {
            alice["spec"]["genesis"]["configMapRef"]["name"] = json!(name);
        });
    };
    genesis(&world, "nowhere");
    world.rest().await;
    let (before, made) = (certificates(&world), world.server.changes().len());
    world.start_days_later(61);
    world.rest().await;
    assert_eq!(world.condition("alice", "Stalled").expect("it stalls").1, "GenesisMissing");
    assert_eq!(renewed(&before, &world).len(), before.len(), "as they were due");
    let facts = |data: &Value| tls::read_leaf(&data_of(data)).expect("a certificate");
    let after = certificates(&world);
    for (name, data) in &before {
        let (before, after) = (facts(data), facts(&after[name]));
        let lasts = |leaf: &LeafFacts| leaf.not_after.duration_since(leaf.not_before);
        assert_eq!(lasts(&before), lasts(&after), "{name}");
        let same = LeafFacts {
            not_before: after.not_before,
            not_after: after.not_after,
            fingerprint: after.fingerprint.clone(),
            ..before
        };
        assert_eq!(same, after, "{name}");
    }
    let status = world.server.get(&node("alice")).expect("alice")["status"].clone();
    let first = after.values().map(|data| facts(data).not_after).min().expect("some");
    assert_eq!(status["certificateExpiry"], json!(first.to_string()));
    ask(&world, "now");
    world.rest().await;
    assert_eq!(renewed(&after, &world).len(), before.len(), "as was asked for");
    for change in world.server.changes().split_off(made) {
        let name = &change.target.name;
        let written = ["quorumnodes", "events"].contains(&change.target.resource.as_str());
        assert!(written || before.contains_key(name), "{} {name}", change.target.resource);
    }

    let kept = certificates(&world);
    let version = world.server.version();
    world.start();
    world.rest().await;
    assert_eq!(world.server.version(), version, "once: {:#?}", world.recent());
    genesis(&world, "acme-genesis");
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!(renewed(&kept, &world), BTreeSet::new(), "they are what is wanted");
}

#[tokio::test(start_paused = true)]
async fn what_reads_certificates_at_start_is_replaced_by_a_renewal_database_first_and_the_client_is_not() {
    let mut world = with(&member("alice")).await;
    let before = ["client", "tm", "tm-db"].map(|part| pod(&world, part));
    let made = world.server.changes().len();
    ask(&world, "now");
    world.rest().await;
    world.assert_ready("alice");
    let after = ["client", "tm", "tm-db"].map(|part| pod(&world, part));
    assert_eq!(before[0], after[0], "geth reads its pair at each handshake");
    assert!(before[1] != after[1] && before[2] != after[2], "{before:?} {after:?}");
    let changes = world.server.changes().split_off(made);
    let ended = changes.iter().filter(|change| change.kind == "DELETED" && change.target.resource == "pods");
    let ended: Vec<_> = ended.map(|change| change.target.name.as_str()).collect();
    assert_eq!(ended, ["alice-tm-db-0", "alice-tm-0"], "each once, the database first");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_in_its_time_and_not_earlier() {
    let mut world = with(&client("alice")).await;
    let before = certificates(&world);
    world.start_days_later(55);
    world.rest().await;
    assert_eq!(renewed(&before, &world), BTreeSet::new());
    world.start_days_later(6);
    world.rest().await;
    assert_eq!(renewed(&before, &world).len(), before.len());
    world.assert_ready("alice");
}

#[tokio::test(start_paused = true)]
async fn certificates_that_ended_while_no_operator_ran_are_made_anew_without_a_person() {
    let mut world = with(&member("alice")).await;
    let before = certificates(&world);
    world.stop();
    world.start_days_later(200);
    world.rest().await;
    assert_eq!(renewed(&before, &world).len(), before.len());
    world.assert_ready("alice");
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_again_and_again_has_six_a_minute_and_in_the_end_what_was_asked_for_last() {
    let mut world = with(&client("alice")).await;
    let made = world.server.changes().len();
    for value in 0..20 {
        ask(&world, &format!("{value}"));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let changes = world.server.changes().split_off(made);
    let anew = changes.iter().filter(|change| change.target.name == "qn-alice-tls-metrics").count();
    assert!((2..=6).contains(&anew), "{anew} in 40 s");
    tokio::time::sleep(Duration::from_secs(300)).await;
    world.rest().await;
    world.assert_ready("alice");
    let metrics = world.server.get(&object("v1", "secrets", "qn-alice-tls-metrics")).expect("a certificate");
    assert_eq!(metrics["metadata"]["annotations"]["quorum.security/made-for"], "19");
}
