//! Condition `CallerKeysAvailable`: whether the keys that authenticate callers of JSON-RPC are available.

use super::{Finding, finding};
use crate::{
    api::rpc::Identity,
    model::lookup::Found,
    node::{observed::Observed, validate::Validated},
};

const KIND: &str = "CallerKeysAvailable";

/// The condition; `None` where the spec lists no callers. The guard rejects callers whose issuer has no keys.
pub(super) fn callers_known(observed: &Observed, node: &Validated) -> Option<Finding> {
    node.has_callers().then_some(())?;
    let seen = &observed.callers;
    let cluster = seen.cluster.as_ref().map(|found| (None, found));
    let issuers = seen.issuers.iter().map(|(url, found)| (Some(url.as_str()), found));
    let mut awaited = None;
    for (url, found) in cluster.into_iter().chain(issuers) {
        let issuer =
            || url.map_or("the cluster's token issuer".to_owned(), |url| format!("the token issuer {url}"));
        let rejected = || {
            format!("Until the keys are available, the guard rejects these callers: {}", known_by(node, url))
        };
        match found {
            Found::Present(_) => {}
            Found::Invalid(why) => {
                let message = format!(
                    "the public keys of {} are unavailable: {why}. The operator retries every ten seconds. {}",
                    issuer(),
                    rejected()
                );
                return Some(finding(KIND, "False", "KeysUnavailable", message));
            }
            Found::Missing => {
                awaited.get_or_insert_with(|| {
                    let message =
                        format!("the operator is fetching the public keys of {}. {}", issuer(), rejected());
                    finding(KIND, "Unknown", "FetchingKeys", message)
                });
            }
        }
    }
    let known =
        || finding(KIND, "True", "KeysAvailable", "the keys to authenticate every caller are available");
    Some(awaited.unwrap_or_else(known))
}

/// Names of the callers whose tokens an issuer, or the cluster, signs.
fn known_by(node: &Validated, url: Option<&str>) -> String {
    let is_known = |identity: &Identity| match url {
        None => identity.service_account.is_some(),
        Some(url) => identity.oidc.as_ref().is_some_and(|oidc| oidc.issuer == url),
    };
    let callers = node.spec.rpc.callers.iter().filter(|caller| is_known(&caller.identity));
    callers.map(|caller| caller.name.as_str()).collect::<Vec<_>>().join(", ")
}
