//! Whether the parts of a node run on hosts of their own, judged where they really run: by machine id and
//! boot id, not by labels, since two kubelets may share one machine.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm},
    jiff::{SignedDuration, Timestamp},
};

use super::{
    names::Component,
    observed::{Host, Observed, Pod, Taint},
    validate,
    volumes::Volume,
};
use crate::api::{
    node::{Profile, Role},
    placement::{Placement, Spread, Tolerated},
};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Every part runs, each on a machine of its own.
    Isolated(String),
    /// Every part runs, each on a host of its own, and hosts share a kernel, or may: that will do for development.
    SharedKernel(String),
    /// Not every part has a host yet, or a host says too little of itself.
    Unknown(String),
    /// Parts share a machine.
    Shared(String),
    /// A part has no host, and gets one when something comes back: a host, or a volume.
    Waits(String),
    /// Nobody provides the volume of a part that could have a host.
    Unprovided(String),
    /// A part's host no longer reports, so what runs there is not known.
    Lost(String),
    /// The scheduler finds no host for a part, and none is to come back.
    NoHost(String),
}

/// Which hosts may run a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hosts<'a> {
    /// Labels a host must all have.
    pub node_selector: &'a BTreeMap<String, String>,
    /// Taints that are tolerated.
    pub tolerations: &'a [Tolerated],
}

/// Which hosts the spec allows a part: those of its own where it has any said, or those of all parts.
#[must_use]
pub fn hosts(placement: &Placement, component: Component) -> Hosts<'_> {
    let own = match component {
        Component::Client => &placement.client,
        Component::TransactionManager => &placement.transaction_manager,
        Component::Database => &placement.database,
    };
    let own = own.as_ref();
    Hosts {
        node_selector: own.and_then(|own| own.node_selector.as_ref()).unwrap_or(&placement.node_selector),
        tolerations: own.and_then(|own| own.tolerations.as_deref()).unwrap_or(&placement.tolerations),
    }
}

/// A storage driver mostly provides a volume sooner.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// Judges the parts that the node has.
#[must_use]
pub fn isolation(observed: &Observed, components: &[Component], now: Timestamp) -> Isolation {
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
    if let Some(homeless) = homeless(observed, components) {
        return homeless;
    }
    if let Some(lost) = components.iter().find_map(|component| lost(observed, *component)) {
        return Isolation::Lost(lost);
    }
    if let Some(part) = components.iter().find(|part| since(observed, **part).is_some_and(|at| now >= at)) {
        return Isolation::Unprovided(unprovided(observed, *part));
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
        if !known && components.len() > 1 && !is_development(observed) {
            return Isolation::Unknown(format!(
                "host {on} of the {} reports no machine id or boot id",
                component.spoken()
            ));
        }
    }
    let hosts = placed.iter().map(|(component, on)| format!("{} on {on}", component.spoken()));
    let hosts = hosts.collect::<Vec<_>>().join(", ");
    match kernel(observed, &placed) {
        Some(kernel) => Isolation::SharedKernel(format!(
            "{hosts}; {kernel}, as hosts in containers do: that will do for profile Development and for no other"
        )),
        None => Isolation::Isolated(hosts),
    }
}

/// What to do about the host of a part where it no longer reports.
#[must_use]
pub fn lost(observed: &Observed, component: Component) -> Option<String> {
    let host = observed.pods.get(&component)?.host.as_deref()?;
    observed.hosts.get(host)?.lost.then(|| {
        format!(
            "host {host} of the {} does not report: bring it back; or, once it is sure to be off and stay off, have its pods and volumes let go: kubectl taint nodes {host} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute, see \"A host that is gone\" in docs/operations.md",
            component.spoken()
        )
    })
}

/// When a pod that has no host, and that the scheduler has not refused one, has waited too long for its volume: with
/// `WaitForFirstConsumer` a host is chosen first and given when the volume is there.
fn since(observed: &Observed, part: Component) -> Option<Timestamp> {
    let pod = observed.pods.get(&part)?;
    let waits = pod.host.is_none() && pod.unschedulable.is_none() && !pod.terminating;
    let is_pending = waits && observed.volumes.get(&part).is_some_and(|volume| !volume.bound);
    pod.created.filter(|_| is_pending)?.checked_add(PATIENCE).ok()
}

/// When a volume is looked for that is not there yet.
#[must_use]
pub fn next(observed: &Observed, now: Timestamp) -> Option<Timestamp> {
    observed.pods.keys().filter_map(|part| since(observed, *part)).filter(|at| *at > now).min()
}

/// Whether the volume of a pod has not come for so long that its storage driver is to be asked.
#[must_use]
pub fn is_unprovided(pod: &Pod, volume: &Volume, now: Timestamp) -> bool {
    let is_old = pod.created.is_some_and(|created| now.duration_since(created) >= PATIENCE);
    is_old && pod.host.is_none() && !volume.bound
}

fn unprovided(observed: &Observed, part: Component) -> String {
    format!(
        "nobody provides the {}'s volume: {} has had none for more than a minute. Look at what provides volumes of that class, and whether it knows that access mode (storage.accessMode){}",
        part.spoken(),
        asked(observed, part),
        said(observed, part)
    )
}

