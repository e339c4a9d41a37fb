mod laws;

use std::{collections::BTreeSet, process::Command, sync::Arc};

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime, pem::PemObject as _,
    },
    server::WebPkiClientVerifier,
    sign::CertifiedKey,
};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{KeyUsage, ParsedExtension},
    parse_x509_certificate,
};

use super::{super::samples, *};
use crate::model::secrets::tls::{LeafFacts, Validity, read_authority, read_leaf};
use samples::{hours, now, request, text as pem};

fn ca() -> Data {
    samples::authority()
}

fn made(by: &Data, request: &LeafRequest) -> Data {
    leaf(by, request, now()).unwrap()
}

fn der(data: &Data, key: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(&data[key].0).unwrap()
}

fn parsed(der: &CertificateDer<'static>) -> X509Certificate<'static> {
    let bytes: &'static [u8] = Box::leak(der.to_vec().into_boxed_slice());
    parse_x509_certificate(bytes).unwrap().1
}

fn key_usage(certificate: &X509Certificate<'_>) -> KeyUsage {
    *certificate.key_usage().unwrap().unwrap().value
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots(ca_crt: &CertificateDer<'static>) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(ca_crt.clone()).unwrap();
    Arc::new(roots)
}

/// Whether a TLS client that trusts `authority` accepts this server certificate for the name.
fn serves(data: &Data, authority: &Data, name: &str, at: Timestamp) -> Result<(), rustls::Error> {
    let roots = roots(&der(authority, "ca.crt"));
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build().unwrap();
    let name = ServerName::try_from(name).unwrap();
    verifier.verify_server_cert(&der(data, "tls.crt"), &[], &name, &[], unix(at)).map(|_| ())
}

/// Whether a TLS server that trusts `authority` accepts this client certificate.
fn is_client(data: &Data, authority: &Data, at: Timestamp) -> Result<(), rustls::Error> {
    let roots = roots(&der(authority, "ca.crt"));
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build().unwrap();
    verifier.verify_client_cert(&der(data, "tls.crt"), &[], unix(at)).map(|_| ())
}

fn unix(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.as_second().try_into().unwrap()))
}

const NAME: &str = "n7-tm.chains.svc";

#[test]
fn an_authority_lasts_ten_years_and_signs_leafs_only() {
    let ca = ca();
    assert_eq!(ca.keys().map(String::as_str).collect::<Vec<_>>(), ["ca.crt", "tls.crt", "tls.key"]);
    assert_eq!(ca["ca.crt"], ca["tls.crt"]);
    let facts = read_authority(&ca).unwrap();
    assert_eq!(facts.not_after, now() + hours(24 * 3650));
    let certificate = parsed(&der(&ca, "tls.crt"));
    assert_eq!(certificate.validity().not_before.timestamp(), now().as_second() - 300);
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = key_usage(&certificate);
    assert!(usage.key_cert_sign() && usage.crl_sign() && usage.flags.count_ones() == 2, "{usage}");
    assert!(certificate.extended_key_usage().unwrap().is_none());
    assert!(subject_key_id(&certificate).is_some());
}

fn subject_key_id(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}

fn authority_key_id(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => Some(id.key_identifier.as_ref()?.0.to_vec()),
        _ => None,
    })
}

#[test]
fn two_generations_of_an_authority_differ_in_subject_and_key() {
    let (one, two) = (read_authority(&ca()).unwrap(), read_authority(&ca()).unwrap());
    assert_ne!(one.subject, two.subject);
    assert!(
        one.subject.starts_with("CN=chains qn-alpha-ca ")
            && two.subject.starts_with("CN=chains qn-alpha-ca ")
    );
    assert_ne!(one.fingerprint, two.fingerprint);
}

