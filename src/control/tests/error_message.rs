//! Tests with an API server in trouble: how many requests it gets, and that work continues afterwards.

use std::time::Duration;

use serde_json::json;

use super::{
    permissions::{CLUSTER, ROLE, allowed},
    world::{World, client, object},
};
use crate::testing::server::Streaming;

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
        // requests that were in flight when it began
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

/// A tool that waits for a node takes an empty status for settled.
#[tokio::test(start_paused = true)]
async fn a_new_node_whose_first_pass_fails_says_at_once_that_it_is_on_its_way() {
    let mut world = World::new();
    world.start();
    world.server.break_for("apply services", Some(500));
    world.server.put(&client("alice"));
    tokio::time::sleep(Duration::from_millis(900)).await;
    let (status, ..) = world.condition("alice", "Reconciling").expect("told at once");
    assert_eq!(status, "True");
    world.server.break_for("apply services", None);
    world.rest().await;
    world.assert_ready("alice");
}

/// All permissions of the operator, except some.
fn all_but(taken: &[&str]) -> Option<std::collections::BTreeSet<String>> {
    let mut left: std::collections::BTreeSet<_> = allowed(ROLE).union(&allowed(CLUSTER)).cloned().collect();
    for permission in taken {
        assert!(left.remove(*permission), "{permission} was never given");
    }
    Some(left)
}

#[tokio::test(start_paused = true)]
async fn a_permission_to_write_that_is_taken_away_is_named_and_the_work_goes_on_when_it_is_back() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    world.server.allow_only(all_but(&["patch services."]));
    let service = object("v1", "services", "alice-p2p");
    let change = |world: &World| {
        world
            .server
            .edit(&service, "kubectl-edit", |service| service["spec"]["selector"] = json!({"app": "x"}));
    };
    change(&world);
    tokio::time::sleep(Duration::from_secs(2)).await;
    for kind in ["Ready", "Synced"] {
        let (status, reason, message) = world.condition("alice", kind).expect("told at once");
        assert_eq!((status.as_str() == "True", reason.as_str()), (false, "Forbidden"), "{kind}");
        assert!(message.contains("patch services.") && message.contains("role.yaml"), "{message}");
    }
    // until the backoff is at its longest
    tokio::time::sleep(Duration::from_secs(1200)).await;
    world.server.allow_only(None);
    tokio::time::sleep(Duration::from_secs(91)).await;
    let now = world.server.get(&service).expect("the Service");
    assert_eq!(now["spec"]["selector"]["quorum.security/node"], "alice", "within one and a half minutes");
    world.assert_ready("alice");
    assert_eq!(world.condition("alice", "Synced"), None);
}

#[tokio::test(start_paused = true)]
async fn a_permission_to_watch_that_is_taken_away_is_named_and_the_work_goes_on_when_it_is_back() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    world.server.allow_only(all_but(&["watch services."]));
    world.server.end_watches(false);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (status, reason, message) = world.condition("alice", "Synced").expect("told");
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "Forbidden"));
    assert!(message.contains("watch services."), "{message}");
    assert_eq!(world.condition("alice", "Ready").map(|found| found.0).as_deref(), Some("False"));
    let service = object("v1", "services", "alice-p2p");
    world.server.edit(&service, "kubectl-edit", |service| service["spec"]["selector"] = json!({"app": "x"}));
    tokio::time::sleep(Duration::from_secs(1200)).await;
    assert!(world.condition("alice", "Synced").is_some(), "still");
    world.server.allow_only(None);
    // the longest interval between two attempts, with its jitter
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(world.condition("alice", "Synced"), None);
    let now = world.server.get(&service).expect("the Service");
    assert_eq!(now["spec"]["selector"]["quorum.security/node"], "alice");
    world.assert_ready("alice");
}

