use serde_json::{Value, json};

use super::*;

/// A node that references one Secret or ConfigMap in every possible field.
fn bob() -> Value {
    let mut node = parsed(include_str!("../../../config/samples/member.yaml"));
    let spec = &mut node["spec"];
    spec["genesis"]["configMapRef"]["name"] = json!("at-genesis");
    spec["nodeKey"] = json!({"secretRef": {"name": "at-node-key", "key": "nodekey"}});
    spec["tls"] = json!({"issuer": "Provided", "provided": {
        "metrics": {"name": "at-metrics"}, "tmPeers": {"name": "at-tm-peers"}, "rpc": {"name": "at-rpc"},
    }, "trust": [
        {"configMapRef": {"name": "at-trust-0", "key": "ca.crt"}}, {"configMapRef": {"name": "at-trust-1", "key": "ca.crt"}},
    ]});
    spec["metrics"]["clientAuthority"] = json!({"name": "at-client-authority", "key": "ca.crt"});
    let caller =
        |name: &str, identity: Value| json!({"name": name, "from": [], "methods": [], "identity": identity});
    spec["rpc"]["callers"] = json!([
        caller(
            "bank",
            json!({"clientCertificate": {
                "authority": {"name": "at-caller-authority", "key": "ca.crt"}, "subjects": [],
            }})
        ),
        caller(
            "auditor",
            json!({"oidc": {
                "authority": {"name": "at-issuer-authority", "key": "ca.crt"}, "issuer": "", "audience": "", "subjects": [],
            }})
        ),
    ]);
    spec["transactionManager"]["keys"] = json!({
        "secretRef": {"name": "at-keys"}, "passwordRef": {"name": "at-key-password", "key": "password"},
    });
    spec["transactionManager"]["database"] = json!({"external": {
        "host": "pg.example", "cidrs": ["198.51.100.16/28"], "username": "bob",
        "caRef": {"name": "at-database-ca", "key": "ca.crt"},
        "passwordRef": {"name": "at-database-password", "key": "password"},
        "clientCertificateRef": {"name": "at-database-certificate"},
    }});
    node
}

fn parsed(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).expect("a sample is YAML")
}

fn alice(namespace: &str, name: &str, network: &str) -> Value {
    let mut node = parsed(include_str!("../../../config/samples/smallest.yaml"));
    node["metadata"] = json!({"name": name, "namespace": namespace});
    node["spec"]["network"] = json!(network);
    if namespace == "elsewhere" {
        let identity = json!({"publicKey": "ab".repeat(64), "address": "0xab", "secretName": "mine"});
        node["status"] = json!({"identity": identity});
    }
    node
}

fn known() -> Vec<Arc<DecodedNode>> {
    let undecodable = json!({"apiVersion": "quorum.security/v1alpha1", "kind": "QuorumNode",
        "metadata": {"name": "broken", "namespace": "ledger"}, "spec": {"network": "acme"}});
    [
        bob(),
        alice("ledger", "alice", "acme"),
        alice("ledger", "zoe", "other"),
        alice("elsewhere", "alice", "acme"),
        undecodable,
    ]
    .into_iter()
    .map(|node| Arc::new(serde_json::from_value(node).expect("guarded")))
    .collect()
}

/// The nodes that are triggered, as `namespace/name`.
fn woken(by: &Trigger) -> Vec<String> {
    let place =
        |node: ObjectRef<DecodedNode>| format!("{}/{}", node.namespace.unwrap_or_default(), node.name);
    nodes(by, &known()).into_iter().map(place).collect()
}

fn reference(namespace: &str, name: &str) -> Vec<String> {
    woken(&Trigger::Reference { namespace: namespace.into(), name: name.into() })
}

#[test]
fn what_cert_manager_makes_concerns_the_node_that_asked_for_it() {
    let mut dora = alice("ledger", "dora", "acme");
    dora["spec"]["tls"] = json!({"issuer": "CertManager", "certManager": {"issuerRef": {"name": "bank"}}});
    let mut known = known();
    known.push(Arc::new(serde_json::from_value(dora).expect("guarded")));
    let woken =
        |woken: &Trigger| -> Vec<_> { nodes(woken, &known).into_iter().map(|node| node.name).collect() };
    let made = |name: &str| Trigger::Reference { namespace: "ledger".into(), name: name.into() };
    assert_eq!(woken(&made("qn-dora-cm-metrics")), ["dora"]);
    assert_eq!(woken(&made("qn-alice-cm-metrics")), ["alice"], "by its name, whether alice has asked or not");
    assert_eq!(woken(&made("alice-deny")), ["alice"], "a policy that has lost its labels");
    assert_eq!(woken(&made("qnet-acme-validators")).len(), 3, "all of the network");
    assert_eq!(woken(&made("qnet-acmex-validators")), [""; 0]);
    assert_eq!(woken(&made("alicex-deny")), [""; 0]);
    assert_eq!(woken(&Trigger::Optional), ["dora"]);
}

