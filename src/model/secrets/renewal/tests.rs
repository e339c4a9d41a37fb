use proptest::prelude::*;

use super::{super::samples, *};
use samples::{hours, now, request};

const DIGEST: &str = "5f1d7a84db00d2fce00b31a7fc73224976f2e0d6c0b0a5e8a7d0f7c2f0d0e1b3";

fn authority() -> AuthorityFacts {
    AuthorityFacts {
        certificate_pem: String::new(),
        fingerprint: Fingerprint("a1".into()),
        subject: "CN=chains 7".into(),
        not_before: now() - hours(10_000),
        not_after: now() + hours(50_000),
    }
}

/// A certificate that matches the request and was issued 100 hours ago.
fn facts() -> LeafFacts {
    let request = request();
    LeafFacts {
        not_before: now() - hours(100),
        not_after: now() + hours(900),
        common_name: request.common_name,
        dns_names: request.dns_names,
        usage: request.usage,
        algorithm: request.algorithm,
        has_pkcs8_der: request.pkcs8_der,
        fingerprint: Fingerprint(DIGEST.into()),
        authority: authority().fingerprint,
        trusted: [authority().fingerprint].into(),
        others: vec![],
    }
}

fn decided(request: &LeafRequest, facts: LeafFacts) -> Decision {
    decide(request, &Signing::alone(1, &authority()), Some(&Ok(facts)), now(), "uid-7")
}

fn changed(change: impl FnOnce(&mut LeafFacts)) -> Decision {
    let mut facts = facts();
    change(&mut facts);
    decided(&request(), facts)
}

fn renewal(facts: &LeafFacts) -> Timestamp {
    renewal_time(facts, request().validity.renew_before, "uid-7")
}

#[test]
fn a_certificate_that_is_as_requested_is_kept() {
    assert_eq!(changed(|_| ()), Decision::Keep);
}

#[test]
fn a_missing_certificate_is_made() {
    let decision = decide(&request(), &Signing::alone(1, &authority()), None, now(), "uid-7");
    assert_eq!(decision, Decision::Issue(IssueReason::Missing));
}

#[test]
fn an_unusable_certificate_is_made_anew_and_the_reason_says_why() {
    let broken = Err(InvalidContent::new("tls.key", "is upside down"));
    let Decision::Issue(reason) =
        decide(&request(), &Signing::alone(1, &authority()), Some(&broken), now(), "uid-7")
    else {
        panic!("no new certificate");
    };
    assert_eq!(reason, IssueReason::InvalidContent("tls.key is upside down".into()));
    assert!(reason.to_string().ends_with("tls.key is upside down"));
}

#[test]
fn another_authority_is_found_by_its_fingerprint() {
    let decision = changed(|facts| facts.authority = Fingerprint("a2".into()));
    assert_eq!(decision, Decision::Issue(IssueReason::WrongAuthority));
}

#[test]
fn another_common_name_or_a_name_more_or_less_differs() {
    let differs = Decision::Issue(IssueReason::NamesDiffer);
    assert_eq!(changed(|facts| facts.common_name = "n8-tm".into()), differs);
    assert_eq!(changed(|facts| facts.dns_names.push("other.example".into())), differs);
    assert_eq!(changed(|facts| facts.dns_names.truncate(1)), differs);
    assert_eq!(changed(|facts| facts.dns_names.clear()), differs);
}

#[test]
fn neither_order_nor_case_nor_repetition_of_names_differs() {
    assert_eq!(changed(|facts| facts.dns_names.reverse()), Decision::Keep);
    assert_eq!(changed(|facts| facts.dns_names[0].make_ascii_uppercase()), Decision::Keep);
    assert_eq!(changed(|facts| facts.dns_names.push(facts.dns_names[0].clone())), Decision::Keep);
}

#[test]
fn another_usage_differs_and_so_does_one_more() {
    for usage in [Usage::Client, Usage::Both] {
        assert_eq!(changed(|facts| facts.usage = usage), Decision::Issue(IssueReason::UsageDiffers));
    }
}

#[test]
fn another_kind_of_key_differs() {
    let decision = changed(|facts| facts.algorithm = KeyAlgorithm::Rsa2048);
    assert_eq!(decision, Decision::Issue(IssueReason::AlgorithmDiffers));
}

#[test]
fn a_key_in_one_form_too_few_or_too_many_differs() {
    let differs = Decision::Issue(IssueReason::FormatDiffers);
    assert_eq!(changed(|facts| facts.has_pkcs8_der = true), differs);
    assert_eq!(decided(&LeafRequest { pkcs8_der: true, ..request() }, facts()), differs);
}

#[test]
fn a_certificate_is_due_at_its_renewal_time_and_not_a_second_before() {
    let at = |now| decide(&request(), &Signing::alone(1, &authority()), Some(&Ok(facts())), now, "uid-7");
    let due = renewal(&facts());
    assert_eq!(at(due - SignedDuration::from_secs(1)), Decision::Keep);
    assert_eq!(at(due), Decision::Issue(IssueReason::DueForRenewal));
}

#[test]
fn a_certificate_from_the_future_is_unusable_beyond_an_hour() {
    let begins_in = |duration| changed(|facts| facts.not_before = now() + duration);
    assert_eq!(begins_in(hours(1)), Decision::Keep);
    let Decision::Issue(IssueReason::InvalidContent(why)) =
        begins_in(hours(1) + SignedDuration::from_secs(1))
    else {
        panic!("no new certificate");
    };
    assert!(why.starts_with("tls.crt is not valid before 2031-03-07T12:13:18Z"), "{why}");
}

