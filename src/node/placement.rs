//! Whether the parts of a node run on hosts of their own, judged where they really run: by machine id and
//! boot id, not by labels, since two kubelets may share one machine.

use super::{
    names::Component,
    observed::{Host, Observed, Taint},
};
use crate::api::parts::{Placement, Tolerated};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Every part runs, each on a machine of its own.
    Isolated(String),
    /// Not every part has a host yet, or a host says too little of itself.
    Unknown(String),
    /// Parts share a machine.
    Shared(String),
    /// The scheduler finds no host for a part.
    NoHost(String),
}

/// Judges the parts that the node has.
#[must_use]
pub fn isolation(observed: &Observed, components: &[Component]) -> Isolation {
    let placed: Vec<(Component, &str)> = components
        .iter()
        .filter_map(|component| Some((*component, observed.pods.get(component)?.host.as_deref()?)))
        .collect();
    for (i, (one, on)) in placed.iter().enumerate() {
        for (other, beside) in &placed[i + 1..] {
            if let Some(why) = shared(observed, on, beside) {
                let (one, other) = (one.spoken(), other.spoken());
                return Isolation::Shared(format!(
                    "{one} ({on}) and {other} ({beside}) share a machine: {why}; give the node's parts machines of their own and delete one of the two pods"
                ));
            }
        }
    }
    if let Some(homeless) = no_host(observed, components) {
        return Isolation::NoHost(homeless);
    }
    let missing: Vec<_> = components
        .iter()
        .filter(|component| placed.iter().all(|(there, _)| there != *component))
        .map(|component| component.spoken())
        .collect();
    if !missing.is_empty() {
        return Isolation::Unknown(format!("not placed yet: {}", missing.join(", ")));
    }
    for (component, on) in &placed {
        let known = observed
            .hosts
            .get(*on)
            .is_some_and(|host| !host.machine_id.is_empty() && !host.boot_id.is_empty());
        if !known && components.len() > 1 {
            return Isolation::Unknown(format!(
                "host {on} of the {} reports no machine id or boot id",
                component.spoken()
            ));
        }
    }
    let hosts = placed.iter().map(|(component, on)| format!("{} on {on}", component.spoken()));
    Isolation::Isolated(hosts.collect::<Vec<_>>().join(", "))
}

/// Why two pods are on one machine.
fn shared(observed: &Observed, on: &str, beside: &str) -> Option<String> {
    if on == beside {
        return Some("it is one host".into());
    }
    one_machine(observed.hosts.get(on)?, observed.hosts.get(beside)?)
}

/// Why two hosts are one machine.
fn one_machine(one: &Host, other: &Host) -> Option<String> {
    if !one.machine_id.is_empty() && one.machine_id == other.machine_id {
        return Some(format!("both hosts report machine id {}", one.machine_id));
    }
    if !one.boot_id.is_empty() && one.boot_id == other.boot_id {
        return Some(format!("both hosts report boot id {}", one.boot_id));
    }
    None
}

fn no_host(observed: &Observed, components: &[Component]) -> Option<String> {
    let (component, why) = components
        .iter()
        .find_map(|component| Some((component, observed.pods.get(component)?.unschedulable.as_deref()?)))?;
    let needed = components.len();
    let placement = &observed.node.spec.placement;
    let open: Vec<&Host> = observed.hosts.values().filter(|host| is_open(host, placement)).collect();
    let machines = machines(&open);
    let capacity = if machines < needed {
        format!(
            "{needed} machines are needed, one for each part, and {machines} can be used: add {}",
            needed - machines
        )
    } else {
        format!("{machines} machines can be used, none with room for it: add room or a machine")
    };
    Some(format!("no host is left for the {}: {capacity}. The scheduler says: {why}", component.spoken()))
}

/// Whether the scheduler may put a pod of the node there, room aside.
fn is_open(host: &Host, placement: &Placement) -> bool {
    let tolerated = |taint: &Taint| placement.tolerations.iter().any(|by| tolerates(by, taint));
    host.schedulable
        && placement.node_selector.iter().all(|(key, value)| host.labels.get(key) == Some(value))
        && host.taints.iter().all(tolerated)
}

fn tolerates(tolerated: &Tolerated, taint: &Taint) -> bool {
    tolerated.key == taint.key
        && tolerated.value.as_ref().is_none_or(|value| *value == taint.value)
        && tolerated.effect.is_none_or(|effect| format!("{effect:?}") == taint.effect)
}

/// How many machines hosts really are.
fn machines(hosts: &[&Host]) -> usize {
    let mut machines: Vec<Vec<&Host>> = Vec::new();
    for host in hosts {
        // a host may be what two others have in common
        let is_same = |machine: &Vec<&Host>| machine.iter().any(|other| one_machine(host, other).is_some());
        let (same, others): (Vec<_>, Vec<_>) = machines.into_iter().partition(is_same);
        machines = others;
        machines.push(same.into_iter().flatten().chain([*host]).collect());
    }
    machines.len()
}

#[cfg(test)]
mod tests;
