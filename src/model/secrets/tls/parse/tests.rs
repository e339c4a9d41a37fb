use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize, SanType,
};

use super::{
    super::{
        super::{generate, samples},
        LeafRequest,
    },
    *,
};
use samples::{authority, data, fault, now, put, request, signed, text};

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn leaf(by: &Data) -> Data {
    generate::leaf(by, &request(), now()).unwrap()
}

fn authority_fault(data: &Data) -> String {
    fault(read_authority, data)
}

fn leaf_fault(data: &Data) -> String {
    fault(read_leaf, data)
}

/// A self-signed CA with changed parameters.
fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Data {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, "chains 7");
    change(&mut params);
    let key = key();
    data([("tls.crt", params.self_signed(&key).unwrap().pem()), ("tls.key", key.serialize_pem())])
}

/// The same bytes under another PEM label.
fn labelled(data: &Data, key: &str, label: &str) -> String {
    text(data, key).replace("PRIVATE KEY", label).replace("CERTIFICATE", label)
}

#[test]
fn an_authority_is_read_without_its_private_key() {
    let data = self_signed(|params| params.not_after = rcgen::date_time_ymd(2044, 5, 6));
    let facts = read_authority(&data).unwrap();
    assert_eq!(facts.subject, "CN=chains 7");
    assert_eq!(facts.not_after, "2044-05-06T00:00:00Z".parse().unwrap());
    assert_eq!(facts.certificate_pem, text(&data, "tls.crt").replace("\r\n", "\n"));
    assert_eq!(facts.fingerprint.to_string().len(), 64);
}

#[test]
fn what_stands_around_a_certificate_is_not_carried_on() {
    let mut data = authority();
    let clean = text(&data, "tls.crt").to_owned();
    put(&mut data, "tls.crt", format!("top secret\n{clean}MIGHAgEAMBMGByqGSM49\n"));
    assert_eq!(read_authority(&data).unwrap().certificate_pem, clean);
}

#[test]
fn a_broken_or_absent_certificate_is_refused() {
    let whole = authority();
    let mut data = whole.clone();
    data.remove("tls.crt");
    assert!(authority_fault(&data).starts_with("tls.crt is missing"));
    let pem = text(&whole, "tls.crt");
    let der = pem.lines().nth(3).unwrap();
    for (broken, why) in [
        (String::new(), "is empty"),
        ("no PEM at all, but words".into(), "must be PEM"),
        (pem.replace("-----END", "-----STOP"), "must be PEM"),
        (pem.replace(der, "~~~~"), "must be PEM"),
        (labelled(&whole, "tls.crt", "TRUSTED CERTIFICATE"), "must be PEM"),
        (format!("{pem}{}", text(&whole, "tls.key")), "must be PEM with CERTIFICATE blocks and no others"),
        (pem.replace(der, ""), "is not an X.509 certificate"),
        (format!("{pem}{pem}"), "has several certificates"),
    ] {
        put(&mut data, "tls.crt", broken);
        let message = authority_fault(&data);
        assert!(message.starts_with(&format!("tls.crt {why}")), "{message}");
    }
}

#[test]
fn a_certificate_with_bytes_after_its_end_is_refused() {
    let mut data = authority();
    let mut der = blocks(&data["tls.crt"].0).unwrap().remove(0).contents;
    der.push(0);
    put(&mut data, "tls.crt", pem(&der));
    assert!(authority_fault(&data).starts_with("tls.crt is not an X.509 certificate"));
}

#[test]
fn an_authority_that_may_not_sign_is_refused() {
    for data in [
        self_signed(|params| params.is_ca = IsCa::NoCa),
        self_signed(|params| params.is_ca = IsCa::ExplicitNoCa),
        self_signed(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]),
        self_signed(|params| params.key_usages.clear()),
    ] {
        assert!(authority_fault(&data).starts_with("tls.crt is not a CA certificate"));
    }
}

