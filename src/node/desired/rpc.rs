//! JSON-RPC for callers: the guard beside the client, and the guard's policy.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{ConfigMap, Container, ContainerPort, Volume},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};

use super::{Live, arguments::path, certificates, pods};
use crate::{
    api,
    model::{
        lookup::Found,
        names::{self, Component, Names, Purpose},
    },
    node::{observed::ObservedCallers, validate::Validated},
    protocol::policy::{self, Policy, grants::Grants},
    settings::RenderConfig,
};

/// Modules that the client always enables for the guard, so that a grant in one of them requires no restart.
const MODULES: [&str; 4] = ["eth", "net", "txpool", "web3"];

/// Every DNS name under which callers reach the guard.
pub(super) fn hosts(node: &Validated) -> Vec<String> {
    let mut hosts = certificates::service_names(node, &node.names.rpc_service());
    hosts.extend(node.spec.rpc.hostnames.iter().cloned());
    hosts.sort();
    hosts.dedup();
    hosts
}

/// Modules that the client enables for the guard, including those of all granted methods.
pub(super) fn modules(node: &Validated) -> BTreeSet<String> {
    let granted = node.spec.rpc.callers.iter().filter_map(|caller| grants(node, caller));
    let mut modules: BTreeSet<String> = MODULES.map(str::to_owned).into();
    for grants in granted {
        modules.extend(grants.modules().into_iter().map(str::to_owned));
    }
    modules
}

/// ConfigMap with the guard's policy. Mounted as a directory, so that a change arrives without a restart. A guard that
/// is no longer wanted gets a policy without callers, and runs until the rollout replaces its pod.
pub(super) fn policy_map(node: &Validated, live: &Live) -> Option<ConfigMap> {
    let wanted = node.has_callers() || live.client_guarded;
    wanted.then(|| map_of(&node.names, &node.owner, &policy(node)))
}

/// ConfigMap of a policy.
#[must_use]
pub fn map_of(names: &Names, owner: &OwnerReference, policy: &Policy) -> ConfigMap {
    let labels = names.component_labels(Component::Client);
    ConfigMap {
        metadata: names.meta(names.guard_config(), labels, owner),
        data: Some(BTreeMap::from([(policy::FILE.to_owned(), policy.write())])),
        ..ConfigMap::default()
    }
}

/// A policy with the issuer keys that are known now, otherwise unchanged. Issuers whose keys are not known now stay as
/// they are.
#[must_use]
pub fn rekeyed(policy: &Policy, seen: &ObservedCallers) -> Policy {
    let of = |name: &String| policy.issuers.iter().find(|issuer| issuer.issuer == *name);
    let was = policy.cluster.as_ref();
    let is_account =
        |caller: &policy::Caller| matches!(caller.identity, policy::Identity::ServiceAccount { .. });
    let now = seen.cluster.as_ref().and_then(Found::usable);
    let cluster = now.filter(|_| policy.callers.iter().any(is_account)).or_else(|| of(was?));
    let mut others: BTreeMap<_, _> = policy
        .issuers
        .iter()
        .filter(|issuer| Some(&issuer.issuer) != was)
        .map(|issuer| (&issuer.issuer, issuer))
        .collect();
    for caller in &policy.callers {
        if let policy::Identity::Oidc { issuer, .. } = &caller.identity
            && let Some(now) = seen.issuers.get(issuer).and_then(Found::usable)
        {
            others.insert(issuer, now);
        }
    }
    others.retain(|name, _| cluster.is_none_or(|cluster| cluster.issuer != **name));
    let issuers = cluster.into_iter().chain(others.into_values()).cloned().collect();
    Policy { cluster: cluster.map(|cluster| cluster.issuer.clone()), issuers, ..policy.clone() }
}

/// The guard's policy: who may call what.
#[must_use]
pub fn policy(node: &Validated) -> Policy {
    let callers: Vec<_> =
        node.spec.rpc.callers.iter().filter_map(|caller| self::caller(node, caller)).collect();
    Policy {
        version: policy::VERSION,
        hosts: hosts(node),
        audience: node.names.dns(&node.names.rpc_service()),
        cluster: node.callers.cluster.as_ref().map(|cluster| cluster.issuer.clone()),
        issuers: issuers(node),
        callers,
        limits: (&node.spec.rpc.limits).into(),
    }
}

