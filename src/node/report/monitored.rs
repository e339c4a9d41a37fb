//! Whether Prometheus is told of the client, where that is wanted. No part of being ready.

use super::{Finding, finding};
use crate::{
    api::parts::PodMonitoring,
    node::{
        observed::{Observed, Seen},
        optional,
    },
};

pub(super) fn monitored(observed: &Observed) -> Option<Finding> {
    let kind = "Monitored";
    if observed.node.spec.metrics.pod_monitor == PodMonitoring::Disabled {
        return None;
    }
    match observed.monitor {
        Seen::Missing => {
            let missing = format!(
                "the server does not know {}, which spec.metrics.podMonitor needs: install the Prometheus operator; it is looked for each minute",
                optional::POD_MONITORS
            );
            Some(finding(kind, "False", "ApiMissing", missing))
        }
        Seen::Is(false) => Some(finding(kind, "False", "NotApplied", "the PodMonitor is not in place yet")),
        Seen::Is(true) | Seen::NotYet => None,
    }
}
