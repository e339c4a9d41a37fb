//! Compares served certificates with those in the Secrets. Ports that the operator has not probed count neither way.

use std::collections::BTreeMap;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{Finding, finding};
use crate::{
    model::{
        names::{Purpose, secret_name},
        secrets::{generate::EARLIER, tls::LeafFacts},
    },
    node::{desired::certificates, observed::Observed, validate::Validated},
};

/// Time for kubelets and processes to reload a changed Secret, and for pods to be replaced one after the other.
const GRACE: SignedDuration = SignedDuration::from_mins(10);

const REASON: &str = "ServedCertificateMismatch";

/// For each probed certificate, whether it is the one in the Secret.
#[must_use]
pub fn seen_served(observed: &Observed) -> BTreeMap<Purpose, bool> {
    let expected = |purpose: &Purpose| Some(&observed.certificates.get(purpose)?.as_ref().ok()?.fingerprint);
    let served = observed.served.iter().flatten();
    served.filter_map(|(purpose, fingerprint)| Some((*purpose, expected(purpose)? == fingerprint))).collect()
}

/// When the next mismatch is to be reported, if it still exists then.
#[must_use]
pub fn next_alarm(node: &Validated, observed: &Observed, now: Timestamp) -> Option<Timestamp> {
    differing(node, observed).into_values().map(|since| since + GRACE).filter(|alarm| *alarm > now).min()
}

/// The condition where a served certificate has differed from its Secret for ten minutes. A mismatch stays reported
/// until a probe shows that it has ended, so an operator that has just started does not drop it.
pub(crate) fn differs(node: &Validated, observed: &Observed, now: Timestamp) -> Option<Finding> {
    let mut differing = differing(node, observed);
    differing.retain(|_, since| *since + GRACE <= now);
    let mismatches: Vec<_> = differing
        .into_iter()
        .map(|(purpose, since)| {
            let secret = secret_name(&node.names, &node.spec.tls, purpose);
            format!(
                "{} serves a different certificate from the one in Secret {secret}, which last changed at {since}",
                place(purpose)
            )
        })
        .collect();
    let message = if mismatches.is_empty() {
        message_before(observed)?
    } else {
        format!(
            "{}; if the node is paused or its rollout waits, the operator replaces the pod later; otherwise the container did \
             not reload the Secret: check the container's log, then delete the pod",
            mismatches.join("; ")
        )
    };
    Some(finding("CertificatesReady", "False", REASON, message))
}

/// The earlier message, if it names a port that has not been probed again.
fn message_before(observed: &Observed) -> Option<String> {
    let seen = observed.served.as_ref()?;
    let mut before = observed.node.status.iter().flat_map(|status| &status.conditions);
    let message = &before.find(|one| one.type_ == "CertificatesReady" && one.reason == REASON)?.message;
    let unwatchable = |purpose: &Purpose| {
        let runs = purpose.served().is_some_and(|(part, _)| observed.pods.contains_key(&part));
        runs && !seen.contains_key(purpose) && message.contains(&place(*purpose))
    };
    Purpose::ALL.iter().any(unwatchable).then(|| message.clone())
}

fn place(purpose: Purpose) -> String {
    let port = purpose.served().map(|(part, port)| format!("the {} at port {port}", part.spoken()));
    format!("{} ({})", purpose.as_str(), port.unwrap_or_default())
}

/// Purposes whose served certificate differs from the Secret, with the time of the Secret's last change.
fn differing(node: &Validated, observed: &Observed) -> BTreeMap<Purpose, Timestamp> {
    let since = |purpose: &Purpose, expected: &LeafFacts| {
        let issued = expected.not_before + EARLIER;
        observed.written.get(purpose).map_or(issued, |written| issued.max(*written))
    };
    let mismatch = |(purpose, served): (&Purpose, &_)| {
        let expected = observed.certificates.get(purpose)?.as_ref().ok()?;
        (expected.fingerprint != *served).then(|| (*purpose, since(purpose, expected)))
    };
    let wanted = certificates::wanted(node);
    let served = observed.served.iter().flatten().filter(|(purpose, _)| wanted.contains_key(purpose));
    served.filter_map(mismatch).collect()
}
