//! Tests of labels and annotations from the spec that are added, changed and removed.

use serde_json::{Value, json};

use super::world::{World, client, node, object};

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_of_services_and_pods_comes_changes_and_goes() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    let services = ["alice-p2p", "alice-client-pods"].map(|name| object("v1", "services", name));
    let pod = object("v1", "pods", "alice-client-0");
    for (asked, label, note) in [
        (
            json!({"labels": {"team": "ledger"}, "annotations": {"example.org/why": "audit"}}),
            json!("ledger"),
            json!("audit"),
        ),
        (json!({"labels": {"team": "bank"}}), json!("bank"), json!(null)),
        (json!({}), json!(null), json!(null)),
    ] {
        world.server.edit(&node("alice"), "kubectl-edit", |node| {
            node["spec"]["serviceMetadata"] = asked.clone();
            node["spec"]["podMetadata"] = asked.clone();
        });
        world.rest().await;
        for target in services.iter().chain([&pod]) {
            let found = world.server.get(target).unwrap_or(Value::Null);
            let found =
                (&found["metadata"]["labels"]["team"], &found["metadata"]["annotations"]["example.org/why"]);
            assert_eq!(found, (&label, &note), "{}: {asked}", target.name);
        }
        world.assert_ready("alice");
    }
}
