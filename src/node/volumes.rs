//! Volumes that grow. A claim is asked for more; a StatefulSet's claim template cannot change, so the set is
//! then made anew around its pod. The pod is not restarted: no revision has a claim template in it.

use k8s_openapi::api::core::v1::NodeSelectorTerm;
use kube::api::ObjectMeta;

use super::{
    desired::components,
    fault::{Fault, Reason},
    names::{Component, Names},
    observed::{Observed, Pod, Workload},
    validate::{Database, Validated},
};

/// The claim of a component, as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Volume {
    /// Which object it is.
    pub claim: ObjectMeta,
    /// What it asks for.
    pub size: String,
    /// Whether it has a volume: one without cannot be changed.
    pub bound: bool,
    /// Its storage class.
    pub class: Option<String>,
    /// Its volume.
    pub volume: Option<String>,
    /// From which hosts the volume can be reached: from those that one of these terms selects. `None` where it has
    /// none, or was not looked at, since its pod has a host.
    pub reach: Option<Vec<NodeSelectorTerm>>,
}

/// What comes next for a component's volume.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing: it is as it should be, or something must happen first.
    Rest,
    /// The claim is to ask for so much.
    Grow(Box<Volume>, String),
    /// The claim has it: the workload is to be made anew with a template that says so.
    Renew,
    /// It cannot grow.
    Stuck(Fault),
}

/// What comes next. The claim first: a workload is never taken away for a size that its claim has not got.
#[must_use]
pub fn next(observed: &Observed, node: &Validated, part: Component) -> Step {
    let Some(wanted) = wanted(node, part) else { return Step::Rest };
    let template = observed.workloads.get(&part).and_then(|workload| workload.size.as_deref());
    let renews = template.is_some_and(|size| is_smaller(size, wanted));
    match observed.volumes.get(&part) {
        Some(volume) if is_smaller(&volume.size, wanted) => {
            let may = volume.bound && volume.claim.deletion_timestamp.is_none();
            if may { Step::Grow(Box::new(volume.clone()), wanted.to_owned()) } else { Step::Rest }
        }
        Some(_) if renews => Step::Renew,
        // a claim may have more than was ever asked for here; only what was asked for before is taken back
        Some(volume) if is_smaller(wanted, &volume.size) => {
            let before = template.filter(|before| is_smaller(wanted, before));
            before.map_or(Step::Rest, |before| Step::Stuck(shrinks(part, volume, before, wanted)))
        }
        // what runs has a claim: it is not one that we know as ours
        None if renews
            && observed.unseen.is_empty()
            && observed.pods.get(&part).is_some_and(|pod| pod.ready) =>
        {
            let labels = node.names.pod_labels(part);
            let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            Step::Stuck(Fault::new(
                Reason::GrowthRefused,
                field(part),
                wanted,
                format!(
                    "PersistentVolumeClaim {} does not carry the labels {}: put them on it",
                    node.names.claim(part),
                    labels.join(" and ")
                ),
            ))
        }
        _ => Step::Rest,
    }
}

/// What is told where the server refuses.
#[must_use]
pub fn refused(part: Component, volume: &Volume, wanted: &str, why: &str) -> Fault {
    let name = volume.claim.name.as_deref().unwrap_or_default();
    let class = volume
        .class
        .as_deref()
        .map_or("its storage class".to_owned(), |class| format!("StorageClass {class}"));
    Fault::new(
        Reason::GrowthRefused,
        field(part),
        wanted,
        format!(
            "PersistentVolumeClaim {name} keeps {}, since the server says: {why}. Set allowVolumeExpansion: true on {class}, or raise the quota, as it says; it is tried again each minute, and what runs goes on",
            volume.size
        ),
    )
}

