use proptest::prelude::*;

use super::{super::*, ca};
use crate::model::secrets::renewal;
use crate::model::secrets::{
    renewal::{Decision, decide},
    samples::{hours, now},
    tls::{Validity, read_authority, read_leaf},
};

fn requests(algorithm: KeyAlgorithm) -> impl Strategy<Value = LeafRequest> {
    let name = "[a-zA-Z]([a-z0-9-]{0,20}[a-z0-9])?(\\.[a-z]{1,9}){0,3}|10\\.[1-9]\\.[1-9]\\.[0-9]";
    let usage = prop_oneof![Just(Usage::Server), Just(Usage::Client), Just(Usage::Both)];
    let validity = (24_i64..8760).prop_flat_map(|duration| (Just(duration), 1..=duration / 2)).prop_map(
        |(duration, renew_before)| Validity { duration: hours(duration), renew_before: hours(renew_before) },
    );
    ("[ -~äß]{1,32}", prop::collection::vec(name, 0..6), usage, validity, any::<bool>()).prop_map(
        move |(common_name, dns_names, usage, validity, pkcs8_der)| LeafRequest {
            common_name,
            dns_names,
            usage,
            algorithm,
            validity,
            pkcs8_der,
        },
    )
}

/// Checks that a new certificate matches its request, so that it stays until its renewal.
fn round_trip(request: &LeafRequest, seed: &str) -> Result<(), TestCaseError> {
    let ca = ca();
    let authority = read_authority(&ca).unwrap();
    let facts = read_leaf(&leaf(&ca, request, now()).unwrap()).unwrap();
    prop_assert_eq!(&facts.common_name, &request.common_name);
    prop_assert_eq!(facts.dns_names.clone(), Vec::from_iter(renewal::names(&request.dns_names)));
    prop_assert_eq!((facts.usage, facts.algorithm), (request.usage, request.algorithm));
    prop_assert_eq!(facts.has_pkcs8_der, request.pkcs8_der);
    prop_assert_eq!(facts.not_after, now() + request.validity.duration);
    prop_assert_eq!(&facts.authority, &authority.fingerprint);
    let decision = decide(request, &tls::Signing::alone(1, &authority), Some(&Ok(facts)), now(), seed);
    prop_assert_eq!(decision, Decision::Keep);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn whatever_is_requested_is_read_back_and_kept(request in requests(KeyAlgorithm::EcdsaP256), seed in ".*") {
        round_trip(&request, &seed)?;
    }
}

proptest! {
    // generating RSA keys is slow
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn with_rsa_too(request in requests(KeyAlgorithm::Rsa2048), seed in ".*") {
        round_trip(&request, &seed)?;
    }
}