/// An API server answers like this for a moment after its start, before it has read the roles.
#[tokio::test(start_paused = true)]
async fn watches_that_are_refused_for_a_moment_are_forgotten_as_soon_as_they_are_back() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    for streaming in [None, Some(Streaming::Refused(422))] {
        world.server.stream_lists(streaming);
        world.server.refuse(Some(403));
        world.server.end_watches(false);
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.server.refuse(None);
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(world.condition("alice", "Synced"), None, "{streaming:?}");
        world.assert_ready("alice");
    }
}

/// A short failure is not reported; a persistent one is, and nothing is reported as healthy meanwhile.
#[tokio::test(start_paused = true)]
async fn passes_that_fail_and_fail_are_told_and_one_that_fails_once_is_not() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    let service = object("v1", "services", "alice-p2p");
    let change = |world: &World, to: &str| {
        world
            .server
            .edit(&service, "kubectl-edit", |service| service["spec"]["selector"] = json!({"app": to}));
    };
    world.server.break_for("apply services", Some(500));
    change(&world, "x");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.condition("alice", "Ready").map(|found| found.0).as_deref(), Some("True"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (status, reason, message) = world.condition("alice", "Ready").expect("always there");
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "ReconcileFailed"));
    assert!(message.contains("Service alice-p2p"), "{message}");
    world.server.break_for("apply services", None);
    world.rest().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    world.assert_ready("alice");
}

/// As after the deletion of a namespace that is still in the list of watched ones.
#[tokio::test(start_paused = true)]
async fn a_namespace_that_may_not_be_read_holds_up_no_other_and_is_taken_up_when_it_may() {
    let mut world = World::new();
    world.scopes.push(crate::cluster::watch::caches::Scope::Namespace("closed".into()));
    world.server.close(Some("closed"));
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    world.assert_ready("alice");

    world.server.close(None);
    world.server.put(&super::world::genesis_in("closed"));
    let mut bob = client("bob");
    bob["metadata"]["namespace"] = json!("closed");
    world.server.put(&bob);
    world.rest().await;
    let in_closed = |target: crate::testing::server::Target| crate::testing::server::Target {
        namespace: "closed".into(),
        ..target
    };
    assert!(
        world.server.get(&in_closed(object("v1", "pods", "bob-client-0"))).is_some(),
        "{:#?}",
        world.recent()
    );
}

/// Missing permissions are reported for each namespace, and delay no other namespace.
#[tokio::test(start_paused = true)]
async fn readiness_names_a_namespace_that_is_not_there_or_not_bound() {
    let mut world = World::new();
    let there = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    for name in ["ledger", "closed"] {
        world.server.put(&there(name));
    }
    for name in ["closed", "missing"] {
        world.scopes.push(crate::cluster::watch::caches::Scope::Namespace(name.into()));
    }
    world.server.close(Some("closed"));
    world.start();
    world.server.put(&client("alice"));
    tokio::time::sleep(Duration::from_secs(30)).await;
    let lines = |world: &World| {
        let (is_ready, text) = world.health.state();
        (is_ready, text.lines().map(str::to_owned).collect::<Vec<_>>())
    };
    let (is_ready, text) = lines(&world);
    assert!(is_ready, "{text:#?}");
    assert_eq!((text.len(), text[0].as_str()), (3, "ok"), "{text:#?}");
    assert!(text[1].starts_with("closed: ") && text[1].contains("config/rbac"), "{text:#?}");
    assert!(text[2].starts_with("missing: the namespace does not exist"), "{text:#?}");
    world.rest().await;
    world.assert_ready("alice");

    world.server.close(None);
    world.server.put(&there("missing"));
    tokio::time::sleep(Duration::from_secs(130)).await;
    assert_eq!(lines(&world), (true, vec!["ok".to_owned()]), "as soon as it can be");
    let before = world.server.calls().len();
    tokio::time::sleep(Duration::from_secs(300)).await;
    let asked = world.server.calls().split_off(before);
    let of = |name: &str| asked.iter().filter(|call| call.target.name == name).count();
    assert_eq!(of("ledger"), 0, "a node is there: {asked:#?}");
    assert!(of("missing") <= 5, "{asked:#?}");
}
