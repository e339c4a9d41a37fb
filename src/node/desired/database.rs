//! The managed database's workload: PostgreSQL that accepts one role, over TLS with a client certificate.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Container, ContainerPort, ExecAction, Probe, Volume, VolumeMount},
};
use sha2::{Digest as _, Sha256};

use super::pods;
use crate::{
    api::transaction_manager::ManagedDatabase,
    model::names::{self, Component, DATABASE, Purpose},
    node::{
        decide::database::INITIALISE,
        validate::{Database, Validated},
    },
    protocol::database::{SystemIdentifier, comment},
    settings::{RenderConfig, Users},
};

const DATA: &str = "/data/pgdata";
const CONFIG: &str = "/etc/postgresql";
const TLS: &str = "/tls/db";
const TOOLS: &str = "/tools";
const PASSWD: &str = "passwd";

pub(super) fn workload(node: &Validated, render_config: &RenderConfig) -> Option<StatefulSet> {
    let manager = node.manager.as_ref()?;
    let Database::Managed(database) = &manager.database else { return None };
    Some(pods::workload(
        node,
        pods::Parts {
            component: Component::Database,
            version: database.version.clone(),
            config_digest: config_digest(),
            init: vec![context(node, render_config), initialise(node, (database, render_config.users))],
            containers: vec![postgres(node, (database, render_config.users))],
            volumes: volumes(node),
            claim: Some(database.storage.clone()),
            users: render_config.users,
            grace: 60,
        },
    ))
}

/// PostgreSQL's configuration files, and the `passwd` file with its account.
pub(super) fn files(expected: Option<SystemIdentifier>) -> BTreeMap<String, String> {
    let settings = format!(
        "listen_addresses = '*'\n\
         port = {port}\n\
         # no socket: whoever is in the container speaks TLS like everybody else\n\
         unix_socket_directories = ''\n\
         hba_file = '{CONFIG}/pg_hba.conf'\n\
         ssl = on\n\
         ssl_min_protocol_version = 'TLSv1.2'\n\
         ssl_cert_file = '{TLS}/tls.crt'\n\
         ssl_key_file = '{TLS}/tls.key'\n\
         ssl_ca_file = '{TLS}/ca.crt'\n\
         password_encryption = 'scram-sha-256'\n\
         max_connections = 50\n\
         shared_buffers = '128MB'\n\
         log_timezone = 'UTC'\n\
         timezone = 'UTC'\n",
        port = names::POSTGRES,
    );
    let admitted = format!(
        "# one role, from anywhere the network lets through, over TLS, by certificate\n\
         hostssl {DATABASE} {DATABASE} 0.0.0.0/0 cert\n\
         hostssl {DATABASE} {DATABASE} ::/0 cert\n",
    );
    // initdb requires a name for its user. The comment names the one database that may start: `initialise` mounts no
    // other file of this ConfigMap, and another mount would replace the pods of all nodes
    let account = format!(
        "root:x:0:0::/:/bin/false\npostgres:x:{user}:{user}:{comment}:/data:/bin/false\n",
        user = pods::USER,
        comment = comment(expected),
    );
    BTreeMap::from([
        ("postgresql.conf".into(), settings),
        ("pg_hba.conf".into(), admitted),
        (PASSWD.into(), account),
    ])
}

