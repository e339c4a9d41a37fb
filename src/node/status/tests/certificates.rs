//! Tests of certificate expiry and the next renewal.

use super::*;
use crate::model::{names::Purpose, secrets::tls};

fn end(observed: &mut Observed, purpose: Purpose, at: Timestamp) {
    observed
        .certificates
        .get_mut(&purpose)
        .and_then(|facts| facts.as_mut().ok())
        .expect("the sample has the certificate")
        .not_after = at;
}

#[test]
fn the_end_of_a_node_is_that_of_its_first_certificate() {
    let mut observed = in_order(member());
    end(&mut observed, Purpose::Probe, now() + samples::hours(30));
    end(&mut observed, Purpose::Database, now() + samples::hours(20));
    end(&mut observed, Purpose::Manager, now() + samples::hours(40));
    let status = report(&observed);
    assert_eq!(status.certificate_expiry, Some(Time(now() + samples::hours(20))));
    let ends: Vec<_> = status.certificates.iter().map(|it| (it.purpose.as_str(), it.not_after.0)).collect();
    let far = now() + samples::hours(2000);
    assert_eq!(
        ends,
        [
            ("metrics", far),
            ("client", far),
            ("tm", now() + samples::hours(40)),
            ("tm-peers", far),
            ("tm-probe", now() + samples::hours(30)),
            ("tm-db-client", far),
            ("tm-db", now() + samples::hours(20)),
        ]
    );
}

#[test]
fn a_certificate_that_is_no_longer_wanted_does_not_count() {
    let mut observed = in_order(smallest());
    let mut forgotten = observed.certificates[&Purpose::Metrics].clone().expect("facts");
    forgotten.not_after = now() - samples::hours(1);
    observed.certificates.insert(Purpose::Manager, Ok(forgotten));
    let status = report(&observed);
    assert_eq!(status.certificate_expiry, Some(Time(now() + samples::hours(2000))));
    assert_eq!(ready(&status).status, "True");
}

#[test]
fn a_certificate_that_cannot_be_read_has_no_end() {
    let mut observed = in_order(smallest());
    observed.certificates.insert(Purpose::Metrics, tls::read_leaf(&Default::default()));
    let status = report(&observed);
    assert!(status.certificates.is_empty() && status.certificate_expiry.is_none());
}

#[test]
fn the_ends_stay_while_a_node_stalls() {
    let before = report(&in_order(smallest()));
    let after = again(&before, stuck(), later(60));
    assert!(after.certificate_expiry.is_some());
    assert_eq!(
        (after.certificate_expiry, after.certificates),
        (before.certificate_expiry, before.certificates)
    );
}

#[test]
fn a_certificate_is_valid_up_to_its_end() {
    let mut observed = in_order(smallest());
    end(&mut observed, Purpose::Metrics, later(1));
    assert_eq!(ready(&report(&observed)).status, "True");
    end(&mut observed, Purpose::Metrics, now());
    assert_eq!(ready(&report(&observed)).reason, "Expired");
}

#[test]
fn the_next_renewal_is_that_of_the_certificate_that_ends_first() {
    let mut observed = in_order(member());
    let node = validate::validate(&observed).expect("no fault");
    let far = next_renewal(&node, &observed, now()).expect("a time");
    end(&mut observed, Purpose::Probe, now() + samples::hours(1000));
    let near = next_renewal(&node, &observed, now()).expect("a time");
    // by default at most 720 hours ahead of expiry, and up to a tenth of that more
    assert!(near < far && near <= now() + samples::hours(1000 - 550) && near >= now(), "{near}");
    // a renewal that is already due does not hide later ones
    end(&mut observed, Purpose::Probe, now() + samples::hours(1));
    assert_eq!(next_renewal(&node, &observed, now()), Some(far));
    observed.certificates.clear();
    assert_eq!(next_renewal(&node, &observed, now()), None);
}

#[test]
fn a_certificate_that_is_no_longer_wanted_is_not_due() {
    let mut observed = in_order(smallest());
    let node = validate::validate(&observed).expect("no fault");
    let due = next_renewal(&node, &observed, now());
    let mut forgotten = observed.certificates[&Purpose::Metrics].clone().expect("facts");
    forgotten.not_after = now() - samples::hours(1);
    observed.certificates.insert(Purpose::Manager, Ok(forgotten));
    assert_eq!(next_renewal(&node, &observed, now()), due);
}
