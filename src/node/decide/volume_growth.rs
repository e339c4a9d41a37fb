//! Resizing of volumes. The operator raises the request of a claim, or lowers a request that was not granted. A
//! StatefulSet's claim template is immutable, so the operator then recreates the StatefulSet around its pod. The pod
//! does not restart, because revisions do not include claim templates.

use k8s_openapi::api::core::v1::NodeSelectorTerm;
use kube::api::ObjectMeta;

use crate::{
    model::{
        fault::{Fault, Reason},
        names::{Component, Names},
    },
    node::{
        desired::components,
        observed::{Observed, Pod, Workload},
        validate::{Database, Validated},
    },
};

/// State of a component's PersistentVolumeClaim.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Volume {
    /// Metadata of the claim.
    pub claim: ObjectMeta,
    /// Requested size.
    pub size: String,
    /// Capacity of its volume; `None` without one.
    pub capacity: Option<String>,
    /// Progress of a resize.
    pub resizing: Resizing,
    /// Whether it has a volume. A claim without one cannot be changed.
    pub bound: bool,
    /// Its storage class.
    pub class: Option<String>,
    /// Requested access mode, while it has no volume.
    pub mode: Option<String>,
    /// Message of the storage driver, where a pod has waited long for the volume.
    pub said: Option<String>,
    /// Name of its volume.
    pub volume: Option<String>,
    /// Node affinity of the volume: one of these terms must select a host for the volume to be reachable from it.
    /// `None` where the volume has no such terms, or they were not read because the pod has a host.
    pub reach: Option<Vec<NodeSelectorTerm>>,
}

/// Progress of a volume towards the requested size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Resizing {
    /// The storage driver is resizing the volume, or has not begun.
    #[default]
    Driver,
    /// The driver has finished; the file system grows now, or when the pod starts.
    FileSystem,
    /// The resize failed, with the driver's message.
    Failed(String),
}

/// Next step for a component's volume.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Do nothing: the size is right, or a precondition is not met yet.
    Rest,
    /// Set the claim's request to this size.
    Resize(Box<Volume>, String),
    /// The claim requests the right size: recreate the workload with a matching template.
    Renew,
    /// The size in the spec is not possible.
    Stuck(Fault),
}