#[test]
fn an_authority_that_another_one_signed_is_refused_even_under_its_name() {
    let root = authority();
    let below = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    };
    let data = signed(&root, &key(), below);
    assert!(authority_fault(&data).starts_with("tls.crt is not signed with its own key"));
    let name = read_authority(&root).unwrap().subject.replace("CN=", "");
    let data = signed(&root, &key(), |params| {
        below(params);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
    });
    assert!(authority_fault(&data).starts_with("tls.crt is not signed with its own key"));
}

#[test]
fn a_private_key_that_is_absent_or_of_another_is_refused() {
    for (read, whole, other) in [
        (authority_fault as fn(&Data) -> String, authority(), authority()),
        (leaf_fault, leaf(&authority()), leaf(&authority())),
    ] {
        let mut data = whole.clone();
        data.remove("tls.key");
        assert!(read(&data).starts_with("tls.key is missing"));
        data.insert("tls.key".into(), other["tls.key"].clone());
        assert!(read(&data).starts_with("tls.key is not the key of tls.crt"));
    }
}

#[test]
fn a_private_key_in_another_form_than_pkcs8_is_refused() {
    let whole = leaf(&authority());
    let block = text(&whole, "tls.key").to_owned();
    let mut data = whole.clone();
    for (wrong, why) in [
        (labelled(&whole, "tls.key", "EC PRIVATE KEY"), "must be an unencrypted PKCS#8 key"),
        (labelled(&whole, "tls.key", "ENCRYPTED PRIVATE KEY"), "must be an unencrypted PKCS#8 key"),
        (text(&whole, "tls.crt").replace("CERTIFICATE", "PRIVATE KEY"), "must be an unencrypted PKCS#8 key"),
        (format!("{block}{block}"), "must be PEM with one PRIVATE KEY block"),
        ("not a key at all".into(), "must be PEM with one PRIVATE KEY block"),
        (block.replace("-----END", "-----STOP"), "must be PEM with one PRIVATE KEY block"),
    ] {
        put(&mut data, "tls.key", wrong);
        let message = leaf_fault(&data);
        assert!(message.starts_with(&format!("tls.key {why}")), "{message}");
    }
}

/// PKCS#1 and SEC 1 keys, the formats that PKCS#8 wraps.
#[test]
fn the_content_of_a_private_key_counts_and_not_its_label() {
    let authority = authority();
    for (key, wrapping) in [
        (KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap(), 26),
        (KeyPair::generate().unwrap(), 29),
    ] {
        let mut data = signed(&authority, &key, |_| ());
        assert!(read_leaf(&data).is_ok());
        let inner = &key.serialized_der()[wrapping..];
        assert_eq!(inner[0], 0x30, "a sequence begins there");
        put(&mut data, "tls.key", pem(inner).replace("CERTIFICATE", "PRIVATE KEY"));
        assert!(leaf_fault(&data).starts_with("tls.key must be an unencrypted PKCS#8 key"));
    }
}

#[test]
fn the_der_form_must_be_the_same_key() {
    let request = LeafRequest { pkcs8_der: true, ..request() };
    let whole = generate::leaf(&authority(), &request, now()).unwrap();
    assert!(read_leaf(&whole).unwrap().has_pkcs8_der);
    let mut data = whole.clone();
    for wrong in [key().serialize_der(), b"not a key at all".to_vec(), Vec::new(), whole["tls.key"].0.clone()]
    {
        put(&mut data, "tls.pk8", wrong);
        assert!(leaf_fault(&data).starts_with("tls.pk8 is not the key of tls.key"));
    }
}

#[test]
fn a_certificate_that_may_sign_others_is_no_leaf() {
    let data =
        signed(&authority(), &key(), |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    assert!(leaf_fault(&data).starts_with("tls.crt is a CA certificate"));
}

#[test]
fn keys_of_other_kinds_are_refused() {
    let authority = authority();
    for key in [
        KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
        KeyPair::generate_for(&PKCS_ED25519).unwrap(),
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072).unwrap(),
    ] {
        let message = leaf_fault(&signed(&authority, &key, |_| ()));
        assert!(message.starts_with("tls.crt has a key that is neither EC P-256 nor RSA 2048"), "{message}");
    }
}

