//! Tests of JSON-RPC callers that are added, changed and removed.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::{
    bank::Bank,
    world::{NAMESPACE, World, client, node, object},
};
use crate::{model::secrets::tls::Usage, protocol::policy::Policy, testing::server::Server};

/// A caller that authenticates by its ServiceAccount.
pub(super) fn caller(name: &str) -> Value {
    json!({
        "name": name, "from": [{"namespace": "apps", "podLabels": {"app": name}}], "methods": ["eth_*"],
        "identity": {"serviceAccount": {"namespace": "apps", "name": name}}, "connections": 64,
    })
}

pub(super) fn call(server: &Server, callers: Value) {
    server.edit(&node("alice"), "kubectl-edit", |alice| alice["spec"]["rpc"] = json!({"callers": callers}));
}

/// A node that is ready and has these callers.
pub(super) async fn called(callers: Value) -> World {
    let mut world = World::new();
    world.start();
    let mut alice = client("alice");
    alice["spec"]["rpc"] = json!({"callers": callers});
    world.server.put(&alice);
    world.rest().await;
    world.assert_ready("alice");
    world
}

/// Names of all objects of the node, without its Events.
fn objects(world: &World) -> BTreeSet<String> {
    let objects = world.server.objects().into_iter();
    let ours = objects.filter(|(target, _)| target.namespace == NAMESPACE && target.resource != "events");
    ours.map(|(target, _)| format!("{} {}", target.resource, target.name)).collect()
}

pub(super) fn policy(world: &World) -> Policy {
    let map = world.server.get(&object("v1", "configmaps", "qn-alice-guard")).expect("a policy");
    let text = map["data"]["policy.json"].as_str().expect("a file");
    let policy = Policy::read(text.as_bytes()).expect("what the guard reads");
    #[cfg(feature = "guard")]
    drop(crate::guard::rpc::decide::identity::Identities::of(&policy).expect("what the guard takes"));
    policy
}

fn containers(world: &World) -> Vec<String> {
    let pod = world.server.get(&object("v1", "pods", "alice-client-0")).expect("a pod");
    let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
    containers.iter().map(|one| one["name"].as_str().unwrap_or_default().to_owned()).collect()
}

pub(super) fn pod(world: &World) -> Value {
    let pod = world.server.get(&object("v1", "pods", "alice-client-0")).expect("a pod");
    pod["metadata"]["uid"].clone()
}

#[tokio::test(start_paused = true)]
async fn the_first_caller_brings_all_of_it_and_the_last_takes_all_away() {
    let mut world = called(json!([])).await;
    let before = objects(&world);
    assert_eq!(containers(&world), ["client", "metrics"]);
    call(&world.server, json!([caller("wallet")]));
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!(containers(&world), ["client", "metrics", "guard"]);
    let with = objects(&world);
    let more: Vec<_> = with.difference(&before).map(String::as_str).collect();
    assert_eq!(
        more,
        [
            "configmaps qn-alice-guard",
            "networkpolicies alice-rpc.wallet",
            "secrets qn-alice-tls-rpc",
            "services alice-rpc"
        ]
    );
    call(&world.server, json!([]));
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!(containers(&world), ["client", "metrics"]);
    // the operator never deletes a Secret while its node exists
    let left: Vec<_> = objects(&world).difference(&before).cloned().collect();
    assert_eq!(left, ["secrets qn-alice-tls-rpc"]);
}

#[tokio::test(start_paused = true)]
async fn another_caller_and_other_methods_change_the_policy_and_no_pod() {
    let mut world = called(json!([caller("wallet")])).await;
    let runs = pod(&world);
    let mut wallet = caller("wallet");
    wallet["methods"] = json!(["eth_call", "net_version"]);
    call(&world.server, json!([wallet, caller("shop")]));
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!(pod(&world), runs);
    let policy = policy(&world);
    let granted: Vec<_> =
        policy.callers.iter().map(|caller| (caller.name.as_str(), caller.methods.join(" "))).collect();
    assert_eq!(granted, [("wallet", "eth_call net_version".into()), ("shop", "eth_*".into())]);
    assert!(objects(&world).contains("networkpolicies alice-rpc.shop"));
    call(&world.server, json!([caller("shop")]));
    world.rest().await;
    assert_eq!(pod(&world), runs);
    assert!(!objects(&world).contains("networkpolicies alice-rpc.wallet"));
}

