//! Tests of pause, replacement and deletion.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    disruption::validator,
    permissions, safety,
    world::{NAMESPACE, World, client, member, node, object, secret},
};
use crate::testing::{
    server::{Target, place},
    specs,
};

fn set_image(world: &World, name: &str) {
    world.server.edit(&node(name), "kubectl-edit", |node| {
        node["spec"]["client"]["image"] = json!(specs::image("goquorum-next"));
    });
}

fn running_image(world: &World, name: &str) -> String {
    let pod = world.server.get(&object("v1", "pods", &format!("{name}-client-0"))).expect("a pod");
    let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
    let client = containers.into_iter().find(|container| container["name"] == "client").unwrap_or_default();
    client["image"].as_str().unwrap_or_default().to_owned()
}

fn delete(world: &World, target: &Target, policy: &str) {
    world.server.delete(target, &json!({"propagationPolicy": policy}));
}

fn left(world: &World) -> Vec<String> {
    let objects = world.server.objects();
    let ours = objects.into_iter().filter(|(target, object)| {
        target.resource != "events" && object["metadata"]["labels"]["quorum.security/node"] == "alice"
    });
    ours.map(|(target, _)| format!("{}/{}", target.resource, target.name)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_paused_node_is_left_alone_and_says_what_differs() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    world.server.edit(&node("alice"), "kubectl-edit", |alice| alice["spec"]["paused"] = json!(true));
    world.rest().await;
    set_image(&world, "alice");
    let service = object("v1", "services", "alice-p2p");
    world.server.edit(&service, "kubectl-edit", |service| service["spec"]["selector"] = json!({"app": "x"}));
    world.rest().await;
    assert_eq!(running_image(&world, "alice"), specs::image("goquorum"));
    assert_eq!(world.server.get(&service).expect("there")["spec"]["selector"]["app"], "x");
    let (status, _, message) = world.condition("alice", "Paused").expect("it is paused");
    assert_eq!(status, "True");
    assert!(
        message.contains("StatefulSet alice-client does not match the spec")
            && message.contains("Service alice-p2p differs from the spec in the fields spec.selector (changed by kubectl-edit)"),
        "{message}"
    );
    assert_eq!(world.condition("alice", "Ready").map(|found| found.0).as_deref(), Some("False"));
    assert_eq!(world.condition("alice", "Stalled").map(|found| found.1).as_deref(), Some("PausedBySpec"));

    world.server.edit(&node("alice"), "kubectl-edit", |alice| alice["spec"]["paused"] = json!(false));
    world.rest().await;
    assert_eq!(running_image(&world, "alice"), specs::image("goquorum-next"));
    assert_eq!(
        world.server.get(&service).expect("there")["spec"]["selector"]["quorum.security/node"],
        "alice"
    );
    assert_eq!(world.condition("alice", "Paused"), None);
}

/// Certificates are renewed while a node is paused.
#[tokio::test(start_paused = true)]
async fn a_paused_node_still_renews_its_certificates() {
    let mut world = World::new();
    world.start();
    let mut alice = client("alice");
    alice["spec"]["paused"] = json!(false);
    alice["spec"]["tls"] = json!({"duration": "24h", "renewBefore": "12h"});
    world.server.put(&alice);
    world.rest().await;
    world.server.edit(&node("alice"), "kubectl-edit", |alice| alice["spec"]["paused"] = json!(true));
    world.rest().await;
    let certificate = secret("qn-alice-tls-metrics");
    let before = world.server.get(&certificate).expect("a certificate");
    tokio::time::sleep(Duration::from_secs(13 * 3600)).await;
    let after = world.server.get(&certificate).expect("a certificate");
    assert_ne!(before["data"]["tls.crt"], after["data"]["tls.crt"]);
}

#[tokio::test(start_paused = true)]
async fn validators_are_replaced_one_at_a_time_and_the_quorum_holds() {
    let mut world = World::new();
    world.start();
    let names = ["val-a", "val-b", "val-c", "val-d"];
    for name in names {
        world.server.put(&validator(name));
    }
    world.rest().await;
    let budget = world.server.get(&object("policy/v1", "poddisruptionbudgets", "qnet-acme-validators"));
    assert_eq!(budget.expect("a budget")["spec"]["minAvailable"], 3);
    world.server.start_slowly(true);
    let before = world.server.changes().len();
    for name in names {
        set_image(&world, name);
    }
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        world.server.all_started();
    }
    for name in names {
        assert_eq!(running_image(&world, name), specs::image("goquorum-next"), "{name}");
        world.assert_ready(name);
    }
    // the serving pods after each change
    let mut serving: BTreeMap<String, bool> = names.map(|name| (format!("{name}-client-0"), true)).into();
    let mut replaced = 0;
    for change in world.server.changes().split_off(before) {
        if change.target.resource == "pods" {
            let conditions = change.object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let ready = conditions.iter().any(|found| found["type"] == "Ready" && found["status"] == "True");
            replaced += usize::from(change.kind == "DELETED");
            serving.insert(change.target.name, ready && change.kind != "DELETED");
            let away = serving.values().filter(|serves| !**serves).count();
            assert!(away <= 1, "{away} validators are away: {serving:?}");
        }
    }
    assert_eq!(replaced, 4);
    safety::assert_safe(&world.server);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_stops_at_a_validator_that_does_not_come_back() {
    let mut world = World::new();
    world.start();
    let names = ["val-a", "val-b", "val-c", "val-d"];
    for name in names {
        world.server.put(&validator(name));
    }
    world.rest().await;
    world.server.start_slowly(true);
    for name in names {
        set_image(&world, name);
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let new = names.into_iter().filter(|name| running_image(&world, name) == specs::image("goquorum-next"));
    assert_eq!(new.collect::<Vec<_>>(), ["val-a"]);
}

#[tokio::test(start_paused = true)]
async fn keys_and_data_outlive_a_node_and_are_taken_up_again() {
    for policy in ["Background", "Foreground"] {
        let mut world = World::new();
        world.start();
        world.server.put(&member("alice"));
        world.rest().await;
        let key = world.server.get(&secret("qn-alice-nodekey")).expect("a key");
        delete(&world, &node("alice"), policy);
        world.rest().await;
        assert_eq!(world.server.get(&node("alice")), None, "{policy}: {:#?}", world.recent());
        safety::assert_safe(&world.server);
        safety::assert_nothing_lost_but(&world.server, "qn-alice-tls-");
        let mut left = left(&world);
        left.sort();
        let claims = ["data-alice-client-0", "data-alice-tm-db-0"]
            .map(|name| format!("persistentvolumeclaims/{name}"));
        let secrets = ["qn-alice-ca", "qn-alice-nodekey"].map(|name| format!("secrets/{name}"));
        assert_eq!(left, [claims, secrets].concat(), "{policy}");

        world.server.put(&member("alice"));
        world.rest().await;
        world.assert_ready("alice");
        let again = world.server.get(&secret("qn-alice-nodekey")).expect("a key");
        for same in ["/data", "/metadata/uid", "/metadata/finalizers"] {
            assert_eq!(again.pointer(same), key.pointer(same), "{same}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_spec_does_not_retain_is_deleted() {
    let mut world = World::new();
    world.start();
    let mut alice = member("alice");
    alice["spec"]["deletionPolicy"] = json!({"keys": "Delete", "data": "Delete"});
    world.server.put(&alice);
    world.rest().await;
    delete(&world, &node("alice"), "Background");
    world.rest().await;
    assert_eq!(world.server.get(&node("alice")), None);
    assert_eq!(left(&world), [""; 0]);
    assert!(world.server.get(&secret("alice-tm-keys")).is_some(), "what was referred to is not ours");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_deleted_while_nobody_watches_ends_in_order() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    world.stop();
    delete(&world, &node("alice"), "Foreground");
    assert!(world.server.get(&node("alice")).is_some(), "it waits for us");
    world.start();
    world.rest().await;
    assert_eq!(world.server.get(&node("alice")), None);
    safety::assert_safe(&world.server);
}

/// Another writer changes an object between the operator's read and its deletion, which the server then rejects.
#[tokio::test(start_paused = true)]
async fn a_node_goes_only_with_all_that_is_not_retained() {
    for held in ["delete persistentvolumeclaims", "delete secrets", "delete statefulsets"] {
        let mut world = World::new();
        world.start();
        let mut alice = member("alice");
        alice["spec"]["deletionPolicy"] = json!({"keys": "Delete", "data": "Delete"});
        world.server.put(&alice);
        world.rest().await;
        world.server.break_for(held, Some(409));
        delete(&world, &node("alice"), "Background");
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert!(world.server.get(&node("alice")).is_some(), "{held}: it waits");
        world.server.break_for(held, None);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(world.server.get(&node("alice")), None, "{held}: it is looked at again soon");
        assert_eq!(left(&world), [""; 0], "{held}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_before_it_is_pruned_is_looked_at_again_soon() {
    let mut world = World::new();
    world.start();
    let mut alice = client("alice");
    alice["spec"]["metrics"] = json!({"scrapers": [
        {"name": "prometheus", "from": {"namespace": "monitoring", "podLabels": {"app": "prometheus"}}}]});
    world.server.put(&alice);
    world.rest().await;
    let counted = |world: &World| {
        let text = world.metrics.text();
        let line =
            text.lines().find(|line| line.starts_with("quorum_operator_writes_total ")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{text}"))
    };
    world.server.break_for("delete networkpolicies", Some(409));
    world
        .server
        .edit(&node("alice"), "kubectl-edit", |alice| alice["spec"]["metrics"] = json!({"scrapers": []}));
    tokio::time::sleep(Duration::from_secs(20)).await;
    let before = counted(&world);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(counted(&world), before, "what was refused has changed nothing");
    let there = |world: &World| left(world).iter().filter(|name| name.contains("prometheus")).count();
    assert_eq!(there(&world), 1);
    world.server.break_for("delete networkpolicies", None);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(there(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn orphaned_children_stay_as_they_are() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    delete(&world, &node("alice"), "Orphan");
    world.rest().await;
    assert_eq!(world.server.get(&node("alice")), None);
    let left = left(&world);
    for kept in ["statefulsets/alice-client", "pods/alice-client-0", "networkpolicies/alice-deny"] {
        assert!(left.contains(&kept.to_owned()), "{kept} is gone: {left:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_someone_deletes_closes_the_pods_until_they_are_gone() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    let deny = object("networking.k8s.io/v1", "networkpolicies", "alice-deny");
    delete(&world, &deny, "Background");
    world.rest().await;
    let deny_now = world.server.get(&deny).expect("it is made again");
    assert!(deny_now["metadata"]["deletionTimestamp"].is_null(), "{deny_now:#}");
    delete(&world, &node("alice"), "Background");
    world.rest().await;
    assert_eq!(world.server.get(&deny), None);
    safety::assert_safe(&world.server);
}

/// The namespace controller deletes all objects, the RoleBinding among the first.
#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_deleted_is_not_held_up_and_stays_closed_until_its_pods_are_gone() {
    let mut world = World::new();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "finalizers": ["kubernetes"]}});
    world.server.put(&namespace);
    world.start();
    let mut alice = member("alice");
    alice["spec"]["deletionPolicy"] = json!({"keys": "Delete", "data": "Delete"});
    world.server.put(&alice);
    world.rest().await;
    let in_it = |target: &Target| target.namespace == NAMESPACE;
    let inside: Vec<_> = world.server.objects().into_iter().map(|(target, _)| target).filter(in_it).collect();
    let pods: Vec<_> = inside.iter().filter(|target| target.resource == "pods").collect();
    // they take time to terminate
    let server = Arc::clone(&world.server);
    let hold = |held: Value| {
        for pod in &pods {
            server.edit(pod, "kubelet", |pod| pod["metadata"]["finalizers"] = held.clone());
        }
    };
    hold(json!(["test/running"]));
    world.server.delete(&place(&namespace), &json!({}));
    // first the pods, and nothing else while one exists
    for pod in &pods {
        delete(&world, pod, "Background");
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.server.allow_only(Some(permissions::allowed(permissions::CLUSTER)));
    world.server.end_watches(false);
    for target in &inside {
        delete(&world, target, "Background");
    }
    world.rest().await;
    let deny = object("networking.k8s.io/v1", "networkpolicies", "alice-deny");
    assert!(world.server.get(&deny).is_some(), "its pods still run");
    hold(json!([]));
    world.rest().await;
    let left: Vec<_> = world.server.objects().into_iter().map(|(target, _)| target).filter(in_it).collect();
    let left: Vec<_> = left.iter().filter(|target| target.resource != "events").collect();
    assert_eq!(left, Vec::<&Target>::new(), "{:#?}", world.recent());
    safety::assert_safe(&world.server);
}
