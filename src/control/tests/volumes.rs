//! Tests of volume growth, without restarts of pods.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    permissions::{CLUSTER, ROLE, allowed},
    safety,
    world::{World, client, member, node, object},
};
use crate::testing::{server::Target, specs};

/// Message of a storage class without volume expansion.
const NO_EXPANSION: &str = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";

fn claim(part: &str) -> Target {
    object("v1", "persistentvolumeclaims", &format!("data-alice-{part}-0"))
}

fn workload(part: &str) -> Target {
    object("apps/v1", "statefulsets", &format!("alice-{part}"))
}

fn pod(part: &str) -> Target {
    object("v1", "pods", &format!("alice-{part}-0"))
}

fn size(world: &World, part: &str) -> Value {
    world.server.get(&claim(part)).expect("a claim")["spec"]["resources"]["requests"]["storage"].clone()
}

fn template(world: &World, part: &str) -> Value {
    let workload = world.server.get(&workload(part)).expect("a workload");
    workload["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"].clone()
}

fn uid(world: &World, target: &Target) -> Value {
    world.server.get(target).expect("it is there")["metadata"]["uid"].clone()
}

fn edit(world: &World, change: impl FnOnce(&mut Value)) {
    world.server.edit(&node("alice"), "kubectl-edit", |alice| change(&mut alice["spec"]));
}

/// A ready member, with the fields that its server fills in.
async fn ready() -> World {
    let mut world = World::new();
    let mut alice = member("alice");
    alice["spec"]["transactionManager"]["database"]["managed"]["storage"] = json!({"size": "10Gi"});
    world.server.put(&alice);
    world.start();
    world.rest().await;
    world.assert_ready("alice");
    world
}

fn grow(world: &World, size: &str) {
    edit(world, |spec| spec["client"]["storage"]["size"] = json!(size));
}

#[tokio::test(start_paused = true)]
async fn claims_and_templates_of_client_and_database_grow_and_their_pods_run_on() {
    let mut world = ready().await;
    let pods = ["client", "tm", "tm-db"].map(|part| uid(&world, &pod(part)));
    let calls = world.server.calls().len();
    edit(&world, |spec| {
        spec["client"]["storage"]["size"] = json!("1Ti");
        spec["transactionManager"]["database"]["managed"]["storage"]["size"] = json!("20Gi");
    });
    world.rest().await;
    for (part, wanted) in [("client", "1Ti"), ("tm-db", "20Gi")] {
        assert_eq!((size(&world, part), template(&world, part)), (json!(wanted), json!(wanted)), "{part}");
        let owner = &world.server.get(&pod(part)).expect("its pod")["metadata"]["ownerReferences"][0]["uid"];
        assert_eq!(*owner, uid(&world, &workload(part)), "{part} is managed again");
    }
    assert_eq!(["client", "tm", "tm-db"].map(|part| uid(&world, &pod(part))), pods, "nothing is restarted");
    world.assert_ready("alice");
    safety::assert_safe(&world.server);
    safety::assert_nothing_lost(&world.server);
    let calls = world.server.calls().split_off(calls);
    let made: Vec<_> = calls
        .iter()
        .filter(|call| {
            ["persistentvolumeclaims", "statefulsets", "pods"].contains(&call.target.resource.as_str())
        })
        .map(ToString::to_string)
        .collect();
    let count = |what: &str| made.iter().filter(|call| call.starts_with(what)).count();
    let counts = ["patch persistentvolumeclaims", "delete statefulsets", "apply statefulsets"].map(count);
    assert_eq!((counts, made.len()), ([2, 2, 2], 6), "{made:#?}");
    let version = world.server.version();
    world.start();
    world.rest().await;
    assert_eq!(world.server.version(), version, "one more reconcile wrote something");
}

