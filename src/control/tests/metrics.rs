//! Tests of the operator's metrics about its own work.

use std::{collections::BTreeMap, time::Duration};

use super::world::{World, client};
use crate::testing::server::Silence;

/// Values of a metric, by their labels.
fn series(world: &World, metric: &str) -> BTreeMap<String, f64> {
    let text = world.metrics.text();
    let lines = text.lines().filter_map(|line| line.strip_prefix(metric)?.split_once(' '));
    let whole = lines.filter(|(labels, _)| labels.is_empty() || labels.starts_with('{'));
    whole.map(|(labels, value)| (labels.to_owned(), value.parse().expect("a number"))).collect()
}

fn silences(world: &World) -> BTreeMap<String, f64> {
    series(world, "quorum_operator_watch_staleness_seconds")
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_answered_is_never_silent_for_long_and_one_that_is_not_is_told() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(17)).await;
        let silences = silences(&world);
        assert_eq!(silences.len(), 11, "{silences:?}");
        assert!(silences.values().all(|silence| *silence <= 95.0), "{silences:?}");
    }
    world.server.fall_silent(Silence::Unanswered);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(silences(&world).values().all(|silence| *silence >= 300.0), "{:?}", silences(&world));
    world.server.speak();
    // they are retried at growing intervals
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(silences(&world).values().all(|silence| *silence <= 95.0), "{:?}", silences(&world));
    world.stop();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(silences(&world), BTreeMap::new(), "what nobody watches is not silent");
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_verb_and_code() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    let counted = |world: &World, verb: &str, code: &str| {
        let labels = format!("{{verb=\"{verb}\",code=\"{code}\"}}");
        series(world, "quorum_operator_api_requests_total").get(&labels).copied().unwrap_or_default()
    };
    let calls = world.server.calls();
    let made = |verbs: &[&str]| calls.iter().filter(|call| verbs.contains(&call.verb)).count() as f64;
    assert!(made(&["create"]) > 0.0 && made(&["get"]) > 0.0);
    assert_eq!(counted(&world, "create", "200"), made(&["create"]));
    assert_eq!(counted(&world, "patch", "200"), made(&["apply", "patch"]));
    assert_eq!(counted(&world, "get", "200") + counted(&world, "get", "404"), made(&["get", "discover"]));
    assert!(counted(&world, "watch", "200") >= 11.0);
    world.server.refuse(Some(503));
    world.server.end_watches(false);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(counted(&world, "watch", "503") >= 10.0);
    assert_eq!(counted(&world, "watch", "none"), 0.0);
    world.server.refuse(None);
    world.rest().await;
    world.server.fall_silent(Silence::Unanswered);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(counted(&world, "watch", "none") >= 11.0, "given up without an answer");
}
