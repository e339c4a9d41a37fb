//! Parsing and verification of the certificates in Secrets. A signer counts only where its signature verifies.

use std::{collections::BTreeSet, net::IpAddr};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, RsaKeyPair,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::{ByteString, jiff::Timestamp};
use rustls::{RootCertStore, pki_types::CertificateDer};
use sha2::{Digest as _, Sha256};
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY},
    parse_x509_certificate,
    pem::Pem,
    public_key::PublicKey,
    time::ASN1Time,
};

use super::{
    super::{Data, InvalidContent, content},
    AUTHORITY, AuthorityFacts, CERTIFICATE, Fingerprint, KEYS, KeyAlgorithm, LeafFacts, PRIVATE_KEY,
    PRIVATE_KEY_DER, Usage,
};

/// Reads a certificate authority (CA): a self-signed certificate that may sign others, and its key.
///
/// # Errors
/// Why it is invalid and what to do.
pub fn read_authority(data: &Data) -> Result<AuthorityFacts, InvalidContent> {
    let ders = certificates(data, CERTIFICATE)?;
    let [der] = ders.as_slice() else {
        return Err(InvalidContent::new(
            CERTIFICATE,
            "has several certificates: leave only the CA's certificate in this key",
        ));
    };
    let certificate = parse(der, CERTIFICATE)?;
    if !may_sign(&certificate) {
        return Err(InvalidContent::new(
            CERTIFICATE,
            "is not a CA certificate: use a certificate with CA:TRUE and the key usage keyCertSign",
        ));
    }
    if !is_signed_by(&certificate, &certificate) {
        return Err(InvalidContent::new(
            CERTIFICATE,
            "is not signed with its own key: use the certificate of a root CA",
        ));
    }
    belongs(data, &certificate)?;
    Ok(AuthorityFacts {
        certificate_pem: pem(der),
        fingerprint: Fingerprint::of(der),
        subject: certificate.subject().to_string(),
        not_before: time(certificate.validity().not_before)?,
        not_after: time(certificate.validity().not_after)?,
    })
}

/// Reads a certificate, its chain to a CA, and its key.
///
/// # Errors
/// Why it is invalid and what to do.
pub fn read_leaf(data: &Data) -> Result<LeafFacts, InvalidContent> {
    // the first certificate of a chain is the leaf
    let ders = certificates(data, CERTIFICATE)?;
    let chain: Vec<_> = ders.iter().map(|der| parse(der, CERTIFICATE)).collect::<Result<_, _>>()?;
    let certificate = &chain[0];
    if certificate.is_ca() {
        return Err(InvalidContent::new(CERTIFICATE, "is a CA certificate: use a leaf certificate"));
    }
    let algorithm = algorithm(certificate)?;
    belongs(data, certificate)?;
    let (authority, ends) = signer(data, &chain)?;
    Ok(LeafFacts {
        not_before: time(certificate.validity().not_before)?,
        not_after: time(ends)?,
        common_name: common_name(certificate)?,
        dns_names: names(certificate)?,
        usage: usage(certificate)?,
        algorithm,
        has_pkcs8_der: data.contains_key(PRIVATE_KEY_DER),
        fingerprint: Fingerprint::of(&ders[0]),
        authority,
        trusted: certificates(data, AUTHORITY)?.iter().map(|der| Fingerprint::of(der)).collect(),
        others: data.keys().filter(|key| !KEYS.contains(&key.as_str())).cloned().collect(),
    })
}

/// Reads a bundle of CA certificates and returns their digest, which does not depend on their order or on the text
/// between them.
///
/// # Errors
/// Why the bundle is invalid and what to do.
pub fn read_bundle(pem: &[u8]) -> Result<String, String> {
    let blocks = blocks(pem).ok_or("the bundle is broken PEM: write complete CERTIFICATE blocks")?;
    if blocks.is_empty() {
        return Err("the bundle has no certificate: add the CA's certificate as PEM".into());
    }
    for (position, block) in blocks.iter().enumerate() {
        let position = position + 1;
        if block.label != "CERTIFICATE" {
            return Err(format!(
                "PEM block {position} of the bundle is not a CERTIFICATE: leave only certificates in the bundle"
            ));
        }
        let certificate = parse(&block.contents, "").map_err(|_| {
            format!(
                "certificate {position} of the bundle cannot be read: write this certificate again, as PEM"
            )
        })?;
        if !certificate.is_ca() {
            return Err(format!(
                "certificate {position} of the bundle is not a CA certificate: replace it with the certificate of the CA that signed it"
            ));
        }
    }
    let digests: BTreeSet<_> =
        blocks.iter().map(|block| Fingerprint::of(&block.contents).to_string()).collect();
    let digests: Vec<_> = digests.into_iter().collect();
    Ok(super::super::hex(&Sha256::digest(digests.join(","))))
}

