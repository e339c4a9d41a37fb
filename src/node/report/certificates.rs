//! What is said of certificates.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{Finding, finding, served};
use crate::{
    api::status::CertificateStatus,
    node::{
        desired::certificates, names::Purpose, observed::Observed, rotation, secrets::tls,
        validate::Validated,
    },
};

pub(super) fn certificates_ready(observed: &Observed, node: &Validated, now: Timestamp) -> Finding {
    for (purpose, wanted) in certificates::wanted(node) {
        let name = certificates::secret_name(&node.names, &node.spec.tls, purpose);
        match observed.certificates.get(&purpose) {
            Some(Ok(facts)) if facts.not_after <= now => {
                return finding(
                    "CertificatesReady",
                    "False",
                    "Expired",
                    format!("the certificate in {name} has ended"),
                );
            }
            Some(Ok(facts)) if facts.not_before > now => {
                return finding(
                    "CertificatesReady",
                    "False",
                    "NotYetValid",
                    format!("the certificate in {name} begins at {}: compare the clocks", facts.not_before),
                );
            }
            Some(Ok(facts)) if !is_signed_by_ours(observed, facts, wanted.authority) => {
                return finding(
                    "CertificatesReady",
                    "False",
                    "BeingIssued",
                    format!("{name} is signed by another authority and is made anew"),
                );
            }
            Some(Ok(_)) => {}
            Some(Err(why)) => {
                return finding("CertificatesReady", "False", "Unusable", format!("{name}: {why}"));
            }
            None => {
                return finding("CertificatesReady", "False", "BeingIssued", format!("{name} is being made"));
            }
        }
    }
    if let Some(differs) = served::differs(node, observed, now) {
        return differs;
    }
    let follows = if rotation::goes_on(node, observed, now) { "; one authority follows another" } else { "" };
    let message = format!("every certificate is there and valid{follows}");
    finding("CertificatesReady", "True", "Issued", message)
}

fn is_signed_by_ours(
    observed: &Observed,
    facts: &tls::LeafFacts,
    authority: certificates::Authority,
) -> bool {
    let ours = match authority {
        certificates::Authority::Network => &observed.network_authority,
        certificates::Authority::Node => &observed.node_authority,
        // judged before anything else, and renewed by whoever provides it
        certificates::Authority::Provided => return true,
    };
    ours.usable().any(|(_, ours)| ours.fingerprint == facts.authority)
}

pub(super) fn certificate_ends(observed: &Observed, node: &Validated) -> Vec<CertificateStatus> {
    let wanted: Vec<Purpose> = certificates::wanted(node).into_keys().collect();
    wanted
        .into_iter()
        .filter_map(|purpose| {
            let facts = observed.certificates.get(&purpose)?.as_ref().ok()?;
            Some(CertificateStatus { purpose: purpose.as_str().into(), not_after: Time(facts.not_after) })
        })
        .collect()
}

/// When the next certificate of ours is due.
#[must_use]
pub fn next_renewal(node: &Validated, observed: &Observed) -> Option<Timestamp> {
    let renew_before = certificates::validity(node).renew_before;
    certificates::wanted(node)
        .iter()
        .filter(|(_, wanted)| wanted.authority != certificates::Authority::Provided)
        .filter_map(|(purpose, _)| observed.certificates.get(purpose)?.as_ref().ok())
        .map(|facts| tls::renewal_time(facts, renew_before, &node.owner.uid))
        .min()
}
