//! Who issues a node's certificates, how long they last, and who else is trusted.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::parts::{ConfigMapKey, SecretName};

/// Certificates of the node.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.renewBefore) + duration(self.renewBefore) <= duration(self.duration)")
        .message("renewBefore must be at most half of duration, or a certificate would be renewed as soon as it is made")
        .field_path(".renewBefore"),
    validation = Rule::new("(self.issuer == 'Provided') == has(self.provided)")
        .message("provided goes with issuer Provided, and with no other: name the Secrets there")
        .field_path(".provided"),
    validation = Rule::new("(self.issuer == 'CertManager') == has(self.certManager)")
        .message("certManager goes with issuer CertManager, and with no other: name cert-manager's issuer there")
        .field_path(".certManager")
)]
pub struct Tls {
    /// Who issues what others see of the node, that is what is served to scrapers, to callers and between
    /// transaction managers: `BuiltIn` (default), the operator from the network's own authority; `CertManager`, an
    /// issuer of cert-manager, which is asked for them; or `Provided`, you, in Secrets that are read and
    /// never written. What the node's own parts show each other is always built in. A change takes effect
    /// when the pods are next replaced.
    #[serde(default)]
    pub issuer: Issuer,

    /// Where the certificates are that you provide; with `issuer: Provided`, and only then. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provided: Option<Provided>,

    /// Whom cert-manager is to ask; with `issuer: CertManager`, and only then. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_manager: Option<CertManager>,

    /// Lifetime of a certificate in hours, such as `2160h` (default, 90 days), 24h to 8760h.
    #[serde(default = "default_duration")]
    #[schemars(
        length(max = 6),
        regex(
            pattern = r"^(2[4-9]|[3-9][0-9]|[1-9][0-9]{2}|[1-7][0-9]{3}|8[0-6][0-9]{2}|87[0-5][0-9]|8760)h$"
        )
    )]
    pub duration: String,

    /// How long before its end a certificate is renewed, in hours, default `720h` (30 days). At most half
    /// of the lifetime.
    #[serde(default = "default_renew_before")]
    #[schemars(length(max = 6), regex(pattern = r"^[1-9][0-9]{0,3}h$"))]
    pub renew_before: String,

    /// Authorities of other organisations whose transaction managers may connect to this one's, at most
    /// 16. Default: only this network's own authority.
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

/// Who issues what others see of a node.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Issuer {
    /// The operator, from the network's own authority.
    #[default]
    BuiltIn,
    /// An issuer of cert-manager.
    CertManager,
    /// Somebody else: the Secrets are named.
    Provided,
}

/// Certificates through cert-manager.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CertManager {
    /// Issuer of the certificates. It must honour names, usages and lifetime as they are asked for, and put
    /// its own certificate into `ca.crt`; every manager with a certificate of it is admitted. Changing it
    /// has the certificates issued anew, by the new one.
    pub issuer_ref: IssuerRef,
}

/// An issuer of cert-manager.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.group != 'cert-manager.io' || self.kind in ['Issuer', 'ClusterIssuer']")
        .message("kind must be Issuer or ClusterIssuer; name the group too where the issuer is of another")
        .field_path(".kind")
)]
pub struct IssuerRef {
    /// Its name; an `Issuer` is in the node's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Its kind: `Issuer` (default), `ClusterIssuer`, or a kind of another group.
    #[serde(default = "default_issuer_kind")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Z][A-Za-z0-9]*$"))]
    pub kind: String,
    /// API group of its kind, default `cert-manager.io`.
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

/// Certificates from elsewhere. Each Secret holds `tls.crt`, `tls.key` (unencrypted PKCS#8, PEM) and
/// `ca.crt` with the authority that signed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Provided {
    /// Secret with the certificate that scrapers see: a server's and nothing else, EC P-256 or RSA 2048,
    /// for `NODE-metrics.NAMESPACE.svc` and the same with the cluster's domain. New contents are served at once.
    pub metrics: SecretName,
    /// Secret with the certificate of the transaction manager towards others: server and client, RSA
    /// 2048, for `NODE-tm.NAMESPACE.svc`, the same with the cluster's domain, and the name in
    /// `transactionManager.advertise`. Every manager whose certificate an authority in its `ca.crt` has
    /// signed is admitted. Needed where there is a transaction manager, and only there. Default: none, for a node without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tm_peers: Option<SecretName>,
    /// Secret with the certificate that callers see: a server's and nothing else, EC P-256 or RSA 2048, for
    /// `NODE-rpc.NAMESPACE.svc`, the same with the cluster's domain, and the names in `rpc.hostnames`. New contents are
    /// served at once. Needed where there is a caller, and only there. Default: none, for a node without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpc: Option<SecretName>,
}

/// A foreign authority.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Trust {
    /// ConfigMap of this namespace that holds the authority's certificate as PEM.
    pub config_map_ref: ConfigMapKey,
}