#[test]
fn the_sample_has_one_node_that_cannot_be_read() {
    let undecodable: Vec<_> =
        known().iter().filter(|node| node.0.is_err()).map(|node| node.name_any()).collect();
    assert_eq!(undecodable, ["broken"]);
}

#[test]
fn a_node_wakes_itself_even_where_it_cannot_be_read() {
    assert_eq!(woken(&Trigger::Node(ObjectRef::new("broken").within("ledger"))), ["ledger/broken"]);
}

/// A resync has a lower priority than a change, and a claim to an identity waits for competing claims.
#[test]
fn an_event_is_to_a_node_what_its_turn_is_reckoned_by() {
    let node = || ObjectRef::new("alice").within("ledger");
    let child = Trigger::Child { namespace: "ledger".into(), node: "alice".into() };
    let said = Trigger::Network { namespace: "ledger".into(), network: "acme".into(), identity: None };
    assert_eq!(news(&Trigger::All), None);
    assert_eq!(news(&child), Some(Change::Own));
    assert_eq!(news(&Trigger::Claim(node())), Some(Change::Claim));
    assert_eq!([news(&Trigger::Node(node())), news(&said)], [Some(Change::Said); 2]);
    assert_eq!(news(&Trigger::Host), Some(Change::Other));
}

#[test]
fn a_child_wakes_the_node_that_it_belongs_to() {
    let child = Trigger::Child { namespace: "elsewhere".into(), node: "alice".into() };
    assert_eq!(woken(&child), ["elsewhere/alice"]);
}

#[test]
fn what_a_network_shares_wakes_its_nodes_in_its_namespace() {
    let network = |namespace: &str, network: &str| {
        woken(&Trigger::Network { namespace: namespace.into(), network: network.into(), identity: None })
    };
    assert_eq!(network("ledger", "acme"), ["ledger/bob", "ledger/alice"]);
    assert_eq!(network("ledger", "other"), ["ledger/zoe"]);
    assert_eq!(network("elsewhere", "acme"), ["elsewhere/alice"]);
    assert!(network("elsewhere", "other").is_empty());
}

#[test]
fn another_identity_wakes_whoever_claims_it_anywhere() {
    let changed = Trigger::Network {
        namespace: "ledger".into(),
        network: "other".into(),
        identity: Some("ab".repeat(64)),
    };
    assert_eq!(woken(&changed), ["ledger/zoe", "elsewhere/alice"]);
}

#[test]
fn a_host_wakes_every_node_that_can_be_read() {
    assert_eq!(woken(&Trigger::Host), ["ledger/bob", "ledger/alice", "ledger/zoe", "elsewhere/alice"]);
}

#[test]
fn every_secret_and_config_map_that_a_spec_names_wakes_the_node() {
    let mut names = Vec::new();
    named(&bob()["spec"], &mut names);
    names.retain(|name| name.starts_with("at-"));
    assert_eq!(names.len(), 15, "{names:?}");
    for name in names {
        assert_eq!(reference("ledger", &name), ["ledger/bob"], "{name}");
        assert!(reference("elsewhere", &name).is_empty(), "{name} of another namespace");
    }
}

fn named(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::String(text) => names.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| named(item, names)),
        Value::Object(members) => members.values().for_each(|member| named(member, names)),
        _ => {}
    }
}

#[test]
fn what_several_specs_name_wakes_them_all() {
    assert_eq!(reference("ledger", "acme-genesis"), ["ledger/alice", "ledger/zoe"]);
}

#[test]
fn what_nobody_names_wakes_nobody() {
    for name in ["", "kube-root-ca.crt", "at-", "qn-nobody-nodekey", "alice"] {
        assert!(reference("ledger", name).is_empty(), "{name}");
    }
}

#[test]
fn a_restored_key_wakes_its_node_without_our_labels() {
    assert_eq!(reference("ledger", "qn-alice-nodekey"), ["ledger/alice"]);
    assert_eq!(reference("elsewhere", "qn-alice-nodekey"), ["elsewhere/alice"]);
}

#[test]
fn a_restored_authority_wakes_those_who_use_it_without_our_labels() {
    assert_eq!(reference("ledger", "qn-zoe-ca"), ["ledger/zoe"]);
    assert_eq!(reference("ledger", "qnet-acme-ca"), ["ledger/bob", "ledger/alice"]);
}