/// A claim, with what it asks for.
fn asked(observed: &Observed, part: Component) -> String {
    let claim = validate::names_of(observed).claim(part);
    let Some(volume) = observed.volumes.get(&part) else { return format!("PersistentVolumeClaim {claim}") };
    let class = volume.class.as_deref().map_or("the default class".into(), |class| format!("class {class}"));
    let mode = volume.mode.as_deref().unwrap_or("no access mode");
    format!("PersistentVolumeClaim {claim} ({class}, {mode}, {})", volume.size)
}

/// What the storage driver says.
fn said(observed: &Observed, part: Component) -> String {
    let said = observed.volumes.get(&part).and_then(|volume| volume.said.as_deref());
    said.map(|said| format!("; it says: \"{said}\"")).unwrap_or_default()
}

/// Hosts of a laptop mostly are containers of one kernel.
fn is_development(observed: &Observed) -> bool {
    observed.node.spec.profile == Profile::Development
}

/// Why two pods are on one machine.
fn shared(observed: &Observed, on: &str, beside: &str) -> Option<String> {
    if on == beside {
        return Some("it is one host".into());
    }
    one_machine(observed, observed.hosts.get(on)?, observed.hosts.get(beside)?)
}

/// Why two hosts are one machine. For development a kernel that they share is not enough.
fn one_machine(observed: &Observed, one: &Host, other: &Host) -> Option<String> {
    if !one.machine_id.is_empty() && one.machine_id == other.machine_id {
        return Some(format!("both hosts report machine id {}", one.machine_id));
    }
    one_kernel(one, other).filter(|_| !is_development(observed))
}

/// Why two hosts have one kernel.
fn one_kernel(one: &Host, other: &Host) -> Option<String> {
    let is_one = !one.boot_id.is_empty() && one.boot_id == other.boot_id;
    is_one.then(|| format!("both hosts report boot id {}", one.boot_id))
}

/// What speaks against a kernel for each part.
fn kernel(observed: &Observed, placed: &[(Component, &str)]) -> Option<String> {
    let hosts: Vec<_> = placed.iter().filter_map(|(_, on)| Some((*on, observed.hosts.get(*on)?))).collect();
    for (i, (name, one)) in hosts.iter().enumerate() {
        for (beside, other) in &hosts[i + 1..] {
            if let Some(why) = one_kernel(one, other) {
                return Some(format!("{name} and {beside} share a kernel ({why})"));
            }
        }
        if hosts.len() > 1 && (one.boot_id.is_empty() || one.machine_id.is_empty()) {
            return Some(format!(
                "{name}, which reports no machine id or boot id, may share a kernel with others"
            ));
        }
    }
    None
}

/// Why a part has no host, and whether that ends by itself when something comes back.
fn homeless(observed: &Observed, components: &[Component]) -> Option<Isolation> {
    let (part, why) = components
        .iter()
        .find_map(|part| Some((*part, observed.pods.get(part)?.unschedulable.as_deref()?)))?;
    let judged = match observed.volumes.get(&part) {
        Some(volume) if volume.reach.is_some() => pinned(observed, part, volume),
        _ => anywhere(observed, part, (components, why)),
    };
    let why = super::quoted::quoted(why);
    Some(match judged {
        Ok(waits) => Isolation::Waits(format!("{waits}. The scheduler says: {why}")),
        Err(lacks) => Isolation::NoHost(format!(
            "no host is left for the {}: {lacks}. The scheduler says: {why}",
            part.spoken()
        )),
    })
}

/// Its data is on some hosts and on no other: what comes back is waited for, `Err` where nothing is to.
fn pinned(observed: &Observed, part: Component, volume: &Volume) -> Result<String, String> {
    let terms = volume.reach.as_deref().unwrap_or_default();
    let reached: Vec<_> = observed
        .hosts
        .iter()
        .filter(|(name, host)| terms.iter().any(|term| selects(term, name, host)))
        .collect();
    let (part, volume) = (part.spoken(), volume.volume.as_deref().unwrap_or_default());
    if reached.is_empty() {
        return Ok(format!(
            "the {part} waits for the host of its volume {volume}, which is not there ({}): bring it back. Where it is gone for good its data is too: see \"A host that is gone\" in docs/operations.md",
            terms.iter().map(spoken).collect::<Vec<_>>().join(" or ")
        ));
    }
    let closed: Vec<_> = reached.iter().filter(|(_, host)| !host.schedulable).copied().collect();
    if closed.len() == reached.len() {
        return Ok(format!(
            "the {part} waits for the host that has its volume {volume}: {}",
            ways_back(&closed)
        ));
    }
    let names: Vec<_> = reached.iter().map(|(name, _)| name.as_str()).collect();
    Err(format!("its volume {volume} is on {}, which does not take it: make room there", names.join(", ")))
}