/// Digest without the expected database, which is read before PostgreSQL starts and does not affect a running pod.
fn config_digest() -> String {
    let digest = Sha256::digest(serde_json::to_vec(&files(None)).unwrap_or_default());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Init container that copies the setup program, since the image may have no shell. It succeeds only in the one pod,
/// since a second pod would be an empty database behind the same Service.
fn context(node: &Validated, render_config: &RenderConfig) -> Container {
    let only = pods::only_pod(node, Component::Database);
    let mut args = vec!["init".into(), "copy".into(), format!("--to={TOOLS}/quorum-guard"), only];
    let mut mounts = vec![pods::writable("tools", TOOLS)];
    if render_config.users == Users::Platform {
        args.push(format!("--accounts={CONFIG}/{PASSWD}"));
        args.push(format!("--accounts-to={TOOLS}/{PASSWD}"));
        mounts.push(pods::mount("config", CONFIG));
    }
    Container {
        env: pods::own_name(),
        volume_mounts: Some(mounts),
        resources: pods::small(node.spec.sidecars.init.as_ref()),
        ..pods::container("tools", &render_config.guard_image, &["/quorum-guard"], args)
    }
}

/// Init container that creates the database cluster, the role and the database, all or nothing. The manager creates its
/// tables.
fn initialise(node: &Validated, (database, users): (&ManagedDatabase, Users)) -> Container {
    let args = ["init", "database", "--pgdata", DATA, "--role", DATABASE, "--database", DATABASE];
    let only = pods::only_pod(node, Component::Database);
    let args = args.map(str::to_owned).into_iter().chain([only]).collect();
    Container {
        env: pods::own_name(),
        volume_mounts: Some(vec![
            pods::writable("data", "/data"),
            pods::mount("tools", TOOLS),
            passwd(users),
            pods::writable("tmp", "/tmp"),
        ]),
        resources: pods::resources(&database.resources),
        ..pods::container(INITIALISE, &database.image, &["/tools/quorum-guard"], args)
    }
}

fn postgres(node: &Validated, (database, users): (&ManagedDatabase, Users)) -> Container {
    let args =
        ["-D", DATA, "-c", &format!("config_file={CONFIG}/postgresql.conf")].map(str::to_owned).to_vec();
    Container {
        ports: Some(vec![ContainerPort {
            name: Some("postgres".into()),
            container_port: names::POSTGRES,
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        volume_mounts: Some(vec![
            pods::writable("data", "/data"),
            pods::mount("config", CONFIG),
            pods::mount("tls", TLS),
            pods::writable("tmp", "/tmp"),
            passwd(users),
        ]),
        resources: pods::resources(&database.resources),
        startup_probe: tls_answers(node, 3, 200),
        liveness_probe: pods::accepts(names::POSTGRES, 20, 6),
        readiness_probe: tls_answers(node, 10, 3),
        ..pods::container("postgres", &database.image, &["postgres"], args)
    }
}

/// Probe with `pg_isready`, which succeeds only after a TLS handshake with a valid certificate and name.
fn tls_answers(node: &Validated, period: i32, failures: i32) -> Option<Probe> {
    let service = node.names.dns(&node.names.workload(Component::Database));
    let connection = format!(
        "host={service} hostaddr=127.0.0.1 port={} user={DATABASE} dbname={DATABASE} sslmode=verify-full sslrootcert={TLS}/ca.crt",
        names::POSTGRES
    );
    let command = ["pg_isready", "-q", "-t", "4", "-d", &connection].map(str::to_owned).to_vec();
    Some(Probe { exec: Some(ExecAction { command: Some(command) }), ..pods::every(period, failures) })
}

/// The `passwd` file. If the platform assigns the user, it is the file that `context` has written.
fn passwd(users: Users) -> VolumeMount {
    let volume = match users {
        Users::Fixed => "config",
        Users::Platform => "tools",
    };
    VolumeMount { sub_path: Some(PASSWD.into()), ..pods::mount(volume, "/etc/passwd") }
}

fn volumes(node: &Validated) -> Vec<Volume> {
    vec![
        pods::config("config", &node.names.database_config(), &[]),
        pods::secret(
            "tls",
            &node.names.certificate(Purpose::Database),
            &[("ca.crt", "ca.crt"), ("tls.crt", "tls.crt"), ("tls.key", "tls.key")],
        ),
        pods::scratch("tools", "64Mi", false),
        pods::scratch("tmp", "64Mi", false),
    ]
}
