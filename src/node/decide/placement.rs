//! Checks that the parts of a node run on separate machines. It compares the machine ids and boot ids of the actual
//! hosts, not labels, since two kubelets may share one machine.

mod fit;

use std::collections::BTreeMap;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::volume_growth::Volume;
use crate::{
    api::{
        node::{Profile, Role},
        placement::{Placement, Spread, Tolerated},
    },
    model::names::Component,
    node::{
        observed::{Host, Observed, Pod},
        validate,
    },
};
use fit::{fits, selects, spoken};

/// Result of the check, with its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Every part runs on a machine of its own.
    Isolated(String),
    /// Every part runs on a host of its own, but hosts share a kernel, or may. Only profile Development permits this.
    SharedKernel(String),
    /// Not every part has a host yet, or a host does not report its ids.
    Unknown(String),
    /// Parts share a machine.
    Shared(String),
    /// A part has no host, and gets one when a host or a volume comes back.
    Waits(String),
    /// A part could have a host, but its volume has not been provisioned.
    Unprovided(String),
    /// A part's host no longer reports, so it is unknown what runs there.
    Lost(String),
    /// The scheduler finds no host for a part, and none is expected back.
    NoHost(String),
}

/// Constraints on the hosts of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hosts<'a> {
    /// Labels that a host must have.
    pub node_selector: &'a BTreeMap<String, String>,
    /// Taints that are tolerated.
    pub tolerations: &'a [Tolerated],
}

/// The constraints on the hosts of a part: its own where the spec sets them, or else those of all parts.
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

/// Time that a storage driver has to provision a volume.
const VOLUME_TIMEOUT: SignedDuration = SignedDuration::from_secs(60);

/// Checks the isolation of the node's parts.
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
                    "the {one} (on host {on}) and the {other} (on host {beside}) share a machine, because {why}. Provide a machine for each part, then delete one of the two pods"
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
    if let Some(part) =
        components.iter().find(|part| overdue_at(observed, **part).is_some_and(|at| now >= at))
    {
        return Isolation::Unprovided(unprovided(observed, *part));
    }
    let missing: Vec<_> = components
        .iter()
        .filter(|component| placed.iter().all(|(there, _)| there != *component))
        .map(|component| component.spoken())
        .collect();
    if !missing.is_empty() {
        return Isolation::Unknown(format!("these parts are not scheduled yet: {}", missing.join(", ")));
    }
    for (component, on) in &placed {
        let known = observed
            .hosts
            .get(*on)
            .is_some_and(|host| !host.machine_id.is_empty() && !host.boot_id.is_empty());
        if !known && components.len() > 1 && !is_development(observed) {
            return Isolation::Unknown(format!(
                "host {on} of the {} reports no machine id or boot id: check status.nodeInfo of Node {on}",
                component.spoken()
            ));
        }
    }
    let hosts = placed.iter().map(|(component, on)| format!("{} on {on}", component.spoken()));
    let hosts = hosts.collect::<Vec<_>>().join(", ");
    match kernel(observed, &placed) {
        Some(kernel) => Isolation::SharedKernel(format!(
            "{hosts}; {kernel}; only profile Development permits a shared kernel"
        )),
        None => Isolation::Isolated(hosts),
    }
}

/// A message about a part's host that no longer reports; `None` where it does.
#[must_use]
pub fn lost(observed: &Observed, component: Component) -> Option<String> {
    let host = observed.pods.get(&component)?.host.as_deref()?;
    observed.hosts.get(host)?.lost.then(|| {
        format!(
            "host {host} of the {} does not report. Bring the host back. Or, once you are sure that the host is off and stays off, release its pods and volumes with kubectl taint nodes {host} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute, see \"A host that no longer reports\" in docs/operations.md",
            component.spoken()
        )
    })
}

/// When the volume of a part counts as overdue: its pod has no host, and the scheduler has not rejected it. With
/// `WaitForFirstConsumer` the scheduler chooses a host first but binds the pod only when the volume exists.
fn overdue_at(observed: &Observed, part: Component) -> Option<Timestamp> {
    let pod = observed.pods.get(&part)?;
    let waits = pod.host.is_none() && pod.unschedulable.is_none() && !pod.terminating;
    let is_pending = waits && observed.volumes.get(&part).is_some_and(|volume| !volume.bound);
    pod.created.filter(|_| is_pending)?.checked_add(VOLUME_TIMEOUT).ok()
}

