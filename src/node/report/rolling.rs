//! The generation that a status answers for. Tools that wait take a status of the present generation for the end of a
//! change, so a new generation is reported once every part runs it.

use super::{Fault, Finding, finding};
use crate::{
    api::{QuorumNode, QuorumNodeStatus},
    node::{
        apply::Applied, desired::components, names::Component, observed::Observed, rollout,
        validate::Validated,
    },
};

/// Generations that a status and its conditions carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generations {
    /// The present one of the spec.
    present: i64,
    /// The last one that every part ran; 0 before the first. `Ready` remembers it.
    done: i64,
    /// Whether a person must act, which is said of the present one.
    stalled: bool,
}

impl Generations {
    /// Those of a node that nobody can judge now.
    pub(super) fn of(node: &QuorumNode) -> Self {
        let present = node.metadata.generation.unwrap_or_default();
        Self { present, done: done(node.status.as_ref()).min(present), stalled: false }
    }

    /// The status's own.
    pub(super) fn of_status(self) -> i64 {
        if self.stalled { self.present } else { self.done }
    }

    /// A condition's.
    pub(super) fn of_condition(self, kind: &str) -> i64 {
        if kind == "Ready" { self.done } else { self.present }
    }
}

fn done(status: Option<&QuorumNodeStatus>) -> i64 {
    let ready = status.iter().flat_map(|status| &status.conditions).find(|found| found.type_ == "Ready");
    ready.and_then(|ready| ready.observed_generation).unwrap_or_default()
}

/// Decides which generations are told, and adds to a node that is ready that a part still runs an older revision.
pub(super) fn generations(
    observed: &Observed,
    validated: &Result<Validated, Vec<Fault>>,
    applied: &Applied,
    findings: &mut Vec<Finding>,
) -> Generations {
    let before = Generations::of(&observed.node);
    let stalled = findings.iter().any(|found| found.kind == "Stalled");
    // what does not validate has no newest revision
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
        true => "set spec.paused to false to go on",
        false => "each pod is replaced in its turn",
    };
    format!("{runs} an older revision than the newest: {then}")
}
