//! The transaction manager's workload: Tessera, and a probe sidecar, since the kubelet cannot probe mutual TLS.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Container, ContainerPort, EnvVar, Volume, VolumeMount},
};
use sha2::{Digest as _, Sha256};

use super::{
    Live, arguments,
    known_managers::Known,
    pods,
    tessera::{self, path},
};
use crate::{
    model::names::{self, Component, DATABASE, Purpose, secret_name},
    node::{
        decide::database::EXTERNAL_DATABASE,
        validate::{Database, Manager, Validated},
    },
    protocol::database::FILE,
    settings::RenderConfig,
};

const PROBE_TLS: &str = "/tls/probe";
/// Directory with the expected identity of the external database.
const EXPECTED: &str = "/expected";

pub(super) fn workload(node: &Validated, render_config: &RenderConfig, live: &Live) -> Option<StatefulSet> {
    let manager = node.manager.as_ref()?;
    let known = Known::next(live.managers.as_deref(), &manager.network_members, live.joining);
    let mut workload = pods::workload(
        node,
        pods::Parts {
            component: Component::TransactionManager,
            version: manager.spec.version.clone(),
            config_digest: config_digest(node, manager, &known.mark),
            init: [prepare(node, render_config)]
                .into_iter()
                .chain(external_database(node, manager, render_config))
                .collect(),
            containers: vec![tessera(manager, node), probe(node, manager, render_config)],
            volumes: volumes(node, manager),
            claim: None,
            users: render_config.users,
            grace: 30,
        },
    );
    let annotations = workload.metadata.annotations.get_or_insert_default();
    annotations.insert(names::MANAGERS.into(), known.to_string());
    Some(workload)
}

