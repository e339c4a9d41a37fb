//! What a certificate must be, and whether the one at hand is kept or a new one is made.

mod read;

use std::{collections::BTreeSet, fmt, net::IpAddr};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::Unusable;
pub(super) use read::read_pair;
pub use read::{read_authorities, read_authority, read_bundle, read_leaf};

/// Key of a Secret: certificate, PEM.
pub(super) const CERTIFICATE: &str = "tls.crt";
/// Key of a Secret: private key, PKCS#8 as PEM.
pub(super) const PRIVATE_KEY: &str = "tls.key";
/// Key of a Secret: the same private key, PKCS#8 as DER.
pub(super) const PRIVATE_KEY_DER: &str = "tls.pk8";
/// Key of a Secret: who signed, PEM.
pub(super) const AUTHORITY: &str = "ca.crt";
/// Every key of a Secret with a certificate of ours.
pub(super) const KEYS: [&str; 4] = [CERTIFICATE, PRIVATE_KEY, PRIVATE_KEY_DER, AUTHORITY];

/// How far the clock of whoever signed may be ahead of ours.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// SHA-256 of a certificate's DER, lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of a certificate.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(super::hex(&Sha256::digest(der)))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The extended key usages of a certificate: these and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Answers TLS connections.
    Server,
    /// Opens TLS connections.
    Client,
    /// Does both.
    Both,
}

/// What kind of key a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// ECDSA over P-256.
    EcdsaP256,
    /// RSA, 2048 bits.
    Rsa2048,
}

/// How long a certificate lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its lifetime.
    pub duration: SignedDuration,
    /// How long before its end it is renewed.
    pub renew_before: SignedDuration,
}

/// What a certificate is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafRequest {
    /// Common name of the subject.
    pub common_name: String,
    /// Names it is valid for, in any order; one that is an IP address becomes an address.
    pub dns_names: Vec<String>,
    /// What it may be used for.
    pub usage: Usage,
    /// The kind of its key.
    pub algorithm: KeyAlgorithm,
    /// How long it lasts.
    pub validity: Validity,
    /// Whether the key is also wanted as PKCS#8 DER, in `tls.pk8`.
    pub pkcs8_der: bool,
}

/// What is known of an authority. No private material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityFacts {
    /// Its certificate, PEM.
    pub certificate_pem: String,
    /// Of its certificate.
    pub fingerprint: Fingerprint,
    /// Its name.
    pub subject: String,
    /// When it begins.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
}

/// Who signs, and whom the holder of what is signed is to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// Which generation signs.
    pub generation: u32,
    /// Whoever signs.
    pub by: AuthorityFacts,
    /// Whoever is trusted, eldest first.
    pub trusted: Vec<AuthorityFacts>,
}

impl Signing {
    /// One authority, which signs and is trusted.
    #[must_use]
    pub fn alone(generation: u32, by: &AuthorityFacts) -> Self {
        Self { generation, by: by.clone(), trusted: vec![by.clone()] }
    }
}

/// The certificates of authorities in one file.
#[must_use]
pub fn bundle<'a>(authorities: impl IntoIterator<Item = &'a AuthorityFacts>) -> String {
    authorities.into_iter().map(|authority| authority.certificate_pem.as_str()).collect()
}

/// What is known of a certificate. No private material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafFacts {
    /// When it begins.
    pub not_before: Timestamp,
    /// When it ends, or the first of those between it and its authority.
    pub not_after: Timestamp,
    /// Common name of the subject; empty without one.
    pub common_name: String,
    /// DNS names and addresses it is valid for.
    pub dns_names: Vec<String>,
    /// What it may be used for.
    pub usage: Usage,
    /// The kind of its key.
    pub algorithm: KeyAlgorithm,
    /// Whether the key is there as PKCS#8 DER too.
    pub has_pkcs8_der: bool,
    /// Of the certificate.
    pub fingerprint: Fingerprint,
    /// Of the certificate in `ca.crt` whose key verifiably signed it, or the last of the intermediates in `tls.crt`.
    pub authority: Fingerprint,
    /// Of every certificate in `ca.crt`: whom its holder trusts.
    pub trusted: BTreeSet<Fingerprint>,
    /// Keys of the Secret that are no part of a certificate's.
    pub others: Vec<String>,
}

/// What is to be done about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Keep,
    /// A new one is made.
    Mint(MintReason),
}

/// Why a certificate is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MintReason {
    /// There is none.
    Missing,
    /// The one at hand is of no use.
    Unusable(String),
    /// Somebody else signed it.
    WrongAuthority,
    /// Its holder is to trust others.
    TrustDiffers,
    /// Common name or names are not those requested.
    NamesDiffer,
    /// It may be used for something else, or for more.
    UsageDiffers,
    /// Its key is of another kind.
    AlgorithmDiffers,
    /// `tls.pk8` is wanted and not there, or the reverse.
    FormatDiffers,
    /// Its time is nearly over.
    DueForRenewal,
    /// Somebody asked for a new one.
    Asked,
}

