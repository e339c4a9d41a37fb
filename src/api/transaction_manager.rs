//! The transaction manager (Tessera) and its database.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::parts::{
    AccessMode, ConfigMapKey, NARROW_CIDR, PodTarget, Resources, SecretKey, SecretName, Storage,
};

/// A Tessera transaction manager, in its own pod on its own host.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TransactionManager {
    /// Image of Tessera, with `/tessera/bin/tessera`, and with the PostgreSQL driver among Tessera's libraries. Unless
    /// `profile` is Development, the image must be pinned by digest. A change replaces the transaction manager's pod in
    /// a rollout.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[a-zA-Z0-9][-a-zA-Z0-9._:/@]*$"))]
    pub image: String,

    /// Tessera version inside the image, such as `24.4.2`. A change replaces the transaction manager's pod in a
    /// rollout.
    #[schemars(length(max = 32), regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+$"))]
    pub version: String,

    /// Key pair of the transaction manager. The operator mounts the Secret with the key pair and never writes it.
    pub keys: Keys,

    /// CPU and memory of the transaction manager's container. If the private key is encrypted, the container needs
    /// another 1Gi of memory while it decrypts the key. Default: a CPU request of 250m, and 1Gi of memory.
    #[serde(default = "manager_resources")]
    pub resources: Resources,

    /// At most 64 transaction managers of other organisations. The operator adds the transaction managers of the other
    /// nodes of this network in this namespace. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub peers: Vec<ManagerPeer>,

    /// URL under which transaction managers of other organisations reach this transaction manager, such as
    /// `https://tm.example:9000`. The transaction manager's certificate includes the host of this URL. Default: the URL
    /// of the transaction manager's Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^https://[a-z0-9]([-a-z0-9.]*[a-z0-9])?:[0-9]{1,5}$"))]
    pub advertise: Option<String>,

    /// Database of the transaction manager. A managed database runs on its own host.
    pub database: Database,
}

fn manager_resources() -> Resources {
    Resources::of("250m", "1Gi")
}

/// Key pair of the transaction manager, in Tessera's file formats.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Keys {
    /// Secret of this namespace with the private and the public key.
    pub secret_ref: KeyPair,

    /// Password of the private key, if that key is encrypted. The password must be in a different Secret from the key.
    /// If `passwordRef` is not set, the private key must not be encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_ref: Option<SecretKey>,
}

/// A Secret with the private and the public key of a key pair.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KeyPair {
    /// Name of the Secret, in the node's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Key in the data of the Secret with the private key, default `tm.key`.
    #[serde(default = "default_private")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub private_key: String,
    /// Key in the data of the Secret with the public key, default `tm.pub`.
    #[serde(default = "default_public")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub public_key: String,
}

fn default_private() -> String {
    "tm.key".into()
}
fn default_public() -> String {
    "tm.pub".into()
}

/// Transaction manager of another organisation.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.cidrs) || has(self.pods)")
        .message("a peer needs cidrs, pods, or both, so that network policies can allow connections to the transaction manager")
)]
pub struct ManagerPeer {
    /// URL of the transaction manager, such as `https://tm.example:9000`.
    #[schemars(length(max = 256), regex(pattern = r"^https://[a-z0-9]([-a-z0-9.]*[a-z0-9])?:[0-9]{1,5}/?$"))]
    pub url: String,
    /// One to 16 IP address ranges of the transaction manager outside this cluster. No range may be wider than /24
    /// (IPv4) or /64 (IPv6). Network policies allow connections to and from these ranges. If `pods` is not set, `cidrs`
    /// must be set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(length(max = 43), regex(pattern = NARROW_CIDR)))]
    pub cidrs: Vec<String>,
    /// Pods of the transaction manager, if the transaction manager runs in this cluster. Network policies allow
    /// connections to and from these pods at `pods.port`, which defaults to the port in `url`. If `cidrs` is not set,
    /// `pods` must be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodTarget>,
}

