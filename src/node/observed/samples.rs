//! Test samples: observed states of nodes that are in order.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Host, Observed, ObservedCallers, ObservedManager, Pod, Surplus, Workload};
use crate::{
    api::{QuorumNode, QuorumNodeSpec, QuorumNodeStatus, node::Engine},
    model::{
        genesis::{self, GenesisFacts},
        lookup::Found,
        names::Component,
        network_member::NetworkMember,
        peering::PeerState,
        secrets::{
            generate,
            keys::{NodeIdentity, TransactionManagerKey},
            tls::{self, AuthorityFacts, LeafFacts},
        },
    },
    node::{
        desired::{
            certificates::{self, Authority},
            components,
        },
        validate,
    },
    protocol::policy,
};

pub(in crate::node) const GENERATION: i64 = 7;
pub(in crate::node) const MANAGER_KEY: &str = "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo=";

/// A time in whole seconds, as the server stores times.
pub(in crate::node) fn now() -> Timestamp {
    "2031-03-07T11:13:17Z".parse().expect("a time")
}

pub(in crate::node) fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// Node `alice`: only a client.
pub(in crate::node) fn smallest() -> Value {
    parsed(include_str!("../../../config/samples/smallest.yaml"))
}

/// `alice` with the callers `wallet`, `bank` and `explorer`.
pub(in crate::node) fn called() -> Value {
    parsed(include_str!("../../../config/samples/callers.yaml"))
}

/// Node `bob`: client, transaction manager and managed database.
pub(in crate::node) fn member() -> Value {
    parsed(include_str!("../../../config/samples/member.yaml"))
}

/// `bob` with an external database that requires a password.
pub(in crate::node) fn member_of_external_database() -> Value {
    let mut node = member();
    node["spec"]["transactionManager"]["database"] = json!({"external": {
        "host": "pg.example", "port": 6432, "cidrs": ["198.51.100.16/28"], "username": "bob",
        "caRef": {"name": "pg-ca", "key": "ca.crt"}, "passwordRef": {"name": "pg-password", "key": "password"},
    }});
    node
}

fn parsed(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).expect("a sample is YAML")
}

pub(in crate::node) fn node(mut node: Value) -> QuorumNode {
    node["metadata"]["generation"] = json!(GENERATION);
    node["metadata"]["uid"] = json!(format!("uid-{}", node["metadata"]["name"].as_str().unwrap_or_default()));
    serde_json::from_value(node).expect("a sample is a QuorumNode")
}

/// Another node of the network `acme`. With `status`, it has the key of that digit and that address.
pub(in crate::node) fn network_member(name: &str, status: Option<(char, &str)>) -> NetworkMember {
    let mut other = smallest();
    other["metadata"]["name"] = json!(name);
    let mut other = node(other);
    other.status = status.map(|(digit, address)| QuorumNodeStatus {
        identity: Some(recorded(digit)),
        peer_address: Some(address.into()),
        ..QuorumNodeStatus::default()
    });
    of_network(other)
}

/// The node as the other nodes of its network see it.
pub(in crate::node) fn of_network(node: QuorumNode) -> NetworkMember {
    NetworkMember::from(&crate::model::decode::Decoded(Ok(node)))
}

pub(in crate::node) fn identity(digit: char) -> NodeIdentity {
    let digits = |count| std::iter::repeat_n(digit, count).collect::<String>();
    NodeIdentity { public_key: digits(128), address: format!("0x{}", digits(40)) }
}

/// The same identity in the form of a status.
pub(in crate::node) fn recorded(digit: char) -> crate::api::status::IdentityStatus {
    let NodeIdentity { public_key, address } = identity(digit);
    crate::api::status::IdentityStatus { public_key, address, secret_name: "qn-bob-nodekey".into() }
}

fn made(common_name: &str) -> AuthorityFacts {
    let data = generate::authority(common_name, now()).expect("an authority can be made");
    tls::read_authority(&data).expect("and read")
}

static NETWORK: LazyLock<AuthorityFacts> = LazyLock::new(|| made("ledger qnet-acme-ca"));
static NODE: LazyLock<AuthorityFacts> = LazyLock::new(|| made("ledger qn-bob-ca"));

