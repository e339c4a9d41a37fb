//! Condition `CertificatesReady`, certificate expiry, and third-party kinds in the status.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{Finding, finding, served_certificates};
use crate::model::secrets::renewal;
use crate::{
    api::{
        parts::PodMonitoring,
        status::{CertificateStatus, QuorumNodeStatus},
        tls::Issuer,
    },
    model::{
        lookup::Seen,
        names::{Purpose, secret_name},
        optional_kinds,
        secrets::tls,
    },
    node::{
        decide::ca_rotation,
        desired::certificates::{self, Authority, Lack},
        observed::{Observed, Request},
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
        let name = secret_name(&node.names, &node.spec.tls, purpose);
        match observed.certificates.get(&purpose) {
            Some(Ok(facts)) if facts.not_after <= now => {
                return finding(
                    "CertificatesReady",
                    "False",
                    "Expired",
                    format!(
                        "the certificate in Secret {name} expired at {}: renew the certificate, or find out why the issuer did not renew it",
                        facts.not_after
                    ),
                );
            }
            Some(Ok(facts)) if facts.not_before > now => {
                return finding(
                    "CertificatesReady",
                    "False",
                    "NotYetValid",
                    format!(
                        "the certificate in Secret {name} is not valid before {}: compare the clock of the certificate's issuer with the clock of the operator's host",
                        facts.not_before
                    ),
                );
            }
            Some(Ok(facts)) if !is_signed_by_ours(observed, facts, wanted.authority) => {
                return finding(
                    "CertificatesReady",
                    "False",
                    "Issuing",
                    format!(
                        "another CA signed the certificate in Secret {name}; the operator is replacing the certificate"
                    ),
                );
            }
            Some(Ok(_)) => {}
            Some(Err(why)) => {
                return finding(
                    "CertificatesReady",
                    "False",
                    "Invalid",
                    format!("the certificate in Secret {name} is invalid: {why}"),
                );
            }
            None => {
                return finding(
                    "CertificatesReady",
                    "False",
                    "Issuing",
                    format!("the certificate in Secret {name} is being issued"),
                );
            }
        }
    }
    if let Some(differs) = served_certificates::differs(node, observed, now) {
        return differs;
    }
    let follows =
        if ca_rotation::goes_on(node, observed, now) { "; a CA rotation is in progress" } else { "" };
    let unrenewed = not_renewed(observed, node);
    if let Some(said) = said_before(observed) {
        return finding("CertificatesReady", "True", "Issued", said);
    }
    let message = format!("all certificates exist and are valid{follows}{unrenewed}");
    finding("CertificatesReady", "True", "Issued", message)
}

/// The condition where a certificate requested from cert-manager is missing or invalid.
fn requested(observed: &Observed, node: &Validated, purpose: Purpose, lack: Lack) -> Finding {
    let kind = "CertificatesReady";
    let name = node.names.requested(purpose);
    let issuer = node.spec.tls.cert_manager.as_ref().map(|through| &through.issuer_ref);
    let by = issuer.map(|issuer| format!("{} {}", issuer.kind, issuer.name)).unwrap_or_default();
    let none = Request::default();
    let request = match &observed.requests {
        Seen::Missing => {
            let missing = format!(
                "the API server does not serve {}, which spec.tls.issuer requires: install cert-manager; the operator checks for this API every minute",
                optional_kinds::CERT_MANAGER
            );
            return finding(kind, "False", "ApiMissing", missing);
        }
        Seen::NotYet => &none,
        Seen::Present(requests) => requests.get(&purpose).unwrap_or(&none),
    };
    let said = if request.said.is_empty() { String::new() } else { format!(": {}", request.said) };
    match lack {
        _ if request.failed => {
            finding(kind, "False", "NotIssued", format!("{by} did not issue Certificate {name}{said}"))
        }
        Lack::Of(why) if !request.issuing => finding(
            kind,
            "False",
            "Invalid",
            format!("the certificate in Secret {name}, which {by} issued, is invalid: {why}"),
        ),
        _ => finding(kind, "False", "Issuing", format!("{by} is issuing Certificate {name}{said}")),
    }
}

