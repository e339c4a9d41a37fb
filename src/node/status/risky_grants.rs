//! Condition `GrantsToReview`: granted RPC methods that an administrator should review. Not part of `Ready`: the spec
//! asks for them.

use super::{Finding, finding};
use crate::{
    node::{desired, validate::Validated},
    protocol::policy::grants::Grants,
};

/// Maximum number of methods named per caller; the number of the others follows.
const NAMED: usize = 3;

/// Callers that may trace, which can crash the client, and callers that may read private contracts.
pub(crate) fn to_review(node: &Validated) -> Option<Finding> {
    let tracing = callers(node, |grants| grants.tracing().map(str::to_owned).collect());
    let private = callers(node, |grants| grants.private_state().map(str::to_owned).collect());
    let tracing = tracing.map(|callers| {
        format!(
            "these callers may call tracing methods: {callers}. A trace of a contract that calls itself can crash the client, so remove the tracing methods that a caller does not need from spec.rpc.callers[].methods"
        )
    });
    let private = private.filter(|_| node.manager.is_some()).map(|callers| {
        format!(
            "these callers may read the private contracts of this node: {callers}. For a caller that must not read them, set spec.rpc.callers[].privateState to false, and remove these methods from spec.rpc.callers[].methods"
        )
    });
    let reason = if tracing.is_some() { "TracingGranted" } else { "PrivateStateGranted" };
    let message = tracing.into_iter().chain(private).collect::<Vec<_>>().join(". ");
    (!message.is_empty()).then(|| finding("GrantsToReview", "True", reason, message))
}

/// Names of the callers in whose grants `find` finds methods, with these methods.
fn callers(node: &Validated, find: impl Fn(&Grants) -> Vec<String>) -> Option<String> {
    let callers = node.spec.rpc.callers.iter().filter_map(|caller| {
        let found = find(&desired::rpc::grants(node, caller)?);
        let mut named = found.iter().take(NAMED).cloned().collect::<Vec<_>>();
        let others = found.len().saturating_sub(NAMED);
        named.extend((others > 0).then(|| format!("and {others} more")));
        (!found.is_empty()).then(|| format!("{} ({})", caller.name, named.join(", ")))
    });
    let callers = callers.collect::<Vec<_>>().join(", ");
    (!callers.is_empty()).then_some(callers)
}