#[test]
fn a_leaf_of_somebody_else_is_read_with_its_address() {
    let authority = authority();
    let data = signed(&authority, &key(), |params| {
        params.subject_alt_names.push(SanType::IpAddress("10.9.8.7".parse().unwrap()));
        params.subject_alt_names.push(SanType::IpAddress("fd00::7".parse().unwrap()));
        params.distinguished_name = rcgen::DistinguishedName::new();
    });
    let facts = read_leaf(&data).unwrap();
    assert_eq!(facts.dns_names, ["n7.example", "10.9.8.7", "fd00::7"]);
    assert_eq!((facts.common_name.as_str(), facts.usage), ("", Usage::Client));
    assert_eq!(facts.authority, read_authority(&authority).unwrap().fingerprint);
}

#[test]
fn extended_key_usages_are_server_client_or_both_and_nothing_more() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, OcspSigning, Other, ServerAuth};
    let (authority, key) = (authority(), key());
    let with = |usages| signed(&authority, &key, |params| params.extended_key_usages = usages);
    assert_eq!(read_leaf(&with(vec![ServerAuth])).unwrap().usage, Usage::Server);
    assert_eq!(read_leaf(&with(vec![ClientAuth, ServerAuth])).unwrap().usage, Usage::Both);
    for wrong in [
        vec![],
        vec![Any],
        vec![CodeSigning],
        vec![ServerAuth, Any],
        vec![ServerAuth, OcspSigning],
        vec![ClientAuth, Other(vec![1, 3, 6, 1, 4, 1, 7])],
    ] {
        let message = leaf_fault(&with(wrong));
        assert!(message.starts_with("tls.crt must have the extended key usage"), "{message}");
    }
}

#[test]
fn names_of_other_kinds_are_refused() {
    for name in [
        SanType::Rfc822Name("someone@n7.example".try_into().unwrap()),
        SanType::URI("spiffe://n7.example/tm".try_into().unwrap()),
    ] {
        let data = signed(&authority(), &key(), |params| params.subject_alt_names.push(name));
        assert!(leaf_fault(&data).starts_with("tls.crt has subject alternative names other than"));
    }
}

#[test]
fn alternative_names_that_cannot_be_read_are_refused() {
    let twice = signed(&authority(), &key(), |params| {
        let again = CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 0x03, 0x82, 0x01, b'x']);
        params.custom_extensions.push(again);
    });
    assert!(leaf_fault(&twice).starts_with("tls.crt has invalid subject alternative names"));
}

#[test]
fn a_second_common_name_is_refused() {
    let data = signed(&authority(), &key(), |params| {
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "admin");
    });
    assert!(leaf_fault(&data).starts_with("tls.crt has several common names"));
}

#[test]
fn the_authority_is_the_one_that_signed_whatever_its_name() {
    let twin = || self_signed(|_| ());
    let (ours, twin) = (twin(), twin());
    let mut data = leaf(&ours);
    data.insert("ca.crt".into(), twin["tls.crt"].clone());
    assert!(leaf_fault(&data).starts_with("tls.crt is not signed by a CA in ca.crt"));
    put(&mut data, "ca.crt", format!("{}{}", text(&twin, "tls.crt"), text(&ours, "tls.crt")));
    assert_eq!(read_leaf(&data).unwrap().authority, read_authority(&ours).unwrap().fingerprint);
}

#[test]
fn an_absent_or_broken_ca_crt_is_refused() {
    let mut data = leaf(&authority());
    put(&mut data, "ca.crt", "no PEM at all");
    assert!(leaf_fault(&data).starts_with("ca.crt must be PEM"));
    data.remove("ca.crt");
    assert!(leaf_fault(&data).starts_with("ca.crt is missing"));
}

#[test]
fn what_may_not_sign_is_no_authority_though_it_signed() {
    let ours = authority();
    let key = key();
    let intermediate = signed(&ours, &key, |params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "between");
    });
    let data = signed(&intermediate, &KeyPair::generate().unwrap(), |_| ());
    assert!(leaf_fault(&data).starts_with("tls.crt is not signed by a CA in ca.crt"));
}

