//! Conditions `SecretTerminating` and `SurplusFound`: deleted Secrets, and pods and claims of a workload that was
//! scaled up. Not part of `Ready`.

use super::{Finding, finding};
use crate::{
    model::{irreplaceable, names},
    node::{observed::Observed, validate},
};

/// Deleted Secrets that only the operator's finalizer preserves. Pods that use them keep running.
pub(crate) fn deleted(observed: &Observed) -> Option<Finding> {
    let deleted = observed.irreplaceable_secrets.iter().filter(|meta| irreplaceable::is_deleted(meta));
    let deleted: Vec<_> = deleted.filter_map(|meta| meta.name.as_deref()).collect();
    (!deleted.is_empty()).then(|| {
        let message = format!(
            "a user deleted Secret {}, whose content cannot be generated again. Only the finalizer {} preserves the content, until this node is deleted. A deletion cannot be undone, so save the Secret to a file, remove the finalizer, and create the Secret from the file; pods keep running meanwhile",
            deleted.join(", "),
            names::CLEANUP
        );
        finding("SecretTerminating", "True", "SecretDeleted", message)
    })
}

/// Surplus pods, which an init container prevents from starting, and claims that such pods have left.
pub(crate) fn surplus(observed: &Observed) -> Option<Finding> {
    let kind = "SurplusFound";
    let namespace = validate::names_of(observed).namespace;
    let surplus = &observed.surplus;
    if !surplus.pods.is_empty() {
        let message = format!(
            "these surplus pods do not start, because each part has only one pod: {}. Scale their StatefulSets back to 1 replica, then delete the PersistentVolumeClaims that the surplus pods leave",
            surplus.pods.join(", ")
        );
        return Some(finding(kind, "True", "SurplusPod", message));
    }
    let claims = surplus.claims.join(" ");
    (!claims.is_empty()).then(|| {
        let message = format!(
            "surplus pods have left PersistentVolumeClaims that the node never uses. Delete these claims: kubectl -n {namespace} delete pvc {claims}"
        );
        finding(kind, "True", "SurplusClaim", message)
    })
}