#[tokio::test(start_paused = true)]
async fn a_size_that_is_refused_is_told_leaves_the_workload_and_is_taken_up_when_it_may_be() {
    let world = ready().await;
    world.server.refuse_growth(Some(NO_EXPANSION));
    let (set, running) = (uid(&world, &workload("client")), uid(&world, &pod("client")));
    grow(&world, "30Gi");
    tokio::time::sleep(Duration::from_secs(5)).await;
    for kind in ["Ready", "Stalled"] {
        let (status, reason, message) = world.condition("alice", kind).expect(kind);
        assert_eq!((status == "True", reason.as_str()), (kind == "Stalled", "GrowthRefused"), "{kind}");
        for part in
            ["spec.client.storage.size (30Gi)", "data-alice-client-0", NO_EXPANSION, "allowVolumeExpansion"]
        {
            assert!(message.contains(part), "{message}");
        }
    }
    assert_eq!(uid(&world, &workload("client")), set, "the workload stays");
    // all other changes are applied
    edit(&world, |spec| spec["client"]["image"] = json!(specs::image("goquorum-next")));
    tokio::time::sleep(Duration::from_secs(120)).await;
    let now = world.server.get(&pod("client")).expect("a pod");
    assert_eq!(now["spec"]["containers"][0]["image"], specs::image("goquorum-next"));
    assert_ne!(now["metadata"]["uid"], running);
    assert_eq!((size(&world, "client"), uid(&world, &workload("client"))), (json!("20Gi"), set));
    // requested at most once a minute, after everything else has settled
    let before = world.server.calls().len();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let asked = world.server.calls().len() - before;
    assert!((8..=11).contains(&asked), "{asked} requests: {:#?}", world.recent());

    world.server.refuse_growth(None);
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert_eq!((size(&world, "client"), template(&world, "client")), (json!("30Gi"), json!("30Gi")));
    assert_eq!(uid(&world, &pod("client")), now["metadata"]["uid"]);
    world.assert_ready("alice");
}

