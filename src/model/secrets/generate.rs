//! Generates keys and certificates. All randomness of the operator comes from this module.

use crate::model::secrets::renewal;
use std::net::IpAddr;

use anyhow::{Context as _, ensure};
use k8s_openapi::{
    ByteString,
    jiff::{SignedDuration, Timestamp},
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, SanType, SerialNumber,
};

use super::{
    Data, hex,
    tls::{
        self, AUTHORITY, AuthorityFacts, CERTIFICATE, KeyAlgorithm, LeafRequest, PRIVATE_KEY,
        PRIVATE_KEY_DER, Usage,
    },
};

/// Key of a Secret: the node key.
pub const NODE_KEY: &str = "nodekey";
/// Certificates begin this long before they are generated, for readers whose clock is behind.
pub(crate) const EARLIER: SignedDuration = SignedDuration::from_mins(5);
/// Lifetime of a certificate authority (CA): ten years.
const AUTHORITY_LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 3650);
/// The longest common name that RFC 5280 allows.
const COMMON_NAME: usize = 64;

/// A new CA. It may sign only leaf certificates. Each CA has a different subject, because a reader that stores CAs by
/// subject would otherwise lose one of them during a rotation.
///
/// # Errors
/// Where key generation fails.
pub fn authority(common_name: &str, now: Timestamp) -> anyhow::Result<Data> {
    let generation = hex(&random::<8>()?);
    let room = COMMON_NAME - generation.len() - 1;
    let common_name = format!("{} {generation}", start(common_name, room));
    let mut params = parameters(&common_name, now, now.checked_add(AUTHORITY_LIFETIME)?)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("key of the CA")?;
    let certificate = params.self_signed(&key).context("certificate of the CA")?.pem();
    let data = Data::from([
        entry(CERTIFICATE, certificate.clone()),
        entry(PRIVATE_KEY, key.serialize_pem()),
        entry(AUTHORITY, certificate),
    ]);
    tls::read_authority(&data).context("the CA just generated")?;
    Ok(data)
}

/// The same Secret data with these CAs as the trusted ones.
#[must_use]
pub fn trusting(mut data: Data, trusted: &[AuthorityFacts]) -> Data {
    data.extend([entry(AUTHORITY, tls::bundle(trusted))]);
    data
}

/// A new certificate with a new key, signed by a CA. It does not outlast the CA.
///
/// # Errors
/// Where the CA is invalid or has expired, or the request cannot be expressed in a certificate.
pub fn leaf(authority: &Data, request: &LeafRequest, now: Timestamp) -> anyhow::Result<Data> {
    let by = tls::read_authority(authority).context("the signing CA")?;
    ensure!(now < by.not_after, "the signing CA, {}, expired at {}", by.subject, by.not_after);
    ensure!(request.validity.duration > SignedDuration::ZERO, "a certificate needs a lifetime");
    ensure!(
        (1..=COMMON_NAME).contains(&request.common_name.len()),
        "a common name must have 1 to {COMMON_NAME} bytes: {:?}",
        request.common_name
    );
    let not_after = now.checked_add(request.validity.duration)?.min(by.not_after);
    let mut params = parameters(&request.common_name, now, not_after)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names =
        renewal::names(&request.dns_names).into_iter().map(alternative).collect::<Result<_, _>>()?;
    params.key_usages = key_usages(request);
    params.extended_key_usages = extended_key_usages(request.usage);

    let signing = KeyPair::from_pem(text(authority, PRIVATE_KEY)?).context("key of the signing CA")?;
    let issuer = Issuer::from_ca_cert_pem(&by.certificate_pem, signing).context("the signing CA")?;
    let key = match request.algorithm {
        KeyAlgorithm::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        KeyAlgorithm::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
    }
    .context("key of the certificate")?;
    let certificate = params.signed_by(&key, &issuer).context("certificate")?.pem();
    let mut data = Data::from([
        entry(CERTIFICATE, certificate),
        entry(PRIVATE_KEY, key.serialize_pem()),
        entry(AUTHORITY, by.certificate_pem.clone()),
    ]);
    if request.pkcs8_der {
        data.extend([entry(PRIVATE_KEY_DER, key.serialize_der())]);
    }
    // a certificate that reads back differently would be issued again in every reconcile
    let facts = tls::read_leaf(&data).context("the certificate just generated")?;
    if let Some(difference) = renewal::difference(request, &by, &facts) {
        anyhow::bail!("the certificate just generated differs from the request: {difference}");
    }
    Ok(data)
}

/// A new node key.
///
/// # Errors
/// Where the random number generator fails.
pub fn node_key() -> anyhow::Result<Data> {
    loop {
        // nearly all of the 2^256 values are valid keys
        let data = Data::from([entry(NODE_KEY, hex(&random::<32>()?))]);
        if super::keys::read_node_key(&data, NODE_KEY).is_ok() {
            return Ok(data);
        }
    }
}

fn parameters(common_name: &str, now: Timestamp, not_after: Timestamp) -> anyhow::Result<CertificateParams> {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, common_name);
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.serial_number = Some(SerialNumber::from_slice(&random::<16>()?));
    params.not_before = at(now.checked_sub(EARLIER)?)?;
    params.not_after = at(not_after)?;
    Ok(params)
}

/// Key usages of a certificate. Only RSA supports key encipherment, which only TLS before 1.3 uses.
fn key_usages(request: &LeafRequest) -> Vec<KeyUsagePurpose> {
    match (request.algorithm, request.usage) {
        (KeyAlgorithm::Rsa2048, Usage::Server | Usage::Both) => {
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment]
        }
        _ => vec![KeyUsagePurpose::DigitalSignature],
    }
}

fn extended_key_usages(usage: Usage) -> Vec<ExtendedKeyUsagePurpose> {
    match usage {
        Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
    }
}

fn alternative(name: String) -> anyhow::Result<SanType> {
    ensure!(!name.is_empty(), "a certificate is requested for an empty DNS name");
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => {
            let dns = name.as_str().try_into().with_context(|| format!("{name:?} is not a DNS name"))?;
            Ok(SanType::DnsName(dns))
        }
    }
}

fn at(time: Timestamp) -> anyhow::Result<time::OffsetDateTime> {
    Ok(time::OffsetDateTime::from_unix_timestamp(time.as_second())?)
}

/// The longest prefix of whole characters with at most `room` bytes.
fn start(text: &str, room: usize) -> &str {
    let end = (0..=room.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

fn text<'a>(data: &'a Data, key: &str) -> anyhow::Result<&'a str> {
    std::str::from_utf8(super::content(data, key)?).with_context(|| format!("{key} is not text"))
}

fn entry(key: &str, content: impl Into<Vec<u8>>) -> (String, ByteString) {
    (key.into(), ByteString(content.into()))
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("the random number generator failed")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
