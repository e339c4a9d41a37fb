//! Computes a node's status: conditions with reasons and messages, pinned values, and certificates. An `Unknown` part
//! never makes the node ready, and every message about a fault says what to do.

mod availability;
mod callers;
mod certificates;
mod chain;
mod fault_tolerance;
mod field_conflicts;
mod generation;
mod genesis;
mod leftovers;
mod message_only;
mod peers;
mod pod_monitor;
mod risky_grants;
mod rollout;
mod served_certificates;
mod synced;
pub mod undecodable;
mod volumes;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::{
    apply::Applied,
    decide::{ca_rotation, database},
    desired::components,
    observed::Observed,
    validate::{self, Validated},
};
use crate::{
    api::{
        QuorumNode,
        status::{Hosts, IdentityStatus, QuorumNodeStatus},
    },
    model::{
        enode,
        fault::{self, Fault, Reason},
        names::{self, Component},
    },
    node::decide::identity::IdentityDecision,
};
pub use certificates::next_renewal;
pub use field_conflicts::is_established;
pub use message_only::are_words;
pub use peers::PEERS_CONNECTED;
pub use served_certificates::{next_alarm, seen_served};
pub use synced::{failed, is_told_to_fail};

/// A condition without transition time and generation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    kind: &'static str,
    status: &'static str,
    reason: String,
    message: String,
}

fn finding(
    kind: &'static str,
    status: &'static str,
    reason: impl ToString,
    message: impl Into<String>,
) -> Finding {
    Finding { kind, status, reason: reason.to_string(), message: message.into() }
}

/// The node's status. A transition time changes only with its condition's status.
#[must_use]
pub fn status(
    observed: &Observed,
    validated: &Result<Validated, Vec<Fault>>,
    applied: &Applied,
    now: Timestamp,
) -> QuorumNodeStatus {
    let before = observed.node.status.clone().unwrap_or_default();
    let mut findings = match validated {
        Ok(node) => findings(observed, node, applied, now),
        Err(faults) => stalled(faults, applied),
    };
    findings.extend(leftovers::deleted(observed).into_iter().chain(leftovers::surplus(observed)));
    let certificates = match validated {
        Ok(node) => certificates::certificate_ends(observed, node),
        Err(_) => certificates::recorded(observed, &before),
    };
    let generations = generation::generations(observed, validated, applied, &mut findings);
    let dated = |finding: Finding| {
        let generation = generations.of_condition(finding.kind);
        dated(finding, &before, generation, now)
    };
    QuorumNodeStatus {
        observed_generation: generations.of_status(),
        conditions: findings.into_iter().map(dated).collect(),
        identity: before.identity.clone().or_else(|| identity(observed)),
        genesis: genesis::pinned(observed, validated, &before),
        enode: enode(observed, &before),
        peer_address: observed.peer_address.clone().or(before.peer_address),
        transaction_manager_key: observed
            .manager
            .as_ref()
            .and_then(|manager| manager.keys.usable())
            .map(|keys| keys.public_key.clone()),
        database: database::pin(observed).recorded,
        hosts: hosts(observed),
        network_authorities: validated.as_ref().ok().and_then(|node| ca_rotation::told(node, observed, now)),
        optional_kinds: certificates::optional_kinds(observed),
        certificate_expiry: certificates.iter().map(|certificate| certificate.not_after.clone()).min(),
        certificates,
    }
}

/// The status of a node that is being deleted: its earlier status with one condition, which says what the deletion
/// waits for.
#[must_use]
pub fn ending(node: &QuorumNode, waits: &str, now: Timestamp) -> QuorumNodeStatus {
    let before = node.status.clone().unwrap_or_default();
    let generation = node.metadata.generation.unwrap_or_default();
    let ready = finding("Ready", "False", "Terminating", format!("the node is being deleted: {waits}"));
    QuorumNodeStatus {
        observed_generation: generation,
        conditions: vec![dated(ready, &before, generation, now)],
        ..before
    }
}

