//! Condition `Monitored`: whether the requested PodMonitor exists. Not part of `Ready`.

use super::{Finding, finding};
use crate::{
    api::parts::PodMonitoring,
    model::{lookup::Seen, optional_kinds},
    node::observed::Observed,
};

pub(crate) fn monitored(observed: &Observed) -> Option<Finding> {
    let kind = "Monitored";
    if observed.node.spec.metrics.pod_monitor == PodMonitoring::Disabled {
        return None;
    }
    match observed.monitor {
        Seen::Missing => {
            let missing = format!(
                "the API server does not serve {}, which spec.metrics.podMonitor requires: install the Prometheus operator; quorum-operator checks for this API every minute",
                optional_kinds::POD_MONITORS
            );
            Some(finding(kind, "False", "ApiMissing", missing))
        }
        Seen::Present(false) => {
            Some(finding(kind, "False", "NotApplied", "the PodMonitor is not applied yet"))
        }
        Seen::Present(true) | Seen::NotYet => None,
    }
}