/// Issuers of the policy. For the cluster's own issuer, the keys read from the cluster count, even if a caller names it
/// too.
fn issuers(node: &Validated) -> Vec<policy::Issuer> {
    let mut issuers: Vec<_> = node.callers.cluster.iter().cloned().collect();
    let is_new = |issuer: &&policy::Issuer| issuers.iter().all(|known| known.issuer != issuer.issuer);
    let more: Vec<_> = node.callers.issuers.values().filter(is_new).cloned().collect();
    issuers.extend(more);
    issuers
}

/// A caller of the policy; `None` if it has no usable identity, which the CRD and the validation of the spec reject.
fn caller(node: &Validated, caller: &api::rpc::Caller) -> Option<policy::Caller> {
    let unsigned = |number: i32| u32::try_from(number).unwrap_or(1);
    Some(policy::Caller {
        name: caller.name.clone(),
        identity: identity(node, caller)?,
        methods: caller.methods.clone(),
        private_state: reads_private_state(node, caller),
        origins: caller.origins.clone(),
        calls_per_second: unsigned(caller.rate.calls_per_second),
        burst: unsigned(caller.rate.burst),
        connections: unsigned(caller.connections),
    })
}

/// Whether the caller's wildcards include methods that read private state. With a transaction manager, the CRD requires
/// the field; for a node that is older than that rule it is `false`.
fn reads_private_state(node: &Validated, caller: &api::rpc::Caller) -> bool {
    caller.private_state.unwrap_or(node.spec.transaction_manager.is_none())
}

/// Methods granted to a caller; `None` if its methods are a fault of the spec.
#[must_use]
pub fn grants(node: &Validated, caller: &api::rpc::Caller) -> Option<Grants> {
    let grants = Grants::read(caller.methods.iter().map(String::as_str)).ok()?;
    Some(grants.with_private_state(reads_private_state(node, caller)))
}

fn identity(node: &Validated, caller: &api::rpc::Caller) -> Option<policy::Identity> {
    let identity = &caller.identity;
    let account = identity.service_account.as_ref().map(|account| policy::Identity::ServiceAccount {
        namespace: account.namespace.clone(),
        name: account.name.clone(),
    });
    let certificate = || {
        let certificate = identity.client_certificate.as_ref()?;
        let authority = node.callers.authorities.get(&caller.name)?.clone();
        Some(policy::Identity::ClientCertificate { authority, subjects: certificate.subjects.clone() })
    };
    let oidc = || {
        let oidc = identity.oidc.as_ref()?;
        Some(policy::Identity::Oidc {
            issuer: oidc.issuer.clone(),
            audience: oidc.audience.clone(),
            subjects: oidc.subjects.clone(),
        })
    };
    account.or_else(certificate).or_else(oidc)
}

/// The guard container, the only access to the client's JSON-RPC.
pub(super) fn guard(node: &Validated, render_config: &RenderConfig) -> Container {
    let args = vec![
        "rpc".into(),
        format!("--listen=[::]:{}", names::RPC),
        format!("--health=[::]:{}", names::RPC_HEALTH),
        format!("--metrics=127.0.0.1:{}", names::GUARD_METRICS),
        format!("--http=127.0.0.1:{}", names::CLIENT_HTTP),
        format!("--ws=127.0.0.1:{}", names::CLIENT_WS),
        format!("--tls-dir={}", path::RPC_TLS),
        format!("--policy={}/{}", path::POLICY, policy::FILE),
    ];
    Container {
        // its last log lines are audit records, which belong only in its log
        termination_message_policy: Some("File".into()),
        ports: Some(vec![ContainerPort {
            name: Some("rpc".into()),
            container_port: names::RPC,
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        volume_mounts: Some(vec![
            pods::mount("tls-rpc", path::RPC_TLS),
            pods::mount("callers", path::POLICY),
        ]),
        resources: pods::resources(&node.spec.rpc.guard_resources()),
        startup_probe: pods::says_ok("/livez", names::RPC_HEALTH, 2, 30),
        liveness_probe: pods::says_ok("/livez", names::RPC_HEALTH, 10, 3),
        readiness_probe: pods::says_ok("/readyz", names::RPC_HEALTH, 5, 3),
        ..pods::container(names::GUARD, &render_config.guard_image, &["/quorum-guard"], args)
    }
}

/// Volumes with the files that the guard reads, and reloads when they change.
pub(super) fn volumes(node: &Validated) -> [Volume; 2] {
    let secret = names::secret_name(&node.names, &node.spec.tls, Purpose::Rpc);
    [
        pods::secret("tls-rpc", &secret, &[("tls.crt", "tls.crt"), ("tls.key", "tls.key")]),
        pods::config("callers", &node.names.guard_config(), &[]),
    ]
}