/// The user corrects a typing error.
#[tokio::test(start_paused = true)]
async fn a_size_that_was_refused_can_be_taken_back_and_one_below_what_the_claim_has_is_told() {
    let mut world = ready().await;
    world.server.refuse_growth(Some(NO_EXPANSION));
    let before = ["client", "tm-db"].map(|part| (uid(&world, &workload(part)), uid(&world, &pod(part))));
    grow(&world, "2000Gi");
    world.rest().await;
    assert_eq!(world.condition("alice", "Stalled").expect("told").1, "GrowthRefused");
    grow(&world, "20Gi");
    world.rest().await;
    world.assert_ready("alice");
    edit(&world, |spec| {
        spec["client"]["storage"]["size"] = json!("9Gi");
        spec["transactionManager"]["database"]["managed"]["storage"]["size"] = json!("9Gi");
    });
    world.rest().await;
    let (_, reason, message) = world.condition("alice", "Stalled").expect("told");
    assert_eq!(reason, "ShrinkRefused");
    for part in [
        "spec.client.storage.size (9Gi): PersistentVolumeClaim data-alice-client-0 requests 20Gi, its volume has 20Gi",
        "set this field to 20Gi or more",
        "database.managed.storage.size (9Gi): PersistentVolumeClaim data-alice-tm-db-0 requests 10Gi, its volume has 10Gi",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!((size(&world, "client"), template(&world, "client")), (json!("20Gi"), json!("20Gi")));
    edit(&world, |spec| {
        spec["client"]["storage"]["size"] = json!("20Gi");
        spec["transactionManager"]["database"]["managed"]["storage"]["size"] = json!("10Gi");
    });
    world.rest().await;
    world.assert_ready("alice");
    let after = ["client", "tm-db"].map(|part| (uid(&world, &workload(part)), uid(&world, &pod(part))));
    assert_eq!(after, before, "nothing was made anew");
    safety::assert_nothing_lost(&world.server);
}

/// The driver does not provide the size: growth that was not provided can be withdrawn, down to more than the volume
/// has.
#[tokio::test(start_paused = true)]
async fn a_size_that_no_volume_has_got_is_told_and_taken_back() {
    let mut world = ready().await;
    let running = uid(&world, &pod("client"));
    world.server.hold_volumes(true);
    grow(&world, "2000Gi");
    world.rest().await;
    world.assert_ready("alice");
    let (status, reason, message) = world.condition("alice", "VolumesResized").expect("told");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Resizing"));
    assert!(message.contains("data-alice-client-0 requests 2000Gi and has 20Gi"), "{message}");
    grow(&world, "20Gi");
    world.rest().await;
    let (_, reason, message) = world.condition("alice", "Stalled").expect("told");
    assert_eq!(reason, "ShrinkRefused");
    assert!(
        message.contains("requests 2000Gi and has 20Gi") && message.contains("more than 20Gi"),
        "{message}"
    );
    assert_eq!(size(&world, "client"), "2000Gi");
    grow(&world, "21Gi");
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!((size(&world, "client"), template(&world, "client")), (json!("21Gi"), json!("21Gi")));
    assert_eq!(world.condition("alice", "VolumesResized").expect("still").1, "Resizing");
    world.server.hold_volumes(false);
    world.rest().await;
    assert_eq!(world.condition("alice", "VolumesResized"), None);
    assert_eq!(uid(&world, &pod("client")), running, "nothing is restarted");
    safety::assert_safe(&world.server);
}

#[tokio::test(start_paused = true)]
async fn a_permission_that_is_missing_is_no_refusal_of_the_size() {
    let world = ready().await;
    let mut left: std::collections::BTreeSet<_> = allowed(ROLE).union(&allowed(CLUSTER)).cloned().collect();
    assert!(left.remove("patch persistentvolumeclaims."));
    world.server.allow_only(Some(left));
    grow(&world, "30Gi");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (_, reason, message) = world.condition("alice", "Synced").expect("told");
    assert_eq!(reason, "Forbidden");
    assert!(message.contains("data-alice-client-0"), "{message}");
    world.server.allow_only(None);
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(template(&world, "client"), "30Gi");
    world.assert_ready("alice");
}

#[tokio::test(start_paused = true)]
async fn a_paused_node_grows_when_it_goes_on() {
    let mut world = ready().await;
    edit(&world, |spec| {
        spec["paused"] = json!(true);
        spec["client"]["storage"]["size"] = json!("30Gi");
    });
    world.rest().await;
    assert_eq!((size(&world, "client"), template(&world, "client")), (json!("20Gi"), json!("20Gi")));
    let (_, _, message) = world.condition("alice", "Paused").expect("it is paused");
    assert!(message.contains("PersistentVolumeClaim data-alice-client-0"), "{message}");
    edit(&world, |spec| spec["paused"] = json!(false));
    world.rest().await;
    assert_eq!((size(&world, "client"), template(&world, "client")), (json!("30Gi"), json!("30Gi")));
}

#[tokio::test(start_paused = true)]
async fn a_retained_claim_grows_for_a_node_that_is_made_again() {
    let mut world = World::new();
    world.start();
    world.server.put(&client("alice"));
    world.rest().await;
    let before = uid(&world, &claim("client"));
    world.server.delete(&node("alice"), &json!({"propagationPolicy": "Background"}));
    world.rest().await;
    assert_eq!(world.server.get(&node("alice")), None);
    let mut alice = client("alice");
    alice["spec"]["client"]["storage"]["size"] = json!("30Gi");
    world.server.put(&alice);
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!((size(&world, "client"), template(&world, "client")), (json!("30Gi"), json!("30Gi")));
    assert_eq!(uid(&world, &claim("client")), before);
}

/// The request of a claim never shrinks, also if another client increased it.
#[tokio::test(start_paused = true)]
async fn a_claim_that_is_larger_already_stays_so() {
    let mut world = ready().await;
    world.server.edit(&claim("client"), "kubectl-edit", |claim| {
        claim["spec"]["resources"]["requests"]["storage"] = json!("2Ti");
    });
    grow(&world, "1Ti");
    world.rest().await;
    assert_eq!((size(&world, "client"), template(&world, "client")), (json!("2Ti"), json!("1Ti")));
    world.assert_ready("alice");
}

/// A claim that a user created under the name of the workload's claim.
#[tokio::test(start_paused = true)]
async fn a_claim_without_our_labels_is_left_alone_and_named() {
    for labels in [json!({}), json!({"quorum.security/node": "alice", "quorum.security/component": "tm-db"})]
    {
        left_alone_and_named(labels).await;
    }
}

async fn left_alone_and_named(labels: Value) {
    let mut world = ready().await;
    let set = uid(&world, &workload("client"));
    world.stop();
    world.server.edit(&claim("client"), "kubectl-edit", |claim| claim["metadata"]["labels"] = labels);
    world.start();
    grow(&world, "30Gi");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (_, reason, message) = world.condition("alice", "Stalled").expect("told");
    assert_eq!(reason, "GrowthRefused");
    assert!(message.contains("data-alice-client-0 lacks the labels"), "{message}");
    assert_eq!((size(&world, "client"), uid(&world, &workload("client"))), (json!("20Gi"), set));
    world.server.edit(&claim("client"), "kubectl-edit", |claim| {
        claim["metadata"]["labels"] =
            json!({"quorum.security/node": "alice", "quorum.security/component": "client"});
    });
    world.rest().await;
    assert_eq!((size(&world, "client"), template(&world, "client")), (json!("30Gi"), json!("30Gi")));
    world.assert_ready("alice");
}

/// The peers that geth stays connected to are recorded outside the workload too.
#[tokio::test(start_paused = true)]
async fn a_peer_that_left_before_costs_no_second_restart_when_the_volume_grows() {
    let outside = |key: &str| format!("enode://{}@192.0.2.7:30303", key.repeat(64));
    let mut world = World::new();
    world.start();
    let mut alice = client("alice");
    alice["spec"]["peering"] = json!({"permissioned": [outside("aa"), outside("bb")]});
    world.server.put(&alice);
    world.rest().await;
    let first = uid(&world, &pod("client"));
    edit(&world, |spec| spec["peering"] = json!({"permissioned": [outside("aa")]}));
    world.rest().await;
    // the peer may be back in a moment
    tokio::time::sleep(Duration::from_secs(310)).await;
    world.rest().await;
    let second = uid(&world, &pod("client"));
    assert_ne!(second, first, "bb left");
    grow(&world, "30Gi");
    world.rest().await;
    assert_eq!((template(&world, "client"), uid(&world, &pod("client"))), (json!("30Gi"), second));
}

/// The operator crashes after it has deleted the workload, and before it recreates it.
async fn taken_away() -> World {
    let mut world = ready().await;
    world.stop();
    for part in ["client", "tm-db"] {
        world.server.delete(&workload(part), &json!({"propagationPolicy": "Orphan"}));
        assert_eq!(world.server.get(&workload(part)), None);
        assert!(world.server.get(&pod(part)).is_some(), "its pod runs on");
    }
    world
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_was_taken_away_is_written_again_though_a_peer_is_not_complete() {
    let mut world = taken_away().await;
    let running = uid(&world, &pod("client"));
    // it never gets a key, because its genesis is missing
    let mut bob = client("bob");
    bob["spec"]["genesis"]["configMapRef"]["name"] = json!("missing");
    world.server.put(&bob);
    world.start();
    world.rest().await;
    let set = uid(&world, &workload("client"));
    let pod = world.server.get(&pod("client")).expect("a pod");
    assert_eq!((&pod["metadata"]["uid"], &pod["metadata"]["ownerReferences"][0]["uid"]), (&running, &set));
    world.assert_ready("alice");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_deleted_while_its_workloads_are_away_takes_its_pods_along() {
    let mut world = taken_away().await;
    world.server.delete(&node("alice"), &json!({"propagationPolicy": "Background"}));
    world.start();
    world.rest().await;
    assert_eq!(world.server.get(&node("alice")), None, "{:#?}", world.recent());
    for part in ["client", "tm", "tm-db"] {
        assert_eq!(world.server.get(&pod(part)), None, "{part}");
    }
    safety::assert_safe(&world.server);
    safety::assert_nothing_lost_but(&world.server, "qn-alice-tls-");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_goes_while_its_workload_is_away_takes_its_pod_along() {
    let mut world = taken_away().await;
    edit(&world, |spec| spec["transactionManager"] = Value::Null);
    world.start();
    world.rest().await;
    assert_eq!(world.server.get(&pod("tm-db")), None);
    world.assert_ready("alice");
    safety::assert_nothing_lost_but(&world.server, "qn-alice-tls-");
}
