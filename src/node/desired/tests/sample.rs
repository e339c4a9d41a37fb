//! Samples: a network of different nodes, parsed and validated as in a reconcile.

use std::{collections::BTreeMap, sync::LazyLock};

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Container, PodSpec, PodTemplateSpec},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::world;
use crate::{
    api::{QuorumNode, status::IdentityStatus},
    model::{
        decode::Decoded,
        genesis::{Engine, GenesisFacts},
        lookup::Found,
        names::{Component, Purpose},
        network_member::NetworkMember,
        secrets::{
            generate,
            keys::{NodeIdentity, TransactionManagerKey},
            tls::{AuthorityFacts, LeafFacts, LeafRequest, read_authority},
        },
    },
    node::{
        desired::{Desired, Issued, Live, certificates::wanted, desired},
        observed::{Observed, ObservedManager, samples},
        validate::{Validated, validate},
    },
};

pub(super) const NAMESPACE: &str = "ledger";

/// A peer of another organisation, outside the cluster.
pub(super) const OUTSIDE_PEER: &str = "192.0.2.77";

pub(super) fn image(name: &str) -> String {
    format!("registry.example/{name}@sha256:{}", "5a".repeat(32))
}

/// The smallest node, without any optional field.
pub(super) fn node(name: &str) -> Value {
    json!({
        "apiVersion": "quorum.security/v1alpha1",
        "kind": "QuorumNode",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": format!("uid-{name}")},
        "spec": {
            "network": "acme",
            "client": {"image": image("goquorum"), "version": "24.4.1"},
            "consensus": {"type": "QBFT", "operators": "ThirdParty"},
            "genesis": {"configMapRef": {"name": "acme-genesis", "key": "block-zero.json"}},
        },
        "status": {
            "identity": {
                "publicKey": identity(name).public_key,
                "address": identity(name).address,
                "secretName": format!("qn-{name}-nodekey"),
            },
            "peerAddress": format!("10.96.0.{}", name.as_bytes()[0]),
        },
    })
}

