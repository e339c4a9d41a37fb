//! Whether what is served is what the Secrets hold. What was not seen is not judged, neither well nor ill.

use std::collections::BTreeMap;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{Finding, finding};
use crate::node::{
    desired::certificates,
    names::Purpose,
    observed::Observed,
    secrets::{mint::EARLIER, tls::LeafFacts},
    validate::Validated,
};

/// Kubelets and readers, and pods that are replaced one after the other, have so long.
const GRACE: SignedDuration = SignedDuration::from_mins(10);

const REASON: &str = "ServedDiffers";

/// The certificates that were seen to be served, and whether they are those of the Secrets.
#[must_use]
pub fn seen_served(observed: &Observed) -> BTreeMap<Purpose, bool> {
    let held = |purpose: &Purpose| Some(&observed.certificates.get(purpose)?.as_ref().ok()?.fingerprint);
    let seen = observed.served.iter().flatten();
    seen.filter_map(|(purpose, shown)| Some((*purpose, held(purpose)? == shown))).collect()
}

/// When what differs is to be told, if it still does.
#[must_use]
pub fn next_alarm(node: &Validated, observed: &Observed, now: Timestamp) -> Option<Timestamp> {
    differing(node, observed).into_values().map(|since| since + GRACE).filter(|alarm| *alarm > now).min()
}

/// What is served in place of what a Secret holds. What was seen to differ does until it is seen not to: whoever
/// has just begun to look knows nothing yet.
pub(super) fn differs(node: &Validated, observed: &Observed, now: Timestamp) -> Option<Finding> {
    let mut differing = differing(node, observed);
    differing.retain(|_, since| *since + GRACE <= now);
    let told: Vec<_> = differing
        .into_iter()
        .map(|(purpose, since)| {
            let secret = certificates::secret_name(&node.names, &node.spec.tls, purpose);
            format!("{} serves another certificate than {secret} has held since {since}", place(purpose))
        })
        .collect();
    let message = if told.is_empty() {
        told_before(observed)?
    } else {
        format!(
            "{}; a pod that waits for its turn, or for the end of a pause, is replaced then; any other did not \
             read what changed: look at its log, then delete it",
            told.join("; ")
        )
    };
    Some(finding("CertificatesReady", "False", REASON, message))
}

/// What was said of a port that has not been looked at again.
fn told_before(observed: &Observed) -> Option<String> {
    let seen = observed.served.as_ref()?;
    let mut before = observed.node.status.iter().flat_map(|status| &status.conditions);
    let message = &before.find(|one| one.type_ == "CertificatesReady" && one.reason == REASON)?.message;
    let unseen = |purpose: &Purpose| {
        let runs = purpose.served().is_some_and(|(part, _)| observed.pods.contains_key(&part));
        runs && !seen.contains_key(purpose) && message.contains(&place(*purpose))
    };
    Purpose::ALL.iter().any(unseen).then(|| message.clone())
}

fn place(purpose: Purpose) -> String {
    let port = purpose.served().map(|(part, port)| format!("the {} at port {port}", part.spoken()));
    format!("{} ({})", purpose.as_str(), port.unwrap_or_default())
}

/// What is served and is not what the Secret holds, and since when that holds what it does.
fn differing(node: &Validated, observed: &Observed) -> BTreeMap<Purpose, Timestamp> {
    let since = |purpose: &Purpose, held: &LeafFacts| {
        let made = held.not_before + EARLIER;
        observed.written.get(purpose).map_or(made, |written| made.max(*written))
    };
    let one = |(purpose, shown): (&Purpose, &_)| {
        let held = observed.certificates.get(purpose)?.as_ref().ok()?;
        (held.fingerprint != *shown).then(|| (*purpose, since(purpose, held)))
    };
    let wanted = certificates::wanted(node);
    let seen = observed.served.iter().flatten().filter(|(purpose, _)| wanted.contains_key(purpose));
    seen.filter_map(one).collect()
}
