//! Certificates as they are found in Secrets. What is said of one is what its signature and its key prove.

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
    super::{Data, Unusable, content},
    AUTHORITY, AuthorityFacts, CERTIFICATE, Fingerprint, KEYS, KeyAlgorithm, LeafFacts, PRIVATE_KEY,
    PRIVATE_KEY_DER, Usage,
};

/// Reads an authority: a certificate that signed itself and may sign others, and its key.
///
/// # Errors
/// Why it cannot be used.
pub fn read_authority(data: &Data) -> Result<AuthorityFacts, Unusable> {
    let ders = certificates(data, CERTIFICATE)?;
    let [der] = ders.as_slice() else {
        return Err(Unusable::new(
            CERTIFICATE,
            "holds several certificates: leave the authority's alone in it",
        ));
    };
    let certificate = parse(der, CERTIFICATE)?;
    if !may_sign(&certificate) {
        return Err(Unusable::new(
            CERTIFICATE,
            "is not an authority's: it needs CA:TRUE and the key usage keyCertSign",
        ));
    }
    if !is_signed_by(&certificate, &certificate) {
        return Err(Unusable::new(CERTIFICATE, "is not signed with its own key: put a root authority there"));
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

/// Reads a certificate, who signed it, and its key.
///
/// # Errors
/// Why it cannot be used.
pub fn read_leaf(data: &Data) -> Result<LeafFacts, Unusable> {
    // Where there is a chain, the first is the one that is presented.
    let ders = certificates(data, CERTIFICATE)?;
    let chain: Vec<_> = ders.iter().map(|der| parse(der, CERTIFICATE)).collect::<Result<_, _>>()?;
    let certificate = &chain[0];
    if certificate.is_ca() {
        return Err(Unusable::new(
            CERTIFICATE,
            "is an authority's: put a certificate that signs nothing there",
        ));
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

/// Reads certificates of authorities, as they are trusted: a digest of them, whatever order they are in and whatever
/// else stands between them.
///
/// # Errors
/// Why they cannot be trusted.
pub fn read_bundle(pem: &[u8]) -> Result<String, String> {
    let blocks = blocks(pem).ok_or("it is broken PEM: put whole CERTIFICATE blocks there")?;
    if blocks.is_empty() {
        return Err("there is no certificate in it: put the authority's, as PEM, there".into());
    }
    for (position, block) in blocks.iter().enumerate() {
        let position = position + 1;
        if block.label != "CERTIFICATE" {
            return Err(format!("block {position} is not a CERTIFICATE: leave only certificates in it"));
        }
        let certificate = parse(&block.contents, "")
            .map_err(|_| format!("certificate {position} cannot be read: put it there again, as PEM"))?;
        if !certificate.is_ca() {
            return Err(format!(
                "certificate {position} is not an authority's: put the one that signed it there"
            ));
        }
    }
    let digests: BTreeSet<_> =
        blocks.iter().map(|block| Fingerprint::of(&block.contents).to_string()).collect();
    let digests: Vec<_> = digests.into_iter().collect();
    Ok(super::super::hex(&Sha256::digest(digests.join(","))))
}

/// The same certificates as text, and nothing else that stands between them.
///
/// # Errors
/// Why they cannot be trusted.
pub fn read_authorities(bundle: &[u8]) -> Result<String, String> {
    read_bundle(bundle)?;
    let blocks = blocks(bundle).unwrap_or_default();
    for (position, block) in blocks.iter().enumerate() {
        // the guard would refuse its whole policy for one of them
        let began = parse(&block.contents, "").is_ok_and(|one| one.validity().not_before.timestamp() >= 0);
        let trusted = RootCertStore::empty().add(CertificateDer::from(&*block.contents));
        if trusted.is_err() || !began {
            let position = position + 1;
            return Err(format!(
                "certificate {position} is none that TLS could trust: have it issued as X.509 version 3, from a time \
                 after 1970, with no extension twice"
            ));
        }
    }
    Ok(blocks.iter().map(|block| pem(&block.contents)).collect())
}

/// A certificate of somebody else's authority with its key: they belong together, whoever signed it.
pub(in crate::node::secrets) fn read_pair(data: &Data) -> Result<(), Unusable> {
    let ders = certificates(data, CERTIFICATE)?;
    belongs(data, &parse(&ders[0], CERTIFICATE)?)
}

fn blocks(pem: &[u8]) -> Option<Vec<Pem>> {
    Pem::iter_from_buffer(pem).collect::<Result<_, _>>().ok()
}

/// The DER of every certificate under a key; at least one.
fn certificates(data: &Data, key: &str) -> Result<Vec<Vec<u8>>, Unusable> {
    let blocks = blocks(content(data, key)?).unwrap_or_default();
    if blocks.is_empty() || blocks.iter().any(|block| block.label != "CERTIFICATE") {
        return Err(Unusable::new(
            key,
            "must be PEM with CERTIFICATE blocks and no others: put it there again",
        ));
    }
    Ok(blocks.into_iter().map(|block| block.contents).collect())
}

fn parse<'a>(der: &'a [u8], key: &str) -> Result<X509Certificate<'a>, Unusable> {
    match parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Unusable::new(key, "is not an X.509 certificate: put it there again, as PEM")),
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

/// Which of the authorities in `ca.crt` the certificates of a chain, in order, lead to, and when the first of them
/// ends. There may be two authorities while one replaces the other.
fn signer(data: &Data, chain: &[X509Certificate<'_>]) -> Result<(Fingerprint, ASN1Time), Unusable> {
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
    Err(Unusable::new(
        CERTIFICATE,
        "is not signed by an authority in ca.crt: put the authority that signed it, itself, into ca.crt; or, where \
         intermediates are between the two, these after it into tls.crt, in order",
    ))
}

/// Whether the private keys in the Secret are the certificate's.
fn belongs(data: &Data, certificate: &X509Certificate<'_>) -> Result<(), Unusable> {
    let wanted = certificate.public_key().subject_public_key.data.as_ref();
    let blocks = blocks(content(data, PRIVATE_KEY)?).unwrap_or_default();
    let [block] = blocks.as_slice() else {
        return Err(Unusable::new(PRIVATE_KEY, "must be PEM with one PRIVATE KEY block: put it there again"));
    };
    let public =
        Some(block).filter(|block| block.label == "PRIVATE KEY").and_then(|block| public(&block.contents));
    let public = public.ok_or_else(|| {
        Unusable::new(
            PRIVATE_KEY,
            "must be an unencrypted PKCS#8 key, EC P-256, P-384 or RSA (\"BEGIN PRIVATE KEY\"): convert it with \
             openssl pkcs8 -topk8 -nocrypt",
        )
    })?;
    if public != wanted {
        return Err(Unusable::new(
            PRIVATE_KEY,
            "is not the key of tls.crt: put the two that belong together there",
        ));
    }
    match data.get(PRIVATE_KEY_DER) {
        Some(ByteString(der)) if self::public(der).as_deref() != Some(wanted) => Err(Unusable::new(
            PRIVATE_KEY_DER,
            "is not the key in tls.key as PKCS#8 DER: make it with openssl pkcs8 -topk8 -nocrypt -outform DER",
        )),
        _ => Ok(()),
    }
}

/// The public half of a PKCS#8 key, as a certificate has it.
fn public(pkcs8: &[u8]) -> Option<Vec<u8>> {
    let on_curve = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).ok();
    let ec = on_curve(&ECDSA_P256_SHA256_ASN1_SIGNING).or_else(|| on_curve(&ECDSA_P384_SHA384_ASN1_SIGNING));
    match ec {
        Some(pair) => Some(pair.public_key().as_ref().to_vec()),
        None => Some(RsaKeyPair::from_pkcs8(pkcs8).ok()?.public_key().as_ref().to_vec()),
    }
}

fn algorithm(certificate: &X509Certificate<'_>) -> Result<KeyAlgorithm, Unusable> {
    let key = certificate.public_key();
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    match key.parsed() {
        Ok(PublicKey::EC(_))
            if key.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(OID_EC_P256) =>
        {
            Ok(KeyAlgorithm::EcdsaP256)
        }
        Ok(PublicKey::RSA(rsa)) if rsa.key_size() == 2048 => Ok(KeyAlgorithm::Rsa2048),
        _ => Err(Unusable::new(
            CERTIFICATE,
            "has a key that is neither EC P-256 nor RSA 2048: use one of these",
        )),
    }
}

fn usage(certificate: &X509Certificate<'_>) -> Result<Usage, Unusable> {
    let wrong = || {
        Unusable::new(
            CERTIFICATE,
            "must have the extended key usage serverAuth, clientAuth or both and no other: have it issued so",
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

fn common_name(certificate: &X509Certificate<'_>) -> Result<String, Unusable> {
    let names: Vec<_> = certificate.subject().iter_common_name().collect();
    match names.as_slice() {
        [] => Ok(String::new()),
        [name] => name.as_str().map(Into::into).map_err(|_| {
            Unusable::new(CERTIFICATE, "has a common name that is not text: have it issued anew")
        }),
        _ => Err(Unusable::new(CERTIFICATE, "has several common names: have it issued with one")),
    }
}

fn names(certificate: &X509Certificate<'_>) -> Result<Vec<String>, Unusable> {
    let extension = certificate.subject_alternative_name().map_err(|_| {
        Unusable::new(CERTIFICATE, "has alternative names that cannot be read: have it issued anew")
    })?;
    let Some(extension) = extension else { return Ok(Vec::new()) };
    extension.value.general_names.iter().map(name).collect()
}

fn name(name: &GeneralName<'_>) -> Result<String, Unusable> {
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
        Unusable::new(
            CERTIFICATE,
            "has alternative names other than DNS names and addresses: have it issued without",
        )
    })
}

fn time(time: ASN1Time) -> Result<Timestamp, Unusable> {
    Timestamp::from_second(time.timestamp())
        .map_err(|_| Unusable::new(CERTIFICATE, "has a validity beyond the calendar: have it issued anew"))
}

/// Written anew rather than copied: around the block in a Secret there may be anything.
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
