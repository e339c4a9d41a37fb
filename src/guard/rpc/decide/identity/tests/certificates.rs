use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyUsagePurpose, NameConstraints, SanType, date_time_ymd,
};

use super::*;

/// A CA, and the certificates that it signs.
pub(super) struct Ca {
    der: CertificateDer<'static>,
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_after = date_time_ymd(2040, 1, 1);
    params
}

impl Ca {
    pub(super) fn root(name: &str) -> Self {
        Self::of(authority(name))
    }

    fn of(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        Self { der: cert.der().clone(), pem: cert.pem(), issuer: Issuer::new(params, key) }
    }

    fn below(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Self { der: cert.der().clone(), pem: cert.pem(), issuer: Issuer::new(params, key) }
    }

    fn sign(&self, params: CertificateParams) -> CertificateDer<'static> {
        params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap().der().clone()
    }
}

/// Parameters of a client certificate with these names, valid from 2020 to 2030.
fn client(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for name in names {
        let text = |text: &str| Ia5String::try_from(text).unwrap();
        match name.split_once(':').unwrap() {
            ("dns", name) => params.subject_alt_names.push(SanType::DnsName(text(name))),
            ("uri", name) => params.subject_alt_names.push(SanType::URI(text(name))),
            ("mail", name) => params.subject_alt_names.push(SanType::Rfc822Name(text(name))),
            (_, name) => params.distinguished_name.push(DnType::CommonName, name),
        }
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2030, 1, 1));
    params
}

const END_OF_2029: u64 = 1_893_456_000;

fn at(second: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(second))
}

fn known_by(callers: &[(&str, &[&str])]) -> Identities {
    let mut policy = policy();
    for (index, (authority, subjects)) in callers.iter().enumerate() {
        let subjects = subjects.iter().map(|subject| (*subject).into()).collect();
        let identity = Identity::ClientCertificate { authority: (*authority).into(), subjects };
        policy.callers.push(caller(&format!("bank{index}"), identity));
    }
    Identities::of(&policy).unwrap()
}

fn reason(identities: &Identities, chain: &[CertificateDer<'_>]) -> &'static str {
    identities.of_certificates(chain, at(NOW)).map_or_else(|denied| denied.reason(), |_| "known")
}

#[test]
fn a_name_is_one_kind_of_name_and_no_other() {
    let ca = Ca::root("acme");
    for (subject, names, is_known) in [
        ("dns:bank.example", &["dns:bank.example"][..], true),
        ("dns:bank.example", &["dns:x.example", "dns:bank.example", "cn:x"], true),
        ("dns:bank.example", &["cn:bank.example"], false),
        ("dns:bank.example", &["uri:bank.example"], false),
        ("dns:bank.example", &["mail:bank.example"], false),
        ("dns:bank.example", &["dns:Bank.example"], false),
        ("dns:bank.example", &["dns:*.example"], false),
        ("dns:bank.example", &["dns:bank.example.evil.example"], false),
        ("dns:bank.example", &["dns:a,dns:bank.example"], false),
        ("dns:*.example", &["dns:bank.example"], false),
        ("uri:spiffe://acme/bank", &["uri:spiffe://acme/bank"], true),
        ("uri:spiffe://acme/bank", &["dns:spiffe://acme/bank"], false),
        ("uri:spiffe://acme/bank", &["uri:spiffe://acme/bank/"], false),
        ("cn:bank", &["cn:bank"], true),
        ("cn:bank", &["cn:bank", "dns:x.example"], true),
        ("cn:bank", &["dns:bank"], false),
        ("cn:bank", &["cn:bank "], false),
        ("cn:bank", &["dns:x.example"], false),
    ] {
        let identities = known_by(&[(&ca.pem, &[subject])]);
        let wanted = if is_known { "known" } else { "no_caller" };
        assert_eq!(reason(&identities, &[ca.sign(client(names))]), wanted, "{subject} of {names:?}");
    }
}

#[test]
fn of_two_common_names_neither_is_the_name() {
    let ca = Ca::root("acme");
    let identities = known_by(&[(&ca.pem, &["cn:bank", "cn:other"])]);
    let mut params = client(&["cn:bank"]);
    // rcgen stores one value per type; the same type given by its number counts as another
    params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "other");
    let twice = ca.sign(params);
    let (_, parsed) = x509_parser::parse_x509_certificate(&twice).unwrap();
    assert_eq!(parsed.subject().iter_common_name().count(), 2);
    assert_eq!(reason(&identities, std::slice::from_ref(&twice)), "no_caller");
}

#[test]
fn names_that_cannot_be_read_make_all_of_them_doubtful() {
    let ca = Ca::root("acme");
    let identities = known_by(&[(&ca.pem, &["dns:bank.example", "cn:bank"])]);
    let bank = [&[0x82, 12][..], b"bank.example"].concat();
    let with = |more: &[u8]| {
        let names = [&[0x30, (bank.len() + more.len()) as u8][..], &bank, more].concat();
        let mut params = client(&["cn:bank"]);
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], names));
        params
    };
    for (params, wanted) in [
        (with(&[]), "known"),
        (with(&[0x82, 1, 0xff]), "certificate_untrusted"),
        (with(&[0x86, 2, 0xc3, 0x28]), "certificate_untrusted"),
    ] {
        assert_eq!(reason(&identities, &[ca.sign(params)]), wanted);
    }
    let mut twice = with(&[]);
    twice.subject_alt_names = client(&["dns:x.example"]).subject_alt_names;
    assert_eq!(reason(&identities, &[ca.sign(twice)]), "certificate_untrusted", "two lists of names");
}

