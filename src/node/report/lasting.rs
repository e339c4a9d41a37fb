//! What is there that should not be: Secrets that somebody has deleted, and what a workload that was scaled up has left.
//! No part of being ready.

use super::{Finding, finding};
use crate::node::{lasting, names, observed::Observed, validate};

/// Secrets that our finalizer alone keeps. What uses them goes on meanwhile.
pub(super) fn deleted(observed: &Observed) -> Option<Finding> {
    let deleted = observed.lasting.iter().filter(|meta| lasting::is_deleted(meta));
    let deleted: Vec<_> = deleted.filter_map(|meta| meta.name.as_deref()).collect();
    (!deleted.is_empty()).then(|| {
        let message = format!(
            "somebody has deleted what cannot be made again, and only the finalizer {} keeps it until this node ends: Secret {}. A deletion cannot be taken back: copy the Secret to a file, take the finalizer off, and create it again from the file; what runs goes on meanwhile",
            names::CLEANUP,
            deleted.join(", ")
        );
        finding("SecretTerminating", "True", "SecretDeleted", message)
    })
}

/// Pods beyond the first, which their init container keeps from starting, and claims that such pods have left.
pub(super) fn surplus(observed: &Observed) -> Option<Finding> {
    let kind = "SurplusFound";
    let namespace = validate::names_of(observed).namespace;
    let surplus = &observed.surplus;
    if !surplus.pods.is_empty() {
        let message = format!(
            "these pods are not the node's, and do not start, since a part has one pod: {}; scale their StatefulSets back to 1 replica, then delete what they have left",
            surplus.pods.join(", ")
        );
        return Some(finding(kind, "True", "SurplusPod", message));
    }
    let claims = surplus.claims.join(" ");
    (!claims.is_empty()).then(|| {
        let message = format!(
            "pods beyond the first have left these claims, which the node never uses: kubectl -n {namespace} delete pvc {claims}"
        );
        finding(kind, "True", "SurplusClaim", message)
    })
}