/// When the next pending volume becomes overdue.
#[must_use]
pub fn next(observed: &Observed, now: Timestamp) -> Option<Timestamp> {
    observed.pods.keys().filter_map(|part| overdue_at(observed, *part)).filter(|at| *at > now).min()
}

/// Whether a pod has waited so long for its volume that the operator reads the storage driver's events.
#[must_use]
pub fn is_unprovided(pod: &Pod, volume: &Volume, now: Timestamp) -> bool {
    let is_old = pod.created.is_some_and(|created| now.duration_since(created) >= VOLUME_TIMEOUT);
    is_old && pod.host.is_none() && !volume.bound
}

fn unprovided(observed: &Observed, part: Component) -> String {
    format!(
        "the {} has no volume, because {} has been unbound for more than a minute. Check that the provisioner of the storage class runs, and that it supports the access mode (storage.accessMode){}",
        part.spoken(),
        asked(observed, part),
        driver_message(observed, part)
    )
}

/// A claim with its storage class, access mode and size.
fn asked(observed: &Observed, part: Component) -> String {
    let claim = validate::names_of(observed).claim(part);
    let Some(volume) = observed.volumes.get(&part) else { return format!("PersistentVolumeClaim {claim}") };
    let class = volume.class.as_deref().map_or("the default class".into(), |class| format!("class {class}"));
    let mode = volume.mode.as_deref().unwrap_or("no access mode");
    format!("PersistentVolumeClaim {claim} ({class}, {mode}, {})", volume.size)
}

/// The storage driver's message, if there is one.
fn driver_message(observed: &Observed, part: Component) -> String {
    let message = observed.volumes.get(&part).and_then(|volume| volume.said.as_deref());
    message.map(|message| format!("; the provisioner reports: \"{message}\"")).unwrap_or_default()
}

/// Whether hosts may share a kernel, as the container hosts of a laptop do.
fn is_development(observed: &Observed) -> bool {
    observed.node.spec.profile == Profile::Development
}

/// Why two pods are on one machine.
fn shared(observed: &Observed, on: &str, beside: &str) -> Option<String> {
    if on == beside {
        return Some("both run on one host".into());
    }
    one_machine(observed, observed.hosts.get(on)?, observed.hosts.get(beside)?)
}

/// Why two hosts are one machine. With profile Development, a shared kernel does not make them one.
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

/// Why parts share a kernel or may share one.
fn kernel(observed: &Observed, placed: &[(Component, &str)]) -> Option<String> {
    let hosts: Vec<_> = placed.iter().filter_map(|(_, on)| Some((*on, observed.hosts.get(*on)?))).collect();
    for (i, (name, one)) in hosts.iter().enumerate() {
        for (beside, other) in &hosts[i + 1..] {
            if let Some(why) = one_kernel(one, other) {
                return Some(format!("hosts {name} and {beside} share a kernel, because {why}"));
            }
        }
        if hosts.len() > 1 && (one.boot_id.is_empty() || one.machine_id.is_empty()) {
            return Some(format!(
                "host {name} reports no machine id or boot id, so it may share a kernel with another host"
            ));
        }
    }
    None
}

/// Why a part has no host, and whether a host or volume is expected back.
fn homeless(observed: &Observed, components: &[Component]) -> Option<Isolation> {
    let (part, why) = components
        .iter()
        .find_map(|part| Some((*part, observed.pods.get(part)?.unschedulable.as_deref()?)))?;
    let checked = match observed.volumes.get(&part) {
        Some(volume) if volume.reach.is_some() => pinned(observed, part, volume),
        _ => anywhere(observed, part, (components, why)),
    };
    let why = crate::model::redact::quoted(why);
    Some(match checked {
        Ok(waits) => Isolation::Waits(format!("{waits}. The scheduler reports: {why}")),
        Err(lacks) => Isolation::NoHost(format!(
            "no host is available for the {}: {lacks}. The scheduler reports: {why}",
            part.spoken()
        )),
    })
}

