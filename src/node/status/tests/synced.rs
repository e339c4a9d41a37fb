//! Tests of `Synced`, while the operator cannot read or write.

use super::*;

#[test]
fn what_may_not_be_watched_is_named_and_nothing_is_green_for_it() {
    let mut observed = in_order(member());
    observed.unwatchable = vec!["pods is forbidden".into(), "secrets is forbidden".into()];
    let status = report(&observed);
    let synced = condition(&status, "Synced").expect("told");
    assert_eq!((synced.status.as_str(), synced.reason.as_str()), ("Unknown", "Forbidden"));
    assert!(synced.message.starts_with("pods is forbidden; secrets is forbidden; "), "{}", synced.message);
    assert_eq!((ready(&status).status.as_str(), ready(&status).reason.as_str()), ("False", "Forbidden"));
    assert!(condition(&report(&in_order(member())), "Synced").is_none());
}

#[test]
fn a_node_whose_passes_fail_is_vouched_for_by_nobody() {
    let mut observed = in_order(member());
    let before = report(&observed);
    assert_eq!(ready(&before).status, "True");
    std::sync::Arc::make_mut(&mut observed.node).status = Some(before.clone());
    let status = failed(&observed.node, false, "Apply failed: Service: etcd is away", now());
    assert_eq!(
        (ready(&status).status.as_str(), ready(&status).reason.as_str()),
        ("Unknown", "ReconcileFailed")
    );
    assert_eq!(condition(&status, "Reconciling").map(|found| found.status.as_str()), Some("True"));
    assert_eq!(condition(&status, "ClientAvailable"), condition(&before, "ClientAvailable"));
    assert_eq!(status.identity, before.identity);
    // the same failure again changes nothing, so there is no write
    std::sync::Arc::make_mut(&mut observed.node).status = Some(status.clone());
    let later = now().checked_add(k8s_openapi::jiff::SignedDuration::from_mins(5)).expect("in range");
    assert_eq!(failed(&observed.node, false, "Apply failed: Service: etcd is away", later), status);
}
