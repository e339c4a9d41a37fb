//! Tests of managers that join and leave a network, and of the restarts that this causes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    replacements::{MEMBERS, assert_each_once, network, replaced},
    safety,
    world::{ROTATED, World, manager_keys, member, node, object},
};
use crate::testing::specs;

fn join(world: &World, names: &[&str]) {
    for name in names {
        world.server.put(&manager_keys(name, [name.as_bytes()[0]; 32]));
        world.server.put(&member(name));
    }
}

/// Number of replacements of each manager since a change.
fn managers_replaced(world: &World, from: usize) -> BTreeMap<String, usize> {
    let mut replaced = replaced(&world.server, from, Duration::from_secs(30));
    replaced.retain(|pod, _| pod.ends_with("-tm-0"));
    replaced
}

/// Managers in the configuration that a node's manager has read at start: by node name, outside ones by URL.
fn met(world: &World, name: &str) -> BTreeSet<String> {
    let (config, pod) = (format!("qn-{name}-tm-config"), format!("{name}-tm-0"));
    let (mut written, mut read) = (Value::Null, None);
    for change in world.server.changes() {
        let is =
            |resource: &str, name: &str| change.target.resource == resource && change.target.name == name;
        if is("configmaps", &config) {
            written = change.object["data"]["config.json"].clone();
        }
        if is("pods", &pod) && change.kind == "ADDED" {
            read = written.as_str().map(str::to_owned);
        }
    }
    let read: Value = serde_json::from_str(&read.expect("a manager")).expect("JSON");
    let urls = read["peer"].as_array().expect("peers").iter().filter_map(|peer| peer["url"].as_str());
    let known = |url: &str| {
        let inside = url.strip_prefix("https://").and_then(|url| url.strip_suffix("-tm.ledger.svc:9000/"));
        inside.unwrap_or(url).to_owned()
    };
    urls.map(known).collect()
}

/// Asserts that at rest each serving manager knows all others.
fn assert_all_met(world: &World, names: &[&str]) {
    for name in names {
        let met = met(world, name);
        let others: BTreeSet<_> =
            names.iter().filter(|other| *other != name).copied().map(String::from).collect();
        assert!(others.is_subset(&met), "{name} knows {met:?}");
        world.assert_ready(name);
    }
    safety::assert_safe(&world.server);
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_leaves_and_comes_back_restarts_none() {
    let mut world = network().await;
    assert_all_met(&world, &MEMBERS);
    for away in [Duration::from_secs(60), Duration::from_secs(7200)] {
        let before = world.server.changes().len();
        world.server.delete(&node("dave"), &json!({}));
        tokio::time::sleep(away).await;
        world.rest().await;
        // a manager that restarts meanwhile must still know dave
        world.server.delete(&object("v1", "pods", "bob-tm-0"), &json!({}));
        world.rest().await;
        join(&world, &["dave"]);
        world.rest_after(ROTATED).await;
        let replaced = managers_replaced(&world, before);
        assert_eq!(replaced.get("alice-tm-0"), None, "{replaced:?}");
        assert_eq!(replaced.get("bob-tm-0"), Some(&1), "by this test alone: {replaced:?}");
        assert_all_met(&world, &MEMBERS);
    }
}

#[tokio::test(start_paused = true)]
async fn managers_that_join_together_cost_each_other_one_restart() {
    let mut world = network().await;
    let before = world.server.changes().len();
    join(&world, &["erin"]);
    tokio::time::sleep(Duration::from_secs(20)).await;
    join(&world, &["frank", "gina"]);
    world.rest_after(ROTATED).await;
    assert_each_once(&world, before, (&MEMBERS, &["tm"]));
    assert_all_met(&world, &["alice", "bob", "dave", "erin", "frank", "gina"]);
}

/// The others could not connect to it.
#[tokio::test(start_paused = true)]
async fn a_newcomer_whose_manager_does_not_serve_restarts_none() {
    let mut world = network().await;
    let before = world.server.changes().len();
    world.server.start_slowly(true);
    join(&world, &["erin"]);
    tokio::time::sleep(Duration::from_secs(7200)).await;
    assert_eq!(managers_replaced(&world, before), BTreeMap::new());
    world.server.start_slowly(false);
    world.server.all_started();
    world.rest_after(ROTATED).await;
    assert_each_once(&world, before, (&MEMBERS, &["tm"]));
    assert_all_met(&world, &["alice", "bob", "dave", "erin"]);
}

/// It is in the configuration that they read at their restart.
#[tokio::test(start_paused = true)]
async fn managers_that_are_replaced_for_something_else_meet_a_newcomer_that_does_not_serve_yet() {
    let mut world = network().await;
    for name in MEMBERS.iter().chain(&["val-a", "val-b"]) {
        world
            .server
            .edit(&node(name), "kubectl", |node| node["spec"]["rollout"] = json!({"maxUnavailable": 9}));
    }
    world.server.start_slowly(true);
    let mut erin = member("erin");
    erin["spec"]["rollout"] = json!({"maxUnavailable": 9});
    world.server.put(&manager_keys("erin", [8; 32]));
    world.server.put(&erin);
    world.rest().await;
    world.server.start_slowly(false);
    let before = world.server.changes().len();
    for name in MEMBERS {
        world.server.edit(&node(name), "kubectl", |node| {
            node["spec"]["transactionManager"]["image"] = json!(specs::image("tessera-next"));
        });
    }
    world.rest().await;
    let count = |world: &World| {
        let changes = world.server.changes().split_off(before);
        let gone = changes.into_iter().filter(|it| it.kind == "DELETED" && it.target.resource == "pods");
        gone.filter(|it| it.target.name.ends_with("-tm-0")).map(|it| it.target.name).collect::<Vec<_>>()
    };
    let mut replaced = count(&world);
    replaced.sort();
    assert_eq!(replaced, MEMBERS.map(|name| format!("{name}-tm-0")));
    world.server.all_started();
    world.rest_after(ROTATED).await;
    assert_eq!(count(&world).len(), MEMBERS.len(), "nobody again");
    assert_all_met(&world, &["alice", "bob", "dave", "erin"]);
}

/// A manager that the spec no longer lists must not be known any longer.
#[tokio::test(start_paused = true)]
async fn a_manager_outside_that_a_spec_names_or_no_longer_names_costs_that_node_a_restart() {
    let mut world = network().await;
    let outside = "https://tm.rival.example:9000/";
    for peers in [json!([{"url": outside, "cidrs": ["192.0.2.0/24"]}]), json!([])] {
        let before = world.server.changes().len();
        world.server.edit(&node("alice"), "kubectl", |node| {
            node["spec"]["transactionManager"]["peers"] = peers.clone()
        });
        world.rest().await;
        assert_eq!(managers_replaced(&world, before), BTreeMap::from([("alice-tm-0".to_owned(), 1)]));
        assert_eq!(met(&world, "alice").contains(outside), peers != json!([]));
        assert_all_met(&world, &MEMBERS);
    }
}

/// Only the workload is deleted: its pod keeps running, and knows no new manager.
#[tokio::test(start_paused = true)]
async fn whom_a_manager_knows_is_not_forgotten_with_its_workload() {
    let mut world = network().await;
    world.server.start_slowly(true);
    join(&world, &["erin"]);
    tokio::time::sleep(Duration::from_secs(600)).await;
    world
        .server
        .delete(&object("apps/v1", "statefulsets", "alice-tm"), &json!({"propagationPolicy": "Orphan"}));
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.server.start_slowly(false);
    world.server.all_started();
    world.rest_after(ROTATED).await;
    assert_all_met(&world, &["alice", "bob", "dave", "erin"]);
}