#[tokio::test(start_paused = true)]
async fn a_method_of_another_module_replaces_the_client() {
    let mut world = called(json!([caller("wallet")])).await;
    let runs = pod(&world);
    let mut wallet = caller("wallet");
    wallet["methods"] = json!(["eth_*", "istanbul_getValidators"]);
    call(&world.server, json!([wallet]));
    world.rest().await;
    world.assert_ready("alice");
    assert_ne!(pod(&world), runs);
}

#[tokio::test(start_paused = true)]
async fn a_node_with_callers_costs_no_request_for_a_day() {
    let world = called(json!([caller("wallet"), caller("shop")])).await;
    let before = world.server.calls().len();
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    // the keys of the cluster are read outside of reconciles
    let calls = world.server.calls().split_off(before).into_iter().filter(|call| call.verb != "read");
    assert_eq!(calls.map(|call| call.to_string()).collect::<Vec<_>>(), [""; 0]);
}

/// Versions of the policy in the annotation of the client's pod, in order, and all versions that existed.
fn told(world: &World) -> (Vec<String>, Vec<String>) {
    let mut told: Vec<String> = vec![];
    let mut there = vec![];
    for change in world.server.changes() {
        let meta = &change.object["metadata"];
        if change.target.resource == "pods" && change.target.name == "alice-client-0" {
            told.extend(meta["annotations"]["quorum.security/policy"].as_str().map(str::to_owned));
        } else if change.target.name == "qn-alice-guard" {
            there.extend(meta["resourceVersion"].as_str().map(str::to_owned));
        }
    }
    told.dedup();
    (told, there)
}

/// A kubelet takes a minute or two to refresh a changed file, unless the pod changes too.
#[tokio::test(start_paused = true)]
async fn each_change_of_the_policy_is_brought_into_the_running_pod_at_once() {
    let mut world = called(json!([caller("wallet")])).await;
    let (runs, before) = (pod(&world), world.server.calls().len());
    let began = tokio::time::Instant::now();
    call(&world.server, json!([caller("wallet"), caller("shop")]));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (seen, there) = told(&world);
    assert_eq!((seen.len(), &seen), (2, &there), "told within {:?}", began.elapsed());
    world.rest().await;
    let calls = world.server.calls().split_off(before);
    let patches = calls.iter().filter(|call| call.to_string() == "patch pods/alice-client-0");
    assert_eq!((patches.count(), pod(&world)), (1, runs));
    let map = object("v1", "configmaps", "qn-alice-guard");
    world.server.edit(&map, "kubectl-edit", |map| map["data"]["policy.json"] = json!("{}"));
    world.rest().await;
    let (seen, there) = told(&world);
    assert_eq!((there.len(), seen.last()), (4, there.last()), "what is put back is brought, too");
    assert!(!seen.contains(&there[2]), "and what someone else wrote is not");
}

/// It may take long until the rollout replaces the pod.
#[tokio::test(start_paused = true)]
async fn a_guard_that_is_no_longer_wanted_learns_at_once_that_nobody_may_call() {
    let mut world = called(json!([caller("wallet")])).await;
    let runs = pod(&world);
    // no eviction succeeds
    world.server.break_for("create pods/alice-client-0/eviction", Some(429));
    call(&world.server, json!([]));
    world.rest().await;
    assert_eq!(pod(&world), runs);
    assert_eq!(policy(&world).callers, []);
    let (seen, there) = told(&world);
    assert_eq!(seen.last(), there.last());
    world.server.break_for("", None);
    world.rest().await;
    assert_ne!(pod(&world), runs);
    assert!(!objects(&world).contains("configmaps qn-alice-guard"));
}

