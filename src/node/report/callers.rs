//! Whether every caller of JSON-RPC can be known.

use super::{Finding, finding};
use crate::{
    api::rpc::Identity,
    node::{
        observed::{Found, Observed},
        validate::Validated,
    },
};

const KIND: &str = "CallersKnown";

/// Nothing where nobody may call. Callers whose issuer has no keys are refused by the guard.
pub(super) fn callers_known(observed: &Observed, node: &Validated) -> Option<Finding> {
    node.has_callers().then_some(())?;
    let seen = &observed.callers;
    let cluster = seen.cluster.as_ref().map(|found| (None, found));
    let issuers = seen.issuers.iter().map(|(url, found)| (Some(url.as_str()), found));
    let mut awaited = None;
    for (url, found) in cluster.into_iter().chain(issuers) {
        let told = |what: &str| {
            format!(
                "the keys of {} {what}; refused until then: {}",
                url.unwrap_or("the cluster"),
                known_by(node, url)
            )
        };
        match found {
            Found::Is(_) => {}
            Found::Unusable(why) => {
                let message = told(&format!("cannot be read: {why}; it is asked every ten seconds"));
                return Some(finding(KIND, "False", "KeysUnreadable", message));
            }
            Found::Missing => {
                awaited.get_or_insert_with(|| finding(KIND, "Unknown", "KeysAwaited", told("are awaited")));
            }
        }
    }
    let known =
        || finding(KIND, "True", "KeysKnown", "each caller can be told by its certificate or its token");
    Some(awaited.unwrap_or_else(known))
}

/// Callers that are known by an issuer's word, or by the cluster's.
fn known_by(node: &Validated, url: Option<&str>) -> String {
    let is_known = |identity: &Identity| match url {
        None => identity.service_account.is_some(),
        Some(url) => identity.oidc.as_ref().is_some_and(|oidc| oidc.issuer == url),
    };
    let callers = node.spec.rpc.callers.iter().filter(|caller| is_known(&caller.identity));
    callers.map(|caller| caller.name.as_str()).collect::<Vec<_>>().join(", ")
}
