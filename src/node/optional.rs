//! Which kinds of others a node asks for: looked for, and watched, only while one does.

use crate::api::{QuorumNode, parts::PodMonitoring, tls::Issuer};

/// Certificates of cert-manager, as a status names them.
pub const CERT_MANAGER: &str = "certificates.cert-manager.io";

/// PodMonitors of the Prometheus operator, as a status names them.
pub const POD_MONITORS: &str = "podmonitors.monitoring.coreos.com";

/// Whether a node has, or is to have, Certificates of cert-manager.
#[must_use]
pub fn asks_cert_manager(node: &QuorumNode) -> bool {
    node.spec.tls.issuer == Issuer::CertManager || has(node, CERT_MANAGER)
}

/// Whether a node has, or is to have, a PodMonitor.
#[must_use]
pub fn asks_monitoring(node: &QuorumNode) -> bool {
    node.spec.metrics.pod_monitor == PodMonitoring::Enabled || has(node, POD_MONITORS)
}

/// Whether a node asks for any.
#[must_use]
pub fn asks(node: &QuorumNode) -> bool {
    asks_cert_manager(node) || asks_monitoring(node)
}

/// What a node has had is removed when it is no longer wanted: until then its status names the kind.
fn has(node: &QuorumNode, kind: &str) -> bool {
    node.status.as_ref().is_some_and(|status| status.optional_kinds.iter().any(|listed| listed == kind))
}
