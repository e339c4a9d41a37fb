//! How many validators the chain can spare. Told, and no part of being ready: it is how a network is made.

use super::{Finding, finding, rolled};
use crate::{
    api::node::Role,
    node::{desired::budget, rollout, validate::Validated},
};

const NAME: &str = "QuorumTolerant";

/// That some are missing, or that none can be spared, on each validator of such a network.
pub(super) fn quorum_tolerant(node: &Validated) -> Option<Finding> {
    let count = node.validators.filter(|_| node.spec.role == Role::Validator)?;
    if let Some(first) = node.voters.missing.first() {
        let more = match node.voters.missing.len() - 1 {
            0 => String::new(),
            more => format!(", and of {more} more validators the same is true"),
        };
        let spared = match rollout::spared(node) {
            0 => "no pod of another validator is evicted or replaced until then".to_owned(),
            spared => format!("{spared} more may be away"),
        };
        let message = format!(
            "{}{more}: make its node again with the same key, or give it back its role, or have it voted out and list those that are left in spec.consensus.validatorAddresses; {spared}",
            rolled::gone(first)
        );
        return Some(finding(NAME, "False", "ValidatorMissing", message));
    }
    (budget::tolerated(count) == 0).then(|| {
        let plural = if count == 1 { "" } else { "s" };
        let message = format!(
            "the network has {count} validator{plural} and none to spare: the chain may stand still whenever one is replaced or its host is drained; run at least 4 (add {}), and state in spec.consensus.validators or validatorAddresses how many there are where the genesis does not say",
            4 - count
        );
        finding(NAME, "False", "NoneToSpare", message)
    })
}