/// What is told of a volume that is to be smaller than it is, and than was asked for before.
#[must_use]
pub fn shrinks(part: Component, volume: &Volume, before: &str, wanted: &str) -> Fault {
    let name = volume.claim.name.as_deref().unwrap_or_default();
    Fault::new(
        Reason::ShrinkRefused,
        field(part),
        wanted,
        format!(
            "PersistentVolumeClaim {name} keeps {}, as a volume cannot be made smaller: set it to {before} or more; nothing else waits for it, and what runs goes on",
            volume.size
        ),
    )
}

/// Whether a client runs whose workload is gone: one that was taken away to be made anew.
#[must_use]
pub fn runs_alone(workload: Option<&Workload>, pod: Option<&Pod>, address: Option<&str>) -> bool {
    let runs = pod.and_then(|pod| pod.identity.as_deref());
    workload.is_none() && runs.is_some() && runs == address
}

/// As [`runs_alone`], of the node's own client.
#[must_use]
pub fn client_runs_alone(observed: &Observed) -> bool {
    let status = observed.node.status.as_ref();
    let address =
        status.and_then(|status| status.identity.as_ref()).map(|identity| identity.address.as_str());
    let client = Component::Client;
    runs_alone(observed.workloads.get(&client), observed.pods.get(&client), address)
}

fn wanted(node: &Validated, part: Component) -> Option<&str> {
    match part {
        Component::Client => Some(&node.spec.client.storage.size),
        Component::TransactionManager => None,
        Component::Database => match &node.manager.as_ref()?.database {
            Database::Managed(database) => Some(&database.storage.size),
            Database::External(..) => None,
        },
    }
}

fn field(part: Component) -> &'static str {
    match part {
        Component::Database => "spec.transactionManager.database.managed.storage.size",
        Component::Client | Component::TransactionManager => "spec.client.storage.size",
    }
}

/// Whether one size is less than another. One that cannot be read is less than none: it is left alone.
fn is_smaller(size: &str, than: &str) -> bool {
    matches!((thousandths(size), thousandths(than)), (Some(size), Some(than)) if size < than)
}

/// A quantity as the server keeps it, in thousandths of a byte.
fn thousandths(quantity: &str) -> Option<u128> {
    let end = quantity.find(|sign: char| !sign.is_ascii_digit() && sign != '.').unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(end);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let exponent: u32 = match unit {
        "m" => return number.parse().ok(),
        "" => 0,
        "k" | "Ki" => 1,
        "M" | "Mi" => 2,
        "G" | "Gi" => 3,
        "T" | "Ti" => 4,
        "P" | "Pi" => 5,
        "E" | "Ei" => 6,
        _ => return None,
    };
    let step: u128 = if unit.ends_with('i') { 1024 } else { 1000 };
    let unit = step.pow(exponent).checked_mul(1000)?;
    let digits: u128 = [whole, part].concat().parse().ok()?;
    let scale = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
    Some(digits.checked_mul(unit)? / scale)
}

/// Whether a pod of this name would be one beyond the first of a part of the node.
#[must_use]
pub fn is_beyond(names: &Names, pod: &str) -> bool {
    Component::ALL.iter().any(|part| {
        let ordinal = pod.strip_prefix(&names.workload(*part)).and_then(|rest| rest.strip_prefix('-'));
        ordinal.is_some_and(|ordinal| ordinal.parse::<u32>().is_ok_and(|ordinal| ordinal > 0))
    })
}

/// Parts that the node no longer has, whose pods nothing manages any more: their workload was taken away to
/// be made anew, and is no longer wanted.
#[must_use]
pub fn left_behind(observed: &Observed, node: &Validated) -> Vec<Component> {
    let parts = components(node);
    let is_left = |part: &Component| {
        let pod = observed.pods.get(part);
        pod.is_some_and(|pod| pod.unmanaged && !pod.terminating)
            && !observed.workloads.contains_key(part)
            && !parts.contains(part)
    };
    Component::ALL.into_iter().filter(is_left).collect()
}

#[cfg(test)]
mod tests;
