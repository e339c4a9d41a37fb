//! The transaction manager (Tessera) and its database.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::parts::{
    AccessMode, ConfigMapKey, NARROW_CIDR, PodTarget, Resources, SecretKey, SecretName, Storage,
};

/// A Tessera transaction manager: a pod and a host of its own.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TransactionManager {
    /// Image of Tessera, with `/tessera/bin/tessera` and the PostgreSQL driver among its libraries. Must
    /// be pinned by digest unless profile is Development. Takes effect when the pod is next replaced.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[a-zA-Z0-9][-a-zA-Z0-9._:/@]*$"))]
    pub image: String,

    /// Tessera version inside the image, such as `24.4.2`.
    #[schemars(length(max = 32), regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+$"))]
    pub version: String,

    /// The manager's key pair. It is mounted and never written.
    pub keys: Keys,

    /// CPU and memory of the manager's container. Default: 250m CPU requested, 1Gi memory. A locked key
    /// needs another 1Gi while it is opened.
    #[serde(default = "manager_resources")]
    pub resources: Resources,

    /// Managers of other organisations, at most 64. Those of this namespace's network are added by
    /// themselves. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub peers: Vec<ManagerPeer>,

    /// URL under which other organisations' managers find this one, such as
    /// `https://tm.example:9000`. Its host is added to the certificate. Default: its Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^https://[a-z0-9]([-a-z0-9.]*[a-z0-9])?:[0-9]{1,5}$"))]
    pub advertise: Option<String>,

    /// The database, on a host of its own.
    pub database: Database,
}

fn manager_resources() -> Resources {
    Resources::of("250m", "1Gi")
}

/// The manager's key pair, in Tessera's file formats.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Keys {
    /// Secret of this namespace that holds both files.
    pub secret_ref: KeyPair,

    /// Password of a locked private key, from another Secret: key and password never share one.
    /// Default: the key is not locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_ref: Option<SecretKey>,
}

/// Two keys of one Secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KeyPair {
    /// Name of the Secret, in the node's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Key of the private half, default `tm.key`.
    #[serde(default = "default_private")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub private_key: String,
    /// Key of the public half, default `tm.pub`.
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

/// Another organisation's manager.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.cidrs) || has(self.pods)")
        .message("say where the manager is: give cidrs, pods, or both")
)]
pub struct ManagerPeer {
    /// Its URL, such as `https://tm.example:9000`.
    #[schemars(length(max = 256), regex(pattern = r"^https://[a-z0-9]([-a-z0-9.]*[a-z0-9])?:[0-9]{1,5}/?$"))]
    pub url: String,
    /// Addresses it has outside this cluster, 1 to 16 ranges no wider than /24 or /64: to them and from them the
    /// network is opened. Default: none, where `pods` says where it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(length(max = 43), regex(pattern = NARROW_CIDR)))]
    pub cidrs: Vec<String>,
    /// Its pods, where it runs in this cluster: to them and from them the network is opened. The port is the URL's
    /// unless they listen on another one. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodTarget>,
}

/// The manager's database: one that is run here, or one that exists.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.managed) != has(self.external)")
        .message("give either managed or external"),
    validation = Rule::new("has(self.managed) == has(oldSelf.managed)")
        .message("a database cannot be changed between managed and external: the private state would be lost"),
    validation = Rule::new("!has(self.managed) || !has(oldSelf.managed) || has(self.managed.storage.className) == has(oldSelf.managed.storage.className) && (!has(self.managed.storage.className) || self.managed.storage.className == oldSelf.managed.storage.className)")
        .message("managed.storage.className cannot be changed: a volume claim keeps the class it was made with"),
    validation = Rule::new("!has(self.managed) || !has(oldSelf.managed) || self.managed.storage.accessMode == oldSelf.managed.storage.accessMode")
        .message("managed.storage.accessMode cannot be changed: a volume claim keeps the access mode it was made with")
)]
pub struct Database {
    /// A PostgreSQL run by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedDatabase>,
    /// A PostgreSQL that exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalDatabase>,
}

/// A PostgreSQL run by the operator, on a host of its own, reached with certificates alone.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ManagedDatabase {
    /// Image with `initdb`, `postgres` and `pg_isready` on its path. Must be pinned by digest unless
    /// profile is Development. Takes effect when the pod is next replaced.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[a-zA-Z0-9][-a-zA-Z0-9._:/@]*$"))]
    pub image: String,

    /// PostgreSQL version inside the image, such as `15` or `15.18`. The major version cannot change under a database
    /// that is in use: the node stalls before anything is restarted.
    #[schemars(length(max = 16), regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))]
    pub version: String,

    /// Volume for the data. Default: 10Gi of the cluster's default storage class. It may grow.
    #[serde(default = "database_storage")]
    pub storage: Storage,

    /// CPU and memory of the database's container. Default: 250m CPU requested, 1Gi memory.
    #[serde(default = "manager_resources")]
    pub resources: Resources,
}

fn database_storage() -> Storage {
    Storage { size: "10Gi".into(), class_name: None, access_mode: AccessMode::default() }
}

/// A PostgreSQL that exists. Its certificate is verified, host name included. Another database in its place stalls
/// the node; it is known by its system identifier, if its role may call `pg_control_system()`, as every role may by default.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.clientCertificateRef) != has(self.passwordRef)")
        .message("give either clientCertificateRef or passwordRef"),
    validation = Rule::new("has(self.cidrs) || has(self.pods)")
        .message("say where the database is: give cidrs, pods, or both")
)]
pub struct ExternalDatabase {
    /// Host name, as its certificate has it.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub host: String,
    /// TCP port, default 5432.
    #[serde(default = "default_postgres_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Name of the database, default `tessera`.
    #[serde(default = "default_database")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z_][a-z0-9_]*$"))]
    pub database: String,
    /// Addresses it has outside this cluster, 1 to 16 ranges no wider than /24 or /64: to them the network is opened.
    /// Default: none, where `pods` says where it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(length(max = 43), regex(pattern = NARROW_CIDR)))]
    pub cidrs: Vec<String>,
    /// Its pods, where it runs in this cluster: to them the network is opened. The port is that of `port` unless they
    /// listen on another one. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodTarget>,
    /// ConfigMap of this namespace with the authority of its certificate, as PEM.
    pub ca_ref: ConfigMapKey,
    /// Role to log in as.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z_][a-z0-9_]*$"))]
    pub username: String,
    /// Secret of this namespace with `tls.crt`, `tls.key` and `tls.pk8` (the key as PKCS#8 DER, which the
    /// manager's driver wants).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretName>,
    /// Password of the role, from a Secret of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_ref: Option<SecretKey>,
}

fn default_postgres_port() -> i32 {
    5432
}
fn default_database() -> String {
    "tessera".into()
}