/// Reads a bundle of CA certificates and returns them as PEM, without other text.
///
/// # Errors
/// Why the bundle is invalid and what to do.
pub fn read_authorities(bundle: &[u8]) -> Result<String, String> {
    read_bundle(bundle)?;
    let blocks = blocks(bundle).unwrap_or_default();
    for (position, block) in blocks.iter().enumerate() {
        // one untrustable certificate makes the guard reject its whole policy
        let began = parse(&block.contents, "").is_ok_and(|one| one.validity().not_before.timestamp() >= 0);
        let trusted = RootCertStore::empty().add(CertificateDer::from(&*block.contents));
        if trusted.is_err() || !began {
            let position = position + 1;
            return Err(format!(
                "certificate {position} of the bundle cannot be a TLS trust anchor: have this certificate issued as X.509 version 3, valid from \
                 after 1970, with no extension twice"
            ));
        }
    }
    Ok(blocks.iter().map(|block| pem(&block.contents)).collect())
}

/// Checks that a certificate and its key belong together, whichever CA signed it.
pub(crate) fn read_pair(data: &Data) -> Result<(), InvalidContent> {
    let ders = certificates(data, CERTIFICATE)?;
    belongs(data, &parse(&ders[0], CERTIFICATE)?)
}

fn blocks(pem: &[u8]) -> Option<Vec<Pem>> {
    Pem::iter_from_buffer(pem).collect::<Result<_, _>>().ok()
}

/// The DER of every certificate in a key of the Secret; at least one.
fn certificates(data: &Data, key: &str) -> Result<Vec<Vec<u8>>, InvalidContent> {
    let blocks = blocks(content(data, key)?).unwrap_or_default();
    if blocks.is_empty() || blocks.iter().any(|block| block.label != "CERTIFICATE") {
        return Err(InvalidContent::new(
            key,
            "must be PEM with CERTIFICATE blocks and no others: write the certificates again",
        ));
    }
    Ok(blocks.into_iter().map(|block| block.contents).collect())
}

fn parse<'a>(der: &'a [u8], key: &str) -> Result<X509Certificate<'a>, InvalidContent> {
    match parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => {
            Err(InvalidContent::new(key, "is not an X.509 certificate: write the certificate again, as PEM"))
        }
    }
}

fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    let usage = certificate.key_usage().ok().flatten();
    certificate.is_ca() && usage.is_some_and(|usage| usage.value.key_cert_sign())
}

fn is_signed_by(certificate: &X509Certificate<'_>, authority: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == authority.subject().as_raw()
        && certificate.verify_signature(Some(authority.public_key())).is_ok()
}

/// The CA in `ca.crt` that a certificate chain leads to, and the earliest expiry in the chain. `ca.crt` holds two CAs
/// during a rotation.
fn signer(data: &Data, chain: &[X509Certificate<'_>]) -> Result<(Fingerprint, ASN1Time), InvalidContent> {
    let authorities = certificates(data, AUTHORITY)?;
    let mut ends = chain[0].validity().not_after;
    for (position, last) in chain.iter().enumerate() {
        ends = ends.min(last.validity().not_after);
        for der in &authorities {
            let authority = parse(der, AUTHORITY)?;
            if may_sign(&authority) && is_signed_by(last, &authority) {
                return Ok((Fingerprint::of(der), ends));
            }
        }
        let next = chain.get(position + 1);
        if !next.is_some_and(|next| may_sign(next) && is_signed_by(last, next)) {
            break;
        }
    }
    Err(InvalidContent::new(
        CERTIFICATE,
        "is not signed by a CA in ca.crt: put the CA that signed the certificate into ca.crt; or, if intermediate CAs \
         are between the certificate and that CA, append them to tls.crt, in order",
    ))
}

/// Checks that the private keys in the Secret belong to the certificate.
fn belongs(data: &Data, certificate: &X509Certificate<'_>) -> Result<(), InvalidContent> {
    let wanted = certificate.public_key().subject_public_key.data.as_ref();
    let blocks = blocks(content(data, PRIVATE_KEY)?).unwrap_or_default();
    let [block] = blocks.as_slice() else {
        return Err(InvalidContent::new(
            PRIVATE_KEY,
            "must be PEM with one PRIVATE KEY block: write the private key again",
        ));
    };
    let public =
        Some(block).filter(|block| block.label == "PRIVATE KEY").and_then(|block| public(&block.contents));
    let public = public.ok_or_else(|| {
        InvalidContent::new(
            PRIVATE_KEY,
            "must be an unencrypted PKCS#8 key, EC P-256, P-384 or RSA (\"BEGIN PRIVATE KEY\"): convert the key with \
             openssl pkcs8 -topk8 -nocrypt",
        )
    })?;
    if public != wanted {
        return Err(InvalidContent::new(
            PRIVATE_KEY,
            "is not the key of tls.crt: put a certificate and the private key of that certificate into the Secret",
        ));
    }
    match data.get(PRIVATE_KEY_DER) {
        Some(ByteString(der)) if self::public(der).as_deref() != Some(wanted) => Err(InvalidContent::new(
            PRIVATE_KEY_DER,
            "is not the key of tls.key as PKCS#8 DER: convert tls.key with openssl pkcs8 -topk8 -nocrypt -outform DER",
        )),
        _ => Ok(()),
    }
}

/// The public key of a PKCS#8 key, in the encoding of a certificate.
fn public(pkcs8: &[u8]) -> Option<Vec<u8>> {
    let on_curve = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).ok();
    let ec = on_curve(&ECDSA_P256_SHA256_ASN1_SIGNING).or_else(|| on_curve(&ECDSA_P384_SHA384_ASN1_SIGNING));
    match ec {
        Some(pair) => Some(pair.public_key().as_ref().to_vec()),
        None => Some(RsaKeyPair::from_pkcs8(pkcs8).ok()?.public_key().as_ref().to_vec()),
    }
}