fn dated(finding: Finding, before: &QuorumNodeStatus, generation: i64, now: Timestamp) -> Condition {
    let same = before
        .conditions
        .iter()
        .find(|condition| condition.type_ == finding.kind && condition.status == finding.status);
    // the server stores whole seconds
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    Condition {
        type_: finding.kind.into(),
        status: finding.status.into(),
        reason: finding.reason,
        message: finding.message,
        last_transition_time: same.map_or(Time(now), |condition| condition.last_transition_time.clone()),
        observed_generation: Some(generation),
    }
}

/// Conditions of a node that has faults, which only a user can correct.
fn stalled(faults: &[Fault], applied: &Applied) -> Vec<Finding> {
    let reason = faults.first().map_or(Reason::InvalidField, |fault| fault.reason);
    let message = fault::list(faults);
    let identity = faults.iter().find(|fault| {
        matches!(fault.reason, Reason::NodeKeyMissing | Reason::NodeKeyInvalid | Reason::NodeKeyChanged)
    });
    let mut findings = vec![
        finding("Ready", "False", reason, message.clone()),
        finding("Stalled", "True", reason, message.clone()),
        finding("ConfigValid", "False", reason, message),
    ];
    if let Some(fault) = identity {
        findings.push(finding("IdentityReady", "False", fault.reason, fault.to_string()));
    }
    // whether unchanged objects match the invalid spec is unknown, so only drift is reported
    findings.extend(
        Some(field_conflicts::policies_applied(applied))
            .filter(|found| found.reason == field_conflicts::DRIFTED),
    );
    findings.extend(field_conflicts::objects_applied(applied));
    findings
}

fn findings(observed: &Observed, node: &Validated, applied: &Applied, now: Timestamp) -> Vec<Finding> {
    let parts = components(node);
    let mut findings = vec![
        genesis::config_valid(observed, node),
        identity_ready(node),
        certificates::certificates_ready(observed, node, now),
        field_conflicts::policies_applied(applied),
        availability::isolated(observed, &parts, now),
        availability::client_available(observed, node),
    ];
    if node.manager.is_some() {
        findings.push(availability::manager_available(observed, &parts));
    }
    findings.extend(callers::callers_known(observed, node));
    findings.extend(field_conflicts::objects_applied(applied));
    if node.spec.paused {
        findings.push(paused(applied));
    }
    findings.extend(synced::unwatchable(observed));
    findings.extend(field_conflicts::field_conflicts(applied));
    let mut faults = [applied.refused.as_slice(), &applied.volumes_not_grown].concat();
    faults.extend(database::pin(observed).faults);
    if let IdentityDecision::Held(fault) = &node.standing {
        faults.insert(0, fault.clone());
    }
    let is_left = node.spec.paused && !applied.left.is_empty();
    let stalled = faults
        .first()
        .map(|fault| finding("Stalled", "True", fault.reason, fault::list(&faults)))
        // only the user who paused the node can end the drift
        .or_else(|| is_left.then(|| Finding { kind: "Stalled", ..paused(applied) }))
        .or_else(|| {
            let isolation = findings.iter().find(|found| found.kind == "PlacementIsolated")?;
            // a part that waits for a host or a volume is making progress
            let waits = [availability::WAITS, availability::VOLUME].contains(&isolation.reason.as_str());
            (isolation.status == "False" && !waits).then(|| Finding {
                kind: "Stalled",
                status: "True",
                ..isolation.clone()
            })
        });
    // an unknown part mostly follows from a part that is known to fail
    let worst = stalled
        .as_ref()
        .or_else(|| findings.iter().find(|found| found.status == "False"))
        .or_else(|| findings.iter().find(|found| found.kind == "FieldConflict"))
        .or_else(|| findings.iter().find(|found| found.status != "True"))
        .cloned();
    match (worst, stalled) {
        (None, _) => {
            findings.insert(
                0,
                finding("Ready", "True", "Ready", "all parts run, are isolated and have valid certificates"),
            );
        }
        (Some(worst), Some(stalled)) => {
            findings.insert(0, Finding { kind: "Ready", status: "False", ..worst });
            findings.insert(1, stalled);
        }
        (Some(worst), None) => {
            findings.insert(0, Finding { kind: "Ready", status: "False", ..worst.clone() });
            findings.insert(1, Finding { kind: "Reconciling", status: "True", ..worst });
        }
    }
    findings.push(chain::advancing(observed, node));
    findings.extend(peers::connected(observed, node));
    findings.extend(fault_tolerance::quorum_tolerant(node));
    findings.extend(risky_grants::to_review(node));
    findings.extend(pod_monitor::monitored(observed));
    findings.extend(
        field_conflicts::admission_changes(applied).into_iter().chain(rollout::rolled_out(applied, now)),
    );
    findings.extend(volumes::volumes_resized(observed, node));
    findings
}

