//! Tests of served certificates that differ from the Secrets.

use k8s_openapi::jiff::SignedDuration;

use super::*;
use crate::model::{names::Purpose, secrets::tls::Fingerprint};

/// A member with two probed ports that serve the certificates of their Secrets, which were written a while ago.
fn looked_at() -> Observed {
    let mut observed = in_order(member());
    let held = |purpose| {
        let facts = observed.certificates[&purpose].as_ref().expect("a certificate");
        (purpose, facts.fingerprint.clone())
    };
    observed.served = Some([Purpose::Metrics, Purpose::ManagerPeers].map(held).into());
    observed
}

fn shows(observed: &mut Observed, purpose: Purpose, other: &str) {
    observed.served.get_or_insert_default().insert(purpose, Fingerprint::of(other.as_bytes()));
}

fn made(observed: &mut Observed, purpose: Purpose, ago: SignedDuration) {
    let facts = observed.certificates.get_mut(&purpose).expect("one").as_mut().expect("readable");
    facts.not_before = now() - crate::model::secrets::generate::EARLIER - ago;
}

fn certificates(status: &QuorumNodeStatus) -> (&str, &str, &str) {
    let found = status.conditions.iter().find(|one| one.type_ == "CertificatesReady").expect("always there");
    (&found.status, &found.reason, &found.message)
}

#[test]
fn what_is_served_and_is_not_what_the_secret_holds_is_named_after_a_grace() {
    let mut observed = looked_at();
    assert_eq!(certificates(&report(&observed)).1, "Issued");
    shows(&mut observed, Purpose::ManagerPeers, "another");
    made(&mut observed, Purpose::ManagerPeers, SignedDuration::from_secs(599));
    let node = validate::validate(&observed).expect("no fault");
    assert_eq!(certificates(&report(&observed)).1, "Issued", "kubelets have not brought it yet");
    assert_eq!(next_alarm(&node, &observed, now()), Some(later(1)));
    made(&mut observed, Purpose::ManagerPeers, SignedDuration::from_secs(600));
    let status = report(&observed);
    let (is, reason, message) = certificates(&status);
    assert_eq!((is, reason), ("False", "ServedCertificateMismatch"));
    for named in ["tm-peers (the transaction manager at port 9000)", "qn-bob-tls-tm-peers"] {
        assert!(message.contains(named), "{named}: {message}");
    }
    assert!(!message.contains("metrics ("), "{message}");
    assert_eq!(ready(&status).reason, "ServedCertificateMismatch");
    assert_eq!(next_alarm(&node, &observed, now()), None, "it is told");
    assert_eq!(seen_served(&observed), [(Purpose::Metrics, true), (Purpose::ManagerPeers, false)].into());
}

#[test]
fn a_secret_that_was_written_a_moment_ago_has_its_grace_whenever_its_certificate_was_made() {
    let mut observed = looked_at();
    shows(&mut observed, Purpose::Metrics, "another");
    made(&mut observed, Purpose::Metrics, samples::hours(30));
    observed.written.insert(Purpose::Metrics, now() - SignedDuration::from_secs(599));
    assert_eq!(certificates(&report(&observed)).1, "Issued");
    observed.written.insert(Purpose::Metrics, now() - SignedDuration::from_secs(600));
    assert_eq!(certificates(&report(&observed)).1, "ServedCertificateMismatch");
}

#[test]
fn a_port_that_was_not_reached_is_no_alarm_and_what_differed_does_until_it_is_seen_not_to() {
    let mut observed = looked_at();
    made(&mut observed, Purpose::Metrics, samples::hours(1));
    shows(&mut observed, Purpose::Metrics, "another");
    let alarm = report(&observed);
    assert_eq!(certificates(&alarm).1, "ServedCertificateMismatch");
    let after = |change: &dyn Fn(&mut Observed), before: &QuorumNodeStatus| {
        let mut observed = looked_at();
        change(&mut observed);
        again(before, observed, later(60))
    };
    let unwatchable = |observed: &mut Observed| {
        drop(observed.served.as_mut().map(|served| served.remove(&Purpose::Metrics)))
    };
    let calm = report(&looked_at());
    assert_eq!(certificates(&after(&unwatchable, &calm)).1, "Issued", "not reached");
    assert_eq!(certificates(&after(&unwatchable, &alarm)), certificates(&alarm), "not looked at again");
    assert_eq!(certificates(&after(&|_| {}, &alarm)).1, "Issued", "seen");
    let other_unseen = |observed: &mut Observed| {
        drop(observed.served.as_mut().map(|served| served.remove(&Purpose::ManagerPeers)))
    };
    assert_eq!(certificates(&after(&other_unseen, &alarm)).1, "Issued", "it was never said to differ");
    let gone = |observed: &mut Observed| {
        unwatchable(observed);
        observed.pods.remove(&Component::Client);
    };
    assert_eq!(certificates(&after(&gone, &alarm)).1, "Issued", "nothing is served");
    assert_eq!(
        certificates(&after(&|observed| observed.served = None, &alarm)).1,
        "Issued",
        "the operator does not probe"
    );
}
