//! Validation rules of the CRD on a real API server, and faults that only the cluster's state shows.

use std::collections::BTreeMap;

use quorum_operator::{
    api,
    testing::{bounds, refusals, specs},
};
use serde_json::{Value, json};

use crate::support::{
    kubectl::{self, condition, eventually},
    network,
};

const NAMESPACE: &str = "e2e-rules";

/// The API server's errors for each node, from one dry run.
fn asked(nodes: &[Value]) -> BTreeMap<String, String> {
    let mut manifests = String::new();
    for (i, node) in nodes.iter().enumerate() {
        let mut node = node.clone();
        node["metadata"]["namespace"] = json!(NAMESPACE);
        node["metadata"]["labels"] = json!({"case": format!("case-{i}")});
        if node["metadata"]["name"] == "bob" {
            node["metadata"]["name"] = json!(format!("case-{i}"));
        }
        manifests.push_str(&format!("---\n{node}\n"));
    }
    let output = kubectl::run(&["create", "--dry-run=server", "-f", "-"], &manifests);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut answers: BTreeMap<String, String> = BTreeMap::new();
    let mut about = String::new();
    for line in said.lines() {
        if let Some(name) = line.split("QuorumNode").nth(1).and_then(|rest| rest.split('"').nth(1)) {
            about = name.to_owned();
        }
        answers.entry(about.clone()).or_default().push_str(line);
    }
    answers
}

#[test]
fn the_api_server_refuses_values_out_of_bounds() {
    network::prepare(NAMESPACE, &[]);
    let definition = serde_json::to_value(&api::definitions()[0]).expect("a definition is JSON");
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let breaches: Vec<bounds::Breach> =
        [specs::with_managed_database(), specs::with_external_database(), specs::with_password()]
            .iter()
            .flat_map(|node| bounds::breaches(schema, node))
            .collect();
    let nodes: Vec<Value> = breaches.iter().map(|breach| breach.node.clone()).collect();
    let answers = asked(&nodes);
    for (i, breach) in breaches.iter().enumerate() {
        let said = answers.get(&format!("case-{i}")).map_or("admitted", String::as_str);
        assert!(said.contains(&format!("{}: ", breach.field)), "{} {}: {said}", breach.field, breach.bound);
    }
    assert!(breaches.len() > 200, "{}", breaches.len());
}

#[test]
fn the_api_server_refuses_violations_of_validation_rules() {
    network::prepare(NAMESPACE, &[]);
    let cases = refusals::creations();
    let nodes: Vec<Value> = cases.iter().map(|case| case.node.clone()).collect();
    let answers = asked(&nodes);
    for (i, case) in cases.iter().enumerate() {
        let named = case.node["metadata"]["name"].as_str().filter(|name| *name != "bob");
        let name = named.map_or(format!("case-{i}"), str::to_owned);
        let said = answers.get(&name).map_or("admitted", String::as_str);
        assert!(said.contains(case.says), "{}: {said}", case.name);
    }
}

#[test]
fn the_api_server_refuses_changes_of_immutable_fields() {
    network::prepare(NAMESPACE, &[]);
    for (i, case) in refusals::changes().into_iter().enumerate() {
        let placed = |node: &Value| {
            let mut node = node.clone();
            node["metadata"] = json!({"name": format!("fixed-{i}"), "namespace": NAMESPACE});
            node
        };
        kubectl::apply(&[placed(&case.before)]);
        let said = kubectl::refused(&placed(&case.after));
        assert!(said.contains(case.says), "{}: {said}", case.name);
        kubectl::text(&["-n", NAMESPACE, "delete", "quorumnode", &format!("fixed-{i}"), "--wait=false"]);
    }
}

#[test]
fn a_field_that_does_not_exist_is_refused() {
    network::prepare(NAMESPACE, &[]);
    let mut node = specs::smallest("unknown");
    node["metadata"]["namespace"] = json!(NAMESPACE);
    node["spec"]["client"]["extraArgs"] = json!(["--http"]);
    let said = kubectl::refused(&node);
    assert!(said.contains("extraArgs"), "{said}");
}

