//! Objects that someone else changes whenever they have been put back.

use super::{Finding, finding};
use crate::{api::QuorumNode, node::apply::Applied};

/// Who fights with us over what. While that lasts nobody can say that the node is as the spec wants it.
pub(super) fn contested(applied: &Applied) -> Option<Finding> {
    let fights: Vec<_> = applied
        .contested
        .iter()
        .map(|fight| {
            let managers = match fight.managers.len() {
                0 => "someone who leaves no name".to_owned(),
                _ => fight.managers.iter().cloned().collect::<Vec<_>>().join(", "),
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
