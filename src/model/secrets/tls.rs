//! Certificates: requests for them, and the facts that a Secret with one shows.

mod parse;

use std::{collections::BTreeSet, fmt};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

pub(super) use parse::read_pair;
pub use parse::{read_authorities, read_authority, read_bundle, read_leaf};

/// Key of a Secret: certificate, PEM.
pub(super) const CERTIFICATE: &str = "tls.crt";
/// Key of a Secret: private key, PKCS#8 as PEM.
pub(super) const PRIVATE_KEY: &str = "tls.key";
/// Key of a Secret: the same private key, PKCS#8 as DER.
pub(super) const PRIVATE_KEY_DER: &str = "tls.pk8";
/// Key of a Secret: trusted CA certificates, PEM.
pub(super) const AUTHORITY: &str = "ca.crt";
/// Every key that the Secret of a certificate may have.
pub(super) const KEYS: [&str; 4] = [CERTIFICATE, PRIVATE_KEY, PRIVATE_KEY_DER, AUTHORITY];

/// SHA-256 of a certificate's DER, lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub(super) String);

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

/// The extended key usages of a certificate; it has no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// `serverAuth`.
    Server,
    /// `clientAuth`.
    Client,
    /// `serverAuth` and `clientAuth`.
    Both,
}

/// Key algorithm of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// ECDSA over P-256.
    EcdsaP256,
    /// RSA, 2048 bits.
    Rsa2048,
}

/// Lifetime of a certificate and time of its renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its lifetime.
    pub duration: SignedDuration,
    /// Time before expiry at which it is renewed.
    pub renew_before: SignedDuration,
}

/// A certificate to issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafRequest {
    /// Common name of the subject.
    pub common_name: String,
    /// DNS names and IP addresses it is valid for, in any order.
    pub dns_names: Vec<String>,
    /// Extended key usages.
    pub usage: Usage,
    /// Key algorithm.
    pub algorithm: KeyAlgorithm,
    /// Lifetime and renewal.
    pub validity: Validity,
    /// Whether the Secret must also hold the key as PKCS#8 DER, in `tls.pk8`.
    pub pkcs8_der: bool,
}

/// Facts about a certificate authority (CA), without private material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityFacts {
    /// Its certificate, PEM.
    pub certificate_pem: String,
    /// Fingerprint of its certificate.
    pub fingerprint: Fingerprint,
    /// Its subject.
    pub subject: String,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
}

/// The CA that signs a node's certificates, and the CAs that the node's parts trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// Generation of the signing CA.
    pub generation: u32,
    /// The signing CA.
    pub by: AuthorityFacts,
    /// The trusted CAs, oldest first.
    pub trusted: Vec<AuthorityFacts>,
}

impl Signing {
    /// One CA, which signs and is the only trusted one.
    #[must_use]
    pub fn alone(generation: u32, by: &AuthorityFacts) -> Self {
        Self { generation, by: by.clone(), trusted: vec![by.clone()] }
    }
}

/// The certificates of CAs in one PEM text.
#[must_use]
pub fn bundle<'a>(authorities: impl IntoIterator<Item = &'a AuthorityFacts>) -> String {
    authorities.into_iter().map(|authority| authority.certificate_pem.as_str()).collect()
}

/// Facts about a certificate, without private material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafFacts {
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity, or of an intermediate CA's if that is earlier.
    pub not_after: Timestamp,
    /// Common name of the subject; empty without one.
    pub common_name: String,
    /// DNS names and IP addresses it is valid for.
    pub dns_names: Vec<String>,
    /// Extended key usages.
    pub usage: Usage,
    /// Key algorithm.
    pub algorithm: KeyAlgorithm,
    /// Whether the Secret also holds the key as PKCS#8 DER.
    pub has_pkcs8_der: bool,
    /// Fingerprint of the certificate.
    pub fingerprint: Fingerprint,
    /// Fingerprint of the CA in `ca.crt` whose key verifiably signed it, or signed the last intermediate in `tls.crt`.
    pub authority: Fingerprint,
    /// Fingerprints of every certificate in `ca.crt`: the CAs that its holder trusts.
    pub trusted: BTreeSet<Fingerprint>,
    /// Keys of the Secret that do not belong to a certificate.
    pub others: Vec<String>,
}