#[test]
fn a_long_name_of_an_authority_is_cut_and_stays_unique() {
    for long in ["n".repeat(90), "ü".repeat(45), String::new()] {
        let subject = |data: &Data| read_authority(data).unwrap().subject["CN=".len()..].to_owned();
        let (one, two) = (authority(&long, now()).unwrap(), authority(&long, now()).unwrap());
        assert!(subject(&one).len() <= 64, "{}", subject(&one));
        assert_ne!(subject(&one), subject(&two));
    }
}

#[test]
fn a_leaf_is_what_was_requested() {
    let ca = ca();
    let request = LeafRequest { usage: Usage::Both, pkcs8_der: true, ..request() };
    let data = made(&ca, &request);
    assert_eq!(
        data.keys().map(String::as_str).collect::<Vec<_>>(),
        ["ca.crt", "tls.crt", "tls.key", "tls.pk8"]
    );
    let facts = read_leaf(&data).unwrap();
    assert_eq!(
        facts,
        LeafFacts {
            not_before: "2031-03-07T11:08:17Z".parse().unwrap(),
            not_after: now() + hours(1000),
            common_name: "n7-tm".into(),
            dns_names: vec![NAME.into(), "n7-tm.chains.svc.cluster.local".into()],
            usage: Usage::Both,
            algorithm: KeyAlgorithm::EcdsaP256,
            has_pkcs8_der: true,
            fingerprint: facts.fingerprint.clone(),
            authority: read_authority(&ca).unwrap().fingerprint,
            trusted: [read_authority(&ca).unwrap().fingerprint].into(),
            others: vec![],
        }
    );
}

#[test]
fn a_leaf_is_no_authority_and_names_the_one_that_signed() {
    let ca = ca();
    let certificate = parsed(&der(&made(&ca, &request()), "tls.crt"));
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && !constraints.value.ca);
    let issuer = parsed(&der(&ca, "tls.crt"));
    assert_eq!(authority_key_id(&certificate).unwrap(), subject_key_id(&issuer).unwrap());
    assert_ne!(subject_key_id(&certificate), subject_key_id(&issuer));
}

#[test]
fn key_usages_are_exact() {
    let ca = ca();
    for (algorithm, usage, enciphers) in [
        (KeyAlgorithm::EcdsaP256, Usage::Server, false),
        (KeyAlgorithm::EcdsaP256, Usage::Client, false),
        (KeyAlgorithm::EcdsaP256, Usage::Both, false),
        (KeyAlgorithm::Rsa2048, Usage::Client, false),
        (KeyAlgorithm::Rsa2048, Usage::Server, true),
        (KeyAlgorithm::Rsa2048, Usage::Both, true),
    ] {
        let data = made(&ca, &LeafRequest { algorithm, usage, ..request() });
        let usages = key_usage(&parsed(&der(&data, "tls.crt")));
        assert!(usages.digital_signature());
        assert_eq!(usages.key_encipherment(), enciphers, "{algorithm:?} {usage:?}");
        assert_eq!(usages.flags.count_ones(), 1 + u32::from(enciphers));
    }
}

#[test]
fn every_certificate_has_a_serial_number_and_a_key_of_its_own() {
    let ca = ca();
    let (mut serials, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..20 {
        let certificate = parsed(&der(&made(&ca, &request()), "tls.crt"));
        let serial = certificate.raw_serial();
        assert!(serial[0] < 0x80 && serial.len() <= 17 && serial.len() > 12, "{serial:02x?}");
        serials.insert(serial.to_vec());
        keys.insert(certificate.public_key().raw.to_vec());
    }
    assert_eq!((serials.len(), keys.len()), (20, 20));
}

#[test]
fn an_rsa_key_is_pkcs8_and_its_der_form_is_the_content_of_the_pem() {
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256] {
        let data = made(&ca(), &LeafRequest { algorithm, pkcs8_der: true, ..request() });
        assert!(pem(&data, "tls.key").starts_with("-----BEGIN PRIVATE KEY-----\n"));
        let PrivateKeyDer::Pkcs8(key) = PrivateKeyDer::from_pem_slice(&data["tls.key"].0).unwrap() else {
            panic!("another label");
        };
        assert_eq!(key.secret_pkcs8_der(), data["tls.pk8"].0);
        // PKCS#8 begins with version 0 and the algorithm's identifier; PKCS#1 has no identifier.
        let identifier: &[u8] = match algorithm {
            KeyAlgorithm::Rsa2048 => &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01],
            KeyAlgorithm::EcdsaP256 => &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01],
        };
        assert!(key.secret_pkcs8_der()[..30].windows(identifier.len()).any(|window| window == identifier));
    }
}