/// A node with these fields of its spec changed by a merge patch.
pub(super) fn with(mut node: Value, change: &Value) -> Value {
    fn merge(into: &mut Value, change: &Value) {
        match (into, change) {
            (Value::Object(into), Value::Object(change)) => {
                for (key, value) in change {
                    merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
            (into, change) => *into = change.clone(),
        }
    }
    merge(&mut node["spec"], change);
    node
}

pub(super) fn client_alone() -> Value {
    node("carol")
}

pub(super) fn validator() -> Value {
    with(
        node("dave"),
        &json!({"role": "Validator", "nodeKey": {"secretRef": {"name": "hsm-dave", "key": "k1"}}}),
    )
}

fn with_manager(name: &str, database: &Value) -> Value {
    let manager = json!({
        "image": image("tessera"),
        "version": "24.4.2",
        "keys": {"secretRef": {"name": format!("{name}-pair"), "privateKey": "locked", "publicKey": "open"}},
        "database": database,
    });
    with(node(name), &json!({"transactionManager": manager}))
}

/// A member with transaction manager and managed database.
pub(super) fn managed() -> Value {
    with_manager("alice", &json!({"managed": {"image": image("postgres"), "version": "15.18"}}))
}

fn external(changes: &Value) -> Value {
    let database = json!({
        "host": "pg.bank.example",
        "port": 6432,
        "database": "payloads",
        "cidrs": ["198.51.100.32/28"],
        "caRef": {"name": "bank-ca", "key": "root.pem"},
        "username": "quorum_rw",
    });
    let mut node = json!({"spec": {"external": database}});
    node = with(node, &json!({"external": changes}));
    node["spec"].take()
}

/// A member with an external database that requires a password.
pub(super) fn external_with_password() -> Value {
    with_manager("bob", &external(&json!({"passwordRef": {"name": "bank-login", "key": "pw"}})))
}

/// A member with an external database that requires a certificate.
pub(super) fn external_with_certificate() -> Value {
    with_manager("erin", &external(&json!({"clientCertificateRef": {"name": "bank-client"}})))
}

/// A caller from pods or addresses that depend on its name.
pub(super) fn caller(name: &str, identity: &Value) -> Value {
    let from = match name {
        "bank" => json!([{"cidr": "203.0.113.96/28"}]),
        _ => json!([{"namespace": "shop", "podLabels": {"app": name}}, {"cidr": "203.0.113.77/32"}]),
    };
    json!({"name": name, "from": from, "identity": identity, "methods": ["eth_*", "net_version"]})
}

/// The same for a node with a transaction manager, where `privateState` is required.
fn told_caller(name: &str, identity: &Value) -> Value {
    let mut caller = caller(name, identity);
    caller["privateState"] = json!(name == "auditor");
    caller
}

/// A member that uses every field of the spec.
pub(super) fn everything() -> Value {
    with(
        managed(),
        &json!({
            "client": {"tunables": {"gcMode": "Archive"}, "storage": {"size": "77Gi", "className": "fast"}},
            "peering": {
                "static": [format!("enode://{}@{OUTSIDE_PEER}:21000", "ab".repeat(64))],
                "from": [{"cidr": "192.0.2.64/27"}],
            },
            "readiness": {"minPeers": 3},
            "tls": {"trust": [{"configMapRef": {"name": "rival-ca", "key": "authority.pem"}}]},
            "transactionManager": {
                "keys": {"passwordRef": {"name": "alice-unlock", "key": "word"}},
                "peers": [{"url": "https://tm.rival.example:9443", "cidrs": ["203.0.113.16/28"]}],
                "advertise": "https://tm.alice.example:19000",
            },
            "metrics": {
                "scrapers": [
                    {"name": "prometheus", "from": {"namespace": "monitoring", "podLabels": {"app": "prometheus"}}},
                    {"name": "legacy", "from": {"cidr": "198.51.100.200/32"}},
                ],
                "clientAuthority": {"name": "scraper-ca", "key": "authority.pem"},
            },
            "rpc": {
                "callers": [
                    told_caller("till", &json!({"serviceAccount": {"namespace": "shop", "name": "till"}})),
                    told_caller("bank", &json!({"clientCertificate": {
                        "authority": {"name": "bank-callers", "key": "ca.crt"}, "subjects": ["dns:bank.example"],
                    }})),
                    told_caller("auditor", &json!({"oidc": {
                        "issuer": "https://id.example", "audience": "ledger", "subjects": ["auditor-7"],
                    }})),
                ],
                "hostnames": ["rpc.alice.example"],
            },
            "placement": {
                "nodeSelector": {"pool": "ledger"},
                "tolerations": [{"key": "dedicated", "value": "ledger", "effect": "NoSchedule"}],
            },
        }),
    )
}

/// One node of every kind.
pub(super) fn all() -> Vec<Value> {
    vec![everything(), external_with_password(), client_alone(), validator(), external_with_certificate()]
}

fn identity(name: &str) -> NodeIdentity {
    let byte = format!("{:02x}", name.as_bytes()[0]);
    NodeIdentity { public_key: byte.repeat(64), address: format!("0x{}", byte.repeat(20)) }
}

fn authority() -> AuthorityFacts {
    static AUTHORITY: LazyLock<AuthorityFacts> = LazyLock::new(|| {
        let now = "2031-03-07T11:13:17Z".parse().expect("a time");
        let generated = generate::authority("acme", now).expect("an authority");
        read_authority(&generated).expect("what was just made")
    });
    AUTHORITY.clone()
}

fn parse(node: &Value) -> QuorumNode {
    serde_json::from_value(node.clone()).expect("a QuorumNode")
}

fn observed(node: &Value, network_members: &[Value]) -> Observed {
    let mut node = parse(node);
    let manager = node.spec.transaction_manager.as_ref().map(|manager| {
        let external = manager.database.external.as_ref();
        let locked = manager.keys.password_ref.is_some();
        ObservedManager {
            keys: Found::Present(TransactionManagerKey { public_key: "c2FtcGxl".into(), locked }),
            key_password: locked.then_some(Found::Present(())),
            database_password: external
                .and_then(|external| external.password_ref.as_ref())
                .map(|_| Found::Present("4711".into())),
            database_certificate: external
                .and_then(|external| external.client_certificate_ref.as_ref())
                .map(|_| Found::Present("4712".into())),
        }
    });
    let name = node.metadata.name.clone().unwrap_or_default();
    let NodeIdentity { public_key, address } = identity(&name);
    node.status.get_or_insert_default().identity =
        Some(IdentityStatus { public_key, address, secret_name: String::new() });
    Observed {
        domain: "cluster.local".into(),
        network_members: network_members
            .iter()
            .map(|network_member| NetworkMember::from(&Decoded(Ok(parse(network_member)))))
            .collect(),
        neighbours: Vec::new(),
        claims: Vec::new(),
        genesis: Found::Present(GenesisFacts {
            sha256: "c0".repeat(32),
            chain_id: 1981,
            engine: Engine::Qbft,
            block: BTreeMap::new(),
            schedule: Default::default(),
        }),
        node_key: Found::Present(identity(&name)),
        chain_data_exists: None,
        manager,
        bundles: BTreeMap::new(),
        callers: samples::callers(&node),
        network_authority: Found::Missing.into(),
        node_authority: Found::Missing.into(),
        certificates: BTreeMap::new(),
        served: None,
        chain: None,
        met: Default::default(),
        written: BTreeMap::new(),
        made_for: BTreeMap::new(),
        requests: Default::default(),
        monitor: Default::default(),
        peer_address: None,
        workloads: BTreeMap::new(),
        volumes: BTreeMap::new(),
        admitted_peers: None,
        managers: None,
        absent: Default::default(),
        pods: BTreeMap::new(),
        rejected_pods: BTreeMap::new(),
        unwatchable: Vec::new(),
        hosts: BTreeMap::new(),
        irreplaceable_secrets: Vec::new(),
        surplus: Default::default(),
        node: node.into(),
    }
}

/// A node among others of its network.
pub(super) fn among(node: &Value, network_members: &[Value]) -> Validated {
    validate(&observed(node, network_members)).expect("a sample without faults")
}

/// A node that is alone in its network.
pub(super) fn alone(node: &Value) -> Validated {
    among(node, &[])
}

/// One node of every kind, all in one network.
pub(super) fn network() -> Vec<Validated> {
    let nodes = all();
    (0..nodes.len())
        .map(|i| {
            let mut network_members = nodes.clone();
            let node = network_members.remove(i);
            among(&node, &network_members)
        })
        .collect()
}

pub(super) fn issued(node: &Validated) -> Issued {
    Issued {
        identity: identity(&node.names.node),
        network_authorities: authority().certificate_pem,
        certificates: certificates(node),
    }
}

fn certificates(node: &Validated) -> BTreeMap<Purpose, LeafFacts> {
    let wanted = wanted(node).into_iter();
    wanted.map(|(purpose, wanted)| (purpose, facts(wanted.request, &authority(), &authority()))).collect()
}

/// A certificate with the fingerprint of one CA, signed by the other, which it also trusts.
pub(in crate::node::desired) fn facts(
    request: LeafRequest,
    own: &AuthorityFacts,
    by: &AuthorityFacts,
) -> LeafFacts {
    LeafFacts {
        not_before: by.not_after,
        not_after: by.not_after,
        common_name: request.common_name,
        dns_names: request.dns_names,
        usage: request.usage,
        algorithm: request.algorithm,
        has_pkcs8_der: request.pkcs8_der,
        fingerprint: own.fingerprint.clone(),
        authority: by.fingerprint.clone(),
        trusted: [by.fingerprint.clone()].into(),
        others: vec![],
    }
}

pub(super) fn render(node: &Validated) -> Desired {
    desired(node, &issued(node), &world::render_config(), &Live::default())
}

/// The workload of a component, if the node has it.
pub(super) fn workload(desired: &Desired, component: Component) -> Option<&StatefulSet> {
    desired.workloads.iter().find(|workload| {
        workload
            .metadata
            .name
            .as_deref()
            .is_some_and(|name| name.ends_with(&format!("-{}", component.as_str())))
    })
}

pub(super) fn template(workload: &StatefulSet) -> &PodTemplateSpec {
    &workload.spec.as_ref().expect("a spec").template
}

pub(super) fn pod(workload: &StatefulSet) -> &PodSpec {
    template(workload).spec.as_ref().expect("a pod")
}

/// All containers of a pod, including init containers.
pub(super) fn containers(pod: &PodSpec) -> impl Iterator<Item = &Container> {
    pod.init_containers.iter().flatten().chain(&pod.containers)
}

/// A container of the node, by component and name.
pub(super) fn container(node: &Validated, component: Component, name: &str) -> Container {
    let desired = render(node);
    let workload = workload(&desired, component).expect("the component");
    containers(pod(workload)).find(|container| container.name == name).expect("the container").clone()
}

/// Every object of a node with its kind, in the order in which they are written.
pub(super) fn objects(desired: Desired) -> Vec<(&'static str, ObjectMeta)> {
    let Desired {
        accounts,
        policies,
        budgets,
        services,
        certificates,
        monitors,
        config_maps,
        secret_templates,
        workloads,
    } = desired;
    let mut all = Vec::new();
    all.extend(accounts.into_iter().map(|it| ("ServiceAccount", it.metadata)));
    all.extend(policies.into_iter().map(|it| ("NetworkPolicy", it.metadata)));
    all.extend(budgets.into_iter().map(|it| ("PodDisruptionBudget", it.metadata)));
    all.extend(services.into_iter().map(|it| ("Service", it.metadata)));
    all.extend(certificates.into_iter().map(|it| ("Certificate", it.metadata)));
    all.extend(monitors.into_iter().map(|it| ("PodMonitor", it.metadata)));
    all.extend(config_maps.into_iter().map(|it| ("ConfigMap", it.metadata)));
    all.extend(secret_templates.into_iter().map(|it| ("Secret", it.secret.metadata)));
    all.extend(workloads.into_iter().map(|it| ("StatefulSet", it.metadata)));
    all
}