#[test]
fn a_certificate_is_told_by_the_name_that_the_policy_names_and_its_serial_number() {
    let ca = Ca::root("acme");
    let identities = known_by(&[(&ca.pem, &["dns:bank.example", "cn:till"])]);
    let mut params = client(&["cn:bank", "dns:bank.example", "uri:spiffe://acme/bank"]);
    params.serial_number = Some(vec![0x0a, 0xbc, 0x01].into());
    let known = identities.of_certificates(&[ca.sign(params)], at(NOW)).unwrap();
    assert_eq!(&*known.who, r#","subject":"dns:bank.example","serial":"0abc01""#);
}

/// The handshake accepts certificates of any caller's CA; this check separates the callers.
#[test]
fn an_authority_vouches_for_its_own_caller_only() {
    let (one, two) = (Ca::root("acme"), Ca::root("acme"));
    let identities = known_by(&[(&one.pem, &["cn:bank"]), (&two.pem, &["cn:shop"])]);
    let leaf = |ca: &Ca, name: &str| [ca.sign(client(&[name]))];
    let known = |chain: &[CertificateDer<'_>]| identities.of_certificates(chain, at(NOW));
    assert_eq!(
        known(&leaf(&one, "cn:bank")).map(|known| (known.caller, known.until)),
        Ok((3, END_OF_2029 + 1))
    );
    assert_eq!(known(&leaf(&two, "cn:shop")).map(|known| known.caller), Ok(4));
    assert_eq!(known(&leaf(&two, "cn:bank")), Err(Denied::Stranger));
    assert_eq!(known(&leaf(&one, "cn:shop")), Err(Denied::Stranger));
    assert_eq!(known(&leaf(&Ca::root("acme"), "cn:bank")), Err(Denied::Untrusted));
    assert_eq!(known(&[]), Err(Denied::Nothing));
    assert_eq!(known(&[CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])]), Err(Denied::Untrusted));
    assert_eq!(reason(&super::identities(), &leaf(&one, "cn:bank")), "certificate_untrusted");
    let both = format!("{}{}", one.pem, two.pem);
    let identities = known_by(&[(&both, &["cn:bank"])]);
    assert_eq!(reason(&identities, &leaf(&two, "cn:bank")), "known", "the second of a bundle");
}

/// As docs/network.md says: a name constraint of a CA applies only to its own kind of name.
#[test]
fn a_constraint_of_an_authority_binds_names_of_its_own_kind_alone() {
    let root = Ca::root("acme");
    let permits = |subtree: GeneralSubtree| {
        let mut params = authority("partner");
        let permitted_subtrees = vec![subtree];
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
        root.below(params)
    };
    let dns = permits(GeneralSubtree::DnsName("partner.example".into()));
    let directory = permits(GeneralSubtree::DirectoryName(DistinguishedName::new()));
    // a sequence of permitted subtrees with one URI
    let uri = [&[0x30, 0x15, 0xa0, 0x13, 0x30, 0x11, 0x86, 0x0f][..], b"partner.example"].concat();
    let mut params = authority("partner");
    params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 30], uri));
    let uri = root.below(params);
    for (by, names, subject, wanted) in [
        (&dns, &["dns:till.partner.example"][..], "dns:till.partner.example", "known"),
        (&dns, &["dns:bank.example"], "dns:bank.example", "certificate_untrusted"),
        (&dns, &["dns:bank.example", "cn:bank"], "cn:bank", "certificate_untrusted"),
        (&dns, &["cn:bank"], "cn:bank", "known"),
        (&dns, &["uri:spiffe://acme/bank"], "uri:spiffe://acme/bank", "known"),
        (&uri, &["uri:spiffe://acme/bank"], "uri:spiffe://acme/bank", "certificate_untrusted"),
        (&uri, &["uri:https://partner.example/"], "uri:https://partner.example/", "certificate_untrusted"),
        (&uri, &["dns:bank.example"], "dns:bank.example", "known"),
        (&directory, &["cn:bank"], "cn:bank", "certificate_untrusted"),
        (&directory, &["dns:bank.example"], "dns:bank.example", "certificate_untrusted"),
    ] {
        let identities = known_by(&[(&root.pem, &[subject])]);
        let chain = [by.sign(client(names)), by.der.clone()];
        assert_eq!(reason(&identities, &chain), wanted, "{names:?}");
    }
}

