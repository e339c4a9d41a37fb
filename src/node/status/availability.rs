//! Conditions `ClientAvailable`, `TransactionManagerAvailable` and `PlacementIsolated`.

use k8s_openapi::jiff::Timestamp;

use super::{Finding, finding};
use crate::{
    model::{fault::Reason, names::Component},
    node::{
        decide::{
            identity::IdentityDecision,
            placement::{self, Isolation},
        },
        observed::Observed,
        validate::Validated,
    },
};

/// Reason for a part without a host.
pub(crate) const WAITS: &str = "Unschedulable";
/// Reason for a part whose volume is not provisioned.
pub(crate) const VOLUME: &str = "VolumePending";
/// Reason for a part whose host no longer reports.
const LOST: &str = "HostUnreachable";

/// Whether each part runs on a machine of its own.
pub(crate) fn isolated(observed: &Observed, parts: &[Component], now: Timestamp) -> Finding {
    let kind = "PlacementIsolated";
    match placement::isolation(observed, parts, now) {
        Isolation::Isolated(where_) => finding(kind, "True", "Isolated", where_),
        Isolation::SharedKernel(where_) => finding(kind, "True", "SharedKernel", where_),
        Isolation::Unknown(why) => finding(kind, "Unknown", "NotScheduled", why),
        Isolation::Shared(why) => finding(kind, "False", Reason::SharedHost, why),
        Isolation::Waits(why) => finding(kind, "False", WAITS, why),
        Isolation::Unprovided(why) => finding(kind, "False", VOLUME, why),
        Isolation::Lost(why) => finding(kind, "Unknown", LOST, why),
        Isolation::NoHost(why) => finding(kind, "False", Reason::InsufficientHosts, why),
    }
}

/// Whether the client serves.
pub(crate) fn client_available(observed: &Observed, node: &Validated) -> Finding {
    let kind = "ClientAvailable";
    if !node.peers.incomplete.is_empty() && !observed.workloads.contains_key(&Component::Client) {
        let waits = format!(
            "the client starts once these nodes of the network have a key and an address: {}",
            node.peers.incomplete.join(", ")
        );
        return finding(kind, "False", "WaitingForPeers", waits);
    }
    if let (IdentityDecision::Waits(other), false) =
        (&node.standing, observed.pods.contains_key(&Component::Client))
    {
        let waits = format!(
            "node {other} has the same key, so this node's client starts only once the client of {other} is known not to run"
        );
        return finding(kind, "False", "WaitingForIdentity", waits);
    }
    available(observed, kind, Component::Client)
}

/// Whether the transaction manager and its database serve.
pub(crate) fn manager_available(observed: &Observed, parts: &[Component]) -> Finding {
    let kind = "TransactionManagerAvailable";
    // the database first: the manager cannot serve without it
    let needed = [Component::Database, Component::TransactionManager];
    let found: Vec<_> = needed
        .into_iter()
        .filter(|part| parts.contains(part))
        .map(|part| available(observed, kind, part))
        .collect();
    let missing = found.iter().find(|found| found.status != "True");
    let outdated = || found.iter().find(|found| found.reason == "Outdated");
    let killed = || {
        let is_killed = |part: &&Component| observed.pods.get(part).is_some_and(|pod| pod.killed.is_some());
        needed.iter().filter(|part| parts.contains(part)).position(|part| is_killed(&part))
    };
    missing.or_else(outdated).or_else(|| found.get(killed()?)).cloned().unwrap_or_else(|| {
        finding(kind, "True", "Available", "the transaction manager answers and reaches its database")
    })
}

fn available(observed: &Observed, kind: &'static str, component: Component) -> Finding {
    let spoken = component.spoken();
    let Some(pod) = observed.pods.get(&component) else {
        return match observed.rejected_pods.get(&component) {
            Some(said) => finding(
                kind,
                "False",
                "FailedCreate",
                format!(
                    "the API server rejects the {spoken}'s pod: \"{said}\". Correct the cause; Kubernetes then creates the pod by itself"
                ),
            ),
            None => finding(kind, "False", "NotStarted", format!("the {spoken} has no pod yet")),
        };
    };
    if let (Some(lost), false) = (placement::lost(observed, component), pod.ready && !pod.terminating) {
        return finding(kind, "False", LOST, lost);
    }
    if pod.terminating {
        return finding(kind, "False", "Terminating", format!("the {spoken}'s pod is terminating"));
    }
    if pod.unschedulable.is_some() {
        return finding(
            kind,
            "False",
            WAITS,
            format!("the {spoken}'s pod cannot be scheduled, see the condition PlacementIsolated"),
        );
    }
    let newest = observed.workloads.get(&component).and_then(|workload| workload.update_revision.as_ref());
    let outdated = newest.is_some() && pod.revision.is_some() && newest != pod.revision.as_ref();
    if pod.ready {
        let message = if outdated {
            format!("the {spoken} serves with an earlier configuration until the operator replaces its pod")
        } else {
            format!("the {spoken} serves")
        };
        let killed = pod.killed.iter().map(|killed| format!("; {killed}"));
        let message = std::iter::once(message).chain(killed).collect::<String>();
        return finding(kind, "True", if outdated { "Outdated" } else { "Available" }, message);
    }
    match &pod.trouble {
        Some(trouble) => {
            finding(kind, "False", "NotReady", format!("the {spoken} does not serve: {trouble}"))
        }
        None => finding(kind, "False", "Starting", format!("the {spoken} is starting")),
    }
}
