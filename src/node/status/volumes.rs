//! Condition `VolumesResized`: whether volumes have the sizes that their claims request. Not part of `Ready`: pods keep
//! running meanwhile.

use super::{Finding, finding};
use crate::{
    model::names::Component,
    node::{
        decide::volume_growth::{self, Resizing, Volume},
        observed::Observed,
        validate::Validated,
    },
};

/// Maximum length of a driver's message.
const MAX_MESSAGE: usize = 300;

pub(crate) fn volumes_resized(observed: &Observed, node: &Validated) -> Option<Finding> {
    let pending: Vec<_> = [Component::Client, Component::Database]
        .into_iter()
        .filter_map(|part| pending_resize(part, &node.names.claim(part), observed.volumes.get(&part)?))
        .collect();
    let reasons = ["ResizeFailed", "FileSystemResizePending", "Resizing"];
    let worst = reasons.into_iter().find(|reason| pending.iter().any(|(found, _)| found == reason))?;
    let messages: Vec<_> = pending.into_iter().map(|(_, message)| message).collect();
    Some(finding("VolumesResized", "False", worst, messages.join("; ")))
}

/// Reason and message where a volume has less than its claim requests.
fn pending_resize(part: Component, name: &str, volume: &Volume) -> Option<(&'static str, String)> {
    let capacity = volume.capacity.as_deref().filter(|has| volume_growth::is_smaller(has, &volume.size))?;
    let sizes = format!("PersistentVolumeClaim {name} requests {} and has {capacity}", volume.size);
    Some(match &volume.resizing {
        Resizing::Driver => {
            ("Resizing", format!("{sizes}, because the storage driver has not expanded the volume yet"))
        }
        Resizing::FileSystem => (
            "FileSystemResizePending",
            format!(
                "{sizes}, because the file system has not been expanded yet. If the expansion takes long, evict the pod: some drivers expand the file system only when the pod starts"
            ),
        ),
        Resizing::Failed(why) => {
            let why: String = match why.chars().take(MAX_MESSAGE).collect::<String>() {
                none if none.is_empty() => "no reason given".into(),
                why => why,
            };
            let field = volume_growth::field(part);
            let remedy =
                format!("correct the cause, or set {field} to a smaller size that is still above {capacity}");
            (
                "ResizeFailed",
                format!("{sizes}, because the storage driver reports an error ({why}): {remedy}"),
            )
        }
    })
}
