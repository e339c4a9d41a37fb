//! Kinds of others that a cluster may have: as much of them as is written or read here.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// What a certificate from cert-manager is to be.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[kube(
    group = "cert-manager.io",
    version = "v1",
    kind = "Certificate",
    namespaced,
    status = "CertificateStatus",
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateSpec {
    /// Secret that cert-manager puts it into.
    pub secret_name: String,
    /// Who issues it.
    pub issuer_ref: IssuerRef,
    /// Names it is for.
    pub dns_names: Vec<String>,
    /// What it may be used for.
    pub usages: Vec<String>,
    /// Its key.
    pub private_key: PrivateKey,
    /// How long it lasts.
    pub duration: String,
    /// How long before its end it is renewed.
    pub renew_before: String,
}

/// An issuer of cert-manager.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct IssuerRef {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The API group of its kind.
    pub group: String,
}

/// The key that cert-manager makes.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PrivateKey {
    /// `ECDSA` or `RSA`.
    pub algorithm: String,
    /// Its size in bits.
    pub size: i32,
    /// `PKCS8`.
    pub encoding: String,
    /// `Always`: a new key for each certificate.
    pub rotation_policy: String,
}

/// What cert-manager says of it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct CertificateStatus {
    /// `Ready` and `Issuing`.
    pub conditions: Vec<Said>,
}

/// A condition, by its words.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Said {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, for people.
    pub message: String,
}

/// Which pods Prometheus is to scrape, and how.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "monitoring.coreos.com",
    version = "v1",
    kind = "PodMonitor",
    namespaced,
    schema = "disabled",
    derive = "Default",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", default)]
pub struct PodMonitorSpec {
    /// Which pods of the namespace.
    pub selector: LabelSelector,
    /// Where in each.
    pub pod_metrics_endpoints: Vec<Endpoint>,
}

/// Where a pod shows its metrics.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Name of the container's port.
    pub port: String,
    /// `https`.
    pub scheme: String,
    /// Path of the page.
    pub path: String,
    /// Whom to trust, as whom.
    pub tls_config: Trusted,
}

/// Whom a scraper is to trust.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Trusted {
    /// Where the authority is.
    pub ca: Held,
    /// The name that the certificate must be for.
    pub server_name: String,
}

/// One of the two.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Held {
    /// A key of a ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<Key>,
    /// A key of a Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Key>,
}

/// A key of an object.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Key {
    /// Name of the object.
    pub name: String,
    /// The key inside.
    pub key: String,
}
