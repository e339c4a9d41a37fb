//! Rules that must hold at every moment of every run, checked on the order of the changes; and the result of a run
//! without what differs between runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;

use crate::testing::{
    kstatus::{Computed, compute, wait_for_ready_returns},
    server::{Change, Server},
    settled::settle,
};

/// How long a policy may be missing after another client has deleted it.
const GAP: Duration = Duration::from_millis(100);

/// Fails at the first change that breaks a rule.
pub(super) fn assert_safe(server: &Server) {
    let mut there = BTreeSet::new();
    let (mut quorum, mut rollouts) = (Quorum::default(), Rollouts::default());
    let mut kept: BTreeMap<String, Value> = BTreeMap::new();
    let changes = server.changes();
    for (at, change) in changes.iter().enumerate() {
        let Change { kind, target, object, .. } = change;
        let what = format!("{kind} {} {}", target.resource, target.name);
        quorum.see(change);
        rollouts.see(change);
        let name = (target.resource.as_str(), target.name.clone());
        if kind == &"DELETED" {
            there.remove(&name)
        } else {
            there.insert(name)
        };
        let is_kept = target.resource == "secrets"
            && (target.name.ends_with("-nodekey") || target.name.contains("-ca"));
        if is_kept {
            let data = kept.entry(target.name.clone()).or_insert_with(|| object["data"].clone());
            assert!(*kind == "DELETED" || *data == object["data"], "a key is written once: {what}");
        }
        if is_kept && *kind == "DELETED" {
            kept.remove(&target.name);
        }
        let label = |key: &str| object["metadata"]["labels"][key].as_str().unwrap_or_default().to_owned();
        let (node, component) = (label("quorum.security/node"), label("quorum.security/component"));
        let has = |resource: &'static str, name: String| there.contains(&(resource, name));
        if *kind == "ADDED" && (target.resource == "statefulsets" || target.resource == "pods") {
            assert!(has("networkpolicies", format!("{node}-deny")), "open: {what}");
            if component == "client" {
                assert!(has("services", format!("{node}-p2p")), "without an address: {what}");
            }
        }
        if *kind == "DELETED" && target.resource == "networkpolicies" && target.name == format!("{node}-deny")
        {
            let running: Vec<_> = there
                .iter()
                .filter(|(kind, name)| *kind == "pods" && name.starts_with(&format!("{node}-")))
                .collect();
            // another client has deleted it, and it is recreated at once
            let remade = changes[at..]
                .iter()
                .any(|later| later.kind == "ADDED" && later.target == *target && later.at - change.at < GAP);
            assert!(remade || running.is_empty(), "open: {what}, and {running:?} run");
        }
    }
}

/// With four validators or more, those that the chain needs never stop serving once they have served.
#[derive(Default)]
struct Quorum {
    validators: BTreeSet<String>,
    serving: BTreeSet<String>,
    /// Number of validators for which the quorum was reached.
    seen_of: usize,
}

impl Quorum {
    fn see(&mut self, Change { kind, target, object, .. }: &Change) {
        let is_there = *kind != "DELETED" && object["metadata"]["deletionTimestamp"].is_null();
        let (set, listed) = match target.resource.as_str() {
            "quorumnodes" => (&mut self.validators, is_there && object["spec"]["role"] == "Validator"),
            "pods" => {
                let labels = &object["metadata"]["labels"];
                let is_validator = labels["quorum.security/role"] == "Validator"
                    && labels["quorum.security/component"] == "client";
                let conditions = object["status"]["conditions"].as_array();
                let serves = conditions
                    .is_some_and(|all| all.iter().any(|it| it["type"] == "Ready" && it["status"] == "True"));
                (&mut self.serving, is_there && is_validator && serves)
            }
            _ => return,
        };
        if listed {
            set.insert(target.name.clone())
        } else {
            set.remove(&target.name)
        };
        let (count, serving) = (self.validators.len(), self.serving.len());
        let needed = count - count.saturating_sub(1) / 3;
        if count < 4 || serving >= needed {
            self.seen_of = count;
        } else {
            assert_ne!(self.seen_of, count, "{serving} of {count} validators serve: {:?}", self.serving);
        }
    }
}

