//! Tests of rollouts: few pods of a network at a time, and the next one when those are healthy.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    disruption::validator,
    rotation::rotate,
    safety,
    world::{ROTATED, World, client, manager_keys, member, node, object},
};
use crate::testing::{
    server::{Change, Server},
    specs,
};

pub(super) const MEMBERS: [&str; 3] = ["alice", "bob", "dave"];
const VALIDATORS: [&str; 2] = ["val-a", "val-b"];

/// Three members with managers and databases, and two validators.
pub(super) async fn network() -> World {
    let mut world = World::new();
    world.start();
    for (i, name) in (9..).zip(MEMBERS) {
        world.server.put(&manager_keys(name, [i; 32]));
        world.server.put(&member(name));
    }
    VALIDATORS.iter().for_each(|name| world.server.put(&validator(name)));
    world.rest().await;
    world
}

/// Nodes with only a client, with this rollout.
async fn clients(names: &[&str], rollout: Value) -> World {
    let mut world = World::new();
    world.start();
    for name in names {
        let mut client = client(name);
        client["spec"]["rollout"] = rollout.clone();
        world.server.put(&client);
    }
    world.rest().await;
    world.server.start_slowly(true);
    world
}

fn patch(world: &World, names: &[&str], image: &str) {
    for name in names {
        world.server.edit(&node(name), "kubectl-patch", |node| {
            node["spec"]["client"]["image"] = json!(specs::image(image));
        });
    }
}

fn is_new(world: &World, name: &str, image: &str) -> bool {
    let pod = world.server.get(&object("v1", "pods", &format!("{name}-client-0"))).unwrap_or_default();
    let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
    containers.iter().any(|container| container["image"] == specs::image(image))
}

fn new_pods<'a>(world: &World, names: &[&'a str], image: &str) -> Vec<&'a str> {
    names.iter().copied().filter(|name| is_new(world, name, image)).collect()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|it| it["type"] == "Ready" && it["status"] == "True"))
}

/// Number of replacements of each pod since a change. Fails if a serving pod was replaced while another one did not
/// serve, or had not served for `min_ready`. Leaves out pods of nodes that are being deleted.
pub(super) fn replaced(server: &Server, from: usize, min_ready: Duration) -> BTreeMap<String, usize> {
    let mut leaving = BTreeSet::new();
    let mut serving: BTreeMap<String, Option<Instant>> = BTreeMap::new();
    let mut replaced = BTreeMap::new();
    for (i, Change { at, kind, target, object }) in server.changes().iter().enumerate() {
        let of = object["metadata"]["labels"]["quorum.security/node"].as_str().unwrap_or_default();
        match target.resource.as_str() {
            "quorumnodes" if object["metadata"]["deletionTimestamp"].is_string() => {
                leaving.insert(target.name.clone());
            }
            "pods" if leaving.contains(of) => drop(serving.remove(&target.name)),
            "pods" if *kind == "DELETED" => {
                let served = serving.insert(target.name.clone(), None);
                // its deletion is seen a moment after the state that it was based on
                let is_healthy = |since: &Option<Instant>| {
                    since.is_some_and(|since| at.duration_since(since) + Duration::from_secs(1) >= min_ready)
                };
                let others: Vec<_> = serving.iter().filter(|(name, _)| **name != target.name).collect();
                let away: Vec<_> = others.into_iter().filter(|(_, since)| !is_healthy(since)).collect();
                assert!(
                    served.flatten().is_none() || away.is_empty(),
                    "{i} from {from}: {} went at {at:?} beside {away:?}",
                    target.name
                );
                if i >= from {
                    *replaced.entry(target.name.clone()).or_default() += 1;
                }
            }
            "pods" => {
                let since = serving.entry(target.name.clone()).or_default();
                *since = is_ready(object).then(|| since.unwrap_or(*at));
            }
            _ => {}
        }
    }
    replaced
}

/// Asserts that these parts of these nodes were each replaced once.
pub(super) fn assert_each_once(world: &World, from: usize, (names, parts): (&[&str], &[&str])) {
    let replaced = replaced(&world.server, from, Duration::from_secs(30));
    for (name, part) in names.iter().flat_map(|name| parts.iter().map(move |part| (name, part))) {
        assert_eq!(replaced.get(&format!("{name}-{part}-0")), Some(&1), "{name}-{part}: {replaced:?}");
    }
    safety::assert_safe(&world.server);
}

