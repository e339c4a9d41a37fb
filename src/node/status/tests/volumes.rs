//! Tests of volumes that have less than their claims request.

use super::*;
use crate::node::decide::volume_growth::{Resizing, Volume};

fn resizing(capacity: &str, resizing: Resizing) -> QuorumNodeStatus {
    let mut observed = in_order(member());
    let volume = Volume {
        size: "30Gi".into(),
        capacity: Some(capacity.into()),
        resizing,
        bound: true,
        ..Volume::default()
    };
    observed.volumes.insert(Component::Database, volume);
    report(&observed)
}

/// One status for each reason.
pub(super) fn all() -> Vec<QuorumNodeStatus> {
    let ways = [Resizing::Driver, Resizing::FileSystem, Resizing::Failed("no room on the array".into())];
    ways.map(|way| resizing("20Gi", way)).into()
}

#[test]
fn a_volume_that_is_to_be_larger_is_told_and_the_node_is_ready_all_the_same() {
    let sizes = "PersistentVolumeClaim data-bob-tm-db-0 requests 30Gi and has 20Gi";
    let messages = [
        ("Resizing", "the storage driver has not expanded the volume yet"),
        ("FileSystemResizePending", "the file system has not been expanded yet"),
        (
            "ResizeFailed",
            "no room on the array): correct the cause, or set spec.transactionManager.database.managed.storage.size to a smaller size that is still above 20Gi",
        ),
    ];
    for (status, (reason, part)) in all().iter().zip(messages) {
        let found = condition(status, "VolumesResized").expect("told");
        assert_eq!((found.status.as_str(), found.reason.as_str()), ("False", reason));
        assert!(found.message.starts_with(sizes) && found.message.contains(part), "{}", found.message);
        assert_eq!(ready(status).status, "True");
        assert!(condition(status, "Stalled").is_none() && condition(status, "Reconciling").is_none());
    }
    assert!(condition(&resizing("30720Mi", Resizing::Driver), "VolumesResized").is_none(), "it is done");
    assert!(condition(&resizing("40Gi", Resizing::Driver), "VolumesResized").is_none());
}
