//! The status, truthfully: `Unknown` is never green, and a message says the next step.

mod available;
mod callers;
mod certificates;
mod chain;
mod contested;
mod genesis;
mod grants;
mod lasting;
mod monitored;
mod peers;
mod resized;
mod rolled;
mod rolling;
mod served;
mod synced;
mod tolerance;
mod words;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::{
    apply::Applied,
    database,
    desired::components,
    enode,
    fault::{self, Fault, Reason},
    identity::Standing,
    names::{self, Component},
    observed::Observed,
    rotation,
    validate::{self, Validated},
};
pub use certificates::next_renewal;
pub use contested::is_established;
pub use peers::PEERS_CONNECTED;
pub use served::{next_alarm, seen_served};
pub use synced::{failed, is_told_to_fail};
pub use words::are_words;

use crate::api::{
    QuorumNode,
    status::{Hosts, IdentityStatus, QuorumNodeStatus},
};

/// A condition before it has a time.
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

/// What the node's status is to say. Times of transition move only with the status of their condition.
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
    findings.extend(lasting::deleted(observed).into_iter().chain(lasting::surplus(observed)));
    let certificates = match validated {
        Ok(node) => certificates::certificate_ends(observed, node),
        Err(_) => certificates::kept(observed, &before),
    };
    let generations = rolling::generations(observed, validated, applied, &mut findings);
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
        network_authorities: validated.as_ref().ok().and_then(|node| rotation::told(node, observed, now)),
        optional_kinds: certificates::optional_kinds(observed),
        certificate_expiry: certificates.iter().map(|certificate| certificate.not_after.clone()).min(),
        certificates,
    }
}

/// The status of a node that is being deleted: as it was, and what it waits for.
#[must_use]
pub fn ending(node: &QuorumNode, waits: &str, now: Timestamp) -> QuorumNodeStatus {
    let before = node.status.clone().unwrap_or_default();
    let generation = node.metadata.generation.unwrap_or_default();
    let ready = finding("Ready", "False", "Terminating", format!("being deleted: {waits}"));
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
    // whole seconds, as the server keeps them
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

/// Nothing moves until a person has acted.
fn stalled(faults: &[Fault], applied: &Applied) -> Vec<Finding> {
    let reason = faults.first().map_or(Reason::InvalidField, |fault| fault.reason);
    let message = fault::list(faults);
    let identity = faults.iter().find(|fault| {
        matches!(fault.reason, Reason::NodeKeyMissing | Reason::NodeKeyUnusable | Reason::NodeKeyChanged)
    });
    let mut findings = vec![
        finding("Ready", "False", reason, message.clone()),
        finding("Stalled", "True", reason, message.clone()),
        finding("ConfigValid", "False", reason, message),
    ];
    if let Some(fault) = identity {
        findings.push(finding("IdentityReady", "False", fault.reason, fault.to_string()));
    }
    // of what is as it was written last nothing is claimed: what it should be now is not known
    findings.extend(
        Some(contested::policies_applied(applied)).filter(|found| found.reason == contested::DRIFTED),
    );
    findings.extend(contested::objects_applied(applied));
    findings
}

fn findings(observed: &Observed, node: &Validated, applied: &Applied, now: Timestamp) -> Vec<Finding> {
    let parts = components(node);
    let mut findings = vec![
        genesis::config_valid(observed, node),
        identity_ready(node),
        certificates::certificates_ready(observed, node, now),
        contested::policies_applied(applied),
        available::isolated(observed, &parts, now),
        available::client_available(observed, node),
    ];
    if node.manager.is_some() {
        findings.push(available::manager_available(observed, &parts));
    }
    findings.extend(callers::callers_known(observed, node));
    findings.extend(contested::objects_applied(applied));
    if node.spec.paused {
        findings.push(paused(applied));
    }
    findings.extend(synced::unseen(observed));
    findings.extend(contested::contested(applied));
    let mut faults = [applied.refused.as_slice(), &applied.ungrown].concat();
    faults.extend(database::pin(observed).faults);
    if let Standing::Held(fault) = &node.standing {
        faults.insert(0, fault.clone());
    }
    let is_left = node.spec.paused && !applied.left.is_empty();
    let stalled = faults
        .first()
        .map(|fault| finding("Stalled", "True", fault.reason, fault::list(&faults)))
        // nobody but who has paused it goes on
        .or_else(|| is_left.then(|| Finding { kind: "Stalled", ..paused(applied) }))
        .or_else(|| {
            let isolation = findings.iter().find(|found| found.kind == "PlacementIsolated")?;
            // what waits for a host to come back, or for a volume, is on its way
            let waits = [available::WAITS, available::VOLUME].contains(&isolation.reason.as_str());
            (isolation.status == "False" && !waits).then(|| Finding {
                kind: "Stalled",
                status: "True",
                ..isolation.clone()
            })
        });
    // what is not known yet mostly follows from what is known not to be
    let worst = stalled
        .as_ref()
        .or_else(|| findings.iter().find(|found| found.status == "False"))
        .or_else(|| findings.iter().find(|found| found.kind == "Contested"))
        .or_else(|| findings.iter().find(|found| found.status != "True"))
        .cloned();
    match (worst, stalled) {
        (None, _) => {
            findings.insert(
                0,
                finding("Ready", "True", "Ready", "every part runs, isolated, with valid certificates"),
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
    findings.extend(tolerance::quorum_tolerant(node));
    findings.extend(grants::to_review(node));
    findings.extend(monitored::monitored(observed));
    findings.extend(contested::imposed(applied).into_iter().chain(rolled::rolled_out(applied, now)));
    findings.extend(resized::volumes_resized(observed, node));
    findings
}

/// No part of being ready, unless something differs.
fn paused(applied: &Applied) -> Finding {
    let left: Vec<_> = applied.left.iter().map(contested::sentence).collect();
    let message = if left.is_empty() {
        "every object that the operator writes is as the spec wants it; set spec.paused to false to go on"
            .to_owned()
    } else {
        format!("nothing is repaired: {}; set spec.paused to false to go on", left.join("; "))
    };
    finding("Paused", "True", "PausedBySpec", message)
}

fn identity_ready(node: &Validated) -> Finding {
    if let Standing::Held(fault) = &node.standing {
        return finding("IdentityReady", "False", fault.reason, fault.to_string());
    }
    match &node.identity {
        Some(identity) => {
            finding("IdentityReady", "True", "KeyFound", format!("address {}", identity.address))
        }
        None => finding("IdentityReady", "False", "KeyBeingMade", "the node key is being made"),
    }
}

fn identity(observed: &Observed) -> Option<IdentityStatus> {
    let key = observed.node_key.usable()?;
    // another key than the one that is expected is a fault, not a name
    validate::is_expected(&observed.node.spec, key).then_some(())?;
    let (secret_name, _) = validate::node_key_at(&validate::names_of(observed), &observed.node.spec);
    Some(IdentityStatus { public_key: key.public_key.clone(), address: key.address.clone(), secret_name })
}

/// From the identity that was recorded first: another key in the Secret is a fault, not a new name.
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

/// What changed for a person: conditions that an Event tells of.
#[must_use]
pub fn milestones(before: Option<&QuorumNodeStatus>, after: &QuorumNodeStatus) -> Vec<Condition> {
    let told = ["Ready", "Stalled", "SecretTerminating"];
    after
        .conditions
        .iter()
        .filter(|condition| told.contains(&condition.type_.as_str()))
        .filter(|condition| {
            let earlier = before
                .and_then(|before| before.conditions.iter().find(|earlier| earlier.type_ == condition.type_));
            // a node that is on its way is no news until it arrives or stops
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