/// By kstatus or by the rule of `kubectl wait`, no node counts as done with a generation before every part of it runs
/// what that generation specifies.
#[derive(Default)]
struct Rollouts {
    /// Current pods and StatefulSets.
    running: BTreeMap<String, Value>,
    /// The last generation with which each node counted as done.
    done: BTreeMap<String, i64>,
}

impl Rollouts {
    fn see(&mut self, Change { kind, target, object, .. }: &Change) {
        let name = format!("{}/{}", target.namespace, target.name);
        match (target.resource.as_str(), *kind) {
            ("quorumnodes", "DELETED") => drop(self.done.remove(&name)),
            ("quorumnodes", _) => {
                let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
                // by the server's default, a new node's status has generation -1
                let is_new = object["status"].is_null();
                let is_done =
                    !is_new && (compute(object) == Computed::Current || wait_for_ready_returns(object));
                if is_done && self.done.insert(name.clone(), generation) != Some(generation) {
                    self.assert_runs(&name, object);
                }
            }
            ("pods" | "statefulsets", "DELETED") => drop(self.running.remove(&name)),
            ("pods" | "statefulsets", _) => drop(self.running.insert(name, object.clone())),
            _ => {}
        }
    }

    fn assert_runs(&self, name: &str, node: &Value) {
        let (spec, status) = (&node["spec"], &node["status"]);
        let manager = &spec["transactionManager"];
        let parts = [
            ("client", &spec["client"]["image"]),
            ("tm", &manager["image"]),
            ("tm-db", &manager["database"]["managed"]["image"]),
        ];
        for (part, image) in parts.into_iter().filter(|(_, image)| !image.is_null()) {
            let (workload, pod) = (format!("{name}-{part}"), format!("{name}-{part}-0"));
            let told = || format!("{name} is reported as done before {pod} is new: {status:#}");
            let pod = self.running.get(&pod).unwrap_or_else(|| panic!("{}", told()));
            let containers = pod["spec"]["containers"].as_array();
            let runs = containers.into_iter().flatten().any(|container| container["image"] == *image);
            assert!(runs, "{}", told());
            let revision = &pod["metadata"]["labels"]["controller-revision-hash"];
            let newest = self.running.get(&workload).map(|workload| &workload["status"]["updateRevision"]);
            assert_eq!(Some(revision), newest, "{}", told());
        }
    }
}

/// Asserts that no claim and no Secret is deleted unless the spec requests it.
pub(super) fn assert_nothing_lost(server: &Server) {
    assert_nothing_lost_but(server, "\0");
}

/// As [`assert_nothing_lost`], except for Secrets whose names begin with `made`, which are recreated.
pub(super) fn assert_nothing_lost_but(server: &Server, made: &str) {
    for change in server.changes() {
        let irreplaceable_secrets =
            ["persistentvolumeclaims", "secrets"].contains(&change.target.resource.as_str());
        let lost = irreplaceable_secrets && change.kind == "DELETED" && !change.target.name.starts_with(made);
        assert!(!lost, "{} is lost", change.target.name);
    }
}

/// How often each object was created and deleted, without Events.
pub(super) fn counts(server: &Server) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for change in server.changes() {
        if change.kind != "MODIFIED" && change.target.resource != "events" {
            let what = format!("{} {}/{}", change.kind, change.target.resource, change.target.name);
            *counts.entry(what).or_default() += 1;
        }
    }
    counts
}

/// All objects at rest, without what depends on chance and on the order of events.
pub(super) fn end(server: &Server) -> BTreeMap<String, Value> {
    let objects = server.objects();
    let names: BTreeMap<String, String> = objects
        .iter()
        .filter_map(|(target, object)| {
            Some((object["metadata"]["uid"].as_str()?.to_owned(), target.name.clone()))
        })
        .collect();
    objects
        .into_iter()
        .filter(|(target, _)| target.resource != "events")
        .map(|(target, mut object)| {
            settle(&mut object, &names);
            (format!("{}/{}", target.resource, target.name), object)
        })
        .collect()
}
