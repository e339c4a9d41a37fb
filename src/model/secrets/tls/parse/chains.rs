//! Tests of certificate chains with intermediate CAs.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::*;
use crate::model::secrets::samples::{data, text};

/// A root CA, two intermediate CAs, and a leaf certificate.
struct Chain {
    root: String,
    /// The intermediate CAs, from the root down.
    between: [String; 2],
    leaf: String,
    key: String,
}

fn params(name: &str, authority: bool, year: i32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    if authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    } else {
        params.is_ca = IsCa::ExplicitNoCa;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    }
    params
}

/// A chain in which the second intermediate may sign only if `second` is set.
fn chain(second: bool) -> Chain {
    let keys = [(); 4].map(|()| KeyPair::generate().unwrap());
    let root = params("root", true, 2050);
    let first = params("first", true, 2045);
    let mut other = params("second", true, 2041);
    if !second {
        other.is_ca = IsCa::ExplicitNoCa;
    }
    let pem = root.self_signed(&keys[0]).unwrap().pem();
    let by_root = first.signed_by(&keys[1], &Issuer::new(root, &keys[0])).unwrap().pem();
    let by_first = other.signed_by(&keys[2], &Issuer::new(first, &keys[1])).unwrap().pem();
    let leaf = params("leaf", false, 2043);
    let leaf = leaf.signed_by(&keys[3], &Issuer::new(other, &keys[2])).unwrap().pem();
    Chain { root: pem, between: [by_root, by_first], leaf, key: keys[3].serialize_pem() }
}

fn secret(chain: &Chain, served: &[&str], trusted: &str) -> Data {
    data([("tls.crt", served.concat()), ("tls.key", chain.key.clone()), ("ca.crt", trusted.to_owned())])
}

#[test]
fn a_chain_leads_to_the_authority_and_ends_when_the_first_of_it_does() {
    let chain = chain(true);
    let [first, second] = &chain.between;
    let read = read_leaf(&secret(&chain, &[&chain.leaf, second, first], &chain.root)).unwrap();
    let root = data([("tls.crt", chain.root.clone())]);
    assert_eq!(read.authority, Fingerprint::of(&certificates(&root, CERTIFICATE).unwrap()[0]));
    assert_eq!(read.trusted, [read.authority.clone()].into());
    assert_eq!(read.not_after, "2041-01-01T00:00:00Z".parse().unwrap(), "the second ends before the leaf");
    let shorter = read_leaf(&secret(&chain, &[&chain.leaf, second], first)).unwrap();
    assert_ne!(shorter.authority, read.authority, "a trusted intermediate ends the chain");
    let alone = read_leaf(&secret(&chain, &[&chain.leaf], second)).unwrap();
    assert_eq!(
        alone.not_after,
        "2043-01-01T00:00:00Z".parse().unwrap(),
        "a trusted CA is not part of the chain"
    );
}

#[test]
fn a_chain_with_a_gap_out_of_order_or_through_one_that_may_not_sign_is_refused_with_the_way_out() {
    let good = chain(true);
    let [first, second] = &good.between;
    let bad = chain(false);
    let through = secret(&bad, &[&bad.leaf, &bad.between[1], &bad.between[0]], &bad.root);
    for refused in [
        secret(&good, &[&good.leaf], &good.root),
        secret(&good, &[&good.leaf, first], &good.root),
        secret(&good, &[&good.leaf, second], &good.root),
        secret(&good, &[&good.leaf, first, second], &good.root),
        secret(&good, &[&good.leaf, second, first], &bad.root),
        through,
    ] {
        let why = read_leaf(&refused).unwrap_err().to_string();
        assert!(why.contains("append them to tls.crt, in order"), "{why}: {}", text(&refused, "ca.crt"));
    }
}
