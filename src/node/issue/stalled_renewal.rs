//! Certificate renewal of a stalled node: its certificates are renewed unchanged, whatever its spec says now, so that
//! its running pods stay trusted.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;

use super::Order;
use crate::model::secrets::renewal;
use crate::{
    model::{
        names::{self, Names, Purpose, secret_name},
        secrets::{
            renewal::IssueReason,
            tls::{AuthorityFacts, LeafFacts, LeafRequest, Validity},
        },
    },
    node::{observed::Observed, validate::names_of},
};

/// Certificates issued by the operator that are due for renewal, or whose renewal a user has requested.
#[must_use]
pub fn due(observed: &Observed, now: Timestamp) -> Vec<Order> {
    let names = names_of(observed);
    ours(observed)
        .filter_map(|(purpose, facts)| {
            let reason = reason(observed, purpose, facts, now)?;
            let (authority, trusted) = signer(observed, &names, facts, now)?;
            Some(Order { purpose, reason, authority, request: as_it_is(observed, facts), trusted })
        })
        .collect()
}

/// Time of the next renewal that is not due yet.
#[must_use]
pub fn next(observed: &Observed, now: Timestamp) -> Option<Timestamp> {
    ours(observed).map(|(_, facts)| renewal(observed, facts)).filter(|due| *due > now).min()
}

/// Certificates that the operator issues, if they can be read.
fn ours(observed: &Observed) -> impl Iterator<Item = (Purpose, &LeafFacts)> {
    let names = names_of(observed);
    let is_ours =
        move |purpose| secret_name(&names, &observed.node.spec.tls, purpose) == names.certificate(purpose);
    let usable =
        observed.certificates.iter().filter_map(|(purpose, read)| Some((*purpose, read.as_ref().ok()?)));
    usable.filter(move |(purpose, _)| is_ours(*purpose))
}

fn renewal(observed: &Observed, facts: &LeafFacts) -> Timestamp {
    renewal::renewal_time(facts, renew_before(observed), &observed.node.uid().unwrap_or_default())
}

fn reason(observed: &Observed, purpose: Purpose, facts: &LeafFacts, now: Timestamp) -> Option<IssueReason> {
    let asked = observed.node.annotations().get(names::RENEW);
    if now >= renewal(observed, facts) {
        Some(IssueReason::DueForRenewal)
    } else {
        asked
            .is_some_and(|asked| observed.made_for.get(&purpose) != Some(asked))
            .then_some(IssueReason::Asked)
    }
}

fn renew_before(observed: &Observed) -> SignedDuration {
    let hours = observed.node.spec.tls.renew_before.trim_end_matches('h').parse();
    SignedDuration::from_hours(hours.unwrap_or_default())
}

/// The CA that signed the certificate, while it is valid, and the CAs that its holder trusts. A stalled node does not
/// move to another CA.
fn signer(
    observed: &Observed,
    names: &Names,
    facts: &LeafFacts,
    now: Timestamp,
) -> Option<(String, Vec<AuthorityFacts>)> {
    let lineages = [
        (&observed.network_authority, names.network_authority()),
        (&observed.node_authority, names.node_authority()),
    ];
    lineages.into_iter().find_map(|(ca_generations, name)| {
        let mut alive = ca_generations.usable().filter(|(_, one)| now < one.not_after);
        let (number, by) = alive.find(|(_, one)| one.fingerprint == facts.authority)?;
        // a certificate that lasts as long as its CA gains nothing from a renewal
        (facts.not_after < by.not_after).then_some(())?;
        let trusted = ca_generations.usable().map(|(_, one)| one);
        let trusted = trusted.filter(|one| facts.trusted.contains(&one.fingerprint)).cloned().collect();
        Some((Names::generation(&name, number), trusted))
    })
}

fn as_it_is(observed: &Observed, facts: &LeafFacts) -> LeafRequest {
    let lifetime =
        facts.not_after.duration_since(facts.not_before + crate::model::secrets::generate::EARLIER);
    LeafRequest {
        common_name: facts.common_name.clone(),
        dns_names: facts.dns_names.clone(),
        usage: facts.usage,
        algorithm: facts.algorithm,
        validity: Validity { duration: lifetime, renew_before: renew_before(observed) },
        pkcs8_der: facts.has_pkcs8_der,
    }
}