/// Database of the transaction manager: run by the operator, or an existing one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.managed) != has(self.external)")
        .message("give either managed or external"),
    validation = Rule::new("has(self.managed) == has(oldSelf.managed)")
        .message("a database cannot be changed between managed and external, because the private state would be lost"),
    validation = Rule::new("!has(self.managed) || !has(oldSelf.managed) || has(self.managed.storage.className) == has(oldSelf.managed.storage.className) && (!has(self.managed.storage.className) || self.managed.storage.className == oldSelf.managed.storage.className)")
        .message("managed.storage.className cannot be changed, because the storage class of a PersistentVolumeClaim is immutable"),
    validation = Rule::new("!has(self.managed) || !has(oldSelf.managed) || self.managed.storage.accessMode == oldSelf.managed.storage.accessMode")
        .message("managed.storage.accessMode cannot be changed, because the access mode of a PersistentVolumeClaim is immutable")
)]
pub struct Database {
    /// PostgreSQL server that the operator runs on its own host. The server accepts only client certificates, no
    /// passwords. Set either `managed` or `external`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedDatabase>,
    /// An existing PostgreSQL server. Set either `managed` or `external`. If a different database server takes the
    /// place of this one, the node stalls. The operator identifies a database server by PostgreSQL's system identifier,
    /// so the role in `username` must be allowed to call `pg_control_system()`, which PostgreSQL allows to every role
    /// by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalDatabase>,
}

/// PostgreSQL server that the operator runs on its own host. The server accepts only client certificates, no passwords.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ManagedDatabase {
    /// Image of PostgreSQL, with `initdb`, `postgres` and `pg_isready` on the image's `PATH`. Unless `profile` is
    /// Development, the image must be pinned by digest. A change replaces the database's pod in a rollout.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[a-zA-Z0-9][-a-zA-Z0-9._:/@]*$"))]
    pub image: String,

    /// PostgreSQL version inside the image, such as `15` or `15.18`. A change replaces the database's pod in a rollout.
    /// The major version of a database that is in use cannot be changed: with another major version, the node stalls
    /// before the database restarts.
    #[schemars(length(max = 16), regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))]
    pub version: String,

    /// PersistentVolumeClaim for the data. Default: 10Gi of the cluster's default storage class.
    #[serde(default = "database_storage")]
    pub storage: Storage,

    /// CPU and memory of the database's container. Default: a CPU request of 250m, and 1Gi of memory.
    #[serde(default = "manager_resources")]
    pub resources: Resources,
}

fn database_storage() -> Storage {
    Storage { size: "10Gi".into(), class_name: None, access_mode: AccessMode::default() }
}

/// An existing PostgreSQL server. The transaction manager verifies the server's certificate, including the host name.
/// If the operator finds a different database server in place of the recorded one, the node stalls. The operator
/// identifies a database server by PostgreSQL's system identifier. For that, the role in `username` must be allowed to
/// call `pg_control_system()`, which PostgreSQL allows to every role by default.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.clientCertificateRef) != has(self.passwordRef)")
        .message("give either clientCertificateRef or passwordRef"),
    validation = Rule::new("has(self.cidrs) || has(self.pods)")
        .message("an external database needs cidrs, pods, or both, so that network policies can allow connections to the database")
)]
pub struct ExternalDatabase {
    /// Host name of the database server. The server's certificate must contain this name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub host: String,
    /// TCP port of the database server, default 5432.
    #[serde(default = "default_postgres_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Name of the database, default `tessera`.
    #[serde(default = "default_database")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z_][a-z0-9_]*$"))]
    pub database: String,
    /// One to 16 IP address ranges of the database server outside this cluster. No range may be wider than /24 (IPv4)
    /// or /64 (IPv6). Network policies allow egress to these ranges. If `pods` is not set, `cidrs` must be set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(length(max = 43), regex(pattern = NARROW_CIDR)))]
    pub cidrs: Vec<String>,
    /// Pods of the database server, if the server runs in this cluster. Network policies allow egress to these pods at
    /// `pods.port`, which defaults to `port`. If `cidrs` is not set, `pods` must be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodTarget>,
    /// Key of a ConfigMap of this namespace with the CA of the database server's certificate, as PEM.
    pub ca_ref: ConfigMapKey,
    /// PostgreSQL role that the transaction manager logs in as.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z_][a-z0-9_]*$"))]
    pub username: String,
    /// Secret of this namespace with the client certificate of the role: `tls.crt`, `tls.key` and `tls.pk8` (the key as
    /// PKCS#8 DER, for the transaction manager's PostgreSQL driver). Set either this field or `passwordRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretName>,
    /// Key of a Secret of this namespace with the password of the role. Set either this field or
    /// `clientCertificateRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_ref: Option<SecretKey>,
}

fn default_postgres_port() -> i32 {
    5432
}
fn default_database() -> String {
    "tessera".into()
}
