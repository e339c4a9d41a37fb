//! Third-party resources (cert-manager, Prometheus operator), with only the fields that the operator writes or reads.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// Spec of a cert-manager Certificate.
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
    /// Secret that cert-manager writes the certificate to.
    pub secret_name: String,
    /// The issuer.
    pub issuer_ref: IssuerRef,
    /// DNS names of the certificate.
    pub dns_names: Vec<String>,
    /// Key usages.
    pub usages: Vec<String>,
    /// Its private key.
    pub private_key: PrivateKey,
    /// Lifetime.
    pub duration: String,
    /// Time before expiry at which it is renewed.
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

/// The private key that cert-manager generates.
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

/// Status of a cert-manager Certificate.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct CertificateStatus {
    /// `Ready` and `Issuing`.
    pub conditions: Vec<Said>,
}

/// A condition of a third-party object.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Said {
    /// Type of the condition.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Its message.
    pub message: String,
}

/// Spec of a PodMonitor: the pods that Prometheus scrapes, and how.
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
    /// Selector of the pods.
    pub selector: LabelSelector,
    /// Metrics endpoints of each pod.
    pub pod_metrics_endpoints: Vec<Endpoint>,
}

/// A metrics endpoint of a pod.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Name of the container's port.
    pub port: String,
    /// `https`.
    pub scheme: String,
    /// HTTP path.
    pub path: String,
    /// TLS settings of the scraper.
    pub tls_config: Trusted,
}

/// TLS settings of a scraper.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Trusted {
    /// Location of the CA certificate.
    pub ca: Held,
    /// DNS name that the server's certificate must have.
    pub server_name: String,
}

/// A key of a ConfigMap or of a Secret.
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
    /// Key in its data.
    pub key: String,
}
