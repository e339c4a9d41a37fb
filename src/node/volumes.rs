//! Volumes that grow. A claim asks for more, or for less again of what it has not got; a StatefulSet's claim template cannot change, so the set is
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
    /// What it has; `None` where it has no volume.
    pub capacity: Option<String>,
    /// What is said of a volume that has not what is asked for.
    pub resizing: Resizing,
    /// Whether it has a volume: one without cannot be changed.
    pub bound: bool,
    /// Its storage class.
    pub class: Option<String>,
    /// How it asks to be mounted, where it has no volume.
    pub mode: Option<String>,
    /// What its storage driver says, where a pod has waited for it for a while.
    pub said: Option<String>,
    /// Its volume.
    pub volume: Option<String>,
    /// From which hosts the volume can be reached: from those that one of these terms selects. `None` where it has
    /// none, or was not looked at, since its pod has a host.
    pub reach: Option<Vec<NodeSelectorTerm>>,
}

/// How far a volume is on its way to the size that its claim asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Resizing {
    /// The storage driver is at it, or has not begun.
    #[default]
    Driver,
    /// The driver is done; the file system grows when its pod starts, or is about to.
    FileSystem,
    /// It failed, in the driver's words.
    Failed(String),
}

/// What comes next for a component's volume.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing: it is as it should be, or something must happen first.
    Rest,
    /// The claim is to ask for so much: for more, or for less than it asks for and has not got.
    Resize(Box<Volume>, String),
    /// The claim asks for what it should: the workload is to be made anew with a template that says so.
    Renew,
    /// It cannot be so.
    Stuck(Fault),
}

/// What comes next. The claim first: a workload is never taken away for a size that its claim has not got.
#[must_use]
pub fn next(observed: &Observed, node: &Validated, part: Component) -> Step {
    let Some(wanted) = wanted(node, part) else { return Step::Rest };
    let template = observed.workloads.get(&part).and_then(|workload| workload.size.as_deref());
    let grows = template.is_some_and(|size| is_smaller(size, wanted));
    let Some(volume) = observed.volumes.get(&part) else {
        // what runs has a claim: it is not one that we know as ours
        let runs = observed.pods.get(&part).is_some_and(|pod| pod.ready);
        let unlabelled = grows && observed.unseen.is_empty() && runs;
        return if unlabelled { Step::Stuck(is_not_labelled(node, part, wanted)) } else { Step::Rest };
    };
    if is_smaller(&volume.size, wanted) {
        let may = volume.bound && volume.claim.deletion_timestamp.is_none();
        return if may { Step::Resize(Box::new(volume.clone()), wanted.to_owned()) } else { Step::Rest };
    }
    let shrinks = template.is_some_and(|size| is_smaller(wanted, size));
    if is_smaller(wanted, &volume.size) && !grows {
        return larger(part, volume, Sizes { template: template.filter(|_| shrinks), wanted });
    }
    let same = thousandths(&volume.size) == thousandths(wanted);
    if grows || shrinks && same { Step::Renew } else { Step::Rest }
}

/// Sizes of the spec.
struct Sizes<'a> {
    /// What was asked for before, where that is more.
    template: Option<&'a str>,
    wanted: &'a str,
}

/// What comes next where a claim asks for more than the spec. A size that was asked for here is taken back; one that
/// somebody else wrote into the claim stays.
fn larger(part: Component, volume: &Volume, sizes: Sizes<'_>) -> Step {
    let Sizes { template, wanted } = sizes;
    match (template, &volume.capacity) {
        // what is made anew from the template is of the right size
        (Some(_), _) if !volume.bound => Step::Renew,
        (Some(before), _) if is_smaller(before, &volume.size) => Step::Renew,
        (Some(_), Some(capacity)) if !is_smaller(capacity, wanted) => {
            Step::Stuck(shrinks(part, volume, (capacity, wanted)))
        }
        (Some(_), _) if volume.claim.deletion_timestamp.is_none() => {
            Step::Resize(Box::new(volume.clone()), wanted.to_owned())
        }
        (None, _) if !volume.bound => Step::Stuck(has_no_volume(part, volume, wanted)),
        _ => Step::Rest,
    }
}

fn is_not_labelled(node: &Validated, part: Component, wanted: &str) -> Fault {
    let labels = node.names.pod_labels(part);
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Fault::new(
        Reason::GrowthRefused,
        field(part),
        wanted,
        format!(
            "PersistentVolumeClaim {} does not carry the labels {}: put them on it",
            node.names.claim(part),
            labels.join(" and ")
        ),
    )
}

/// What is told where the server refuses.
#[must_use]
pub fn refused(part: Component, volume: &Volume, wanted: &str, why: &str) -> Fault {
    let name = volume.claim.name.as_deref().unwrap_or_default();
    if is_smaller(wanted, &volume.size) {
        let way_out = format!(
            "PersistentVolumeClaim {name} goes on asking for {}, since the server says: {why}. Set it to {} or more; it is tried again each minute, and what runs goes on",
            volume.size, volume.size
        );
        return Fault::new(Reason::ShrinkRefused, field(part), wanted, way_out);
    }
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

/// What is told where less was asked for than the volume has, or as much while its claim asks for more: a claim may
/// ask for less again, as long as that is more than it has.
#[must_use]
pub fn shrinks(part: Component, volume: &Volume, (capacity, wanted): (&str, &str)) -> Fault {
    let name = volume.claim.name.as_deref().unwrap_or_default();
    let way_out = if is_smaller(capacity, &volume.size) {
        format!(
            "PersistentVolumeClaim {name} asks for {} and has {capacity}, and the server lets it ask for less only as long as that is more than it has: set it to more than {capacity}",
            volume.size
        )
    } else {
        format!(
            "PersistentVolumeClaim {name} has {capacity}, and a volume cannot be made smaller: set it to {} or more",
            volume.size
        )
    };
    let way_out = format!("{way_out}; nothing else waits for it, and what runs goes on");
    Fault::new(Reason::ShrinkRefused, field(part), wanted, way_out)
}

fn has_no_volume(part: Component, volume: &Volume, wanted: &str) -> Fault {
    let name = volume.claim.name.as_deref().unwrap_or_default();
    let way_out = format!(
        "PersistentVolumeClaim {name} asks for {} and has no volume yet, and a claim without one cannot be changed: delete it and its pod, which are made anew with {wanted}, or set it to {} or more",
        volume.size, volume.size
    );
    Fault::new(Reason::ShrinkRefused, field(part), wanted, way_out)
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

/// The field that says how large a component's volume is to be.
#[must_use]
pub fn field(part: Component) -> &'static str {
    match part {
        Component::Database => "spec.transactionManager.database.managed.storage.size",
        Component::Client | Component::TransactionManager => "spec.client.storage.size",
    }
}

/// Whether one size is less than another. One that cannot be read is less than none: it is left alone.
#[must_use]
pub fn is_smaller(size: &str, than: &str) -> bool {
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