#[test]
fn a_tls_stack_accepts_a_server_for_its_names_its_time_and_its_authority() {
    let ca = ca();
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa2048] {
        let data = made(&ca, &LeafRequest { algorithm, ..request() });
        serves(&data, &ca, NAME, now()).unwrap();
        serves(&data, &ca, NAME, now() - SignedDuration::from_mins(4)).unwrap();
        assert!(serves(&data, &ca, "n8-tm.chains.svc", now()).is_err());
        assert!(serves(&data, &ca, NAME, now() + hours(1001)).is_err());
        assert!(serves(&data, &ca, NAME, now() - hours(1)).is_err());
        assert!(serves(&data, &samples::authority(), NAME, now()).is_err());
        assert!(is_client(&data, &ca, now()).is_err(), "a server is no client");
    }
}

#[test]
fn a_tls_stack_accepts_a_client_and_one_that_is_both() {
    let ca = ca();
    let client = made(&ca, &LeafRequest { usage: Usage::Client, dns_names: Vec::new(), ..request() });
    is_client(&client, &ca, now()).unwrap();
    assert!(is_client(&client, &samples::authority(), now()).is_err());
    let client = made(&ca, &LeafRequest { usage: Usage::Client, ..request() });
    assert!(serves(&client, &ca, NAME, now()).is_err(), "a client is no server");
    let both = made(&ca, &LeafRequest { usage: Usage::Both, ..request() });
    serves(&both, &ca, NAME, now()).unwrap();
    is_client(&both, &ca, now()).unwrap();
}

#[test]
fn a_tls_stack_takes_certificate_and_key_for_a_pair() {
    let ca = ca();
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa2048] {
        let data = made(&ca, &LeafRequest { algorithm, pkcs8_der: true, ..request() });
        for key in [
            PrivateKeyDer::from_pem_slice(&data["tls.key"].0).unwrap(),
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(data["tls.pk8"].0.clone())),
        ] {
            let chain = vec![der(&data, "tls.crt")];
            CertifiedKey::from_der(chain, key, &provider()).unwrap().keys_match().unwrap();
        }
    }
}

#[test]
fn an_address_among_the_names_is_an_address() {
    let ca = ca();
    let names = vec!["10.9.8.7".to_owned(), "FD00:0::7".to_owned(), "n7.example".to_owned()];
    let request = LeafRequest { dns_names: names, ..request() };
    let data = made(&ca, &request);
    for name in ["10.9.8.7", "fd00::7", "n7.example"] {
        serves(&data, &ca, name, now()).unwrap();
    }
    assert_eq!(read_leaf(&data).unwrap().dns_names, ["10.9.8.7", "fd00::7", "n7.example"]);
}

#[test]
fn no_leaf_outlives_its_authority_or_comes_after_its_end() {
    let ca = ca();
    let end = read_authority(&ca).unwrap().not_after;
    let late = leaf(&ca, &request(), end - hours(10)).unwrap();
    assert_eq!(read_leaf(&late).unwrap().not_after, end);
    let refusal = leaf(&ca, &request(), end).unwrap_err().to_string();
    assert!(refusal.contains("expired at 2041-"), "{refusal}");
}