/// The earlier message, while it is not known yet whether the server serves cert-manager's API.
fn said_before(observed: &Observed) -> Option<String> {
    let unknown =
        matches!(observed.requests, Seen::NotYet) && optional_kinds::asks_cert_manager(&observed.node);
    let mut before = observed.node.status.iter().flat_map(|status| &status.conditions).filter(|_| unknown);
    let before = before.find(|before| before.type_ == "CertificatesReady" && before.reason == "Issued");
    before.map(|before| before.message.clone())
}

/// A remark about certificates that are valid but will not be renewed.
fn not_renewed(observed: &Observed, node: &Validated) -> String {
    let is_requested = |purpose: &Purpose| {
        certificates::wanted(node).get(purpose).is_some_and(|wanted| wanted.authority == Authority::Requested)
    };
    match &observed.requests {
        Seen::Missing if is_requested(&Purpose::Metrics) => {
            "; cert-manager is no longer installed, so the certificates that it issued are not renewed".into()
        }
        Seen::Present(requests) => {
            let failed = requests.iter().filter(|(purpose, request)| request.failed && is_requested(purpose));
            failed
                .map(|(purpose, request)| {
                    format!(
                        "; cert-manager does not renew Certificate {}: {}",
                        node.names.requested(*purpose),
                        request.said
                    )
                })
                .collect()
        }
        Seen::Missing | Seen::NotYet => String::new(),
    }
}

/// Third-party kinds whose objects the node has or needs.
pub(super) fn optional_kinds(observed: &Observed) -> Vec<String> {
    let node = &observed.node;
    let wanted = node.spec.metrics.pod_monitor == PodMonitoring::Enabled;
    let monitored = match observed.monitor {
        Seen::NotYet => optional_kinds::asks_monitoring(node),
        Seen::Missing => wanted,
        Seen::Present(there) => wanted || there,
    };
    let requested = match &observed.requests {
        // unknown, so the earlier answer stays
        Seen::NotYet => optional_kinds::asks_cert_manager(node),
        Seen::Missing => node.spec.tls.issuer == Issuer::CertManager,
        Seen::Present(requests) => node.spec.tls.issuer == Issuer::CertManager || !requests.is_empty(),
    };
    let kinds = [(requested, optional_kinds::CERT_MANAGER), (monitored, optional_kinds::POD_MONITORS)];
    kinds.into_iter().filter(|(has, _)| *has).map(|(_, kind)| kind.to_owned()).collect()
}

fn is_signed_by_ours(observed: &Observed, facts: &tls::LeafFacts, authority: Authority) -> bool {
    let ours = match authority {
        Authority::Network => &observed.network_authority,
        Authority::Node => &observed.node_authority,
        // checked elsewhere, and renewed by cert-manager or the user
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

/// Certificates of a node that stalls: the recorded ones, updated where their Secrets are valid.
pub(super) fn recorded(observed: &Observed, before: &QuorumNodeStatus) -> Vec<CertificateStatus> {
    let now = |one: &CertificateStatus| {
        let (_, read) = observed.certificates.iter().find(|(purpose, _)| purpose.as_str() == one.purpose)?;
        Some(CertificateStatus { not_after: Time(read.as_ref().ok()?.not_after), ..one.clone() })
    };
    before.certificates.iter().map(|one| now(one).unwrap_or_else(|| one.clone())).collect()
}

/// The next future renewal of a certificate that the operator issues. Renewals that are already due have been handled.
#[must_use]
pub fn next_renewal(node: &Validated, observed: &Observed, now: Timestamp) -> Option<Timestamp> {
    let renew_before = certificates::validity(node).renew_before;
    certificates::wanted(node)
        .iter()
        .filter(|(_, wanted)| wanted.authority.is_ours())
        .filter_map(|(purpose, _)| observed.certificates.get(purpose)?.as_ref().ok())
        .map(|facts| renewal::renewal_time(facts, renew_before, &node.owner.uid))
        .filter(|due| *due > now)
        .min()
}
