//! Reasons are API: the documentation lists exactly those that can occur.

use std::collections::BTreeSet;

use super::{
    situations::{self, falls, milestones_on_the_way_up},
    *,
};
use crate::api::node::{Profile, Role};

const DOCUMENT: &str = include_str!("../../../../docs/conditions.md");
const REPORT: &str = concat!(
    include_str!("../../status.rs"),
    include_str!("../availability.rs"),
    include_str!("../../decide/chain_message.rs"),
    include_str!("../callers.rs"),
    include_str!("../certificates.rs"),
    include_str!("../field_conflicts.rs"),
    include_str!("../genesis.rs"),
    include_str!("../risky_grants.rs"),
    include_str!("../served_certificates.rs"),
    include_str!("../leftovers.rs"),
    include_str!("../pod_monitor.rs"),
    include_str!("../peers.rs"),
    include_str!("../volumes.rs"),
    include_str!("../rollout.rs"),
    include_str!("../generation.rs"),
    include_str!("../synced.rs"),
    include_str!("../fault_tolerance.rs")
);
const FAULT: &str = include_str!("../../../model/fault.rs");

const CONDITIONS: [&str; 25] = [
    "Ready",
    "Reconciling",
    "Stalled",
    "ConfigValid",
    "IdentityReady",
    "CertificatesReady",
    "NetworkPoliciesApplied",
    "PlacementIsolated",
    "ClientAvailable",
    "TransactionManagerAvailable",
    "CallerKeysAvailable",
    "GrantsToReview",
    "Paused",
    "Synced",
    "FieldConflict",
    "ChainAdvancing",
    "PeersConnected",
    "QuorumTolerant",
    "Monitored",
    "ObjectsApplied",
    "ChangedByAdmission",
    "VolumesResized",
    "SecretTerminating",
    "SurplusFound",
    "RolledOut",
];

/// Reasons of faults that only a user can correct.
pub(super) const STALLING: [Reason; 20] = [
    Reason::InvalidField,
    Reason::GenesisMissing,
    Reason::GenesisInvalid,
    Reason::GenesisChanged,
    Reason::ConsensusMismatch,
    Reason::NodeKeyMissing,
    Reason::NodeKeyInvalid,
    Reason::NodeKeyChanged,
    Reason::DuplicateIdentity,
    Reason::ReferenceMissing,
    Reason::ReferenceInvalid,
    Reason::CertificateAuthorityInvalid,
    Reason::NameConflict,
    Reason::GrowthRefused,
    Reason::ShrinkRefused,
    Reason::DatabaseReplaced,
    Reason::DatabaseMajorChanged,
    Reason::MultipleDisruptionBudgets,
    Reason::InsufficientHosts,
    Reason::SharedHost,
];

/// Words in camel case between `mark`s, without types and statuses of conditions.
fn words(text: &str, mark: char) -> BTreeSet<String> {
    let is_word = |text: &&str| {
        text.len() > 2
            && text.starts_with(|first: char| first.is_ascii_uppercase())
            && text.chars().all(|letter| letter.is_ascii_alphabetic())
    };
    let states = ["True", "False", "Unknown"];
    text.lines()
        .flat_map(|line| line.split(mark).skip(1).step_by(2))
        .filter(is_word)
        .filter(|word| !CONDITIONS.contains(word) && !states.contains(word))
        .map(str::to_owned)
        .collect()
}

fn documented() -> BTreeSet<String> {
    words(DOCUMENT, '`')
}

fn stalling() -> impl Iterator<Item = String> {
    STALLING.iter().map(ToString::to_string)
}

#[test]
fn the_list_of_reasons_that_stall_is_the_one_in_the_code() {
    let listed = FAULT.split_once("pub enum Reason {").and_then(|(_, rest)| rest.split_once("\n}"));
    let (listed, _) = listed.expect("the enum");
    let listed: BTreeSet<_> = listed
        .lines()
        .filter_map(|line| line.trim().strip_suffix(','))
        .filter(|line| !line.starts_with("///"))
        .map(str::to_owned)
        .collect();
    assert_eq!(listed, stalling().collect());
}