/// The condition `Paused`, which is part of `Ready` only where an object differs from the spec.
fn paused(applied: &Applied) -> Finding {
    let left: Vec<_> = applied.left.iter().map(field_conflicts::sentence).collect();
    let message = if left.is_empty() {
        "the node is paused, and every object matches the spec; to resume, set spec.paused to false"
            .to_owned()
    } else {
        format!(
            "the node is paused, so the operator repairs nothing: {}; to resume, set spec.paused to false",
            left.join("; ")
        )
    };
    finding("Paused", "True", "PausedBySpec", message)
}

fn identity_ready(node: &Validated) -> Finding {
    if let IdentityDecision::Held(fault) = &node.standing {
        return finding("IdentityReady", "False", fault.reason, fault.to_string());
    }
    match &node.identity {
        Some(identity) => finding(
            "IdentityReady",
            "True",
            "KeyFound",
            format!("the node key exists and has the address {}", identity.address),
        ),
        None => finding("IdentityReady", "False", "GeneratingKey", "the operator is generating the node key"),
    }
}

fn identity(observed: &Observed) -> Option<IdentityStatus> {
    let key = observed.node_key.usable()?;
    // an unexpected key is a fault and never becomes the identity
    validate::is_expected(&observed.node.spec, key).then_some(())?;
    let (secret_name, _) = validate::node_key_at(&validate::names_of(observed), &observed.node.spec);
    Some(IdentityStatus { public_key: key.public_key.clone(), address: key.address.clone(), secret_name })
}

/// The enode URL, from the identity that was recorded first: another key in the Secret is a fault, not a new identity.
fn enode(observed: &Observed, before: &QuorumNodeStatus) -> Option<String> {
    let recorded = before.identity.as_ref().map(|identity| identity.public_key.clone());
    let key = recorded.or_else(|| Some(identity(observed)?.public_key))?;
    match &observed.node.spec.peering.advertise {
        Some(advertise) => Some(enode::url(&key, &advertise.address, advertise.port)),
        None => {
            let address = observed.peer_address.as_deref().or(before.peer_address.as_deref())?;
            Some(enode::url(&key, address, names::P2P))
        }
    }
}

fn hosts(observed: &Observed) -> Option<Hosts> {
    let host = |component| observed.pods.get(&component)?.host.clone();
    let hosts = Hosts {
        client: host(Component::Client),
        transaction_manager: host(Component::TransactionManager),
        database: host(Component::Database),
    };
    (hosts != Hosts::default()).then_some(hosts)
}

/// Conditions whose change the operator reports in an Event.
#[must_use]
pub fn milestones(before: Option<&QuorumNodeStatus>, after: &QuorumNodeStatus) -> Vec<Condition> {
    let reported = ["Ready", "Stalled", "SecretTerminating"];
    after
        .conditions
        .iter()
        .filter(|condition| reported.contains(&condition.type_.as_str()))
        .filter(|condition| {
            let earlier = before
                .and_then(|before| before.conditions.iter().find(|earlier| earlier.type_ == condition.type_));
            // progress of a node that is not ready yet is no event
            let news = condition.type_ == "Stalled"
                || condition.status == "True"
                || earlier.is_some_and(|earlier| earlier.status == "True");
            news && earlier.is_none_or(|earlier| {
                (&earlier.status, &earlier.reason) != (&condition.status, &condition.reason)
            })
        })
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