/// It may go to any host that its spec selects.
fn anywhere(
    observed: &Observed,
    part: Component,
    (components, why): (&[Component], &str),
) -> Result<String, String> {
    let of = |part| hosts(&observed.node.spec.placement, part);
    let fitting: Vec<_> = observed.hosts.iter().filter(|(_, host)| fits(host, of(part))).collect();
    // parts with hosts of their own take none of these
    let needed = components.iter().filter(|other| of(**other) == of(part)).count();
    let (open, closed): (Vec<_>, Vec<_>) = fitting.iter().partition(|(_, host)| host.schedulable);
    let count = |hosts: &[(&String, &Host)]| {
        machines(observed, &hosts.iter().map(|(_, host)| *host).collect::<Vec<_>>())
    };
    let (usable, all) = (count(&open), count(&fitting));
    if usable >= needed && NO_VOLUME.iter().any(|said| why.contains(said)) {
        return Ok(format!(
            "no volume is left for the {}, on any host it could have: {} waits for one. Add a volume, or look at what provides them; a machine is not what is missing{}",
            part.spoken(),
            asked(observed, part),
            said(observed, part)
        ));
    }
    if !closed.is_empty() && all >= needed {
        return Ok(format!("the {} waits for a host: {}", part.spoken(), ways_back(&closed)));
    }
    if usable >= needed {
        let is_spread = part == Component::Client
            && observed.node.spec.role == Role::Validator
            && observed.node.spec.placement.spread == Spread::Required;
        let alone = if is_spread {
            ", or set placement.spread to Preferred: it is Required, so that each validator of the network needs a host of its own"
        } else {
            ""
        };
        return Err(format!(
            "{usable} machines can be used, none with room for it: add room or a machine{alone}"
        ));
    }
    let back = if closed.is_empty() { String::new() } else { format!("; {}", ways_back(&closed)) };
    Err(format!(
        "{needed} machines are needed, one for each part, and {usable} can be used: add {}{back}",
        needed - all
    ))
}

/// How closed hosts are opened again.
fn ways_back(closed: &[(&String, &Host)]) -> String {
    let way = |(name, host): &(&String, &Host)| {
        if host.cordoned {
            format!("{name} is cordoned, let it take pods again (kubectl uncordon {name})")
        } else {
            format!("{name} is not ready, bring it back")
        }
    };
    closed.iter().map(way).collect::<Vec<_>>().join("; ")
}

/// What the scheduler says where it is a volume that is missing.
const NO_VOLUME: [&str; 3] = [
    "didn't find available persistent volumes to bind",
    "unbound immediate PersistentVolumeClaims",
    "bound to non-existent pv",
];

/// Taints that a cluster puts on a host while it is closed, and takes off again by itself.
const WHILE_CLOSED: [&str; 3] =
    ["node.kubernetes.io/unschedulable", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// Whether the scheduler may put a pod of the node there once it is open, room aside.
fn fits(host: &Host, wanted: Hosts<'_>) -> bool {
    let tolerated = |taint: &Taint| {
        WHILE_CLOSED.contains(&taint.key.as_str()) || wanted.tolerations.iter().any(|by| tolerates(by, taint))
    };
    wanted.node_selector.iter().all(|(key, value)| host.labels.get(key) == Some(value))
        && host.taints.iter().all(tolerated)
}

/// Whether a term selects a host. What we do not know of does not speak against it.
fn selects(term: &NodeSelectorTerm, name: &str, host: &Host) -> bool {
    let holds = |needed: &NodeSelectorRequirement, found: Option<&str>| {
        let listed = found.is_some_and(|found| needed.values.iter().flatten().any(|value| value == found));
        match needed.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => found.is_some(),
            "DoesNotExist" => found.is_none(),
            _ => true,
        }
    };
    let labels = term.match_expressions.iter().flatten();
    let fields = term.match_fields.iter().flatten();
    labels.into_iter().all(|needed| holds(needed, host.labels.get(&needed.key).map(String::as_str)))
        && fields.into_iter().all(|needed| holds(needed, Some(name)))
}

fn spoken(term: &NodeSelectorTerm) -> String {
    let all = term.match_expressions.iter().chain(&term.match_fields).flatten();
    let words = all.map(|needed| {
        let values = needed.values.iter().flatten().cloned().collect::<Vec<_>>();
        format!("{} {} {}", needed.key, needed.operator, values.join(", "))
    });
    words.collect::<Vec<_>>().join(" and ")
}

fn tolerates(tolerated: &Tolerated, taint: &Taint) -> bool {
    tolerated.key == taint.key
        && tolerated.value.as_ref().is_none_or(|value| *value == taint.value)
        && tolerated.effect.is_none_or(|effect| format!("{effect:?}") == taint.effect)
}

/// How many machines hosts really are.
fn machines(observed: &Observed, hosts: &[&Host]) -> usize {
    let mut machines: Vec<Vec<&Host>> = Vec::new();
    for host in hosts {
        // a host may be what two others have in common
        let is_same =
            |machine: &Vec<&Host>| machine.iter().any(|other| one_machine(observed, host, other).is_some());
        let (same, others): (Vec<_>, Vec<_>) = machines.into_iter().partition(is_same);
        machines = others;
        machines.push(same.into_iter().flatten().chain([*host]).collect());
    }
    machines.len()
}

#[cfg(test)]
mod tests;
