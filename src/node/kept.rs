//! What a node that stalls goes on with: the certificates it has are made anew as they are, whatever its spec says
//! now. What runs is to be believed meanwhile.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;

use super::{
    desired::certificates::secret_name,
    issue::Order,
    names::{self, Names, Purpose},
    observed::Observed,
    secrets::tls::{self, AuthorityFacts, LeafFacts, LeafRequest, MintReason, Validity},
    validate::names_of,
};

/// Certificates of ours whose time is nearly over, or for which somebody asked, and why they are made anew.
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

/// When the next of them is due whose time has not come.
#[must_use]
pub fn next(observed: &Observed, now: Timestamp) -> Option<Timestamp> {
    ours(observed).map(|(_, facts)| renewal(observed, facts)).filter(|due| *due > now).min()
}

/// The certificates that are made here, as far as they can be read.
fn ours(observed: &Observed) -> impl Iterator<Item = (Purpose, &LeafFacts)> {
    let names = names_of(observed);
    let is_ours =
        move |purpose| secret_name(&names, &observed.node.spec.tls, purpose) == names.certificate(purpose);
    let usable =
        observed.certificates.iter().filter_map(|(purpose, read)| Some((*purpose, read.as_ref().ok()?)));
    usable.filter(move |(purpose, _)| is_ours(*purpose))
}

fn renewal(observed: &Observed, facts: &LeafFacts) -> Timestamp {
    tls::renewal_time(facts, renew_before(observed), &observed.node.uid().unwrap_or_default())
}

fn reason(observed: &Observed, purpose: Purpose, facts: &LeafFacts, now: Timestamp) -> Option<MintReason> {
    let asked = observed.node.annotations().get(names::RENEW);
    if now >= renewal(observed, facts) {
        Some(MintReason::DueForRenewal)
    } else {
        asked.is_some_and(|asked| observed.made_for.get(&purpose) != Some(asked)).then_some(MintReason::Asked)
    }
}

fn renew_before(observed: &Observed) -> SignedDuration {
    let hours = observed.node.spec.tls.renew_before.trim_end_matches('h').parse();
    SignedDuration::from_hours(hours.unwrap_or_default())
}

/// Whoever signed it, while it lasts, and whom its holder trusts: nobody else comes in, as one authority does not
/// follow another here.
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
    lineages.into_iter().find_map(|(lineage, name)| {
        let mut alive = lineage.usable().filter(|(_, one)| now < one.not_after);
        let (number, by) = alive.find(|(_, one)| one.fingerprint == facts.authority)?;
        // one that reaches its authority's end gains nothing
        (facts.not_after < by.not_after).then_some(())?;
        let trusted = lineage.usable().map(|(_, one)| one);
        let trusted = trusted.filter(|one| facts.trusted.contains(&one.fingerprint)).cloned().collect();
        Some((Names::generation(&name, number), trusted))
    })
}

fn as_it_is(observed: &Observed, facts: &LeafFacts) -> LeafRequest {
    let lifetime = facts.not_after.duration_since(facts.not_before + super::secrets::mint::EARLIER);
    LeafRequest {
        common_name: facts.common_name.clone(),
        dns_names: facts.dns_names.clone(),
        usage: facts.usage,
        algorithm: facts.algorithm,
        validity: Validity { duration: lifetime, renew_before: renew_before(observed) },
        pkcs8_der: facts.has_pkcs8_der,
    }
}
