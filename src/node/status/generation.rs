//! The `observedGeneration` of the status and its conditions. Waiting tools treat a status of the current generation as
//! the end of a change, so the operator reports a new generation only after every part runs it.

use super::{Fault, Finding, finding};
use crate::{
    api::{QuorumNode, QuorumNodeStatus},
    model::names::Component,
    node::{apply::Applied, decide::rollout, desired::components, observed::Observed, validate::Validated},
};

/// Generations for the status and its conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generations {
    /// Current generation of the spec.
    present: i64,
    /// Last generation that every part ran; 0 before the first. The condition `Ready` stores it.
    done: i64,
    /// Whether the node stalls; the status then reports the current generation.
    stalled: bool,
}

impl Generations {
    /// Generations of a node whose state is unknown now.
    pub(crate) fn of(node: &QuorumNode) -> Self {
        let present = node.metadata.generation.unwrap_or_default();
        Self { present, done: done(node.status.as_ref()).min(present), stalled: false }
    }

    /// `observedGeneration` of the status.
    pub(crate) fn of_status(self) -> i64 {
        if self.stalled { self.present } else { self.done }
    }

    /// `observedGeneration` of a condition.
    pub(crate) fn of_condition(self, kind: &str) -> i64 {
        if kind == "Ready" { self.done } else { self.present }
    }
}

fn done(status: Option<&QuorumNodeStatus>) -> i64 {
    let ready = status.iter().flat_map(|status| &status.conditions).find(|found| found.type_ == "Ready");
    ready.and_then(|ready| ready.observed_generation).unwrap_or_default()
}

/// Computes the generations, and adds `Reconciling` to a ready node while a part still runs an older revision.
pub(crate) fn generations(
    observed: &Observed,
    validated: &Result<Validated, Vec<Fault>>,
    applied: &Applied,
    findings: &mut Vec<Finding>,
) -> Generations {
    let before = Generations::of(&observed.node);
    let stalled = findings.iter().any(|found| found.kind == "Stalled");
    // an invalid spec has no newest revision
    let Ok(node) = validated else { return Generations { stalled, ..before } };
    let parts = components(node);
    let is_new = before.done < before.present;
    let is_behind = |part: &Component| {
        let is_unwritten = is_new && !applied.settled.contains(&node.names.workload(*part));
        is_unwritten || rollout::is_behind(observed, *part)
    };
    let behind: Vec<_> = parts.into_iter().filter(is_behind).collect();
    if behind.is_empty() {
        return Generations { done: before.present, stalled, ..before };
    }
    if findings.iter().any(|found| found.kind == "Ready" && found.status == "True") {
        let reconciling = finding("Reconciling", "True", "RollingOut", message(&behind, node.spec.paused));
        findings.insert(1, reconciling);
    }
    Generations { stalled, ..before }
}

fn message(behind: &[Component], paused: bool) -> String {
    let parts: Vec<_> = behind.iter().map(|part| format!("the {}", part.spoken())).collect();
    let runs = match parts.as_slice() {
        [part] => format!("{part} runs"),
        parts => format!("{} run", parts.join(" and ")),
    };
    let then = match paused {
        true => "to resume the rollout, set spec.paused to false",
        false => "the operator replaces each pod when the rollout limits allow it",
    };
    format!("{runs} an older revision; {then}")
}