#[test]
fn a_certificate_changed_after_signing_is_refused() {
    let mut data = leaf(&authority());
    let mut der = blocks(&data["tls.crt"].0).unwrap().remove(0).contents;
    let name = der.windows(5).position(|window| window == b"n7-tm").unwrap();
    der[name + 1] = b'8';
    put(&mut data, "tls.crt", pem(&der));
    assert!(leaf_fault(&data).starts_with("tls.crt is not signed by a CA in ca.crt"));
}

#[test]
fn of_a_chain_the_first_certificate_is_the_leaf() {
    let ours = authority();
    let mut data = leaf(&ours);
    let alone = read_leaf(&data).unwrap();
    let chain = format!("{}{}", text(&data, "tls.crt"), text(&ours, "tls.crt"));
    put(&mut data, "tls.crt", chain);
    assert_eq!(read_leaf(&data).unwrap(), alone);
}

#[test]
fn a_fingerprint_is_the_digest_of_the_whole_certificate() {
    let ours = authority();
    let of = |data: &Data| {
        let digest = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            &blocks(&data["tls.crt"].0).unwrap()[0].contents,
        );
        crate::model::secrets::hex(digest.as_ref())
    };
    assert_eq!(read_authority(&ours).unwrap().fingerprint.to_string(), of(&ours));
    let data = leaf(&ours);
    assert_eq!(read_leaf(&data).unwrap().fingerprint.to_string(), of(&data));
}

#[test]
fn a_bundle_holds_authorities_and_nothing_else() {
    let (one, two) = (authority(), authority());
    let (one_pem, two_pem) = (text(&one, "tls.crt"), text(&two, "tls.crt"));
    let both = read_bundle(format!("# ours\n{one_pem}\n# theirs\n{two_pem}").as_bytes()).unwrap();
    assert_eq!(
        read_bundle(format!("{two_pem}{one_pem}{two_pem}").as_bytes()),
        Ok(both.clone()),
        "the same are trusted"
    );
    assert_ne!(read_bundle(one_pem.as_bytes()), Ok(both), "one was taken out");
    let leaf = leaf(&one);
    let der = one_pem.lines().nth(3).unwrap();
    for (wrong, why) in [
        (String::new(), "the bundle has no certificate"),
        ("words".into(), "the bundle has no certificate"),
        (one_pem.replace("-----END", "-----STOP"), "the bundle is broken PEM"),
        (format!("{one_pem}{}", text(&two, "tls.key")), "PEM block 2 of the bundle is not a CERTIFICATE"),
        (one_pem.replace(der, ""), "certificate 1 of the bundle cannot be read"),
        (
            format!("{one_pem}{}", text(&leaf, "tls.crt")),
            "certificate 2 of the bundle is not a CA certificate",
        ),
    ] {
        let message = read_bundle(wrong.as_bytes()).unwrap_err();
        assert!(message.starts_with(why), "{message}");
    }
}

/// The guard rejects a policy as a whole and keeps using the previous one.
#[test]
fn an_authority_that_tls_could_not_trust_is_told_before_a_guard_sees_it() {
    let sound = self_signed(|_| {});
    let pem = text(&sound, "tls.crt").replace("\r\n", "\n");
    assert_eq!(
        read_authorities(format!("# ours\n{pem}# theirs\n{pem}").as_bytes()),
        Ok(format!("{pem}{pem}"))
    );
    let twice = self_signed(|params| {
        let name = || CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 3, 0x82, 1, 0x61]);
        params.custom_extensions.extend([name(), name()]);
    });
    let early = self_signed(|params| params.not_before = rcgen::date_time_ymd(1969, 5, 6));
    for wrong in [twice, early] {
        let wrong = text(&wrong, "tls.crt");
        assert!(read_bundle(wrong.as_bytes()).is_ok());
        let why = read_authorities(format!("{pem}{wrong}").as_bytes()).unwrap_err();
        assert!(why.starts_with("certificate 2 of the bundle cannot be a TLS trust anchor"), "{why}");
    }
}
