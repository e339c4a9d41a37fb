//! Tests of pinning the genesis, which happens once `geth init` has accepted it.

use super::*;
use crate::node::observed::{Pod, Workload};

/// The pinned genesis of a node whose client is changed like this.
fn pinned_with(
    before: Option<GenesisStatus>,
    change: impl FnOnce(&mut Workload, &mut Pod),
) -> Option<GenesisStatus> {
    let mut observed = in_order(smallest());
    samples::status(&mut observed).genesis = before;
    let client = Component::Client;
    let pod = observed.pods.get_mut(&client).expect("a pod");
    change(observed.workloads.get_mut(&client).expect("a workload"), pod);
    report(&observed).genesis
}

/// A pinned genesis with another `config`.
fn earlier() -> GenesisStatus {
    GenesisStatus { sha256: "6f".repeat(32), ..samples::pinned() }
}

#[test]
fn what_init_has_taken_is_pinned_and_nothing_before_that() {
    assert_eq!(pinned_with(None, |_, _| {}), Some(samples::pinned()));
    assert_eq!(pinned_with(Some(earlier()), |_, _| {}), Some(samples::pinned()));
    let not_yet: [fn(&mut Workload, &mut Pod); 5] = [
        |_, pod| pod.initialised = false,
        |_, pod| pod.revision = Some("r6".into()),
        |workload, pod| (workload.update_revision, pod.revision) = (None, None),
        |workload, _| workload.settled = false,
        |workload, _| workload.genesis = Some("6f".repeat(32)),
    ];
    for change in not_yet {
        assert_eq!(pinned_with(None, change), None);
        assert_eq!(pinned_with(Some(earlier()), change), Some(earlier()));
    }
    let mut observed = in_order(smallest());
    observed.pods.clear();
    assert_eq!(report(&observed).genesis, None);
}

#[test]
fn a_status_of_an_earlier_version_gets_the_block_of_the_bytes_it_pins() {
    let old = GenesisStatus { block: None, ..samples::pinned() };
    assert_eq!(pinned_with(Some(old), |_, pod| pod.initialised = false), Some(samples::pinned()));
    let other = GenesisStatus { block: None, ..earlier() };
    assert_eq!(pinned_with(Some(other.clone()), |_, _| {}), Some(other));
}