#[test]
fn a_certificate_that_ends_with_its_authority_is_renewed_only_when_it_has_ended() {
    let ending = AuthorityFacts { not_after: facts().not_after, ..authority() };
    let at = |now| decide(&request(), &Signing::alone(1, &ending), Some(&Ok(facts())), now, "uid-7");
    assert_eq!(at(facts().not_after - SignedDuration::from_secs(1)), Decision::Keep);
    assert_eq!(at(facts().not_after), Decision::Issue(IssueReason::DueForRenewal));
}

#[test]
fn the_renewal_is_counted_for_at_most_half_of_the_lifetime() {
    let short = LeafFacts { not_before: now(), not_after: now() + hours(20), ..facts() };
    let due = renewal(&short);
    assert!(due > now() + hours(9) - SignedDuration::from_secs(1) && due <= now() + hours(10), "{due}");
}

#[test]
fn a_renewal_is_never_counted_beyond_the_end() {
    assert_eq!(renewal_time(&facts(), SignedDuration::from_secs(-9), "uid-7"), facts().not_after);
    assert_eq!(renewal_time(&facts(), SignedDuration::ZERO, "uid-7"), facts().not_after);
}

#[test]
fn seeds_and_certificates_spread_the_renewals() {
    let of_seed = |seed: u32| renewal_time(&facts(), hours(300), &format!("uid-{seed}"));
    let seeds: BTreeSet<_> = (0..100).map(of_seed).collect();
    assert!(seeds.len() > 90, "{}", seeds.len());
    let of_certificate =
        |digest: u32| renewal(&LeafFacts { fingerprint: Fingerprint(format!("{digest:064x}")), ..facts() });
    let certificates: BTreeSet<_> = (0..100).map(of_certificate).collect();
    assert!(certificates.len() > 90, "{}", certificates.len());
    assert_eq!(of_seed(7), of_seed(7));
}

#[test]
fn the_draws_reach_both_ends_of_a_small_bound() {
    let draws: BTreeSet<_> =
        (0..200).map(|seed| jitter(5, &format!("{seed}"), &Fingerprint(DIGEST.into()))).collect();
    assert_eq!(draws, BTreeSet::from([0, 1, 2, 3, 4]));
    assert_eq!(jitter(0, "uid-7", &Fingerprint(DIGEST.into())), 0);
}

#[test]
fn reasons_are_told_apart_and_fit_into_a_sentence() {
    let reasons = [
        IssueReason::Missing,
        IssueReason::InvalidContent("x".into()),
        IssueReason::WrongAuthority,
        IssueReason::NamesDiffer,
        IssueReason::UsageDiffers,
        IssueReason::AlgorithmDiffers,
        IssueReason::FormatDiffers,
        IssueReason::DueForRenewal,
        IssueReason::Asked,
    ];
    let texts: BTreeSet<_> = reasons.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), reasons.len());
    assert!(texts.iter().all(|text| !text.ends_with('.') && text.starts_with(|c: char| c.is_lowercase())));
}

proptest! {
    #[test]
    fn a_renewal_is_early_by_less_than_a_tenth_and_never_late(
        seed in ".*", digest in "[0-9a-f]{64}", renew_before in 0_i64..2_000_000,
    ) {
        let facts = LeafFacts { fingerprint: Fingerprint(digest), ..facts() };
        let renewal = renewal_time(&facts, SignedDuration::from_secs(renew_before), &seed);
        // half of the lifetime is 1 800 000 seconds
        let counted = renew_before.min(1_800_000);
        let ahead = facts.not_after.duration_since(renewal).as_secs();
        prop_assert!(ahead >= counted);
        prop_assert!(ahead < counted + (counted / 10).max(1));
    }
}

#[test]
fn a_foreign_certificate_lacks_only_what_its_reader_needs() {
    let lacks = |change: fn(&mut LeafRequest, &mut LeafFacts)| {
        let (mut request, mut facts) = (request(), facts());
        change(&mut request, &mut facts);
        lacking(&request, &facts)
    };
    assert_eq!(lacks(|_, _| {}), None);
    assert_eq!(lacks(|_, facts| facts.common_name = "another".into()), None);
    assert_eq!(lacks(|_, facts| facts.dns_names.push("more.example".into())), None);
    let other = |_: &mut LeafRequest, facts: &mut LeafFacts| facts.dns_names = vec!["more.example".into()];
    assert!(lacks(other).is_some_and(|why| why.starts_with("lacks the names ")));
    for (asked, found) in
        [(Usage::Server, Usage::Both), (Usage::Both, Usage::Client), (Usage::Client, Usage::Both)]
    {
        let (mut request, mut facts) = (request(), facts());
        (request.usage, facts.usage) = (asked, found);
        assert!(lacking(&request, &facts).is_some_and(|why| why.contains("extended key usage")), "{asked:?}");
    }
    use KeyAlgorithm::{EcdsaP256, Rsa2048};
    for (asked, found, enough) in
        [(EcdsaP256, Rsa2048, true), (Rsa2048, EcdsaP256, false), (Rsa2048, Rsa2048, true)]
    {
        let (mut request, mut facts) = (request(), facts());
        (request.algorithm, facts.algorithm) = (asked, found);
        assert_eq!(lacking(&request, &facts).is_none(), enough, "{asked:?} {found:?}");
    }
}