#[tokio::test(start_paused = true)]
async fn a_new_guard_image_replaces_one_pod_of_a_network_at_a_time() {
    let mut world = network().await;
    let before = world.server.changes().len();
    world.render_config.guard_image = specs::image("quorum-guard-next");
    world.start();
    world.rest().await;
    assert_each_once(&world, before, (&MEMBERS, &["client", "tm", "tm-db"]));
    assert_each_once(&world, before, (&VALIDATORS, &["client"]));
    MEMBERS.iter().chain(&VALIDATORS).for_each(|name| world.assert_ready(name));
}

#[tokio::test(start_paused = true)]
async fn another_authority_replaces_one_pod_of_a_network_at_a_time() {
    let mut world = network().await;
    let before = world.server.changes().len();
    rotate(&world.server, "qnet-acme-ca");
    world.rest_after(ROTATED).await;
    let replaced = replaced(&world.server, before, Duration::from_secs(30));
    for name in MEMBERS {
        assert!(
            replaced.get(&format!("{name}-tm-0")).is_some_and(|times| *times >= 1),
            "{name}: {replaced:?}"
        );
    }
    MEMBERS.iter().chain(&VALIDATORS).for_each(|name| world.assert_ready(name));
    safety::assert_safe(&world.server);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_joins_and_leaves_costs_one_pod_at_a_time() {
    let mut world = network().await;
    let before = world.server.changes().len();
    world.server.put(&manager_keys("dora", [7; 32]));
    world.server.put(&member("dora"));
    world.rest().await;
    assert_each_once(&world, before, (&MEMBERS, &["tm"]));

    let before = world.server.changes().len();
    let pod = object("v1", "pods", "dora-tm-0");
    world.server.edit(&pod, "kubelet", |pod| pod["metadata"]["finalizers"] = json!(["test/running"]));
    world.server.delete(&node("dora"), &json!({}));
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(replaced(&world.server, before, Duration::ZERO), BTreeMap::new(), "it has not left yet");
    world.server.edit(&pod, "kubelet", |pod| pod["metadata"]["finalizers"] = json!([]));
    world.rest_after(ROTATED).await;
    assert!(world.server.get(&node("dora")).is_none());
    assert_each_once(&world, before, (&MEMBERS, &["client"]));
    assert_each_once(&world, before, (&VALIDATORS, &["client"]));
    let replaced = replaced(&world.server, before, Duration::from_secs(30));
    assert!(!replaced.keys().any(|pod| pod.ends_with("-tm-0")), "{replaced:?}");
    MEMBERS.iter().chain(&VALIDATORS).for_each(|name| world.assert_ready(name));
}

#[tokio::test(start_paused = true)]
async fn as_many_pods_are_away_as_the_strictest_node_lets() {
    let names = ["a", "b", "c", "d", "e", "f"];
    for (strictest, most) in [(5, 3), (2, 2)] {
        let mut world = clients(&names, json!({"maxUnavailable": 3})).await;
        world.server.edit(&node("e"), "kubectl-patch", |node| {
            node["spec"]["rollout"]["maxUnavailable"] = json!(strictest);
        });
        patch(&world, &names, "goquorum-next");
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(new_pods(&world, &names, "goquorum-next"), names[..most], "none of them serves yet");
        world.server.all_started();
        world.server.start_slowly(false);
        world.rest().await;
        assert_eq!(new_pods(&world, &names, "goquorum-next"), names);
    }
}

/// When each client's new pod was created.
fn replaced_at(world: &World, image: &str) -> Vec<Instant> {
    let is_new = |change: &&Change| {
        let mut containers = change.object["spec"]["containers"].as_array().into_iter().flatten();
        change.kind == "ADDED"
            && change.target.resource == "pods"
            && containers.any(|container| container["image"] == specs::image(image))
    };
    world.server.changes().iter().filter(is_new).map(|change| change.at).collect()
}

#[tokio::test(start_paused = true)]
async fn the_next_pod_goes_when_the_last_one_was_ready_for_the_longest_time_that_a_node_asks_for() {
    for (seconds, other) in [(200, 90), (90, 200), (20, 0)] {
        let mut world = clients(&["a", "b"], json!({"minReadySeconds": seconds})).await;
        world.server.start_slowly(false);
        world.server.edit(&node("b"), "kubectl-patch", |node| {
            node["spec"]["rollout"]["minReadySeconds"] = json!(other);
        });
        patch(&world, &["a", "b"], "goquorum-next");
        world.rest_after(Duration::from_secs(400)).await;
        let at = replaced_at(&world, "goquorum-next");
        let [first, second] = at.as_slice() else { panic!("{at:?}") };
        let between = second.duration_since(*first).as_secs_f64();
        let longest = f64::from(seconds.max(other));
        assert!((longest - 1.0..longest + 2.0).contains(&between), "{between} s of {longest} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollout_stops_at_the_first_pod_that_does_not_serve_and_every_node_that_waits_names_it() {
    let names = ["a", "b", "c", "d"];
    let mut world = clients(&names, json!({})).await;
    patch(&world, &names, "goquorum-broken");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(new_pods(&world, &names, "goquorum-broken"), ["a"]);
    let told = |world: &World, name: &str, says: &str| {
        let (status, reason, message) = world.condition(name, "RolledOut").expect("told");
        assert_eq!(status, "False");
        assert!(message.contains(&format!("the client of node a {says}")), "{name}: {message}");
        reason
    };
    let waits = |name: &&str| assert_eq!(told(&world, name, "does not serve"), "WaitingForHealth");
    names[1..].iter().for_each(waits);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(new_pods(&world, &names, "goquorum-broken"), ["a"]);
    let stopped = |name: &&str| assert_eq!(told(&world, name, "has not served since"), "RolloutStopped");
    names[1..].iter().for_each(stopped);
    assert_eq!(world.condition("a", "RolledOut"), None, "it waits for nothing");

    // a pod that does not serve is replaced at once
    patch(&world, &["a"], "goquorum");
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(new_pods(&world, &names, "goquorum-broken"), [""; 0]);
    patch(&world, &names[1..], "goquorum");
    world.server.all_started();
    world.rest().await;
    for name in names {
        assert!(is_new(&world, name, "goquorum"));
        assert_eq!(world.condition(name, "RolledOut"), None);
    }
}

/// A webhook weakens the first node's workload, so its pod is never replaced, and the others cannot see why.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_long_for_the_turn_of_a_node_that_does_not_take_it() {
    let mut world = clients(&["a", "b"], json!({})).await;
    world.server.start_slowly(false);
    world.server.mutate(|target, object| {
        if target.resource == "statefulsets" && target.name == "a-client" {
            object["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
        }
    });
    patch(&world, &["a", "b"], "goquorum-next");
    world.rest_after(Duration::from_secs(160)).await;
    assert_eq!(new_pods(&world, &["a", "b"], "goquorum-next"), ["b"]);
}

/// Clients with this role, each in a network of its own.
async fn fleet(names: &[String], role: impl Fn(&str) -> &'static str) -> World {
    let mut world = World::new();
    world.start();
    for name in names {
        let mut client = client(name);
        client["spec"]["network"] = json!(format!("net-{name}"));
        client["spec"]["role"] = json!(role(name));
        world.server.put(&client);
    }
    world.rest().await;
    world.server.start_slowly(true);
    world
}

#[tokio::test(start_paused = true)]
async fn over_all_networks_no_more_pods_are_on_their_way_than_may_be() {
    let names: Vec<_> = ('a'..='h').map(String::from).collect();
    let all: Vec<_> = names.iter().map(String::as_str).collect();
    for most in [5, 2] {
        let mut world = fleet(&names, |_| "Member").await;
        world.max_rollouts = most;
        world.start();
        tokio::time::sleep(Duration::from_secs(60)).await;
        patch(&world, &all, "goquorum-next");
        tokio::time::sleep(Duration::from_secs(600)).await;
        let new = new_pods(&world, &all, "goquorum-next");
        assert_eq!(new.len(), usize::from(most), "{new:?}");
        for name in all.iter().filter(|name| !new.contains(name)) {
            let (_, reason, message) = world.condition(name, "RolledOut").expect("told");
            assert_eq!(reason, "RolloutLimitReached");
            assert!(message.contains(&format!("ledger/{}-client", new[0])), "{message}");
        }
        // a pod that does not serve is replaced at once, and a deleted node delays no other
        patch(&world, &[new[0]], "goquorum");
        world.server.delete(&node(new[1]), &json!({}));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(is_new(&world, new[0], "goquorum"));
        assert_eq!(new_pods(&world, &all, "goquorum-next").len(), usize::from(most) - 1);
        world.server.start_slowly(false);
        world.server.all_started();
        world.rest().await;
        let new = new_pods(&world, &all, "goquorum-next");
        assert_eq!(new.len(), all.len() - 2, "{new:?}");
    }
}

fn with_guard(world: &World, names: &[&str], image: &str) -> Vec<String> {
    let has_it = |name: &&&str| {
        let pod = world.server.get(&object("v1", "pods", &format!("{name}-client-0"))).unwrap_or_default();
        let mut containers = pod["spec"]["initContainers"].as_array().into_iter().flatten();
        containers.any(|container| container["image"] == specs::image(image))
    };
    names.iter().filter(has_it).map(|name| (*name).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_new_guard_image_goes_to_one_node_first_and_to_a_member_before_validators() {
    let names: Vec<_> = ('a'..='f').map(String::from).collect();
    let all: Vec<_> = names.iter().map(String::as_str).collect();
    let role = |name: &str| if name < "e" { "Validator" } else { "Member" };
    let mut world = fleet(&names, role).await;
    world.render_config.guard_image = specs::image("quorum-guard-broken");
    world.start();
    tokio::time::sleep(Duration::from_secs(900)).await;
    let tried = with_guard(&world, &all, "quorum-guard-broken");
    let [first] = tried.as_slice() else { panic!("{tried:?}") };
    assert!(role(first) == "Member", "{first}");
    for name in all.iter().filter(|name| *name != first) {
        let (_, reason, message) = world.condition(name, "RolledOut").expect("told");
        assert_eq!(reason, "GuardCanary");
        assert!(message.contains(&format!("to node ledger/{first} (the canary)")), "{message}");
    }
    // the next version is tried again on the same node, which does not serve
    world.render_config.guard_image = specs::image("quorum-guard-next");
    world.start();
    tokio::time::sleep(Duration::from_secs(600)).await;
    world.server.start_slowly(false);
    world.server.all_started();
    let before = world.server.changes().len();
    world.rest().await;
    assert_eq!(with_guard(&world, &all, "quorum-guard-next"), names);
    let changes = world.server.changes().split_off(before);
    let mut gone =
        changes.iter().filter(|it| it.kind == "DELETED" && it.target.resource == "pods").map(|it| it.at);
    let (start, next) = (changes[0].at, gone.next().expect("one goes"));
    let soaked = next.duration_since(start);
    assert!(soaked >= Duration::from_secs(29), "the next node goes {soaked:?} after the first one serves");
}

/// It was chosen, and a user pauses or deletes it.
#[tokio::test(start_paused = true)]
async fn a_node_on_trial_that_does_not_go_on_makes_room_for_another() {
    for deleted in [false, true] {
        let names = ["a".to_owned(), "b".to_owned()];
        let mut world = fleet(&names, |_| "Member").await;
        world.render_config.guard_image = specs::image("quorum-guard-next");
        world.start();
        tokio::time::sleep(Duration::from_secs(600)).await;
        let [first] = with_guard(&world, &["a", "b"], "quorum-guard-next").try_into().expect("one is tried");
        let other = if first == "a" { "b" } else { "a" };
        match deleted {
            true => world.server.delete(&node(&first), &json!({})),
            false => world.server.edit(&node(&first), "kubectl", |node| node["spec"]["paused"] = json!(true)),
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(with_guard(&world, &["a", "b"], "quorum-guard-next").contains(&other.to_owned()));
    }
}

/// The watch of pods is silent for up to 90 s: the first pod seems to serve as before.
#[tokio::test(start_paused = true)]
async fn a_pod_that_goes_while_nobody_sees_it_is_not_followed_by_another() {
    let names = ["a", "b", "c", "d"];
    let mut world = clients(&names, json!({})).await;
    world.server.fall_silent_of("pods");
    patch(&world, &names, "goquorum-next");
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert_eq!(new_pods(&world, &names, "goquorum-next").len(), 1);
    world.server.all_started();
    world.server.start_slowly(false);
    world.rest().await;
    assert_eq!(new_pods(&world, &names, "goquorum-next"), names);
    replaced(&world.server, 0, Duration::from_secs(30));
}
