//! How many validators the chain can spare. Told, and no part of being ready: it is how a network is made.

use super::{Finding, finding};
use crate::{
    api::node::Role,
    node::{desired::budget, validate::Validated},
};

/// That none can be spared, on each validator of such a network.
pub(super) fn quorum_tolerant(node: &Validated) -> Option<Finding> {
    let count = node.validators.filter(|_| node.spec.role == Role::Validator)?;
    (budget::tolerated(count) == 0).then(|| {
        let plural = if count == 1 { "" } else { "s" };
        finding(
            "QuorumTolerant",
            "False",
            "NoneToSpare",
            format!(
                "the network has {count} validator{plural} and none to spare: the chain may stand still whenever one is replaced or its host is drained; run at least 4 (add {}), or say in spec.consensus.validators how many there are where others run elsewhere",
                4 - count
            ),
        )
    })
}