/// Everything exists and is usable, every part runs on its own host, and nothing is left to do.
pub(in crate::node) fn in_order(node: Value) -> Observed {
    let node = self::node(node);
    let spec = &node.spec;
    let mut observed = Observed {
        domain: "cluster.local".into(),
        irreplaceable_secrets: vec![],
        surplus: Surplus::default(),
        network_members: Vec::new(),
        neighbours: Vec::new(),
        claims: Vec::new(),
        genesis: Found::Present(GenesisFacts {
            sha256: "5e".repeat(32),
            chain_id: 41337,
            engine: match spec.consensus.engine {
                Engine::Qbft => genesis::Engine::Qbft,
                Engine::Ibft => genesis::Engine::Ibft,
            },
            block: block(),
            schedule: Arc::default(),
        }),
        node_key: Found::Present(identity('b')),
        chain_data_exists: None,
        manager: spec.transaction_manager.as_ref().map(|manager| {
            let external = manager.database.external.as_ref();
            let certificate = external.and_then(|external| external.client_certificate_ref.as_ref());
            ObservedManager {
                keys: Found::Present(TransactionManagerKey {
                    public_key: MANAGER_KEY.into(),
                    locked: manager.keys.password_ref.is_some(),
                }),
                key_password: manager.keys.password_ref.as_ref().map(|_| Found::Present(())),
                database_password: external
                    .and_then(|external| external.password_ref.as_ref())
                    .map(|_| Found::Present("4711".into())),
                database_certificate: certificate.map(|_| Found::Present("4712".into())),
            }
        }),
        bundles: BTreeMap::new(),
        callers: callers(&node),
        network_authority: Found::Present(NETWORK.clone()).into(),
        node_authority: Found::Present(NODE.clone()).into(),
        certificates: BTreeMap::new(),
        served: None,
        chain: None,
        met: PeerState::default(),
        written: BTreeMap::new(),
        made_for: BTreeMap::new(),
        requests: Default::default(),
        monitor: Default::default(),
        peer_address: Some("10.96.7.7".into()),
        workloads: BTreeMap::new(),
        volumes: BTreeMap::new(),
        admitted_peers: None,
        managers: None,
        absent: Default::default(),
        pods: BTreeMap::new(),
        rejected_pods: BTreeMap::new(),
        unwatchable: Vec::new(),
        hosts: BTreeMap::new(),
        node: Arc::new(node),
    };
    let validated = validate::validate(&observed).expect("a sample has no fault");
    for (purpose, wanted) in certificates::wanted(&validated) {
        let authority = if wanted.authority == Authority::Network { &*NETWORK } else { &*NODE };
        let facts = LeafFacts {
            not_before: now() - hours(100),
            not_after: now() + hours(2000),
            common_name: wanted.request.common_name,
            dns_names: wanted.request.dns_names,
            usage: wanted.request.usage,
            algorithm: wanted.request.algorithm,
            has_pkcs8_der: wanted.request.pkcs8_der,
            fingerprint: authority.fingerprint.clone(),
            authority: authority.fingerprint.clone(),
            trusted: [authority.fingerprint.clone()].into(),
            others: vec![],
        };
        observed.certificates.insert(purpose, Ok(facts));
    }
    for component in components(&validated) {
        run(&mut observed, component, host_of(component));
    }
    observed
}

/// Where a component runs in [`in_order`].
pub(in crate::node) fn host_of(component: Component) -> &'static str {
    match component {
        Component::Client => "host-a",
        Component::TransactionManager => "host-b",
        Component::Database => "host-c",
    }
}

/// The genesis block of [`in_order`].
pub(in crate::node) fn block() -> BTreeMap<String, String> {
    [("gasLimit", "0xe0000000"), ("alloc", "sha256:a1")]
        .map(|(name, value)| (name.into(), value.into()))
        .into()
}

/// What [`in_order`] pins.
pub(in crate::node) fn pinned() -> crate::api::status::GenesisStatus {
    crate::api::status::GenesisStatus { sha256: "5e".repeat(32), chain_id: 41337, block: Some(block()) }
}

/// Adds a component that serves on a host, which is on its own machine.
pub(in crate::node) fn run(observed: &mut Observed, component: Component, host: &str) {
    let workload = Workload {
        update_revision: Some("r7".into()),
        genesis: Some("5e".repeat(32)),
        settled: true,
        ..Workload::default()
    };
    observed.workloads.insert(component, workload);
    let revision = Some("r7".into());
    let pod = Pod { host: Some(host.into()), revision, ready: true, initialised: true, ..Pod::default() };
    observed.pods.insert(component, pod);
    observed.hosts.insert(host.into(), machine(host));
}

/// A host on its own machine.
pub(in crate::node) fn machine(host: &str) -> Host {
    Host {
        machine_id: format!("machine-of-{host}"),
        boot_id: format!("boot-of-{host}"),
        schedulable: true,
        ..Host::default()
    }
}

pub(in crate::node) fn spec(observed: &mut Observed) -> &mut QuorumNodeSpec {
    &mut Arc::make_mut(&mut observed.node).spec
}

pub(in crate::node) fn status(observed: &mut Observed) -> &mut QuorumNodeStatus {
    Arc::make_mut(&mut observed.node).status.get_or_insert_default()
}

pub(in crate::node) fn manager(observed: &mut Observed) -> &mut ObservedManager {
    observed.manager.as_mut().expect("the sample has a transaction manager")
}

pub(in crate::node) fn pod(observed: &mut Observed, component: Component) -> &mut Pod {
    observed.pods.get_mut(&component).expect("the sample has the component")
}

/// The issuer of the cluster's own tokens.
pub(in crate::node) const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";

/// All references of callers exist, and the key of every issuer is known.
pub(in crate::node) fn callers(node: &QuorumNode) -> ObservedCallers {
    let callers = &node.spec.rpc.callers;
    let authorities = callers.iter().filter(|caller| caller.identity.authority().is_some());
    let authorities = authorities
        .map(|caller| (caller.name.clone(), Found::Present(format!("authority of {}\n", caller.name))))
        .collect();
    let oidc = callers.iter().filter_map(|caller| Some(caller.identity.oidc.as_ref()?.issuer.clone()));
    let asks = callers.iter().any(|caller| caller.identity.service_account.is_some());
    ObservedCallers {
        authorities,
        cluster: asks.then(|| Found::Present(issuer(CLUSTER))),
        issuers: oidc.map(|name| (name.clone(), Found::Present(issuer(&name)))).collect(),
    }
}

/// A token issuer with one key.
pub(in crate::node) fn issuer(name: &str) -> policy::Issuer {
    let public = policy::Public::Ec { x: "eA".into(), y: "eQ".into() };
    let key = policy::Key { id: format!("key of {name}"), algorithm: policy::Algorithm::ES256, public };
    policy::Issuer { issuer: name.into(), keys: vec![key] }
}
