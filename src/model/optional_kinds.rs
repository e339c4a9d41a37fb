//! Third-party kinds that a node may use. The operator discovers and watches each only while a node needs it.

use crate::api::{QuorumNode, parts::PodMonitoring, tls::Issuer};

/// cert-manager's Certificates, as named in a node's status.
pub const CERT_MANAGER: &str = "certificates.cert-manager.io";

/// The Prometheus operator's PodMonitors, as named in a node's status.
pub const POD_MONITORS: &str = "podmonitors.monitoring.coreos.com";

/// Whether a node has or needs Certificates of cert-manager.
#[must_use]
pub fn asks_cert_manager(node: &QuorumNode) -> bool {
    node.spec.tls.issuer == Issuer::CertManager || has(node, CERT_MANAGER)
}

/// Whether a node has or needs a PodMonitor.
#[must_use]
pub fn asks_monitoring(node: &QuorumNode) -> bool {
    node.spec.metrics.pod_monitor == PodMonitoring::Enabled || has(node, POD_MONITORS)
}

/// Whether a node has or needs any third-party kind.
#[must_use]
pub fn asks(node: &QuorumNode) -> bool {
    asks_cert_manager(node) || asks_monitoring(node)
}

/// Whether the node's status names the kind, which it does until the node's objects of that kind are removed.
fn has(node: &QuorumNode, kind: &str) -> bool {
    node.status.as_ref().is_some_and(|status| status.optional_kinds.iter().any(|listed| listed == kind))
}