/// The condition lists all faults at once, each with field, value and remedy.
#[test]
fn faults_that_only_the_cluster_shows_stall_a_node_and_are_listed_together() {
    let namespace = "e2e-rules";
    let mut node = network::member(namespace, "wrong");
    node["spec"]["genesis"]["configMapRef"] = json!({"name": "no-such-genesis", "key": "genesis.json"});
    node["spec"]["nodeKey"] = json!({"secretRef": {"name": "no-such-key", "key": "nodekey"}});
    node["spec"]["client"]["tunables"]["cacheMib"] = json!(4096);
    kubectl::apply(&[node]);
    let message = kubectl::wait_condition(namespace, "wrong", "Stalled", "True", "");
    for part in [
        "no-such-genesis",
        "no-such-key",
        "spec.client.tunables.cacheMib (4096)",
        "spec.transactionManager.keys.secretRef",
    ] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    let node = kubectl::get(&["-n", namespace, "quorumnode", "wrong"]);
    assert_eq!(condition(&node, "Ready").map(|found| found.0).as_deref(), Some("False"));
    assert!(kubectl::find(&["-n", namespace, "statefulset", "wrong-client"]).is_none());
    kubectl::text(&["-n", namespace, "delete", "quorumnode", "wrong"]);
}

/// The network's genesis with IBFT instead of QBFT, which has another layout of `extraData`.
fn ibft() -> String {
    let mut genesis: serde_json::Value = serde_json::from_str(&network::genesis()).expect("JSON");
    let config = genesis["config"].as_object_mut().expect("a map");
    let section = config.remove("qbft").expect("a section");
    config.insert("ibft".into(), section);
    let validator = "f39fd6e51aad88f6f4ce6ab8827279cfffb92266";
    genesis["extraData"] = json!(format!("0x{}f85ad594{validator}b841{}c0", "0".repeat(64), "0".repeat(130)));
    genesis.to_string()
}

#[test]
fn each_invalid_reference_has_its_reason() {
    let namespace = "e2e-rules";
    let secret = |name: &str, content: &str| {
        json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace}, "stringData": {"nodekey": content}})
    };
    let map = |name: &str, content: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace}, "data": {"genesis.json": content}})
    };
    network::prepare(namespace, &[]);
    kubectl::apply(&[secret("short-key", "abc"), map("not-json", "{"), map("ibft", &ibft())]);
    let mut cases = Vec::new();
    let mut case = |name: &str, reason: &'static str, change: &dyn Fn(&mut serde_json::Value)| {
        let mut node = network::client(namespace, name);
        change(&mut node);
        kubectl::apply(&[node]);
        cases.push((name.to_owned(), reason));
    };
    case("short", "NodeKeyInvalid", &|node| {
        node["spec"]["nodeKey"] = json!({"secretRef": {"name": "short-key", "key": "nodekey"}})
    });
    case("nokey", "NodeKeyMissing", &|node| {
        node["spec"]["nodeKey"] = json!({"secretRef": {"name": "none", "key": "nodekey"}})
    });
    case("notjson", "GenesisInvalid", &|node| {
        node["spec"]["genesis"]["configMapRef"]["name"] = json!("not-json")
    });
    case("nogenesis", "GenesisMissing", &|node| {
        node["spec"]["genesis"]["configMapRef"]["name"] = json!("none")
    });
    case("ibft", "ConsensusMismatch", &|node| {
        node["spec"]["genesis"]["configMapRef"]["name"] = json!("ibft")
    });
    case("pinned", "GenesisChanged", &|node| node["spec"]["genesis"]["sha256"] = json!("0".repeat(64)));
    for (name, reason) in &cases {
        kubectl::wait_condition(namespace, name, "Stalled", "True", reason);
    }
    // with a corrected key the node continues by itself
    kubectl::apply(&[secret("short-key", &"1f".repeat(32))]);
    eventually("short is no longer stalled", std::time::Duration::from_secs(30), || {
        let node = kubectl::get(&["-n", namespace, "quorumnode", "short"]);
        match condition(&node, "Stalled") {
            None => Ok(()),
            Some(found) => Err(format!("{found:?}")),
        }
    });
    for (name, _) in &cases {
        kubectl::text(&["-n", namespace, "delete", "quorumnode", name, "--wait=false"]);
    }
}
