//! The client's workload: geth with every listener but P2P on loopback, and the metrics sidecar.

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
    admitted::Admitted,
    arguments::{self, path},
    certificates, pods, rpc,
};
use crate::{
    node::{
        identity::Standing,
        names::{self, Component, Purpose},
        validate::Validated,
    },
    settings::Surroundings,
};

pub(super) fn workload(node: &Validated, surroundings: &Surroundings, live: &Live) -> Option<StatefulSet> {
    let replicas = replicas(node, live)?;
    let client = &node.spec.client;
    let admitted = Admitted::next(live.permitted.as_deref(), &node.peers.permitted, live.leaving);
    let mut workload = pods::workload(
        node,
        pods::Parts {
            component: Component::Client,
            version: client.version.clone(),
            config_digest: config_digest(node, &admitted),
            init: vec![prepare(node, surroundings), genesis(node)],
            containers: containers(node, surroundings),
            volumes: volumes(node),
            claim: Some(client.storage.clone()),
            users: surroundings.users,
            // geth flushes what it holds in memory
            grace: 180,
        },
    );
    // what it runs as outlives its node where that is deleted with `--cascade=orphan`
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

fn containers(node: &Validated, surroundings: &Surroundings) -> Vec<Container> {
    let mut containers = vec![geth(node), metrics(node, surroundings)];
    containers.extend(node.has_callers().then(|| rpc::guard(node, surroundings)));
    containers
}

/// How many pods the client's workload is to have; `None` where there is to be none yet.
fn replicas(node: &Validated, live: &Live) -> Option<i32> {
    let as_it_is = i32::from(!live.client_stopped);
    match node.standing {
        Standing::Held(_) => live.client_exists.then_some(0),
        Standing::Unclaimed | Standing::Waits(_) => live.client_exists.then_some(as_it_is),
        Standing::Free => (live.client_exists || node.peers.incomplete.is_empty()).then_some(1),
    }
}

/// Peers that come are not part of it: their lists are read again without a restart.
fn config_digest(node: &Validated, admitted: &Admitted) -> String {
    let digest = Sha256::digest([&node.genesis.sha256, admitted.mark.as_str()].concat());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Starts in the one pod alone; lays out the data directory; checks the node key, which it alone sees in its Secret, and
/// hands it on in memory, where it stays what it is however the Secret changes; and waits for the transaction manager, without which geth ends at once.
fn prepare(node: &Validated, surroundings: &Surroundings) -> Container {
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
        ..pods::container("prepare", &surroundings.guard_image, &["/quorum-guard"], args)
    }
}

/// Writes the genesis block where there is none; a database of another chain makes it fail. It gets a key
/// that is thrown away, so that none is left in the data directory.
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

/// The only container that keeps the node key: the one that was checked, never the Secret.
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
        // opening a large database takes its time: half an hour
        startup_probe: pods::accepts(names::P2P, 5, 360),
        liveness_probe: pods::accepts(names::P2P, 20, 6),
        ..pods::container(names::CLIENT_CONTAINER, &node.spec.client.image, &["geth"], arguments::run(node))
    }
}

/// What callers ask makes garbage as fast as it is answered: near its limit the client collects it sooner, instead of
/// being killed. It is read by the client's Go runtime.
fn memory_goal(node: &Validated) -> EnvVar {
    let memory = node.spec.client.resources.memory_mib() * 9 / 10;
    EnvVar { name: "GOMEMLIMIT".into(), value: Some(format!("{memory}MiB")), value_from: None }
}

/// Shows the client's metrics over TLS and nothing else of that port, and the operator which peers have no connection; its
/// readiness is the client's.
fn metrics(node: &Validated, surroundings: &Surroundings) -> Container {
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
        ..pods::container("metrics", &surroundings.guard_image, &["/quorum-guard"], args)
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
        // not `run`: geth init has no business with it
        pods::scratch("key", "1Mi", true),
        pods::secret(
            "tls-metrics",
            &certificates::secret_name(&node.names, &node.spec.tls, Purpose::Metrics),
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

/// Every certificate of the node, without its key, for the sidecar to say when each ends.
fn watched(node: &Validated) -> Volume {
    let sources = certificates::wanted(node).into_keys().map(|purpose| VolumeProjection {
        secret: Some(SecretProjection {
            name: certificates::secret_name(&node.names, &node.spec.tls, purpose),
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
