//! Decides whether to keep a certificate or issue a new one, and when it is renewed.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::{
    InvalidContent,
    tls::{AuthorityFacts, CERTIFICATE, Fingerprint, KeyAlgorithm, LeafFacts, LeafRequest, Signing, Usage},
};

/// How far the signer's clock may be ahead of the operator's.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// What to do about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Keep it.
    Keep,
    /// Issue a new one.
    Issue(IssueReason),
}

/// Why a new certificate is issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssueReason {
    /// There is no certificate.
    Missing,
    /// The Secret's content is invalid.
    InvalidContent(String),
    /// Another CA signed the certificate.
    WrongAuthority,
    /// The set of trusted CAs changes.
    TrustDiffers,
    /// The common name or the DNS names differ from the request.
    NamesDiffer,
    /// The extended key usages differ from the request.
    UsageDiffers,
    /// The key algorithm differs from the request.
    AlgorithmDiffers,
    /// `tls.pk8` is missing but requested, or present but not requested.
    FormatDiffers,
    /// It expires soon.
    DueForRenewal,
    /// A user asked for a new one.
    Asked,
}

impl fmt::Display for IssueReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no certificate yet"),
            Self::InvalidContent(why) => write!(f, "the existing certificate is invalid: {why}"),
            Self::WrongAuthority => f.write_str("a different CA signed the existing certificate"),
            Self::TrustDiffers => f.write_str("the set of trusted CAs changes"),
            Self::NamesDiffer => f.write_str("the certificate needs different DNS names"),
            Self::UsageDiffers => f.write_str("the certificate needs a different extended key usage"),
            Self::AlgorithmDiffers => f.write_str("the certificate needs a different key algorithm"),
            Self::FormatDiffers => f.write_str("the Secret needs the private key in different formats"),
            Self::DueForRenewal => f.write_str("the certificate is due for renewal"),
            Self::Asked => f.write_str("a user asked for a new certificate"),
        }
    }
}

/// Decides whether to keep the existing certificate. `seed` spreads the renewals of certificates that were issued at
/// the same time.
#[must_use]
pub fn decide(
    request: &LeafRequest,
    signing: &Signing,
    existing: Option<&Result<LeafFacts, InvalidContent>>,
    now: Timestamp,
    seed: &str,
) -> Decision {
    let facts = match existing {
        None => return Decision::Issue(IssueReason::Missing),
        Some(Err(why)) => return Decision::Issue(IssueReason::InvalidContent(why.to_string())),
        Some(Ok(facts)) => facts,
    };
    if facts.not_before.duration_since(now) > SKEW {
        let why = InvalidContent::new(CERTIFICATE, &format!("is not valid before {}", facts.not_before));
        return Decision::Issue(IssueReason::InvalidContent(why.to_string()));
    }
    if let Some(reason) = difference(request, &signing.by, facts) {
        return Decision::Issue(reason);
    }
    if !facts.trusted.iter().eq(signing.trusted.iter().map(|one| &one.fingerprint).collect::<BTreeSet<_>>()) {
        return Decision::Issue(IssueReason::TrustDiffers);
    }
    let due = now >= renewal_time(facts, request.validity.renew_before, seed);
    // A certificate that lasts as long as its CA gains nothing from a renewal, and would be renewed in every reconcile.
    let gains = facts.not_after < signing.by.not_after || now >= facts.not_after;
    if due && gains { Decision::Issue(IssueReason::DueForRenewal) } else { Decision::Keep }
}

/// How a certificate differs from the request, ignoring its validity.
pub(super) fn difference(
    request: &LeafRequest,
    authority: &AuthorityFacts,
    facts: &LeafFacts,
) -> Option<IssueReason> {
    if facts.authority != authority.fingerprint {
        Some(IssueReason::WrongAuthority)
    } else if facts.common_name != request.common_name || names(&facts.dns_names) != names(&request.dns_names)
    {
        Some(IssueReason::NamesDiffer)
    } else if facts.usage != request.usage {
        Some(IssueReason::UsageDiffers)
    } else if facts.algorithm != request.algorithm {
        Some(IssueReason::AlgorithmDiffers)
    } else if facts.has_pkcs8_der != request.pkcs8_der {
        Some(IssueReason::FormatDiffers)
    } else {
        None
    }
}

/// What a certificate that the operator did not issue lacks. It may have more names and any common name, and its key
/// algorithm matters only where RSA is required.
#[must_use]
pub fn lacking(request: &LeafRequest, facts: &LeafFacts) -> Option<String> {
    let has = names(&facts.dns_names);
    let missing: Vec<_> = names(&request.dns_names).difference(&has).cloned().collect();
    if !missing.is_empty() {
        return Some(format!("lacks the names {}", missing.join(", ")));
    }
    if facts.usage != request.usage {
        let needed = match request.usage {
            Usage::Server => "serverAuth alone",
            Usage::Client => "clientAuth alone",
            Usage::Both => "serverAuth and clientAuth",
        };
        return Some(format!("needs the extended key usage {needed}"));
    }
    let other = request.algorithm == KeyAlgorithm::Rsa2048 && facts.algorithm != KeyAlgorithm::Rsa2048;
    other.then(|| "needs an RSA key of 2048 bits".into())
}

/// Names in canonical form: lower case, sorted, without repetition.
pub(super) fn names(listed: &[String]) -> BTreeSet<String> {
    let canonical = |name: &String| match name.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => name.to_ascii_lowercase(),
    };
    listed.iter().map(canonical).collect()
}

/// When a certificate is renewed: `renew_before` ahead of its expiry, and up to a tenth of that earlier.
///
/// `renew_before` is limited to half of the lifetime. Otherwise a certificate that the end of its CA cut short would be
/// due as soon as it is issued.
#[must_use]
pub fn renewal_time(facts: &LeafFacts, renew_before: SignedDuration, seed: &str) -> Timestamp {
    let half = facts.not_after.duration_since(facts.not_before).as_secs() / 2;
    let ahead = renew_before.as_secs().min(half).max(0);
    let ahead = SignedDuration::from_secs(ahead.saturating_add(jitter(ahead / 10, seed, &facts.fingerprint)));
    facts.not_after.checked_sub(ahead).unwrap_or(facts.not_before)
}

/// Seconds from 0 to below `bound`, always the same for a certificate.
fn jitter(bound: i64, seed: &str, fingerprint: &Fingerprint) -> i64 {
    let digest = Sha256::new().chain_update(seed).chain_update(&fingerprint.0).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    // one bit less, so that it is not negative
    let draw = i64::from_be_bytes(first) & i64::MAX;
    draw.checked_rem(bound).unwrap_or(0)
}

#[cfg(test)]
mod tests;
