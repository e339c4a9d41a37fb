//! The client's workload: geth with every listener except P2P on loopback, and the metrics sidecar.

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{
        Container, ContainerPort, EnvVar, KeyToPath, ProjectedVolumeSource, SecretProjection, Volume,
        VolumeProjection,
    },
};
use kube::api::ObjectMeta;
use sha2::{Digest as _, Sha256};

use super::{
    Live,
    admitted_peers::Admitted,
    arguments::{self, path},
    certificates, pods, rpc,
};
use crate::{
    model::names::{self, Component, Purpose},
    node::{decide::identity::IdentityDecision, validate::Validated},
    settings::RenderConfig,
};

pub(super) fn workload(node: &Validated, render_config: &RenderConfig, live: &Live) -> Option<StatefulSet> {
    let replicas = replicas(node, live)?;
    let client = &node.spec.client;
    let admitted = Admitted::next(live.admitted_peers.as_deref(), &node.peers.admitted_peers, live.leaving);
    let mut workload = pods::workload(
        node,
        pods::Parts {
            component: Component::Client,
            version: client.version.clone(),
            config_digest: config_digest(node, &admitted),
            init: vec![prepare(node, render_config), genesis(node)],
            containers: containers(node, render_config),
            volumes: volumes(node),
            claim: Some(client.storage.clone()),
            users: render_config.users,
            // geth needs time to flush its memory to disk
            grace: 180,
        },
    );
    // the identity label outlives the node if that is deleted with `--cascade=orphan`
    let address = node.identity.as_ref().map(|identity| identity.address.clone());
    let identified = |meta: &mut ObjectMeta| {
        let address = address.iter().map(|address| (names::IDENTITY.to_owned(), address.clone()));
        meta.labels.get_or_insert_default().extend(address);
    };
    identified(&mut workload.metadata);
    if let Some(spec) = &mut workload.spec {
        spec.replicas = Some(replicas);
        identified(spec.template.metadata.get_or_insert_default());
    }
    let annotations = workload.metadata.annotations.get_or_insert_default();
    annotations.insert(names::PERMITTED.into(), admitted.to_string());
    annotations.insert(names::GENESIS.into(), node.genesis.sha256.clone());
    Some(workload)
}

fn containers(node: &Validated, render_config: &RenderConfig) -> Vec<Container> {
    let mut containers = vec![geth(node), metrics(node, render_config)];
    containers.extend(node.has_callers().then(|| rpc::guard(node, render_config)));
    containers
}

/// Number of pods of the client's workload; `None` if there is to be no workload yet.
fn replicas(node: &Validated, live: &Live) -> Option<i32> {
    let as_it_is = i32::from(!live.client_stopped);
    match node.standing {
        IdentityDecision::Held(_) => live.client_exists.then_some(0),
        IdentityDecision::Unclaimed | IdentityDecision::Waits(_) => live.client_exists.then_some(as_it_is),
        IdentityDecision::Free => (live.client_exists || node.peers.incomplete.is_empty()).then_some(1),
    }
}