/// Digest of what Tessera reads only at start: its configuration, and most of what that references. Of the network's
/// managers only the mark counts, which changes for a new one. Without references and mark the digest equals that of
/// earlier versions, so that such a pod is not replaced.
fn config_digest(node: &Validated, manager: &Manager, mark: &str) -> String {
    let mut read = tessera::configuration(node, manager, &BTreeSet::new()).to_string();
    for (field, version) in &manager.references {
        read.push_str(&format!("\n{field}={version}"));
    }
    if !mark.is_empty() {
        read.push_str(&format!("\nmanagers={mark}"));
    }
    let digest = Sha256::digest(read);
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Init container that succeeds only in the one pod: two managers with one key would each receive half of the payloads.
fn prepare(node: &Validated, render_config: &RenderConfig) -> Container {
    let args = vec!["init".into(), "pod".into(), pods::only_pod(node, Component::TransactionManager)];
    Container {
        env: pods::own_name(),
        resources: pods::small(node.spec.sidecars.init.as_ref()),
        ..pods::container("prepare", &render_config.guard_image, &["/quorum-guard"], args)
    }
}

fn tessera(manager: &Manager, node: &Validated) -> Container {
    let mut mounts = vec![
        pods::mount("config", path::CONFIG),
        pods::mount("keys", path::KEYS),
        pods::mount("tls", path::TLS),
        pods::mount("tls-peers", path::PEERS_TLS),
        pods::mount("db-ca", path::DATABASE_CA),
        pods::writable("tmp", "/tmp"),
    ];
    if manager.spec.keys.password_ref.is_some() {
        mounts.push(pods::mount("password", path::PASSWORD));
    }
    if has_certificate(manager) {
        mounts.push(pods::mount("tls-db", path::DATABASE_TLS));
    }
    mounts.extend(
        (0..node.spec.tls.trust.len())
            .map(|i| pods::mount(&format!("trust-{i}"), &format!("{}/{i}", path::TRUST))),
    );
    let port = |name: &str, container_port: i32| ContainerPort {
        name: Some(name.into()),
        container_port,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    };
    Container {
        env: Some(vec![EnvVar {
            name: "JAVA_OPTS".into(),
            // half of the memory is for the heap, the rest for unlocking keys. No heap dumps: they contain keys
            value: Some(
                "-XX:MaxRAMPercentage=50 -XX:-HeapDumpOnOutOfMemoryError -Djava.io.tmpdir=/tmp".into(),
            ),
            value_from: None,
        }]),
        ports: Some(vec![port("client", names::CLIENT_TO_MANAGER), port("peers", names::MANAGER_TO_MANAGER)]),
        volume_mounts: Some(mounts),
        resources: pods::resources(&manager.spec.resources),
        startup_probe: pods::accepts(names::CLIENT_TO_MANAGER, 3, 200),
        liveness_probe: pods::accepts(names::CLIENT_TO_MANAGER, 20, 6),
        ..pods::container(
            "tm",
            &manager.spec.image,
            &["/tessera/bin/tessera"],
            vec!["-configfile".into(), format!("{}/{}", path::CONFIG, tessera::FILE)],
        )
    }
}

/// Sidecar that is ready if the manager answers, and its database completes TLS and a login.
fn probe(node: &Validated, manager: &Manager, render_config: &RenderConfig) -> Container {
    let mut args = vec![
        "probe".into(),
        format!("--health=[::]:{}", names::HEALTH),
        format!("--upcheck={}/upcheck", arguments::manager_url(node)),
        // checks the name of the Service, but connects directly
        format!("--upcheck-connect=127.0.0.1:{}", names::CLIENT_TO_MANAGER),
        format!("--ca={PROBE_TLS}/ca.crt"),
        format!("--cert={PROBE_TLS}/tls.crt"),
        format!("--key={PROBE_TLS}/tls.key"),
    ];
    let (flags, login) = login(node, manager);
    args.extend(flags);
    let mut mounts = vec![pods::mount("tls-probe", PROBE_TLS)];
    mounts.extend(login);
    Container {
        volume_mounts: Some(mounts),
        resources: pods::small(node.spec.sidecars.probe.as_ref()),
        startup_probe: pods::says_ok("/livez", names::HEALTH, 2, 30),
        liveness_probe: pods::says_ok("/livez", names::HEALTH, 10, 3),
        readiness_probe: pods::says_ok("/readyz", names::HEALTH, 5, 3),
        ..pods::container("probe", &render_config.guard_image, &["/quorum-guard"], args)
    }
}

/// Init container that waits for the external database, and fails if it is not the same as before: the manager would
/// write into it.
fn external_database(node: &Validated, manager: &Manager, render_config: &RenderConfig) -> Option<Container> {
    let Database::External(..) = &manager.database else { return None };
    let (flags, mounts) = login(node, manager);
    let args = ["init", "external-database"].map(str::to_owned).into_iter().chain(flags).collect();
    Some(Container {
        volume_mounts: Some(mounts),
        resources: pods::small(node.spec.sidecars.init.as_ref()),
        ..pods::container(EXTERNAL_DATABASE, &render_config.guard_image, &["/quorum-guard"], args)
    })
}

/// Flags and mounts with which quorum-guard logs in to the manager's database, as the manager does.
fn login(node: &Validated, manager: &Manager) -> (Vec<String>, Vec<VolumeMount>) {
    let (address, database, user) = match &manager.database {
        Database::Managed(_) => {
            let service = node.names.dns(&node.names.workload(Component::Database));
            (format!("{service}:{}", names::POSTGRES), DATABASE, DATABASE)
        }
        Database::External(external, _) => (
            format!("{}:{}", external.host, external.port),
            external.database.as_str(),
            external.username.as_str(),
        ),
    };
    let mut flags = vec![
        format!("--database={address}"),
        format!("--database-name={database}"),
        format!("--database-user={user}"),
        format!("--database-ca={}/ca.crt", path::DATABASE_CA),
    ];
    let mut mounts = vec![pods::mount("db-ca", path::DATABASE_CA)];
    if has_certificate(manager) {
        flags.push(format!("--database-cert={}/tls.crt", path::DATABASE_TLS));
        flags.push(format!("--database-key={}/tls.key", path::DATABASE_TLS));
        mounts.push(pods::mount("tls-db", path::DATABASE_TLS));
    } else {
        flags.push(format!("--database-config={}/{}", path::CONFIG, tessera::FILE));
        mounts.push(pods::mount("config", path::CONFIG));
    }
    if let Database::External(..) = &manager.database {
        flags.push(format!("--database-expected={EXPECTED}/{FILE}"));
        mounts.push(pods::mount("expected", EXPECTED));
    }
    (flags, mounts)
}

/// Whether the manager authenticates to its database by a certificate instead of a password.
fn has_certificate(manager: &Manager) -> bool {
    match &manager.database {
        Database::Managed(_) => true,
        Database::External(external, _) => external.client_certificate_ref.is_some(),
    }
}

fn volumes(node: &Validated, manager: &Manager) -> Vec<Volume> {
    let names = &node.names;
    let keys = &manager.spec.keys;
    let all = [("ca.crt", "ca.crt"), ("tls.crt", "tls.crt"), ("tls.key", "tls.key")];
    let with_der = [("tls.crt", "tls.crt"), ("tls.key", "tls.key"), ("tls.pk8", "tls.pk8")];
    let mut volumes = vec![
        pods::secret(
            "keys",
            &keys.secret_ref.name,
            &[(&keys.secret_ref.private_key, "private"), (&keys.secret_ref.public_key, "public")],
        ),
        pods::secret("tls", &names.certificate(Purpose::Manager), &all),
        pods::secret("tls-peers", &secret_name(names, &node.spec.tls, Purpose::ManagerPeers), &all),
        pods::secret("tls-probe", &names.certificate(Purpose::Probe), &all),
        pods::scratch("tmp", "64Mi", false),
    ];
    if let Some(password) = &keys.password_ref {
        volumes.push(pods::secret("password", &password.name, &[(&password.key, "password")]));
    }
    match &manager.database {
        Database::Managed(_) => volumes.extend([
            pods::config("config", &names.manager_config(), &[]),
            pods::secret("db-ca", &names.certificate(Purpose::DatabaseClient), &[("ca.crt", "ca.crt")]),
            pods::secret("tls-db", &names.certificate(Purpose::DatabaseClient), &with_der),
        ]),
        Database::External(external, _) => {
            volumes.push(pods::config("expected", &names.database_config(), &[(FILE, FILE)]));
            volumes.push(pods::config("db-ca", &external.ca_ref.name, &[(&external.ca_ref.key, "ca.crt")]));
            if let Some(certificate) = &external.client_certificate_ref {
                volumes.push(pods::config("config", &names.manager_config(), &[]));
                volumes.push(pods::secret("tls-db", &certificate.name, &with_der));
            }
            if external.password_ref.is_some() {
                volumes.push(pods::secret(
                    "config",
                    &names.manager_config(),
                    &[(tessera::FILE, tessera::FILE)],
                ));
            }
        }
    }
    volumes.extend(node.spec.tls.trust.iter().enumerate().map(|(i, trust)| {
        let reference = &trust.config_map_ref;
        pods::config(&format!("trust-{i}"), &reference.name, &[(&reference.key, "ca.crt")])
    }));
    volumes
}
