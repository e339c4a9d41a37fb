use std::sync::Arc;

use super::*;
use crate::{
    api::node::Role,
    model::chain::{ChainAssessment, ChainProgress, ClientProgress, View},
};

const KIND: &str = "ChainAdvancing";

fn seen(course: ChainProgress) -> Observed {
    let mut observed = in_order(member());
    let clients = [("bob".to_owned(), ("uid".to_owned(), ClientProgress::CaughtUp))].into();
    observed.chain = Some(View { probed: true, assessment: ChainAssessment { course, clients }, head: 46 });
    observed
}

fn stands(block: u64, since: i64) -> ChainProgress {
    ChainProgress::Stalled { block, since: later(since) }
}

/// One status of every kind.
pub(super) fn all() -> [QuorumNodeStatus; 5] {
    [
        ChainProgress::Advancing,
        stands(46, 0),
        ChainProgress::AtGenesis,
        ChainProgress::Unobserved,
        ChainProgress::Unknown,
    ]
    .map(|course| report(&seen(course)))
}

fn told(status: &QuorumNodeStatus) -> (String, String, String) {
    let found = condition(status, KIND).expect("always there");
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

fn is(course: ChainProgress) -> (String, String) {
    let (status, reason, _) = told(&report(&seen(course)));
    (status, reason)
}

#[test]
fn a_chain_advances_stands_or_is_not_known_and_the_node_is_ready_all_the_same() {
    for (course, status, reason) in [
        (ChainProgress::Advancing, "True", "Advancing"),
        (stands(46, 0), "False", "HeadStalled"),
        (ChainProgress::AtGenesis, "Unknown", "AtGenesis"),
        (ChainProgress::Unobserved, "Unknown", "NotObserved"),
        (ChainProgress::Unknown, "Unknown", "NotObserved"),
    ] {
        assert_eq!(is(course.clone()), (status.into(), reason.into()));
        let status = report(&seen(course));
        assert_eq!(ready(&status).status, "True");
        assert!(condition(&status, "Reconciling").is_none() && condition(&status, "Stalled").is_none());
    }
    let (status, reason, message) = told(&report(&in_order(member())));
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "NotObserved"));
    assert!(message.contains("--operator-pod-labels"), "{message}");
}

#[test]
fn a_chain_that_stands_is_told_with_its_block_and_since_when_whoever_looks() {
    let status = report(&seen(stands(46, -60)));
    let (_, _, message) = told(&status);
    assert!(message.starts_with(&format!("no new block after block 46 since {}: ", later(-60))), "{message}");
    // another replica has just started to probe and knows less
    let mut begins = seen(ChainProgress::Unobserved);
    begins.chain.as_mut().expect("a view").probed = false;
    let begun = again(&status, begins, later(5));
    assert_eq!(told(&begun), told(&status));
    let untold = again(&begun, seen(ChainProgress::Unknown), later(10));
    assert_eq!(told(&untold), told(&status));
    let known = again(&untold, seen(stands(46, 10)), later(90));
    assert_eq!(told(&known), told(&status), "it stood there before");
    let (_, _, message) = told(&again(&known, seen(stands(47, 100)), later(200)));
    assert!(message.contains(&format!("block 47 since {}", later(100))), "{message}");
    assert_eq!(told(&again(&known, seen(ChainProgress::Advancing), later(200))).0, "True");
    assert_eq!(told(&again(&known, seen(ChainProgress::Unobserved), later(200))).0, "Unknown");
}

#[test]
fn a_chain_that_was_seen_to_advance_does_until_it_is_known_not_to() {
    let before = report(&seen(ChainProgress::Advancing));
    assert_eq!(told(&again(&before, seen(ChainProgress::Unknown), later(9))).0, "True");
    assert_eq!(told(&again(&before, seen(stands(46, 0)), later(9))).0, "False");
}

#[test]
fn no_block_changes_what_is_told() {
    let (mut one, mut other) = (seen(ChainProgress::Advancing), seen(ChainProgress::Advancing));
    one.chain.as_mut().expect("a view").head = 1;
    other.chain.as_mut().expect("a view").head = 1_000_000;
    assert_eq!(report(&one), report(&other));
}

#[test]
fn a_client_that_has_not_come_back_is_named() {
    for (standing, named) in
        [(ClientProgress::Behind, "not caught up"), (ClientProgress::MissingPeers, "fewer peers")]
    {
        let mut observed = seen(ChainProgress::Advancing);
        let clients = &mut observed.chain.as_mut().expect("a view").assessment.clients;
        clients.insert("bob".into(), ("uid".into(), standing));
        let status = report(&observed);
        let (is, _, message) = told(&status);
        assert!(is == "True" && message.contains(named), "{message}");
        // the remark appears once, and only while it is true
        let mut untold = observed.clone();
        untold.chain.as_mut().expect("a view").assessment.course = ChainProgress::Unknown;
        assert_eq!(told(&again(&status, untold, later(5))).2, message);
        assert!(!told(&again(&status, seen(ChainProgress::Unknown), later(5))).2.contains(named));
    }
}

#[test]
fn a_validator_that_the_genesis_does_not_name_is_told_and_may_run() {
    let mut observed = seen(ChainProgress::Advancing);
    let genesis = include_str!("../../../../e2e/genesis.json").as_bytes();
    let schedule = crate::model::genesis::read_genesis(genesis).expect("no fault").schedule;
    let Found::Present(facts) = &mut observed.genesis else { panic!("a genesis") };
    facts.schedule = schedule;
    let named = "is not among the 1 validators that the genesis names";
    assert!(!told(&report(&observed)).2.contains(named), "a member is none");
    spec(&mut observed).role = Role::Validator;
    let status = report(&observed);
    let (is, reason, message) = told(&status);
    assert!(is == "True" && reason == "Advancing" && message.contains(named), "{message}");
    let address = identity('b').address;
    assert!(message.contains(&address), "{message}");
    let valid = condition(&status, "ConfigValid").expect("always there");
    assert!(valid.status == "True" && valid.message.contains(named), "{}", valid.message);
    assert_eq!(ready(&status).status, "True");
    // a list in the spec takes precedence over the genesis
    spec(&mut observed).consensus.validator_addresses = vec![format!("0x{}", address[2..].to_uppercase())];
    let (_, _, message) = told(&report(&observed));
    assert!(!message.contains(&address), "{message}");
    spec(&mut observed).consensus.validator_addresses = vec![format!("0x{}", "ab".repeat(20))];
    let (_, _, message) = told(&report(&observed));
    assert!(message.contains(&format!("{address} is not in spec.consensus.validatorAddresses")), "{message}");
    spec(&mut observed).consensus.validator_addresses = vec![];
    // where a contract names the validators there is no remark
    let Found::Present(facts) = &mut observed.genesis else { panic!("a genesis") };
    facts.schedule = Arc::default();
    assert!(!told(&report(&observed)).2.contains(named));
}