/// The next step. The claim comes first: a workload is never recreated for a size that its claim does not request.
#[must_use]
pub fn next(observed: &Observed, node: &Validated, part: Component) -> Step {
    let Some(wanted) = wanted(node, part) else { return Step::Rest };
    let template = observed.workloads.get(&part).and_then(|workload| workload.size.as_deref());
    let grows = template.is_some_and(|size| is_smaller(size, wanted));
    let Some(volume) = observed.volumes.get(&part) else {
        // a running pod has a claim, which then lacks the operator's labels
        let runs = observed.pods.get(&part).is_some_and(|pod| pod.ready);
        let unlabelled = grows && observed.unwatchable.is_empty() && runs;
        return if unlabelled { Step::Stuck(unlabelled_claim(node, part, wanted)) } else { Step::Rest };
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

/// Previous and present size of the spec.
struct Sizes<'a> {
    /// Size in the workload's template, which an earlier spec asked for, if that is larger.
    template: Option<&'a str>,
    wanted: &'a str,
}

/// The next step where a claim requests more than the spec. The operator lowers a request of an earlier spec, but
/// leaves a size that another writer put into the claim.
fn larger(part: Component, volume: &Volume, sizes: Sizes<'_>) -> Step {
    let Sizes { template, wanted } = sizes;
    match (template, &volume.capacity) {
        // a claim created from the new template has the right size
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

fn unlabelled_claim(node: &Validated, part: Component, wanted: &str) -> Fault {
    let labels = node.names.pod_labels(part);
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Fault::new(
        Reason::GrowthRefused,
        field(part),
        wanted,
        format!(
            "PersistentVolumeClaim {} lacks the labels {}, so the operator does not resize the claim: add these labels to the claim",
            node.names.claim(part),
            labels.join(" and ")
        ),
    )
}

/// The fault where the server rejects a change of the claim's request.
#[must_use]
pub fn refused(part: Component, volume: &Volume, wanted: &str, why: &str) -> Fault {
    let name = volume.claim.name.as_deref().unwrap_or_default();
    if is_smaller(wanted, &volume.size) {
        let remedy = format!(
            "PersistentVolumeClaim {name} still requests {}, because the API server rejects the change: {why}. Set this field to {} or more. The operator retries every minute, and pods keep running",
            volume.size, volume.size
        );
        return Fault::new(Reason::ShrinkRefused, field(part), wanted, remedy);
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
            "PersistentVolumeClaim {name} still requests {}, because the API server rejects the change: {why}. Depending on that cause, set allowVolumeExpansion: true on {class}, or raise the quota. The operator retries every minute, and pods keep running",
            volume.size
        ),
    )
}

/// The fault where the spec asks for less than the volume has, or for exactly that while the claim requests more. The
/// server permits a lower request only above the capacity.
#[must_use]
pub fn shrinks(part: Component, volume: &Volume, (capacity, wanted): (&str, &str)) -> Fault {
    let name = volume.claim.name.as_deref().unwrap_or_default();
    let remedy = if is_smaller(capacity, &volume.size) {
        format!(
            "PersistentVolumeClaim {name} requests {} and has {capacity}, and the API server permits a lower request only above {capacity}: set this field to more than {capacity}",
            volume.size
        )
    } else {
        format!(
            "PersistentVolumeClaim {name} requests {}, its volume has {capacity}, and a volume cannot be made smaller: set this field to {} or more",
            volume.size, volume.size
        )
    };
    let remedy = format!("{remedy}; the operator applies other changes, and pods keep running");
    Fault::new(Reason::ShrinkRefused, field(part), wanted, remedy)
}

fn has_no_volume(part: Component, volume: &Volume, wanted: &str) -> Fault {
    let name = volume.claim.name.as_deref().unwrap_or_default();
    let remedy = format!(
        "PersistentVolumeClaim {name} requests {} and has no volume yet, and a claim without a volume cannot be changed. Delete the claim and its pod, which are then created again with {wanted}; or set this field to {} or more",
        volume.size, volume.size
    );
    Fault::new(Reason::ShrinkRefused, field(part), wanted, remedy)
}

/// Whether a client runs without its workload, which is about to be recreated.
#[must_use]
pub fn runs_alone(workload: Option<&Workload>, pod: Option<&Pod>, address: Option<&str>) -> bool {
    let runs = pod.and_then(|pod| pod.identity.as_deref());
    workload.is_none() && runs.is_some() && runs == address
}

/// [`runs_alone`] for the node's own client.
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

/// The field with the size of a component's volume.
#[must_use]
pub fn field(part: Component) -> &'static str {
    match part {
        Component::Database => "spec.transactionManager.database.managed.storage.size",
        Component::Client | Component::TransactionManager => "spec.client.storage.size",
    }
}

/// Whether one size is less than another; false where either is invalid.
#[must_use]
pub fn is_smaller(size: &str, than: &str) -> bool {
    matches!((thousandths(size), thousandths(than)), (Some(size), Some(than)) if size < than)
}

/// A Kubernetes quantity in thousandths of a byte; `None` where it is invalid.
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

/// Whether this is the name of a surplus pod: a part's pod with an ordinal above 0.
#[must_use]
pub fn is_beyond(names: &Names, pod: &str) -> bool {
    Component::ALL.iter().any(|part| {
        let ordinal = pod.strip_prefix(&names.workload(*part)).and_then(|rest| rest.strip_prefix('-'));
        ordinal.is_some_and(|ordinal| ordinal.parse::<u32>().is_ok_and(|ordinal| ordinal > 0))
    })
}

/// Parts that the node no longer has but whose pod still runs without a workload: the workload was removed to be
/// recreated, and then the spec dropped the part.
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