/// For a part whose volume only some hosts can reach: `Ok` says which host it waits for, `Err` why none is expected
/// back.
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
            "the {part} waits for the host of its volume {volume}, but no host matches the node affinity of the volume ({}). Bring that host back. If the host is lost for good, the data of the volume is lost too: see \"A host that is gone\" in docs/operations.md",
            terms.iter().map(spoken).collect::<Vec<_>>().join(" or ")
        ));
    }
    let closed: Vec<_> = reached.iter().filter(|(_, host)| !host.schedulable).copied().collect();
    if closed.len() == reached.len() {
        return Ok(format!(
            "the {part} waits for the host that has its volume {volume}: {}",
            how_to_open(&closed)
        ));
    }
    let names: Vec<_> = reached.iter().map(|(name, _)| name.as_str()).collect();
    let held =
        |other: &Component| observed.pods.get(other)?.host.as_deref().filter(|host| names.contains(host));
    let own = Component::ALL.into_iter().find_map(|other| Some((other, held(&other)?)));
    let remedy = match own {
        Some((other, host)) => format!(
            "host {host} already runs the {} of this node. Delete the pod {}-0, which then starts on another host",
            other.spoken(),
            validate::names_of(observed).workload(other)
        ),
        None => "free resources on one of these hosts".into(),
    };
    Err(format!("its volume {volume} is on {}, where the pod does not fit: {remedy}", names.join(", ")))
}

/// For a part that may run on any host that the spec selects: `Ok` says what it waits for, `Err` what is missing.
fn anywhere(
    observed: &Observed,
    part: Component,
    (components, why): (&[Component], &str),
) -> Result<String, String> {
    let of = |part| hosts(&observed.node.spec.placement, part);
    let fitting: Vec<_> = observed.hosts.iter().filter(|(_, host)| fits(host, of(part))).collect();
    // parts with other constraints do not compete for these hosts
    let needed = components.iter().filter(|other| of(**other) == of(part)).count();
    let (open, closed): (Vec<_>, Vec<_>) = fitting.iter().partition(|(_, host)| host.schedulable);
    let count = |hosts: &[(&String, &Host)]| {
        machines(observed, &hosts.iter().map(|(_, host)| *host).collect::<Vec<_>>())
    };
    let (usable, all) = (count(&open), count(&fitting));
    if usable >= needed && NO_VOLUME.iter().any(|said| why.contains(said)) {
        return Ok(format!(
            "the {} has no volume on any usable host, because {} is not bound. Add a volume, or check the provisioner of the storage class; more machines do not help{}",
            part.spoken(),
            asked(observed, part),
            driver_message(observed, part)
        ));
    }
    if !closed.is_empty() && all >= needed {
        return Ok(format!("the {} waits for a host: {}", part.spoken(), how_to_open(&closed)));
    }
    if usable >= needed {
        let is_spread = part == Component::Client
            && observed.node.spec.role == Role::Validator
            && observed.node.spec.placement.spread == Spread::Required;
        let alone = if is_spread {
            ", or set spec.placement.spread to Preferred, because with Required each validator of the network needs its own host"
        } else {
            ""
        };
        return Err(format!(
            "{usable} machines can be used, but none has room for the pod: free resources on one of them, or add a machine{alone}"
        ));
    }
    let back = if closed.is_empty() { String::new() } else { format!("; {}", how_to_open(&closed)) };
    Err(format!(
        "{needed} machines are needed, one for each part, but only {usable} can be used: add {} more{back}",
        needed - all
    ))
}

/// How to make unschedulable hosts schedulable again.
fn how_to_open(closed: &[(&String, &Host)]) -> String {
    let remedy = |(name, host): &(&String, &Host)| {
        if host.cordoned {
            format!("{name} is cordoned (allow pods on this host again with kubectl uncordon {name})")
        } else {
            format!("{name} is not ready (bring this host back)")
        }
    };
    closed.iter().map(remedy).collect::<Vec<_>>().join("; ")
}

/// The scheduler's messages about a missing volume.
const NO_VOLUME: [&str; 3] = [
    "didn't find available persistent volumes to bind",
    "unbound immediate PersistentVolumeClaims",
    "bound to non-existent pv",
];

/// Number of distinct machines among hosts.
fn machines(observed: &Observed, hosts: &[&Host]) -> usize {
    let mut machines: Vec<Vec<&Host>> = Vec::new();
    for host in hosts {
        // a host may have ids in common with two hosts that seemed distinct
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