#[tokio::test(start_paused = true)]
async fn a_paused_nodes_pod_is_told_nothing() {
    let mut world = called(json!([caller("wallet")])).await;
    let before = told(&world);
    world.server.edit(&node("alice"), "kubectl-edit", |alice| alice["spec"]["paused"] = json!(true));
    world.rest().await;
    let map = object("v1", "configmaps", "qn-alice-guard");
    world.server.edit(&map, "kubectl-edit", |map| map["metadata"]["labels"]["more"] = json!("of it"));
    world.rest().await;
    assert_eq!(told(&world).0, before.0, "it is as it is wanted, in another version");
    world.server.edit(&node("alice"), "kubectl-edit", |alice| {
        alice["spec"]["rpc"]["callers"][0]["connections"] = json!(3);
    });
    world.rest().await;
    assert_eq!((told(&world).0, policy(&world).callers[0].connections), (before.0, 64));
}

/// Another writer grants a caller more than the spec does.
#[tokio::test(start_paused = true)]
async fn a_policy_that_someone_else_changes_is_put_back() {
    let mut world = called(json!([caller("wallet")])).await;
    let before = policy(&world);
    let map = object("v1", "configmaps", "qn-alice-guard");
    world.server.edit(&map, "kubectl-edit", |map| {
        let wider = before.write().replace("eth_*", "admin_peers");
        map["data"]["policy.json"] = json!(wider);
    });
    assert_ne!(policy(&world), before);
    world.rest().await;
    assert_eq!(policy(&world), before);
}

#[tokio::test(start_paused = true)]
async fn callers_see_the_certificate_that_is_provided_for_them() {
    let (mut world, bank) = (World::new(), Bank::new());
    world.server.put(&bank.issue("for-scrapers", "alice-metrics", Usage::Server));
    world.start();
    let mut alice = client("alice");
    alice["spec"]["rpc"] = json!({"callers": [caller("wallet")]});
    alice["spec"]["tls"] = json!({"issuer": "Provided", "provided": {
        "metrics": {"name": "for-scrapers"}, "rpc": {"name": "for-callers"}}, "duration": "2160h", "renewBefore": "720h"});
    world.server.put(&alice);
    world.rest().await;
    let (_, reason, message) = world.condition("alice", "Stalled").expect("it is missing");
    assert_eq!(reason, "ReferenceMissing");
    assert!(message.contains("spec.tls.provided.rpc (Secret for-callers)"), "{message}");
    world.server.put(&bank.issue("for-callers", "alice-rpc", Usage::Server));
    world.rest().await;
    world.assert_ready("alice");
    let workload = world.server.get(&object("apps/v1", "statefulsets", "alice-client")).expect("a client");
    let volumes = workload["spec"]["template"]["spec"]["volumes"].as_array().cloned().unwrap_or_default();
    let mounted = volumes.iter().find(|volume| volume["name"] == "tls-rpc").expect("a volume");
    assert_eq!(mounted["secret"]["secretName"], "for-callers");
    assert!(!objects(&world).contains("secrets qn-alice-tls-rpc"));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_cannot_be_granted_what_it_asks_stalls_the_node_and_opens_nothing() {
    let mut world = called(json!([caller("wallet")])).await;
    let before = policy(&world);
    let mut wallet = caller("wallet");
    wallet["methods"] = json!(["eth_*", "personal_*"]);
    call(&world.server, json!([wallet, caller("shop")]));
    world.rest().await;
    let (_, reason, message) = world.condition("alice", "Stalled").expect("a person must act");
    assert_eq!(reason, "InvalidField");
    assert!(message.contains("spec.rpc.callers[0].methods (personal_*): wildcards are"), "{message}");
    assert_eq!(policy(&world), before, "what runs is left as it is");
    assert!(!objects(&world).contains("networkpolicies alice-rpc.shop"));
}