#[test]
fn every_reason_that_can_be_given_is_documented_and_none_that_cannot() {
    let mut given = words(REPORT, '"');
    given.extend(stalling());
    given.insert(crate::node::status::undecodable::REASON.into());
    assert_eq!(documented(), given);
}

#[test]
fn every_reason_of_the_report_is_seen_in_a_situation() {
    let mut seen: BTreeSet<String> = milestones_on_the_way_up()
        .iter()
        .chain(&falls())
        .flat_map(|situation| situation.status().conditions)
        .map(|condition| condition.reason)
        .collect();
    let mut outdated = in_order(member());
    samples::pod(&mut outdated, Component::Client).revision = Some("r6".into());
    let mut paused = in_order(member());
    std::sync::Arc::make_mut(&mut paused.node).spec.paused = true;
    let mut blind = in_order(member());
    blind.unwatchable = vec!["pods cannot be watched".into()];
    let failed = [true, false].map(|forbidden| failed(&paused.node, forbidden, "no", now()));
    let mut alone = in_order(member());
    std::sync::Arc::make_mut(&mut alone.node).spec.role = Role::Validator;
    let mut called = in_order(member());
    situations::called(&mut called);
    let mut tracing = called.clone();
    spec(&mut tracing).rpc.callers[0].methods.push("debug_traceCall".into());
    let (mut deleted, mut scaled) = (in_order(member()), in_order(member()));
    deleted.irreplaceable_secrets = vec![situations::deleted("qn-bob-nodekey")];
    deleted.surplus.claims = vec!["data-bob-client-1".into()];
    scaled.surplus.pods = vec!["bob-client-1".into()];
    let mut laptop = in_order(member());
    spec(&mut laptop).profile = Profile::Development;
    laptop.hosts.values_mut().for_each(|host| host.boot_id = "one".into());
    let statuses = [outdated, paused, blind, alone, called, tracing, deleted, scaled, laptop]
        .map(|observed| report(&observed));
    // a harmless change by a webhook does not affect readiness
    let rewritten =
        Applied { admission_changes: vec![situations::admission_changes("StatefulSet", false)], ..applied() };
    let member = in_order(member());
    let rewritten = status(&member, &crate::node::validate::validate(&member), &rewritten, now());
    assert_eq!(rewritten.conditions[0].status, "True", "{rewritten:?}");
    seen.extend(rewritten.conditions.into_iter().map(|condition| condition.reason));
    let waits = crate::node::status::rollout::every_wait().into_iter().map(|wait| {
        let waiting = Applied { rollout: Some(wait), ..applied() };
        status(&member, &crate::node::validate::validate(&member), &waiting, now())
    });
    let statuses = statuses.into_iter().chain(waits).chain(super::volumes::all()).chain(super::chain::all());
    let statuses = statuses.chain(super::peers::all());
    for status in statuses.chain(failed) {
        seen.extend(status.conditions.into_iter().map(|condition| condition.reason));
    }
    let unwatchable: Vec<_> =
        words(REPORT, '"').into_iter().filter(|reason| !seen.contains(reason)).collect();
    assert!(unwatchable.is_empty(), "{unwatchable:?}");
    let documented = documented();
    let unknown: Vec<_> =
        seen.iter().filter(|reason| *reason != "Ready" && !documented.contains(*reason)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn every_condition_that_can_be_given_is_documented() {
    let documented = |kind: &str| DOCUMENT.lines().any(|line| line.starts_with(&format!("| `{kind}` |")));
    for kind in CONDITIONS {
        assert!(documented(kind), "{kind}");
    }
    for situation in milestones_on_the_way_up().iter().chain(&falls()) {
        for condition in situation.status().conditions {
            assert!(CONDITIONS.contains(&condition.type_.as_str()), "{}", condition.type_);
        }
    }
}

#[test]
fn every_reason_that_stalls_is_told_with_what_to_do() {
    let (_, section) = DOCUMENT.split_once("## Reasons that stall").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("a section after it");
    let undecodable = crate::node::status::undecodable::REASON.to_owned();
    assert_eq!(words(section, '`'), stalling().chain([undecodable]).collect());
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let advice = line.split('|').nth(2).unwrap_or_default();
        assert!(advice.split_whitespace().count() > 3, "{line}");
    }
}
