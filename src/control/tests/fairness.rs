//! Tests that a new node is not delayed by a thousand failing ones.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::world::{World, client, node, object};
use crate::testing::server::Delayed;

const SICK: usize = 1000;
const OLD: usize = 40;

/// A thousand nodes whose first write fails in some way.
async fn world_of_sick(begins: impl FnOnce(&World)) -> World {
    let mut world = World::new();
    for i in 0..SICK {
        world.server.put(&client(&format!("sick-{i}")));
    }
    begins(&world);
    world.start();
    world
}

/// Time until a new node of another network is ready.
async fn a_new_one(world: &World, name: &str) -> Duration {
    let mut node = client(name);
    node["spec"]["network"] = json!("other");
    world.server.put(&node);
    let began = Instant::now();
    while world.condition(name, "Ready").is_none_or(|(status, ..)| status != "True") {
        assert!(began.elapsed() < Duration::from_secs(60), "{:#?}", world.recent());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    began.elapsed()
}

/// From the first second of a new leader, which has counted no failure yet.
#[tokio::test(start_paused = true)]
async fn a_new_node_is_not_kept_waiting_by_a_thousand_that_hang() {
    let hang = Delayed::of("operator", "patch quorumnodes/sick", 3_600_000);
    let world = world_of_sick(|world| world.server.delay(Some(hang))).await;
    // and after each has failed at least once: eight at a time, five seconds each
    for (name, after) in [("new", 1_u32), ("newer", 10), ("newest", 700)] {
        tokio::time::sleep(Duration::from_secs(after.into())).await;
        let took = a_new_one(&world, name).await;
        assert!(took <= Duration::from_secs(10), "{name}: {took:?}");
        let told = |metric: &str| {
            let text = world.metrics.text();
            let value =
                text.lines().find_map(|line| line.strip_prefix(&format!("quorum_operator_{metric} ")));
            value.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("{metric}: {text}"))
        };
        let (waiting, oldest) = (told("queue_depth"), told("queue_oldest_seconds"));
        let running = told("reconcile_in_flight");
        assert!((1.0..=8.0).contains(&running), "{name}: {running} reconciles");
        assert!(waiting > 100.0 && oldest > f64::from(after), "{name}: {waiting} wait, {oldest} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_node_is_not_kept_waiting_by_a_thousand_that_are_refused() {
    let world = world_of_sick(|world| world.server.break_for("patch quorumnodes/sick", Some(503))).await;
    for (name, after) in [("new", 1), ("newer", 10), ("newest", 300)] {
        tokio::time::sleep(Duration::from_secs(after)).await;
        let before = world.server.calls().len();
        let took = a_new_one(&world, name).await;
        assert!(took <= Duration::from_secs(10), "{name}: {took:?}");
        tokio::time::sleep(Duration::from_secs(20)).await;
        let sick = world.server.calls().split_off(before);
        let sick = sick.iter().filter(|call| call.target.name.starts_with("sick")).count();
        assert!(sick > 0, "{name}: the others are tried meanwhile");
    }
}

/// No event shows what was deleted while a watch was down: every node is resynced, and changed nodes go first.
#[tokio::test(start_paused = true)]
async fn a_new_node_is_not_kept_waiting_by_those_that_a_new_list_has_looked_at() {
    let mut world = World::new();
    let names: Vec<_> = (0..OLD).map(|i| format!("old-{i}")).collect();
    for name in &names {
        let mut node = client(name);
        node["spec"]["network"] = json!(name);
        world.server.put(&node);
    }
    world.start();
    world.rest().await;
    let accounts: Vec<_> =
        names.iter().map(|name| object("v1", "serviceaccounts", &format!("{name}-client"))).collect();
    let there = |world: &World| accounts.iter().filter(|it| world.server.get(it).is_some()).count();
    assert_eq!(there(&world), OLD);
    // each resync writes, which takes time
    world.server.delay(Some(Delayed::of("operator", "apply serviceaccounts/old", 4000)));
    world.server.end_watches_of("serviceaccounts");
    accounts.iter().for_each(|account| world.server.delete(account, &json!({})));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let took = a_new_one(&world, "new").await;
    assert!(took <= Duration::from_secs(5), "{took:?}");
    assert!(there(&world) < OLD / 2, "{} others were looked at meanwhile", there(&world));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(there(&world), OLD, "they have their turns too");
}

#[tokio::test(start_paused = true)]
async fn a_node_is_not_kept_waiting_by_a_sibling_that_never_stops_talking() {
    let world = World::network().await;
    let service = object("v1", "services", "alice-p2p");
    let mut put_back = None;
    for i in 0..60 {
        world.server.edit(&node("bob"), "talker", |bob| {
            bob["spec"]["client"]["version"] = json!(format!("24.4.{i}"))
        });
        if i == 10 {
            world.server.edit(&service, "kubectl-edit", |it| it["spec"]["selector"] = json!({"app": "mine"}));
        }
        let now = world.server.get(&service).expect("the Service");
        if i >= 10 && now["spec"]["selector"]["quorum.security/node"] == "alice" {
            put_back.get_or_insert(i);
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    // ten changes come before, and a second has seventeen
    assert!(put_back.is_some_and(|i| i <= 10 + 18), "put back at {put_back:?}");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_that_are_refused_everything_press_no_harder_than_one() {
    let world = world_of_sick(|_| {}).await;
    world.server.refuse(Some(503));
    world.server.end_watches(false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut before = world.server.calls().len();
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = world.server.calls().len();
        assert!(now - before <= 10, "{} requests in a second", now - before);
        before = now;
    }
}
