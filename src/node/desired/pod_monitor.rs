//! PodMonitor: where Prometheus finds the client's metrics, and the CA that it trusts for them.

use crate::{
    api::{parts::PodMonitoring, tls::Issuer},
    model::{
        names::{Component, Purpose, secret_name},
        third_party::{Endpoint, Held, Key, PodMonitor, PodMonitorSpec, Trusted},
    },
    node::validate::Validated,
};

pub(super) fn all(node: &Validated) -> Option<PodMonitor> {
    if node.spec.metrics.pod_monitor == PodMonitoring::Disabled {
        return None;
    }
    let names = &node.names;
    let key = |name: String| Some(Key { name, key: "ca.crt".into() });
    let ca = match node.spec.tls.issuer {
        Issuer::BuiltIn => Held { config_map: key(names.network_authority()), secret: None },
        Issuer::CertManager | Issuer::Provided => {
            Held { config_map: None, secret: key(secret_name(names, &node.spec.tls, Purpose::Metrics)) }
        }
    };
    let endpoint = Endpoint {
        port: "metrics".into(),
        scheme: "https".into(),
        path: "/metrics".into(),
        tls_config: Trusted { ca, server_name: names.dns(&names.metrics_service()) },
    };
    let component = Component::Client;
    Some(PodMonitor {
        metadata: names.meta(names.metrics_service(), names.component_labels(component), &node.owner),
        spec: PodMonitorSpec { selector: names.pods(component), pod_metrics_endpoints: vec![endpoint] },
    })
}
