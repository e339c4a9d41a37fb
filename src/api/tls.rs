//! Issuer and lifetime of a node's certificates, and trusted CAs of other organisations.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::parts::{ConfigMapKey, SecretName};

/// Certificates of the node.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.renewBefore) + duration(self.renewBefore) <= duration(self.duration)")
        .message("renewBefore must be at most half of duration, because otherwise a new certificate would soon be due for renewal")
        .field_path(".renewBefore"),
    validation = Rule::new("(self.issuer == 'Provided') == has(self.provided)")
        .message("provided must be set if issuer is Provided, and must not be set otherwise: name the Secrets in tls.provided")
        .field_path(".provided"),
    validation = Rule::new("(self.issuer == 'CertManager') == has(self.certManager)")
        .message("certManager must be set if issuer is CertManager, and must not be set otherwise: name the issuer in tls.certManager")
        .field_path(".certManager")
)]
pub struct Tls {
    /// Issuer of the certificates that scrapers, callers and other transaction managers see. `BuiltIn` (default): the
    /// operator, which signs with the network's own certificate authority (CA). `CertManager`: an issuer of
    /// cert-manager. `Provided`: you supply Secrets, which the operator only reads. The operator always issues the
    /// certificates between the node's own parts. A change takes effect when the pods are next replaced.
    #[serde(default)]
    pub issuer: Issuer,

    /// Secrets with the certificates that you supply. Required if `tls.issuer` is `Provided`, rejected otherwise.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provided: Option<Provided>,

    /// Issuer of cert-manager that signs the certificates. Required if `tls.issuer` is `CertManager`, rejected
    /// otherwise. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_manager: Option<CertManager>,

    /// Lifetime, in hours, of the certificates that the operator issues or requests: `24h` to `8760h`, default `2160h`
    /// (90 days).
    #[serde(default = "default_duration")]
    #[schemars(
        length(max = 6),
        regex(
            pattern = r"^(2[4-9]|[3-9][0-9]|[1-9][0-9]{2}|[1-7][0-9]{3}|8[0-6][0-9]{2}|87[0-5][0-9]|8760)h$"
        )
    )]
    pub duration: String,

    /// Number of hours before expiry at which a certificate is renewed, default `720h` (30 days). The value must be at
    /// most half of `duration`.
    #[serde(default = "default_renew_before")]
    #[schemars(length(max = 6), regex(pattern = r"^[1-9][0-9]{0,3}h$"))]
    pub renew_before: String,

    /// At most 16 CAs of other organisations. Transaction managers with certificates that one of these CAs signed may
    /// connect to this node's transaction manager. Default: none; only this network's own CA is trusted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub trust: Vec<Trust>,
}

fn default_duration() -> String {
    "2160h".into()
}
fn default_renew_before() -> String {
    "720h".into()
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            issuer: Issuer::default(),
            provided: None,
            cert_manager: None,
            duration: default_duration(),
            renew_before: default_renew_before(),
            trust: Vec::new(),
        }
    }
}

/// Issuer of the certificates that others see.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Issuer {
    /// The operator, which signs with the network's own CA.
    #[default]
    BuiltIn,
    /// An issuer of cert-manager.
    CertManager,
    /// You: the spec names Secrets with the certificates.
    Provided,
}

/// Certificates that cert-manager issues.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CertManager {
    /// Issuer of the certificates. The issuer must use the names, usages and lifetime of the request, and put its own
    /// certificate into `ca.crt`. The transaction manager admits every other transaction manager with a certificate
    /// that this issuer signed. If you change the issuer, the new issuer issues all certificates again.
    pub issuer_ref: IssuerRef,
}

/// An issuer of cert-manager.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.group != 'cert-manager.io' || self.kind in ['Issuer', 'ClusterIssuer']")
        .message("kind must be Issuer or ClusterIssuer if group is cert-manager.io. For another kind, set group to the API group of that kind")
        .field_path(".kind")
)]
pub struct IssuerRef {
    /// Name of the issuer. An `Issuer` must be in the node's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Kind of the issuer: `Issuer` (default), `ClusterIssuer`, or a kind of another group.
    #[serde(default = "default_issuer_kind")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Z][A-Za-z0-9]*$"))]
    pub kind: String,
    /// API group of the kind, default `cert-manager.io`.
    #[serde(default = "default_issuer_group")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub group: String,
}

fn default_issuer_kind() -> String {
    "Issuer".into()
}
fn default_issuer_group() -> String {
    "cert-manager.io".into()
}

/// Certificates that you supply. Each Secret contains `tls.crt`, `tls.key` (unencrypted PKCS#8, PEM) and `ca.crt` with
/// the CA that signed the certificate.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Provided {
    /// Secret with the certificate that scrapers see. The certificate must be for server authentication only, have an
    /// EC P-256 or RSA 2048 key, and have the name `NODE-metrics.NAMESPACE.svc` and the same name with the cluster's
    /// domain. If the Secret changes, the metrics sidecar serves the new certificate at once.
    pub metrics: SecretName,
    /// Secret with the certificate for connections between transaction managers. The certificate must be for server and
    /// client authentication, have an RSA 2048 key, and have these names: `NODE-tm.NAMESPACE.svc`, the same name with
    /// the cluster's domain, and the host in `transactionManager.advertise`. The transaction manager admits every other
    /// transaction manager with a certificate that a CA in `ca.crt` signed. Required if the node has a
    /// transactionManager, rejected otherwise. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tm_peers: Option<SecretName>,
    /// Secret with the certificate that callers see. The certificate must be for server authentication only, have an EC
    /// P-256 or RSA 2048 key, and have these names: `NODE-rpc.NAMESPACE.svc`, the same name with the cluster's domain,
    /// and the names in `rpc.hostnames`. If the Secret changes, the guard serves the new certificate at once. Required
    /// if `rpc.callers` is not empty, rejected otherwise. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpc: Option<SecretName>,
}

/// A trusted CA of another organisation.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Trust {
    /// Key of a ConfigMap of this namespace with the CA's certificate, as PEM.
    pub config_map_ref: ConfigMapKey,
}