/// Digest of the configuration that requires a restart. New peers are not part of it, since geth reads the lists again.
fn config_digest(node: &Validated, admitted: &Admitted) -> String {
    let digest = Sha256::digest([&node.genesis.sha256, admitted.mark.as_str()].concat());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Init container that succeeds only in the client's one pod. It lays out the data directory. It checks the node key,
/// which only this container reads from its Secret, and copies it to memory, where it does not change with the Secret.
/// It waits for the transaction manager, without which geth exits at once.
fn prepare(node: &Validated, render_config: &RenderConfig) -> Container {
    let mut args = vec![
        "init".into(),
        "client".into(),
        format!("--datadir={}", path::DATA),
        format!("--peers={}", path::PEERS),
        format!("--throwaway-key={}", path::THROWAWAY_KEY),
        pods::only_pod(node, Component::Client),
    ];
    args.extend(node.identity.iter().map(|identity| format!("--expect-key={}", identity.address)));
    args.extend([format!("--node-key={}", path::SECRET_KEY), format!("--node-key-to={}", path::NODE_KEY)]);
    let mut mounts = vec![
        pods::writable("data", path::DATA),
        pods::writable("run", "/run/quorum"),
        pods::mount("nodekey", "/secret"),
        pods::writable("key", path::KEYS),
        pods::mount("peers", path::PEERS),
    ];
    if node.manager.is_some() {
        args.extend([
            format!("--wait-url={}/upcheck", arguments::manager_url(node)),
            format!("--wait-ca={}/ca.crt", path::MANAGER_TLS),
            format!("--wait-cert={}/tls.crt", path::MANAGER_TLS),
            format!("--wait-key={}/tls.key", path::MANAGER_TLS),
            "--wait-timeout-seconds=300".into(),
        ]);
        mounts.push(pods::mount("tls-tm", path::MANAGER_TLS));
    }
    Container {
        env: pods::own_name(),
        volume_mounts: Some(mounts),
        resources: pods::small(node.spec.sidecars.init.as_ref()),
        ..pods::container("prepare", &render_config.guard_image, &["/quorum-guard"], args)
    }
}

/// Init container that writes the genesis block if there is none, and fails on a database of another chain. It uses a
/// throwaway key, so that no key is left in the data directory.
fn genesis(node: &Validated) -> Container {
    Container {
        volume_mounts: Some(vec![
            pods::writable("data", path::DATA),
            pods::mount("run", "/run/quorum"),
            pods::mount("genesis", "/genesis"),
        ]),
        resources: pods::resources(&node.spec.client.resources),
        ..pods::container(names::GENESIS_CONTAINER, &node.spec.client.image, &["geth"], arguments::init())
    }
}

/// The client. After the init containers it is the only container with the node key: the checked copy, not the Secret.
fn geth(node: &Validated) -> Container {
    let mut mounts = vec![
        pods::writable("data", path::DATA),
        pods::mount("key", path::KEYS),
        pods::mount("peers", path::PEERS),
    ];
    if node.manager.is_some() {
        mounts.push(pods::mount("tls-tm", path::MANAGER_TLS));
    }
    Container {
        env: node.has_callers().then(|| vec![memory_goal(node)]),
        ports: Some(vec![ContainerPort {
            name: Some("p2p".into()),
            container_port: names::P2P,
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        volume_mounts: Some(mounts),
        resources: pods::resources(&node.spec.client.resources),
        // opening a large database may take half an hour
        startup_probe: pods::accepts(names::P2P, 5, 360),
        liveness_probe: pods::accepts(names::P2P, 20, 6),
        ..pods::container(names::CLIENT_CONTAINER, &node.spec.client.image, &["geth"], arguments::run(node))
    }
}

/// Memory limit of geth's Go runtime. Calls create garbage quickly: near this limit geth collects it sooner, instead of
/// being killed.
fn memory_goal(node: &Validated) -> EnvVar {
    let memory = node.spec.client.resources.memory_mib() * 9 / 10;
    EnvVar { name: "GOMEMLIMIT".into(), value: Some(format!("{memory}MiB")), value_from: None }
}

/// Sidecar that serves the client's metrics over TLS, and nothing else of the client's metrics port. It also tells the
/// operator which peers have no connection. Its readiness is the client's.
fn metrics(node: &Validated, render_config: &RenderConfig) -> Container {
    let identity = [
        ("name", node.names.node.as_str()),
        ("namespace", &node.names.namespace),
        ("network", &node.names.network),
        ("role", node.spec.role.as_str()),
    ];
    let mut args = vec![
        "metrics".into(),
        format!("--listen=[::]:{}", names::METRICS),
        format!("--health=[::]:{}", names::HEALTH),
        format!("--upstream=http://127.0.0.1:{}/debug/metrics/prometheus", names::CLIENT_METRICS),
        "--tls-dir=/tls/metrics".into(),
        format!("--peers={}/static-nodes.json", path::PEERS),
        format!("--peer-port={}", names::P2P),
        format!("--min-peers={}", node.spec.readiness.min_peers),
    ];
    args.extend(identity.map(|(key, value)| format!("--identity={key}={value}")));
    args.extend(certificates::wanted(node).into_keys().map(|purpose| {
        let purpose = purpose.as_str();
        format!("--certificate={purpose}=/tls/watched/{purpose}.crt")
    }));
    let mut mounts = vec![
        pods::mount("tls-metrics", "/tls/metrics"),
        pods::mount("watched", "/tls/watched"),
        pods::mount("peers", path::PEERS),
    ];
    if node.spec.metrics.client_authority.is_some() {
        args.push("--client-ca=/tls/scraper/ca.crt".into());
        mounts.push(pods::mount("scraper-ca", "/tls/scraper"));
    }
    if node.has_callers() {
        args.push(format!("--rpc=127.0.0.1:{}", names::GUARD_METRICS));
    }
    Container {
        ports: Some(vec![ContainerPort {
            name: Some("metrics".into()),
            container_port: names::METRICS,
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        volume_mounts: Some(mounts),
        resources: pods::small(node.spec.sidecars.metrics.as_ref()),
        startup_probe: pods::says_ok("/livez", names::HEALTH, 2, 30),
        liveness_probe: pods::says_ok("/livez", names::HEALTH, 10, 3),
        readiness_probe: pods::says_ok("/readyz", names::HEALTH, 5, 3),
        ..pods::container("metrics", &render_config.guard_image, &["/quorum-guard"], args)
    }
}

fn volumes(node: &Validated) -> Vec<Volume> {
    let (secret, key) = &node.node_key;
    let genesis = &node.spec.genesis.config_map_ref;
    let mut volumes = vec![
        pods::secret("nodekey", secret, &[(key, "nodekey")]),
        pods::config("genesis", &genesis.name, &[(&genesis.key, "genesis.json")]),
        pods::config("peers", &node.names.peers(), &[]),
        pods::scratch("run", "1Mi", true),
        // not in `run`, which `geth init` mounts
        pods::scratch("key", "1Mi", true),
        pods::secret(
            "tls-metrics",
            &names::secret_name(&node.names, &node.spec.tls, Purpose::Metrics),
            &[("tls.crt", "tls.crt"), ("tls.key", "tls.key")],
        ),
        watched(node),
    ];
    if node.manager.is_some() {
        volumes.push(pods::secret(
            "tls-tm",
            &node.names.certificate(Purpose::Client),
            &[("ca.crt", "ca.crt"), ("tls.crt", "tls.crt"), ("tls.key", "tls.key")],
        ));
    }
    if let Some(authority) = &node.spec.metrics.client_authority {
        volumes.push(pods::config("scraper-ca", &authority.name, &[(&authority.key, "ca.crt")]));
    }
    if node.has_callers() {
        volumes.extend(rpc::volumes(node));
    }
    volumes
}

/// All certificates of the node without their keys, so that the sidecar can report when each expires.
fn watched(node: &Validated) -> Volume {
    let sources = certificates::wanted(node).into_keys().map(|purpose| VolumeProjection {
        secret: Some(SecretProjection {
            name: names::secret_name(&node.names, &node.spec.tls, purpose),
            items: Some(vec![KeyToPath {
                key: "tls.crt".into(),
                path: format!("{}.crt", purpose.as_str()),
                mode: None,
            }]),
            optional: Some(true),
        }),
        ..VolumeProjection::default()
    });
    Volume {
        name: "watched".into(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o400),
            sources: Some(sources.collect()),
        }),
        ..Volume::default()
    }
}