#[test]
fn what_cannot_be_in_a_certificate_is_refused() {
    let ca = ca();
    let refusal = |request: &LeafRequest| format!("{:#}", leaf(&ca, request, now()).unwrap_err());
    for common_name in [String::new(), "n".repeat(65)] {
        assert!(refusal(&LeafRequest { common_name, ..request() }).contains("1 to 64 bytes"));
    }
    assert!(leaf(&ca, &LeafRequest { common_name: "n".repeat(64), ..request() }, now()).is_ok());
    let names = |name: &str| LeafRequest { dns_names: vec![name.into()], ..request() };
    assert!(refusal(&names("")).contains("an empty DNS name"));
    assert!(refusal(&names("knöten.example")).contains("\"knöten.example\" is not a DNS name"));
    let validity = Validity { duration: SignedDuration::ZERO, renew_before: SignedDuration::ZERO };
    assert!(refusal(&LeafRequest { validity, ..request() }).contains("needs a lifetime"));
}

#[test]
fn an_authority_that_cannot_be_used_signs_nothing() {
    let mut broken = ca();
    broken.insert("tls.key".into(), ca()["tls.key"].clone());
    let refusal = format!("{:#}", leaf(&broken, &request(), now()).unwrap_err());
    assert!(refusal.contains("tls.key is not the key of tls.crt"), "{refusal}");
    assert!(leaf(&made(&ca(), &request()), &request(), now()).is_err());
}

/// A subject with two units: the library retains only one, so the leaf would name an issuer that does not exist.
#[test]
fn a_leaf_that_would_not_verify_is_never_handed_out() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_after = rcgen::date_time_ymd(2044, 5, 6);
    params.distinguished_name.push(DnType::OrganizationalUnitName, "one");
    params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 11]), "two");
    let certificate = params.self_signed(&key).unwrap().pem();
    let odd = samples::data([("tls.crt", certificate), ("tls.key", key.serialize_pem())]);
    assert!(read_authority(&odd).is_ok());
    let refusal = format!("{:#}", leaf(&odd, &request(), now()).unwrap_err());
    assert!(refusal.contains("the certificate just generated"), "{refusal}");
}

#[test]
fn a_node_key_is_one_geth_would_take_and_never_the_same() {
    let (one, two) = (node_key().unwrap(), node_key().unwrap());
    let text = pem(&one, "nodekey");
    assert_eq!(one.len(), 1);
    assert!(text.len() == 64 && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)));
    let identity = |data| super::super::keys::read_node_key(data, "nodekey").unwrap();
    assert_ne!(identity(&one).address, identity(&two).address);
}

/// Checks with OpenSSL, which other readers of these files use. Machines without the command skip it; the tests above
/// verify the same chain.
#[test]
fn openssl_verifies_the_chain() {
    if Command::new("openssl").arg("version").output().is_err() {
        return;
    }
    let ca = ca();
    let directory = tempfile::tempdir().unwrap();
    let file = |data: &Data, key: &str| {
        let path = directory.path().join(key);
        std::fs::write(&path, &data[key].0).unwrap();
        path
    };
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa2048] {
        let request = LeafRequest { algorithm, usage: Usage::Both, pkcs8_der: true, ..request() };
        let data = made(&ca, &request);
        let (authority, leaf) = (file(&data, "ca.crt"), file(&data, "tls.crt"));
        for purpose in ["sslserver", "sslclient"] {
            let mut verify = Command::new("openssl");
            verify.args(["verify", "-x509_strict", "-purpose", purpose, "-verify_hostname", NAME]);
            verify.args(["-attime", &now().as_second().to_string(), "-CAfile"]).arg(&authority).arg(&leaf);
            let output = verify.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let public = |arguments: &[&str], path| {
            let output = Command::new("openssl").args(arguments).arg(path).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let of_certificate = public(&["x509", "-noout", "-pubkey", "-in"], leaf);
        assert_eq!(public(&["pkey", "-pubout", "-in"], file(&data, "tls.key")), of_certificate);
        assert_eq!(
            public(&["pkey", "-inform", "DER", "-pubout", "-in"], file(&data, "tls.pk8")),
            of_certificate
        );
    }
}
