//! Nodes for the benchmark: networks of a validator, two members, and a member with transaction manager and database,
//! with 25 networks in each namespace.

use aws_lc_rs::{
    agreement::{PrivateKey, X25519},
    encoding::{AsBigEndian as _, Curve25519SeedBin},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::Client;
use serde_json::{Value, json};

use crate::cluster::{self, Call, JSON};

const PER_NETWORK: usize = 4;
const NETWORKS_PER_NAMESPACE: usize = 25;
const AT_A_TIME: usize = 8;
const DIGEST: &str = "sha256:2a200c8c51f406b176450fb8f48f6840cf66708e59d8b639011438e9e2593be9";

/// A set of namespaces with nodes. Sets differ only in their tag, which has three letters.
#[derive(Clone)]
pub(crate) struct Fleet {
    pub(crate) tag: String,
    nodes: usize,
}

impl Fleet {
    pub(crate) fn new(tag: &str, nodes: usize) -> Self {
        assert_eq!(tag.len(), 3);
        Self { tag: tag.to_owned(), nodes }
    }

    pub(crate) fn prefix(&self) -> String {
        format!("bench-{}-", self.tag)
    }

    fn place(&self, network: usize) -> String {
        format!("{}{:03}", self.prefix(), network / NETWORKS_PER_NAMESPACE)
    }

    fn networks(&self) -> usize {
        self.nodes.div_ceil(PER_NETWORK)
    }

    pub(crate) fn namespaces(&self) -> Vec<String> {
        let mut places: Vec<_> = (0..self.networks()).map(|network| self.place(network)).collect();
        places.dedup();
        places
    }

    /// Creates what users provide: namespaces, genesis ConfigMaps and managers' keys.
    pub(crate) async fn prepare(&self, admin: &Client) -> anyhow::Result<()> {
        let namespace = |name: &String| {
            let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            Call::apply(&format!("/api/v1/namespaces/{name}"), &body)
        };
        let namespaces = self.namespaces().iter().map(namespace).collect();
        cluster::send_all(admin, namespaces, AT_A_TIME).await?;
        let mut calls = Vec::new();
        for network in 0..self.networks() {
            let place = self.place(network);
            let genesis = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": format!("net{network}-genesis")}, "data": {"genesis.json": genesis(network)?}});
            calls.push(create(&format!("/api/v1/namespaces/{place}/configmaps"), &genesis));
        }
        for (network, member) in self.members().filter(|(_, member)| *member == PER_NETWORK - 1) {
            let (place, name) = (self.place(network), node_name(network, member));
            calls.push(create(&format!("/api/v1/namespaces/{place}/secrets"), &manager_keys(&name)?));
        }
        cluster::send_all(admin, calls, AT_A_TIME).await
    }

    pub(crate) async fn create_nodes(&self, admin: &Client) -> anyhow::Result<()> {
        let calls = self.members().map(|(network, member)| {
            let uri =
                format!("/apis/quorum.security/v1alpha1/namespaces/{}/quorumnodes", self.place(network));
            create(&uri, &node(network, member))
        });
        cluster::send_all(admin, calls.collect(), AT_A_TIME).await
    }

    /// Changes an annotation of every node, so that the operator reconciles each.
    pub(crate) async fn touch(&self, admin: &Client, value: &str) -> anyhow::Result<()> {
        let calls = self.members().map(|(network, member)| {
            let (place, name) = (self.place(network), node_name(network, member));
            let uri = format!("/apis/quorum.security/v1alpha1/namespaces/{place}/quorumnodes/{name}");
            Call::merge(&uri, &json!({"metadata": {"annotations": {"bench/touched": value}}}))
        });
        cluster::send_all(admin, calls.collect(), AT_A_TIME).await
    }

    /// Namespace and name of each node's peers ConfigMap, which the operator writes.
    pub(crate) fn config_maps(&self) -> Vec<(String, String)> {
        self.members()
            .map(|(network, member)| {
                (self.place(network), format!("qn-{}-peers", node_name(network, member)))
            })
            .collect()
    }

    fn members(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.nodes).map(|node| (node / PER_NETWORK, node % PER_NETWORK))
    }
}

fn node_name(network: usize, member: usize) -> String {
    format!("n{network}-{member}")
}

fn create(uri: &str, body: &Value) -> Call {
    Call { method: "POST", uri: uri.to_owned(), content_type: JSON, body: body.to_string() }
}

fn node(network: usize, member: usize) -> Value {
    let name = node_name(network, member);
    let mut node = json!({
        "apiVersion": "quorum.security/v1alpha1", "kind": "QuorumNode",
        "metadata": {"name": name},
        "spec": {
            "network": format!("net{network}"),
            "client": {"image": format!("registry.example/goquorum@{DIGEST}"), "version": "24.4.1"},
            "consensus": {"type": "QBFT", "operators": "ThirdParty"},
            "genesis": {"configMapRef": {"name": format!("net{network}-genesis"), "key": "genesis.json"}},
            "metrics": {"scrapers": [
                {"name": "prometheus", "from": {"namespace": "monitoring", "podLabels": {"app": "prometheus"}}},
            ]},
        },
    });
    if member == 0 {
        node["spec"]["role"] = json!("Validator");
    }
    if member == PER_NETWORK - 1 {
        node["spec"]["transactionManager"] = json!({
            "image": format!("registry.example/tessera@{DIGEST}"), "version": "24.4.2",
            "keys": {"secretRef": {"name": format!("{name}-tm-keys")}},
            "database": {"managed": {"image": format!("registry.example/postgres@{DIGEST}"), "version": "15"}},
        });
    }
    node
}

/// The end-to-end suite's genesis with a chain ID for each network.
fn genesis(network: usize) -> anyhow::Result<String> {
    let mut genesis: Value = serde_json::from_str(include_str!("../../e2e/genesis.json"))?;
    genesis["config"]["chainId"] = json!(1337 + network);
    Ok(genesis.to_string())
}

fn manager_keys(node: &str) -> anyhow::Result<Value> {
    let private = PrivateKey::generate(&X25519)?;
    let public = private.compute_public_key()?;
    let seed: Curve25519SeedBin<'_> = private.as_be_bytes()?;
    let key = json!({"type": "unlocked", "data": {"bytes": STANDARD.encode(seed.as_ref())}});
    Ok(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("{node}-tm-keys")},
        "stringData": {"tm.key": key.to_string(), "tm.pub": STANDARD.encode(public.as_ref())},
    }))
}