impl fmt::Display for MintReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is none yet"),
            Self::Unusable(why) => write!(f, "the one at hand cannot be used: {why}"),
            Self::WrongAuthority => f.write_str("another authority signed the one at hand"),
            Self::TrustDiffers => f.write_str("other authorities are to be trusted beside it"),
            Self::NamesDiffer => f.write_str("it is needed for other names"),
            Self::UsageDiffers => f.write_str("it is needed for another usage"),
            Self::AlgorithmDiffers => f.write_str("it is needed with another kind of key"),
            Self::FormatDiffers => f.write_str("its key is needed in other formats"),
            Self::DueForRenewal => f.write_str("it is due for renewal"),
            Self::Asked => f.write_str("a new one was asked for"),
        }
    }
}

/// Whether the certificate at hand is kept. `seed` spreads renewals: certificates made at the same instant
/// are not renewed at the same instant.
#[must_use]
pub fn decide(
    request: &LeafRequest,
    signing: &Signing,
    existing: Option<&Result<LeafFacts, Unusable>>,
    now: Timestamp,
    seed: &str,
) -> Decision {
    let facts = match existing {
        None => return Decision::Mint(MintReason::Missing),
        Some(Err(why)) => return Decision::Mint(MintReason::Unusable(why.to_string())),
        Some(Ok(facts)) => facts,
    };
    if facts.not_before.duration_since(now) > SKEW {
        let why = Unusable::new(CERTIFICATE, &format!("is not valid before {}", facts.not_before));
        return Decision::Mint(MintReason::Unusable(why.to_string()));
    }
    if let Some(reason) = difference(request, &signing.by, facts) {
        return Decision::Mint(reason);
    }
    if !facts.trusted.iter().eq(signing.trusted.iter().map(|one| &one.fingerprint).collect::<BTreeSet<_>>()) {
        return Decision::Mint(MintReason::TrustDiffers);
    }
    let due = now >= renewal_time(facts, request.validity.renew_before, seed);
    // No certificate outlives its authority: one that reaches that end gains nothing by a renewal, and
    // would be renewed in every pass.
    let gains = facts.not_after < signing.by.not_after || now >= facts.not_after;
    if due && gains { Decision::Mint(MintReason::DueForRenewal) } else { Decision::Keep }
}

/// In what a certificate is not the one requested, its time aside.
pub(super) fn difference(
    request: &LeafRequest,
    authority: &AuthorityFacts,
    facts: &LeafFacts,
) -> Option<MintReason> {
    if facts.authority != authority.fingerprint {
        Some(MintReason::WrongAuthority)
    } else if facts.common_name != request.common_name || names(&facts.dns_names) != names(&request.dns_names)
    {
        Some(MintReason::NamesDiffer)
    } else if facts.usage != request.usage {
        Some(MintReason::UsageDiffers)
    } else if facts.algorithm != request.algorithm {
        Some(MintReason::AlgorithmDiffers)
    } else if facts.has_pkcs8_der != request.pkcs8_der {
        Some(MintReason::FormatDiffers)
    } else {
        None
    }
}

/// In what a certificate that we did not ask for is of no use. It may be for more names; whose common name
/// it has is its issuer's affair; and only where RSA is needed does the kind of its key matter.
#[must_use]
pub fn lacking(request: &LeafRequest, facts: &LeafFacts) -> Option<String> {
    let has = names(&facts.dns_names);
    let missing: Vec<_> = names(&request.dns_names).difference(&has).cloned().collect();
    if !missing.is_empty() {
        return Some(format!("is not for the names {}", missing.join(", ")));
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
    other.then(|| "needs a key of RSA 2048".into())
}

/// Names in the form in which they are compared and written: neither case nor order nor repetition counts.
pub(super) fn names(listed: &[String]) -> BTreeSet<String> {
    let canonical = |name: &String| match name.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => name.to_ascii_lowercase(),
    };
    listed.iter().map(canonical).collect()
}

/// When a certificate is renewed: `renew_before` ahead of its end, and up to a tenth of that earlier.
///
/// `renew_before` counts for at most half of the lifetime, or a certificate that its authority's end cut
/// short would be due as soon as it is made.
#[must_use]
pub fn renewal_time(facts: &LeafFacts, renew_before: SignedDuration, seed: &str) -> Timestamp {
    let half = facts.not_after.duration_since(facts.not_before).as_secs() / 2;
    let ahead = renew_before.as_secs().min(half).max(0);
    let ahead = SignedDuration::from_secs(ahead.saturating_add(jitter(ahead / 10, seed, &facts.fingerprint)));
    facts.not_after.checked_sub(ahead).unwrap_or(facts.not_before)
}

/// Seconds from 0 up to, not including, `bound`. The same certificate always has the same.
fn jitter(bound: i64, seed: &str, fingerprint: &Fingerprint) -> i64 {
    let digest = Sha256::new().chain_update(seed).chain_update(&fingerprint.0).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    // One bit less, so that it is not negative.
    let draw = i64::from_be_bytes(first) & i64::MAX;
    draw.checked_rem(bound).unwrap_or(0)
}

#[cfg(test)]
mod tests;
