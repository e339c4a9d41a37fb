//! What is said of certificates.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{Finding, finding, served};
use crate::{
    api::{
        parts::PodMonitoring,
        status::{CertificateStatus, QuorumNodeStatus},
        tls::Issuer,
    },
    node::{
        desired::certificates::{self, Authority, Lack},
        names::Purpose,
        observed::{Observed, Request, Seen},
        optional, rotation,
        secrets::tls,
        validate::Validated,
    },
};

pub(super) fn certificates_ready(observed: &Observed, node: &Validated, now: Timestamp) -> Finding {
    for (purpose, wanted) in certificates::wanted(node) {
        if wanted.authority == Authority::Requested
            && let Some(lack) = certificates::lack(observed, purpose, &wanted)
        {
            return requested(observed, node, purpose, lack);
        }
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
    let unrenewed = not_renewed(observed, node);
    if let Some(said) = said_before(observed) {
        return finding("CertificatesReady", "True", "Issued", said);
    }
    let message = format!("every certificate is there and valid{follows}{unrenewed}");
    finding("CertificatesReady", "True", "Issued", message)
}

/// One that cert-manager is asked for and that cannot be used, or not yet.
fn requested(observed: &Observed, node: &Validated, purpose: Purpose, lack: Lack) -> Finding {
    let kind = "CertificatesReady";
    let name = node.names.requested(purpose);
    let issuer = node.spec.tls.cert_manager.as_ref().map(|through| &through.issuer_ref);
    let by = issuer.map(|issuer| format!("{} {}", issuer.kind, issuer.name)).unwrap_or_default();
    let none = Request::default();
    let request = match &observed.requests {
        Seen::Missing => {
            let missing = format!(
                "the server does not know {}, which spec.tls.issuer needs: install cert-manager; it is looked for each minute",
                optional::CERT_MANAGER
            );
            return finding(kind, "False", "ApiMissing", missing);
        }
        Seen::NotYet => &none,
        Seen::Is(requests) => requests.get(&purpose).unwrap_or(&none),
    };
    let said = if request.said.is_empty() { String::new() } else { format!(": {}", request.said) };
    match lack {
        _ if request.failed => {
            finding(kind, "False", "NotIssued", format!("Certificate {name} was not issued by {by}{said}"))
        }
        Lack::Of(why) if !request.issuing => {
            finding(kind, "False", "Unusable", format!("Secret {name}, issued by {by}: {why}"))
        }
        _ => {
            finding(kind, "False", "BeingIssued", format!("Certificate {name} is being issued by {by}{said}"))
        }
    }
}

/// While it is not known yet whether cert-manager is there, what was said of it stands.
fn said_before(observed: &Observed) -> Option<String> {
    let unknown = matches!(observed.requests, Seen::NotYet) && optional::asks_cert_manager(&observed.node);
    let mut said = observed.node.status.iter().flat_map(|status| &status.conditions).filter(|_| unknown);
    let said = said.find(|said| said.type_ == "CertificatesReady" && said.reason == "Issued");
    said.map(|said| said.message.clone())
}

/// What will be missed later.
fn not_renewed(observed: &Observed, node: &Validated) -> String {
    let is_requested = |purpose: &Purpose| {
        certificates::wanted(node).get(purpose).is_some_and(|wanted| wanted.authority == Authority::Requested)
    };
    match &observed.requests {
        Seen::Missing if is_requested(&Purpose::Metrics) => {
            "; cert-manager is gone and renews none of its own".into()
        }
        Seen::Is(requests) => {
            let failed = requests.iter().filter(|(purpose, request)| request.failed && is_requested(purpose));
            failed
                .map(|(purpose, request)| {
                    format!(
                        "; Certificate {} is not renewed: {}",
                        node.names.requested(*purpose),
                        request.said
                    )
                })
                .collect()
        }
        Seen::Missing | Seen::NotYet => String::new(),
    }
}

/// Kinds of others of which the node has objects, or is to have some.
pub(super) fn optional_kinds(observed: &Observed) -> Vec<String> {
    let node = &observed.node;
    let wanted = node.spec.metrics.pod_monitor == PodMonitoring::Enabled;
    let monitored = match observed.monitor {
        Seen::NotYet => optional::asks_monitoring(node),
        Seen::Missing => wanted,
        Seen::Is(there) => wanted || there,
    };
    let requested = match &observed.requests {
        // what was said before still holds
        Seen::NotYet => optional::asks_cert_manager(node),
        Seen::Missing => node.spec.tls.issuer == Issuer::CertManager,
        Seen::Is(requests) => node.spec.tls.issuer == Issuer::CertManager || !requests.is_empty(),
    };
    let kinds = [(requested, optional::CERT_MANAGER), (monitored, optional::POD_MONITORS)];
    kinds.into_iter().filter(|(has, _)| *has).map(|(_, kind)| kind.to_owned()).collect()
}

fn is_signed_by_ours(observed: &Observed, facts: &tls::LeafFacts, authority: Authority) -> bool {
    let ours = match authority {
        Authority::Network => &observed.network_authority,
        Authority::Node => &observed.node_authority,
        // judged before anything else, and renewed by whoever provides it
        Authority::Requested | Authority::Provided => return true,
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

/// What a node that stalls has, as far as it can be read.
pub(super) fn kept(observed: &Observed, before: &QuorumNodeStatus) -> Vec<CertificateStatus> {
    let now = |one: &CertificateStatus| {
        let (_, read) = observed.certificates.iter().find(|(purpose, _)| purpose.as_str() == one.purpose)?;
        Some(CertificateStatus { not_after: Time(read.as_ref().ok()?.not_after), ..one.clone() })
    };
    before.certificates.iter().map(|one| now(one).unwrap_or_else(|| one.clone())).collect()
}

/// When the next certificate of ours is due, of those whose time has not come. One whose time has passed was decided
/// about, and tells nothing of the others.
#[must_use]
pub fn next_renewal(node: &Validated, observed: &Observed, now: Timestamp) -> Option<Timestamp> {
    let renew_before = certificates::validity(node).renew_before;
    certificates::wanted(node)
        .iter()
        .filter(|(_, wanted)| wanted.authority.is_ours())
        .filter_map(|(purpose, _)| observed.certificates.get(purpose)?.as_ref().ok())
        .map(|facts| tls::renewal_time(facts, renew_before, &node.owner.uid))
        .filter(|due| *due > now)
        .min()
}
