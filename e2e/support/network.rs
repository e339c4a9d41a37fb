//! The network of most tests, created once: two nodes with transaction manager and database.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::support::{
    kubectl::{self, variable},
    pods,
};

/// Namespace of the network.
pub(crate) const NAMESPACE: &str = "e2e-main";

/// Creates the network once, with both nodes in one apply, and waits until both are ready.
pub(crate) fn ready() {
    static UP: OnceLock<()> = OnceLock::new();
    UP.get_or_init(|| {
        prepare(NAMESPACE, &["alice", "bob"]);
        kubectl::apply(&[
            json!({"apiVersion": "v1", "kind": "List", "items": [member(NAMESPACE, "alice"), member(NAMESPACE, "bob")]}),
        ]);
        pods::strangers();
        for node in ["alice", "bob"] {
            kubectl::wait_condition(NAMESPACE, node, "Ready", "True", "");
        }
    });
}

/// Creates a genesis and the managers' keys in a namespace.
pub(crate) fn prepare(namespace: &str, managers: &[&str]) {
    kubectl::apply(&[json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "acme-genesis", "namespace": namespace},
        "data": {"genesis.json": genesis()},
    })]);
    for manager in managers {
        let (private, public) = manager_key();
        kubectl::apply(&[json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": format!("{manager}-tm-keys"), "namespace": namespace},
            "stringData": {
                "tm.key": json!({"type": "unlocked", "data": {"bytes": private}}).to_string(),
                "tm.pub": public,
            },
        })]);
    }
}

/// A QBFT genesis.
pub(crate) fn genesis() -> String {
    include_str!("../genesis.json").trim().to_owned()
}

/// A new X25519 key pair, private and public, as base64.
fn manager_key() -> (String, String) {
    let script = r"pem=$(openssl genpkey -algorithm X25519)
        openssl pkey -outform DER <<<$pem | tail -c 32 | base64 -w0; echo
        openssl pkey -pubout -outform DER <<<$pem | tail -c 32 | base64 -w0";
    let script = script.replace("<<<$pem", "<<<\"$pem\"");
    let output =
        std::process::Command::new("bash").args(["-ec", &script]).output().expect("bash and openssl");
    let text = String::from_utf8(output.stdout).expect("base64");
    let mut lines = text.lines().map(str::to_owned);
    (lines.next().expect("private half"), lines.next().expect("public half"))
}

/// A node with only a client.
pub(crate) fn client(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "quorum.security/v1alpha1", "kind": "QuorumNode",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "network": "acme",
            "client": {
                "image": variable("GOQUORUM_IMAGE"), "version": "24.4.1", "storage": {"size": "1Gi"},
                "resources": {"cpu": "50m", "memory": "512Mi"}, "tunables": {"cacheMib": 128},
            },
            "consensus": {"type": "QBFT", "operators": "ThirdParty"},
            "genesis": {"configMapRef": {"name": "acme-genesis", "key": "genesis.json"}},
            "rollout": {"minReadySeconds": 2},
            "metrics": {"scrapers": [
                {"name": "prometheus", "from": {"namespace": "monitoring", "podLabels": {"app": "prometheus"}}},
            ]},
        },
    })
}

/// A node with client, transaction manager and managed database.
pub(crate) fn member(namespace: &str, name: &str) -> Value {
    let mut node = client(namespace, name);
    node["spec"]["transactionManager"] = json!({
        "image": variable("TESSERA_IMAGE"), "version": "24.4.2",
        "keys": {"secretRef": {"name": format!("{name}-tm-keys")}},
        "resources": {"cpu": "50m", "memory": "256Mi"},
        "database": {"managed": {
            "image": variable("POSTGRES_IMAGE"), "version": "15", "storage": {"size": "1Gi"},
            "resources": {"cpu": "50m", "memory": "512Mi"},
        }},
    });
    node
}