fn algorithm(certificate: &X509Certificate<'_>) -> Result<KeyAlgorithm, InvalidContent> {
    let key = certificate.public_key();
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    match key.parsed() {
        Ok(PublicKey::EC(_))
            if key.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(OID_EC_P256) =>
        {
            Ok(KeyAlgorithm::EcdsaP256)
        }
        Ok(PublicKey::RSA(rsa)) if rsa.key_size() == 2048 => Ok(KeyAlgorithm::Rsa2048),
        _ => Err(InvalidContent::new(
            CERTIFICATE,
            "has a key that is neither EC P-256 nor RSA 2048: have the certificate issued for such a key",
        )),
    }
}

fn usage(certificate: &X509Certificate<'_>) -> Result<Usage, InvalidContent> {
    let wrong = || {
        InvalidContent::new(
            CERTIFICATE,
            "must have the extended key usage serverAuth, clientAuth or both, and no other: have the certificate issued again",
        )
    };
    let usages = certificate.extended_key_usage().ok().flatten().ok_or_else(wrong)?.value;
    let more = usages.any
        || usages.code_signing
        || usages.email_protection
        || usages.time_stamping
        || usages.ocsp_signing
        || !usages.other.is_empty();
    match (usages.server_auth, usages.client_auth) {
        (true, true) if !more => Ok(Usage::Both),
        (true, false) if !more => Ok(Usage::Server),
        (false, true) if !more => Ok(Usage::Client),
        _ => Err(wrong()),
    }
}

fn common_name(certificate: &X509Certificate<'_>) -> Result<String, InvalidContent> {
    let names: Vec<_> = certificate.subject().iter_common_name().collect();
    match names.as_slice() {
        [] => Ok(String::new()),
        [name] => name.as_str().map(Into::into).map_err(|_| {
            InvalidContent::new(
                CERTIFICATE,
                "has a common name that is not text: have the certificate issued again",
            )
        }),
        _ => Err(InvalidContent::new(
            CERTIFICATE,
            "has several common names: have the certificate issued with one",
        )),
    }
}

fn names(certificate: &X509Certificate<'_>) -> Result<Vec<String>, InvalidContent> {
    let extension = certificate.subject_alternative_name().map_err(|_| {
        InvalidContent::new(
            CERTIFICATE,
            "has invalid subject alternative names: have the certificate issued again",
        )
    })?;
    let Some(extension) = extension else { return Ok(Vec::new()) };
    extension.value.general_names.iter().map(name).collect()
}

fn name(name: &GeneralName<'_>) -> Result<String, InvalidContent> {
    let address = |octets: &[u8]| match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
    };
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => address(octets).map(|address| address.to_string()),
        _ => None,
    }
    .ok_or_else(|| {
        InvalidContent::new(
            CERTIFICATE,
            "has subject alternative names other than DNS names and IP addresses: have the certificate issued without other names",
        )
    })
}

fn time(time: ASN1Time) -> Result<Timestamp, InvalidContent> {
    Timestamp::from_second(time.timestamp()).map_err(|_| {
        InvalidContent::new(
            CERTIFICATE,
            "has a validity that is out of range: have the certificate issued again",
        )
    })
}

/// Encodes DER as PEM. The PEM in the Secret is not copied, since other text may surround it.
fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for (position, character) in text.chars().enumerate() {
        if position > 0 && position % 64 == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod chains;
#[cfg(test)]
mod tests;
