//! Tests of the PodMonitor. Its kind may not be installed, which does not make a node less ready.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    cert_manager::through,
    world::{World, client, node, object},
};

pub(super) const MONITORING: &str = "monitoring.coreos.com/v1";

fn monitored(mut alice: Value, enabled: &str) -> Value {
    alice["spec"]["metrics"] = json!({"podMonitor": enabled, "scrapers": [
        {"name": "prometheus", "from": {"namespace": "monitoring", "podLabels": {"app": "prometheus"}}}]});
    alice
}

fn spec(world: &World) -> Option<Value> {
    let monitor = world.server.get(&object(MONITORING, "podmonitors", "alice-metrics"));
    monitor.map(|monitor| monitor["spec"].clone())
}

#[tokio::test(start_paused = true)]
async fn prometheus_is_told_when_it_can_be_and_the_node_is_ready_before_and_after() {
    let mut world = World::new();
    world.start();
    world.server.put(&monitored(client("alice"), "Enabled"));
    world.rest().await;
    world.assert_ready("alice");
    let (status, reason, message) = world.condition("alice", "Monitored").expect("told");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "ApiMissing"));
    assert!(message.contains("podmonitors.monitoring.coreos.com"), "{message}");

    world.server.learn(MONITORING);
    tokio::time::sleep(Duration::from_secs(65)).await;
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!(world.condition("alice", "Monitored"), None);
    let whole = json!({
        "selector": {"matchLabels": {"quorum.security/node": "alice", "quorum.security/component": "client"}},
        "podMetricsEndpoints": [{"port": "metrics", "scheme": "https", "path": "/metrics", "tlsConfig": {
            "ca": {"configMap": {"name": "qnet-acme-ca", "key": "ca.crt"}},
            "serverName": "alice-metrics.ledger.svc"}}],
    });
    assert_eq!(spec(&world), Some(whole.clone()));
    world.server.edit(&object(MONITORING, "podmonitors", "alice-metrics"), "kubectl-edit", |monitor| {
        monitor["spec"]["podMetricsEndpoints"] = json!([]);
    });
    world.rest().await;
    assert_eq!(spec(&world), Some(whole), "it is put back");
    let before = world.server.calls().len();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.server.calls().len(), before, "{:#?}", world.recent());

    world.server.unlearn(MONITORING);
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!(world.condition("alice", "Monitored").expect("told").1, "ApiMissing");

    world.server.learn(MONITORING);
    tokio::time::sleep(Duration::from_secs(65)).await;
    world.rest().await;
    assert!(spec(&world).is_some());
    world.server.put(&monitored(client("alice"), "Disabled"));
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!(spec(&world), None);
    let status = world.server.get(&node("alice")).expect("alice")["status"].clone();
    assert_eq!(status["optionalKinds"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn prometheus_trusts_whoever_signed_what_is_served() {
    let mut world = World::new();
    world.server.learn(MONITORING);
    world.start();
    world.server.put(&monitored(through(client("alice")), "Enabled"));
    world.rest().await;
    let ca = spec(&world).expect("written")["podMetricsEndpoints"][0]["tlsConfig"]["ca"].clone();
    assert_eq!(ca, json!({"secret": {"name": "qn-alice-cm-metrics", "key": "ca.crt"}}));
}
