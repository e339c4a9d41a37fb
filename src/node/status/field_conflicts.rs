//! Conditions about objects that differ from what the operator renders: drift that is not repaired, field conflicts
//! with other writers, and changes by admission webhooks.

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Resource as _;

use super::{Finding, finding};
use crate::{
    api::QuorumNode,
    cluster::write::{AdmissionChanges, repair_limit::FieldConflict},
    node::apply::{Applied, Left, Why},
};

/// Reason where an object differs from what the operator renders.
pub(crate) const DRIFTED: &str = "Drifted";

/// A sentence for each of the node's objects that differs: of its network policies, or of all others.
fn differing(applied: &Applied, policies: bool) -> Vec<String> {
    let is_selected = |kind: &str| (kind == NetworkPolicy::kind(&())) == policies;
    let left = applied.left.iter().filter(|left| is_selected(&left.kind)).map(sentence);
    let conflicts =
        applied.field_conflicts.iter().filter(|conflict| conflict.holds && is_selected(kind_of(conflict)));
    let conflicts = conflicts.map(|conflict| match conflict.fields.is_empty() {
        true => format!("{} does not exist, see the condition FieldConflict", conflict.object),
        false => format!(
            "{} has values that another writer repeatedly sets, see the condition FieldConflict",
            conflict.object
        ),
    });
    let admission_changes =
        applied.admission_changes.iter().filter(|it| it.weakens && is_selected(&it.kind)).map(changed);
    left.chain(conflicts).chain(admission_changes).collect()
}

fn kind_of(conflict: &FieldConflict) -> &str {
    conflict.object.split(' ').next().unwrap_or_default()
}

/// A sentence about an object that differs and is not repaired.
pub(crate) fn sentence(left: &Left) -> String {
    let object = format!("{} {}", left.kind, left.name);
    match &left.why {
        Why::Deleted(finalizers) => format!(
            "{object} is being deleted but has the finalizers {}: remove these finalizers from the object; the operator then creates the object again",
            finalizers.join(", ")
        ),
        Why::Stalled => format!(
            "{object} differs from what the operator last wrote{}: correct the faults that stall the node; the operator then repairs the object",
            by(&left.drift.managers)
        ),
        Why::Paused if left.drift.fields.is_empty() => format!("{object} does not match the spec"),
        Why::Paused => {
            format!(
                "{object} differs from the spec in the fields {}{}",
                left.drift.fields.join(", "),
                by(&left.drift.managers)
            )
        }
    }
}

fn by(managers: &[String]) -> String {
    // a writer has an entry for each way and time of its writes
    let names: BTreeSet<_> = managers.iter().map(|name| named(name)).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(" (changed by {})", names.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

/// A field manager's name, quoted where it has unusual characters: writers choose their own names.
fn named(manager: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@".contains(letter);
    if manager.chars().all(is_plain) { manager.to_owned() } else { format!("{manager:?}") }
}

fn changed(admission_changes: &AdmissionChanges) -> String {
    format!(
        "at every write, an admission webhook changes the fields {} of {} {}: exempt the namespace or the object from the webhook",
        admission_changes.fields.join(", "),
        admission_changes.kind,
        admission_changes.name
    )
}

/// Condition `NetworkPoliciesApplied`, about the node's own policies. Other policies of the namespace may widen them.
pub(crate) fn policies_applied(applied: &Applied) -> Finding {
    let kind = "NetworkPoliciesApplied";
    let differing = differing(applied, true);
    if !differing.is_empty() {
        return finding(kind, "False", DRIFTED, differing.join("; "));
    }
    match applied.policies {
        true => finding(
            kind,
            "True",
            "Applied",
            "the node's network policies are as the operator renders them; other policies of the namespace can allow more connections, and the operator does not check whether the network plugin enforces policies",
        ),
        false => finding(kind, "False", "NotApplied", "not all network policies of the node are applied yet"),
    }
}

/// Condition `ObjectsApplied`, about all other objects of the node; `None` where none differs.
pub(crate) fn objects_applied(applied: &Applied) -> Option<Finding> {
    let kind = "ObjectsApplied";
    let differing = differing(applied, false);
    if differing.is_empty() {
        return None;
    }
    Some(finding(kind, "False", DRIFTED, differing.join("; ")))
}

/// Condition `ChangedByAdmission`: harmless changes that admission webhooks make at every write. Not part of `Ready`.
pub(crate) fn admission_changes(applied: &Applied) -> Option<Finding> {
    let harmless: Vec<_> = applied.admission_changes.iter().filter(|it| !it.weakens).map(changed).collect();
    (!harmless.is_empty())
        .then(|| finding("ChangedByAdmission", "True", "FieldsChanged", harmless.join("; ")))
}

/// Condition `FieldConflict`: objects that another writer repeatedly changes or deletes. The node is not ready
/// meanwhile.
pub(crate) fn field_conflicts(applied: &Applied) -> Option<Finding> {
    let conflicts: Vec<_> = applied
        .field_conflicts
        .iter()
        .map(|conflict| {
            let managers = match conflict.managers.len() {
                0 => "a writer without a name".to_owned(),
                _ => conflict.managers.iter().map(|name| named(name)).collect::<Vec<_>>().join(", "),
            };
            match conflict.fields.len() {
                0 => format!("{} is repeatedly deleted by {managers}", conflict.object),
                _ => {
                    let fields: Vec<_> = conflict.fields.iter().cloned().collect();
                    format!(
                        "the fields {} of {} are repeatedly changed by {managers}",
                        fields.join(", "),
                        conflict.object
                    )
                }
            }
        })
        .collect();
    let remedy = "the operator repairs each object at most six times a minute: stop the other writer";
    (!conflicts.is_empty()).then(|| {
        finding("FieldConflict", "True", "RepeatedlyChanged", format!("{}; {remedy}", conflicts.join("; ")))
    })
}

/// Whether the operator had created all objects once, so that another writer must have deleted any that is missing.
#[must_use]
pub fn is_established(node: &QuorumNode) -> bool {
    let conditions = node.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|found| found.type_ == "NetworkPoliciesApplied" && found.status == "True")
}
