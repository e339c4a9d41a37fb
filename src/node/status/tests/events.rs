//! Tests of Events: only for changes that a user should know, once each.

use super::*;

/// Conditions that are reported in Events, as `type status reason`.
fn told(before: Option<&QuorumNodeStatus>, after: &QuorumNodeStatus) -> Vec<String> {
    let line = |it: Condition| format!("{} {} {}", it.type_, it.status, it.reason);
    milestones(before, after).into_iter().map(line).collect()
}

fn shared() -> Observed {
    let mut observed = in_order(smallest());
    observed.network_authority = Found::Invalid("tls.crt is empty".into()).into();
    observed
}

#[test]
fn a_node_on_its_way_is_no_news() {
    let starting = report(&starting());
    assert!(told(None, &starting).is_empty());
    let mut bare = in_order(smallest());
    bare.pods.clear();
    let earlier = report(&bare);
    assert_ne!(ready(&earlier).reason, ready(&starting).reason);
    assert!(told(Some(&earlier), &starting).is_empty(), "nor is its progress");
}

#[test]
fn a_node_that_becomes_ready_is_told_once() {
    let ready = report(&in_order(smallest()));
    assert_eq!(told(Some(&report(&starting())), &ready), ["Ready True Ready"]);
    assert_eq!(told(None, &ready), ["Ready True Ready"]);
    assert!(told(Some(&ready), &ready).is_empty());
}

#[test]
fn a_node_that_is_no_longer_ready_is_told_once() {
    let ready = report(&in_order(smallest()));
    let fallen = report(&starting());
    assert_eq!(told(Some(&ready), &fallen), ["Ready False Starting"]);
    assert!(told(Some(&fallen), &fallen).is_empty());
}

#[test]
fn a_node_that_stalls_is_told_and_again_for_another_reason() {
    let (first, second) = (report(&stuck()), report(&shared()));
    assert_eq!(told(None, &first), ["Stalled True GenesisMissing"]);
    assert_eq!(told(Some(&report(&starting())), &first), ["Stalled True GenesisMissing"]);
    assert!(told(Some(&first), &first).is_empty());
    assert_eq!(told(Some(&first), &second), ["Stalled True CertificateAuthorityInvalid"]);
    assert_eq!(
        told(Some(&report(&in_order(smallest()))), &first),
        ["Ready False GenesisMissing", "Stalled True GenesisMissing"]
    );
}

#[test]
fn another_message_time_or_generation_is_no_news() {
    for observed in [in_order(smallest()), stuck()] {
        let before = report(&observed);
        let mut after = before.clone();
        for condition in &mut after.conditions {
            condition.message = "otherwise".into();
            condition.last_transition_time = Time(later(60));
            condition.observed_generation = Some(GENERATION + 1);
        }
        assert!(told(Some(&before), &after).is_empty());
    }
}

#[test]
fn a_part_alone_is_no_news() {
    let ready = report(&in_order(smallest()));
    let mut observed = in_order(smallest());
    samples::pod(&mut observed, Component::Client).revision = Some("r6".into());
    let outdated = report(&observed);
    assert_ne!(ready, outdated);
    assert!(told(Some(&ready), &outdated).is_empty());
}

#[test]
fn a_node_that_goes_on_after_a_stall_is_no_news_until_it_arrives() {
    let stalled = report(&stuck());
    assert!(told(Some(&stalled), &report(&starting())).is_empty());
    assert_eq!(told(Some(&stalled), &report(&in_order(smallest()))), ["Ready True Ready"]);
}
