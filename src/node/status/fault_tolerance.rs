//! Condition `QuorumTolerant`: whether the chain tolerates the loss of a validator. Not part of `Ready`: it is a
//! property of the network.

use super::{Finding, finding, rollout as rollout_status};
use crate::{
    api::node::Role,
    node::{decide::rollout, desired::disruption_budget, validate::Validated},
};

const NAME: &str = "QuorumTolerant";

/// The condition of a validator where validators are missing, or where none may be unavailable.
pub(crate) fn quorum_tolerant(node: &Validated) -> Option<Finding> {
    let count = node.validators.filter(|_| node.spec.role == Role::Validator)?;
    if let Some(first) = node.chain_validators.missing.first() {
        let more = match node.chain_validators.missing.len() - 1 {
            0 => String::new(),
            more => format!("; the same is true of {more} more validators"),
        };
        let tolerated = match rollout::tolerated(node) {
            0 => "Until then, no pod of another validator is evicted or replaced".to_owned(),
            tolerated => format!("Until then, {tolerated} more validators may be unavailable"),
        };
        let message = format!(
            "{}{more}. Recreate the validator's node with the same key, or set spec.role of that node to Validator again, or have the validator voted out and list the remaining validators in spec.consensus.validatorAddresses. {tolerated}",
            rollout_status::gone(first)
        );
        return Some(finding(NAME, "False", "ValidatorMissing", message));
    }
    (disruption_budget::tolerated(count) == 0).then(|| {
        let plural = if count == 1 { "" } else { "s" };
        let message = format!(
            "the network has {count} validator{plural} and tolerates the loss of none, so the chain may stall whenever a validator is replaced or a validator's host is drained. Run at least 4 validators (add {}). If the genesis does not name all validators, set their number in spec.consensus.validators or list them in spec.consensus.validatorAddresses",
            4 - count
        );
        finding(NAME, "False", "InsufficientValidators", message)
    })
}
