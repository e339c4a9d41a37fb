//! Tests that the permissions in `config/rbac` are exactly those that the operator uses.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    bank::{Bank, CERT_MANAGER},
    callers::caller,
    cert_manager::through,
    pod_monitor::MONITORING,
    world::{World, client, member, node, object},
};
use crate::testing::{server::Server, specs};

pub(super) const ROLE: &str = include_str!("../../../config/rbac/role.yaml");
pub(super) const CLUSTER: &str = include_str!("../../../config/rbac/cluster.yaml");

pub(super) fn allowed(text: &str) -> BTreeSet<String> {
    let first = text.split("\n---").next().unwrap_or_default();
    let role: Value = serde_saphyr::from_str(first).expect("YAML");
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut allowed = BTreeSet::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for path in texts(&rule["nonResourceURLs"]) {
            assert!(!path.contains('*'), "{path}");
            allowed.extend(texts(&rule["verbs"]).iter().map(|verb| format!("{verb} {path}")));
        }
        for (group, resource) in pairs(&texts(&rule["apiGroups"]), &texts(&rule["resources"])) {
            assert_ne!(resource, "*");
            allowed.extend(texts(&rule["verbs"]).iter().map(|verb| format!("{verb} {resource}.{group}")));
        }
    }
    allowed
}

fn pairs(groups: &[String], resources: &[String]) -> Vec<(String, String)> {
    let of = |group: &String| {
        resources.iter().map(|resource| (group.clone(), resource.clone())).collect::<Vec<_>>()
    };
    groups.iter().flat_map(of).collect()
}

/// The whole life of a node: created, changed, replaced, reduced, and deleted with everything.
async fn a_life() -> BTreeSet<String> {
    let mut world = World::new();
    world.server.learn(CERT_MANAGER);
    world.server.learn(MONITORING);
    world.start();
    let mut alice = through(member("alice"));
    alice["spec"]["role"] = json!("Validator");
    alice["spec"]["deletionPolicy"] = json!({"keys": "Delete", "data": "Delete"});
    alice["spec"]["metrics"] = json!({"podMonitor": "Enabled", "scrapers": [
        {"name": "prometheus", "from": {"namespace": "monitoring", "podLabels": {"app": "prometheus"}}}]});
    alice["spec"]["rpc"] = json!({"callers": [caller("wallet")]});
    world.server.put(&alice);
    world.rest().await;
    Bank::new().grant(&world.server, |_| {});
    world.rest().await;
    world.server.edit(&node("alice"), "kubectl-edit", |alice| {
        alice["spec"]["client"]["image"] = json!(specs::image("goquorum-next"));
    });
    world.rest().await;
    world.server.edit(&node("alice"), "kubectl-edit", |alice| {
        alice["spec"]["client"]["storage"]["size"] = json!("30Gi");
    });
    world.rest().await;
    // its host is drained
    world.server.put(&json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-7"}}));
    world.server.edit(&object("v1", "persistentvolumeclaims", "data-alice-client-0"), "binder", |claim| {
        claim["spec"]["volumeName"] = json!("pv-7");
    });
    world.server.edit(&object("v1", "pods", "alice-client-0"), "scheduler", |pod| {
        pod["status"]["conditions"][0] =
            json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable"});
    });
    world.rest().await;
    // a quota rejects it
    world.server.hold_pods(true);
    Server::delete(&world.server, &object("v1", "pods", "alice-client-0"), &json!({}));
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    world.server.hold_pods(false);
    world.rest().await;
    let mut reduced = client("alice");
    reduced["spec"]["deletionPolicy"] = alice["spec"]["deletionPolicy"].clone();
    world.server.edit(&node("alice"), "kubectl-edit", |alice| alice["spec"] = reduced["spec"].clone());
    world.rest().await;
    Server::delete(&world.server, &node("alice"), &json!({"propagationPolicy": "Background"}));
    world.rest().await;
    assert_eq!(world.server.get(&node("alice")), None);
    world.server.used()
}

#[tokio::test(start_paused = true)]
async fn what_is_used_is_what_is_allowed() {
    let mut used = a_life().await;
    // required by servers that check who may block the deletion of an owner
    used.insert("update quorumnodes/finalizers.quorum.security".into());
    // an Event that is repeated as a series
    used.insert("patch events.events.k8s.io".into());
    let allowed: BTreeSet<_> = allowed(ROLE).union(&allowed(CLUSTER)).cloned().collect();
    let missing: Vec<_> = used.difference(&allowed).collect();
    let needless: Vec<_> = allowed.difference(&used).collect();
    assert!(missing.is_empty() && needless.is_empty(), "missing: {missing:?}, needless: {needless:?}");
}
