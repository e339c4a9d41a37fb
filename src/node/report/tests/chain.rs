use std::sync::Arc;

use super::*;
use crate::{
    api::node::Role,
    node::chain::{Course, Standing, Verdict, View},
};

const KIND: &str = "ChainAdvancing";

fn seen(course: Course) -> Observed {
    let mut observed = in_order(member());
    let clients = [("bob".to_owned(), ("uid".to_owned(), Standing::Back))].into();
    observed.chain = Some(View { looked: true, verdict: Verdict { course, clients }, head: 46 });
    observed
}

fn stands(block: u64, since: i64) -> Course {
    Course::Stands { block, since: later(since) }
}

/// One of every kind.
pub(super) fn all() -> [QuorumNodeStatus; 5] {
    [Course::Advances, stands(46, 0), Course::AtGenesis, Course::Unseen, Course::Untold]
        .map(|course| report(&seen(course)))
}

fn told(status: &QuorumNodeStatus) -> (String, String, String) {
    let found = condition(status, KIND).expect("always there");
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

fn is(course: Course) -> (String, String) {
    let (status, reason, _) = told(&report(&seen(course)));
    (status, reason)
}

#[test]
fn a_chain_advances_stands_or_is_not_known_and_the_node_is_ready_all_the_same() {
    for (course, status, reason) in [
        (Course::Advances, "True", "Advancing"),
        (stands(46, 0), "False", "HeadStalled"),
        (Course::AtGenesis, "Unknown", "AtGenesis"),
        (Course::Unseen, "Unknown", "NotSeen"),
        (Course::Untold, "Unknown", "NotSeen"),
    ] {
        assert_eq!(is(course.clone()), (status.into(), reason.into()));
        let status = report(&seen(course));
        assert_eq!(ready(&status).status, "True");
        assert!(condition(&status, "Reconciling").is_none() && condition(&status, "Stalled").is_none());
    }
    let (status, reason, message) = told(&report(&in_order(member())));
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "NotSeen"));
    assert!(message.contains("--operator-pod-labels"), "{message}");
}

#[test]
fn a_chain_that_stands_is_told_with_its_block_and_since_when_whoever_looks() {
    let status = report(&seen(stands(46, -60)));
    let (_, _, message) = told(&status);
    assert!(
        message.starts_with(&format!("no block came after block 46, since {}: ", later(-60))),
        "{message}"
    );
    // another replica begins to look, and knows less
    let mut begins = seen(Course::Unseen);
    begins.chain.as_mut().expect("a view").looked = false;
    let begun = again(&status, begins, later(5));
    assert_eq!(told(&begun), told(&status));
    let untold = again(&begun, seen(Course::Untold), later(10));
    assert_eq!(told(&untold), told(&status));
    let known = again(&untold, seen(stands(46, 10)), later(90));
    assert_eq!(told(&known), told(&status), "it stood there before");
    let (_, _, message) = told(&again(&known, seen(stands(47, 100)), later(200)));
    assert!(message.contains(&format!("block 47, since {}", later(100))), "{message}");
    assert_eq!(told(&again(&known, seen(Course::Advances), later(200))).0, "True");
    assert_eq!(told(&again(&known, seen(Course::Unseen), later(200))).0, "Unknown");
}

#[test]
fn a_chain_that_was_seen_to_advance_does_until_it_is_known_not_to() {
    let before = report(&seen(Course::Advances));
    assert_eq!(told(&again(&before, seen(Course::Untold), later(9))).0, "True");
    assert_eq!(told(&again(&before, seen(stands(46, 0)), later(9))).0, "False");
}

#[test]
fn no_block_changes_what_is_told() {
    let (mut one, mut other) = (seen(Course::Advances), seen(Course::Advances));
    one.chain.as_mut().expect("a view").head = 1;
    other.chain.as_mut().expect("a view").head = 1_000_000;
    assert_eq!(report(&one), report(&other));
}

#[test]
fn a_client_that_has_not_come_back_is_named() {
    for (standing, named) in [(Standing::Behind, "not caught up"), (Standing::Alone, "fewer peers")] {
        let mut observed = seen(Course::Advances);
        let clients = &mut observed.chain.as_mut().expect("a view").verdict.clients;
        clients.insert("bob".into(), ("uid".into(), standing));
        let status = report(&observed);
        let (is, _, message) = told(&status);
        assert!(is == "True" && message.contains(named), "{message}");
        // it is said once, and no longer than it is so
        let mut untold = observed.clone();
        untold.chain.as_mut().expect("a view").verdict.course = Course::Untold;
        assert_eq!(told(&again(&status, untold, later(5))).2, message);
        assert!(!told(&again(&status, seen(Course::Untold), later(5))).2.contains(named));
    }
}

#[test]
fn a_validator_that_the_genesis_does_not_name_is_told_and_may_run() {
    let mut observed = seen(Course::Advances);
    let genesis = include_str!("../../../../e2e/genesis.json").as_bytes();
    let schedule = crate::node::genesis::read_genesis(genesis).expect("no fault").schedule;
    let Found::Is(facts) = &mut observed.genesis else { panic!("a genesis") };
    facts.schedule = schedule;
    let named = "is none of the 1 that the genesis names as validators";
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
    // a list in the spec goes before the genesis
    spec(&mut observed).consensus.validator_addresses = vec![format!("0x{}", address[2..].to_uppercase())];
    let (_, _, message) = told(&report(&observed));
    assert!(!message.contains(&address), "{message}");
    spec(&mut observed).consensus.validator_addresses = vec![format!("0x{}", "ab".repeat(20))];
    let (_, _, message) = told(&report(&observed));
    assert!(
        message.contains(&format!("{address} is none of spec.consensus.validatorAddresses")),
        "{message}"
    );
    spec(&mut observed).consensus.validator_addresses = vec![];
    // one whom a contract, or nobody knows, names is not judged
    let Found::Is(facts) = &mut observed.genesis else { panic!("a genesis") };
    facts.schedule = Arc::default();
    assert!(!told(&report(&observed)).2.contains(named));
}