#[test]
fn a_certificate_is_for_clients_and_no_authority() {
    let ca = Ca::root("acme");
    let identities = known_by(&[(&ca.pem, &["cn:bank", "cn:acme"])]);
    let with = |change: fn(&mut CertificateParams)| {
        let mut params = client(&["cn:bank"]);
        change(&mut params);
        reason(&identities, &[ca.sign(params)])
    };
    assert_eq!(with(|_| {}), "known");
    assert_eq!(
        with(|params| params.extended_key_usages.clear()),
        "known",
        "without usages it is for any purpose"
    );
    let other = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]
    };
    assert_eq!(with(other), "certificate_untrusted");
    assert_eq!(
        with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        "certificate_untrusted"
    );
    assert_eq!(reason(&identities, std::slice::from_ref(&ca.der)), "certificate_untrusted", "the CA itself");
    // a client's certificate cannot sign others
    let client_as_ca = ca.below(client(&["cn:bank"]));
    let chain = [client_as_ca.sign(client(&["cn:bank"])), client_as_ca.der.clone()];
    assert_eq!(reason(&identities, &chain), "certificate_untrusted");
}

#[test]
fn it_counts_from_its_first_second_to_its_last_and_no_longer_than_what_vouches_for_it() {
    let root = Ca::root("acme");
    let mut between = authority("between");
    between.not_after = date_time_ymd(2028, 1, 1);
    let between = root.below(between);
    let end_of_2027 = 1_830_297_600;
    let identities = known_by(&[(&root.pem, &["cn:bank"])]);
    let direct = [root.sign(client(&["cn:bank"]))];
    let chain = [between.sign(client(&["cn:bank"])), between.der.clone()];
    let begin = 1_577_836_800;
    for (chain, second, wanted) in [
        (&direct[..], begin - 1, Err(Denied::Outdated)),
        (&direct, begin, Ok(END_OF_2029 + 1)),
        (&direct, END_OF_2029, Ok(END_OF_2029 + 1)),
        (&direct, END_OF_2029 + 1, Err(Denied::Outdated)),
        (&chain, NOW, Ok(end_of_2027 + 1)),
        (&chain, end_of_2027 + 1, Err(Denied::Outdated)),
        (&chain[..1], NOW, Err(Denied::Untrusted)),
    ] {
        let known = identities.of_certificates(chain, at(second)).map(|known| known.until);
        assert_eq!(known, wanted, "at {second}");
    }
    let mut old = authority("old");
    (old.not_before, old.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
    let with_old = [direct[0].clone(), Ca::of(old).der];
    let known = identities.of_certificates(&with_old, at(NOW)).map(|known| known.until);
    assert_eq!(known, Ok(END_OF_2029 + 1), "a superfluous certificate may have expired");
    let mut short = authority("short");
    short.not_after = date_time_ymd(2028, 1, 1);
    let short = Ca::of(short);
    let identities = known_by(&[(&short.pem, &["cn:bank"])]);
    let leaf = [short.sign(client(&["cn:bank"]))];
    assert_eq!(identities.of_certificates(&leaf, at(NOW)).map(|known| known.until), Ok(end_of_2027 + 1));
    assert_eq!(identities.of_certificates(&leaf, at(end_of_2027 + 1)), Err(Denied::Outdated));
}

#[test]
fn an_authority_may_be_older_than_the_clock() {
    let mut params = authority("acme");
    params.not_before = date_time_ymd(1960, 1, 1);
    let old = Ca::of(params);
    let identities = known_by(&[(&old.pem, &["cn:bank"])]);
    assert_eq!(reason(&identities, &[old.sign(client(&["cn:bank"]))]), "known");
}

#[test]
fn the_handshake_asks_where_somebody_has_a_certificate_and_names_no_authority() {
    assert!(super::identities().client_verifier().unwrap().is_none());
    let (one, two) = (Ca::root("acme"), Ca::root("bank"));
    let identities = known_by(&[(&one.pem, &["cn:bank"]), (&two.pem, &["cn:shop"])]);
    let verifier = identities.client_verifier().unwrap().unwrap();
    assert!(verifier.offer_client_auth() && !verifier.client_auth_mandatory());
    assert!(verifier.root_hint_subjects().is_empty());
    for ca in [&one, &two] {
        assert!(verifier.verify_client_cert(&ca.sign(client(&["cn:x"])), &[], at(NOW)).is_ok());
    }
    assert!(verifier.verify_client_cert(&Ca::root("acme").sign(client(&["cn:x"])), &[], at(NOW)).is_err());
}
