//! A server in trouble: how hard it is pressed, and that the work goes on afterwards.

use std::time::Duration;

use serde_json::json;

use super::world::{World, client, node, object};

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_everything_hears_ten_requests_a_second_at_most() {
    let mut world = World::new();
    world.start();
    for i in 0..12 {
        world.server.put(&client(&format!("node-{i}")));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for code in [503, 403] {
        world.server.refuse(Some(code));
        world.server.end_watches(false);
        let mut before = world.server.calls().len();
        // what was on its way when it began
        tokio::time::sleep(Duration::from_secs(1)).await;
        for _ in 0..60 {
            let now = world.server.calls().len();
            assert!(now - before <= 10, "{code}: {} requests in a second", now - before);
            before = now;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        world.server.refuse(None);
        world.rest().await;
    }
    for i in 0..12 {
        world.assert_ready(&format!("node-{i}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_or_is_too_old_loses_nothing() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    let service = object("v1", "services", "alice-p2p");
    for compact in [false, true] {
        world.server.end_watches(compact);
        world
            .server
            .edit(&service, "kubectl-edit", |service| service["spec"]["selector"] = json!({"app": "x"}));
        world.rest().await;
        let now = world.server.get(&service).expect("the Service");
        assert_eq!(now["spec"]["selector"]["quorum.security/node"], "alice", "compacted: {compact}");
    }
}

/// One node that cannot be read stops nobody, and is named.
#[tokio::test(start_paused = true)]
async fn an_unreadable_node_stops_nobody() {
    let mut world = World::new();
    world.start();
    let mut poison = client("poison");
    poison["spec"]["client"]["tunables"] = json!({"cacheMib": "many"});
    world.server.put(&poison);
    world.server.put(&client("alice"));
    world.rest().await;
    world.assert_ready("alice");
    let events: Vec<_> = world
        .server
        .objects()
        .into_iter()
        .filter(|(target, event)| target.resource == "events" && event["regarding"]["name"] == "poison")
        .collect();
    assert_eq!(events.len(), 1, "{events:#?}");
    world.server.put(&client("poison"));
    world.server.edit(&node("poison"), "kubectl", |poison| {
        poison["spec"]["client"].as_object_mut().expect("a client").remove("tunables");
    });
    world.rest().await;
    world.assert_ready("poison");
}
