//! Grants that an administrator should look at. No part of being ready: they are what the spec says.

use super::{Finding, finding};
use crate::{
    node::{desired, validate::Validated},
    policy::grants::Grants,
};

/// Methods of one caller that are named; the number of the others follows.
const NAMED: usize = 3;

/// Callers that can end the client by a trace, and callers that read private contracts where there are any.
pub(super) fn to_review(node: &Validated) -> Option<Finding> {
    let tracing = callers(node, |grants| grants.tracing().map(str::to_owned).collect());
    let private = callers(node, |grants| grants.private_state().map(str::to_owned).collect());
    let tracing = tracing.map(|callers| {
        format!(
            "these callers may trace: {callers}; the trace of a contract that calls itself can end the client, and with it the node: take these methods out of spec.rpc.callers[].methods where they are not needed"
        )
    });
    let private = private.filter(|_| node.manager.is_some()).map(|callers| {
        format!(
            "these callers may read the private contracts of this node: {callers}; where they should not, set privateState to false and take the methods out of spec.rpc.callers[].methods"
        )
    });
    let reason = if tracing.is_some() { "TracingGranted" } else { "PrivateStateGranted" };
    let message = tracing.into_iter().chain(private).collect::<Vec<_>>().join(". ");
    (!message.is_empty()).then(|| finding("GrantsToReview", "True", reason, message))
}

/// Callers of whom something is found in their grants, with what it is.
fn callers(node: &Validated, find: impl Fn(&Grants) -> Vec<String>) -> Option<String> {
    let told = node.spec.rpc.callers.iter().filter_map(|caller| {
        let found = find(&desired::rpc::grants(node, caller)?);
        let mut named = found.iter().take(NAMED).cloned().collect::<Vec<_>>();
        let others = found.len().saturating_sub(NAMED);
        named.extend((others > 0).then(|| format!("and {others} more")));
        (!found.is_empty()).then(|| format!("{} ({})", caller.name, named.join(", ")))
    });
    let told = told.collect::<Vec<_>>().join(", ");
    (!told.is_empty()).then_some(told)
}
