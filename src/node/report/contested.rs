//! Objects that are not as the operator renders them: left so while a node is paused, changed again and again by somebody,
//! or changed at every write by an admission webhook.

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Resource as _;

use super::{Finding, finding};
use crate::{
    api::QuorumNode,
    cluster::{contests::Contest, write::Imposed},
    node::apply::{Applied, Left, Why},
};

/// Reason of a part of which an object is not as the operator renders it.
pub(super) const DRIFTED: &str = "Drifted";

/// What of the node's objects is not as the operator renders it, the policies or the others: a sentence for each.
fn differing(applied: &Applied, policies: bool) -> Vec<String> {
    let is_asked = |kind: &str| (kind == NetworkPolicy::kind(&())) == policies;
    let left = applied.left.iter().filter(|left| is_asked(&left.kind)).map(sentence);
    let fights = applied.contested.iter().filter(|fight| fight.holds && is_asked(kind_of(fight)));
    let fights = fights.map(|fight| match fight.fields.is_empty() {
        true => format!("{} is not there, see Contested", fight.object),
        false => format!("{} is left as somebody else wrote it, see Contested", fight.object),
    });
    let imposed = applied.imposed.iter().filter(|it| it.weakens && is_asked(&it.kind)).map(changed);
    left.chain(fights).chain(imposed).collect()
}

fn kind_of(fight: &Contest) -> &str {
    fight.object.split(' ').next().unwrap_or_default()
}

/// What differs of an object that is left as it is.
pub(super) fn sentence(left: &Left) -> String {
    let object = format!("{} {}", left.kind, left.name);
    match &left.why {
        Why::Deleted(finalizers) => format!(
            "{object} is being deleted, and held by {}: take these finalizers off, and it is made again",
            finalizers.join(", ")
        ),
        Why::Stalled => format!(
            "{object} is not what the operator wrote last{}: mend what stalls the node, and it is repaired",
            by(&left.drift.managers)
        ),
        Why::Paused if left.drift.fields.is_empty() => format!("{object} is not as the spec wants it"),
        Why::Paused => {
            format!("{object} differs in {}{}", left.drift.fields.join(", "), by(&left.drift.managers))
        }
    }
}

fn by(managers: &[String]) -> String {
    match managers {
        [] => String::new(),
        _ => {
            format!(", written by {}", managers.iter().map(|name| named(name)).collect::<Vec<_>>().join(", "))
        }
    }
}

/// A writer gives itself its name, and may give it words.
fn named(manager: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@".contains(letter);
    if manager.chars().all(is_plain) { manager.to_owned() } else { format!("{manager:?}") }
}

fn changed(imposed: &Imposed) -> String {
    format!(
        "{} {} is changed at every write, by an admission webhook, in {}: exempt the namespace or the object from the webhook",
        imposed.kind,
        imposed.name,
        imposed.fields.join(", ")
    )
}

/// The node's own policies, as a whole. Whether others of the namespace widen them is another question.
pub(super) fn policies_applied(applied: &Applied) -> Finding {
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
            "the node's own policies are as rendered; other policies of the namespace can widen them, and whether the network plugin enforces any is not judged here",
        ),
        false => finding(kind, "False", "NotApplied", "the network policies are not all in place yet"),
    }
}

/// All other objects of the node, as a whole.
pub(super) fn objects_applied(applied: &Applied) -> Option<Finding> {
    let kind = "ObjectsApplied";
    let differing = differing(applied, false);
    if differing.is_empty() {
        return None;
    }
    Some(finding(kind, "False", DRIFTED, differing.join("; ")))
}

/// What an admission webhook changes at every write and what does no harm: no part of being ready.
pub(super) fn imposed(applied: &Applied) -> Option<Finding> {
    let harmless: Vec<_> = applied.imposed.iter().filter(|it| !it.weakens).map(changed).collect();
    (!harmless.is_empty())
        .then(|| finding("ChangedByAdmission", "True", "FieldsChanged", harmless.join("; ")))
}

/// Who fights with us over what. While that lasts nobody can say that the node is as the spec wants it.
pub(super) fn contested(applied: &Applied) -> Option<Finding> {
    let fights: Vec<_> = applied
        .contested
        .iter()
        .map(|fight| {
            let managers = match fight.managers.len() {
                0 => "someone who leaves no name".to_owned(),
                _ => fight.managers.iter().map(|name| named(name)).collect::<Vec<_>>().join(", "),
            };
            match fight.fields.len() {
                0 => format!("{} is deleted again and again by {managers}", fight.object),
                _ => {
                    let fields: Vec<_> = fight.fields.iter().cloned().collect();
                    format!(
                        "{} of {} is changed again and again by {managers}",
                        fields.join(", "),
                        fight.object
                    )
                }
            }
        })
        .collect();
    let way_out = "it is put back six times a minute at most: end what changes it";
    (!fights.is_empty())
        .then(|| finding("Contested", "True", "FieldContested", format!("{}; {way_out}", fights.join("; "))))
}

/// Whether everything was there once: what is missing then was deleted by someone else.
#[must_use]
pub fn is_established(node: &QuorumNode) -> bool {
    let conditions = node.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|found| found.type_ == "NetworkPoliciesApplied" && found.status == "True")
}
