//! Sample Secrets for tests.

use k8s_openapi::{
    ByteString,
    jiff::{SignedDuration, Timestamp},
};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};

use super::{
    Data, InvalidContent, generate,
    tls::{KeyAlgorithm, LeafRequest, Usage, Validity},
};

pub(super) fn now() -> Timestamp {
    "2031-03-07T11:13:17Z".parse().unwrap()
}

pub(super) fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

pub(super) fn request() -> LeafRequest {
    LeafRequest {
        common_name: "n7-tm".into(),
        dns_names: vec!["n7-tm.chains.svc".into(), "n7-tm.chains.svc.cluster.local".into()],
        usage: Usage::Server,
        algorithm: KeyAlgorithm::EcdsaP256,
        validity: Validity { duration: hours(1000), renew_before: hours(300) },
        pkcs8_der: false,
    }
}

pub(super) fn authority() -> Data {
    generate::authority("chains qn-alpha-ca", now()).unwrap()
}

/// A certificate and its key, issued by that CA in another way than the operator's.
pub(super) fn signed(authority: &Data, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Data {
    let signing = KeyPair::from_pem(text(authority, "tls.key")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(text(authority, "tls.crt"), signing).unwrap();
    let mut params = CertificateParams::new(["n7.example".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let certificate = params.signed_by(key, &issuer).unwrap();
    data([
        ("tls.crt", certificate.pem()),
        ("tls.key", key.serialize_pem()),
        ("ca.crt", text(authority, "tls.crt").to_owned()),
    ])
}

pub(super) fn data<const N: usize>(entries: [(&str, String); N]) -> Data {
    entries.into_iter().map(|(key, content)| (key.to_owned(), ByteString(content.into_bytes()))).collect()
}

pub(super) fn text<'a>(data: &'a Data, key: &str) -> &'a str {
    std::str::from_utf8(&data[key].0).unwrap()
}

pub(super) fn put(data: &mut Data, key: &str, content: impl Into<Vec<u8>>) {
    data.insert(key.into(), ByteString(content.into()));
}

/// The error message, after a check that it quotes nothing from the Secret.
pub(super) fn fault<T: std::fmt::Debug>(
    read: impl Fn(&Data) -> Result<T, InvalidContent>,
    data: &Data,
) -> String {
    let message = read(data).unwrap_err().to_string();
    for ByteString(content) in data.values() {
        for word in String::from_utf8_lossy(content).split_whitespace().filter(|word| word.len() > 12) {
            assert!(!message.contains(word), "content is quoted: {message}");
        }
    }
    message
}
