//! Whether volumes have what their claims ask for. No part of being ready: what runs goes on with what it has.

use super::{Finding, finding};
use crate::node::{
    names::Component,
    observed::Observed,
    validate::Validated,
    volumes::{self, Resizing, Volume},
};

/// How much of a driver's words is told.
const SHOWN: usize = 300;

pub(super) fn volumes_resized(observed: &Observed, node: &Validated) -> Option<Finding> {
    let told: Vec<_> = [Component::Client, Component::Database]
        .into_iter()
        .filter_map(|part| waits(part, &node.names.claim(part), observed.volumes.get(&part)?))
        .collect();
    let reasons = ["ResizeFailed", "FileSystemResizePending", "Resizing"];
    let worst = reasons.into_iter().find(|reason| told.iter().any(|(found, _)| found == reason))?;
    let messages: Vec<_> = told.into_iter().map(|(_, message)| message).collect();
    Some(finding("VolumesResized", "False", worst, messages.join("; ")))
}

/// Why a volume has less than its claim asks for.
fn waits(part: Component, name: &str, volume: &Volume) -> Option<(&'static str, String)> {
    let capacity = volume.capacity.as_deref().filter(|has| volumes::is_smaller(has, &volume.size))?;
    let asks = format!("PersistentVolumeClaim {name} asks for {} and has {capacity}", volume.size);
    Some(match &volume.resizing {
        Resizing::Driver => {
            ("Resizing", format!("{asks}: its storage driver has not made the volume larger yet"))
        }
        Resizing::FileSystem => (
            "FileSystemResizePending",
            format!("{asks}: its file system is still to grow; if that takes long, evict the pod"),
        ),
        Resizing::Failed(why) => {
            let why: String = match why.chars().take(SHOWN).collect::<String>() {
                none if none.is_empty() => "it cannot be done".into(),
                why => why,
            };
            let field = volumes::field(part);
            let remedy = format!("mend that, or set {field} to less, but to more than {capacity}");
            ("ResizeFailed", format!("{asks}, since its storage driver says: {why}: {remedy}"))
        }
    })
}
