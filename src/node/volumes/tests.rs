use proptest::prelude::*;

use super::*;
use crate::node::{
    observed::samples::{in_order, member, spec},
    validate::validate,
};

/// `bob` in order: templates and claims ask for what the spec does.
fn settled() -> Observed {
    let mut observed = in_order(member());
    for (part, size) in [(Component::Client, "20Gi"), (Component::Database, "10Gi")] {
        observed.workloads.get_mut(&part).expect("it has one").size = Some(size.into());
        let volume = Volume { size: size.into(), bound: true, ..Volume::default() };
        observed.volumes.insert(part, volume);
    }
    observed
}

fn step(observed: &Observed, part: Component) -> Step {
    next(observed, &validate(observed).expect("a sample has no fault"), part)
}

fn grown() -> Observed {
    let mut observed = settled();
    spec(&mut observed).client.storage.size = "30Gi".into();
    observed
}

fn volume(observed: &mut Observed) -> &mut Volume {
    observed.volumes.get_mut(&Component::Client).expect("it has one")
}

#[test]
fn what_is_as_it_should_be_rests() {
    for part in Component::ALL {
        assert_eq!(step(&settled(), part), Step::Rest, "{part:?}");
    }
}

#[test]
fn the_claim_goes_before_the_workload_and_each_part_for_itself() {
    let mut observed = grown();
    let Step::Grow(_, size) = step(&observed, Component::Client) else { panic!("the claim first") };
    assert_eq!(size, "30Gi");
    assert_eq!(step(&observed, Component::Database), Step::Rest);
    volume(&mut observed).size = "30Gi".into();
    assert_eq!(step(&observed, Component::Client), Step::Renew);
    // the server may say it in its own way
    volume(&mut observed).size = "30720Mi".into();
    assert_eq!(step(&observed, Component::Client), Step::Renew);
    observed.workloads.get_mut(&Component::Client).expect("it has one").size = Some("32212254720".into());
    assert_eq!(step(&observed, Component::Client), Step::Rest);
}

#[test]
fn a_claim_that_cannot_be_changed_now_is_waited_for_and_so_is_the_workload() {
    let mut observed = grown();
    volume(&mut observed).bound = false;
    assert_eq!(step(&observed, Component::Client), Step::Rest);
    let mut observed = grown();
    observed.volumes.clear();
    observed.pods.clear();
    assert_eq!(step(&observed, Component::Client), Step::Rest, "no pod, no claim yet");
    let mut observed = grown();
    observed.volumes.clear();
    observed.unseen = vec!["claims cannot be watched".into()];
    assert_eq!(step(&observed, Component::Client), Step::Rest, "nothing is known of it");
}

#[test]
fn a_size_that_cannot_be_read_is_left_alone() {
    let mut observed = grown();
    volume(&mut observed).size = "1e3x".into();
    observed.workloads.get_mut(&Component::Client).expect("it has one").size = None;
    assert_eq!(step(&observed, Component::Client), Step::Rest);
}

#[test]
fn a_claim_that_has_more_than_was_ever_asked_for_is_no_fault_of_the_spec() {
    let mut observed = settled();
    volume(&mut observed).size = "40Gi".into();
    assert_eq!(step(&observed, Component::Client), Step::Rest, "one from before, or grown by hand");
    spec(&mut observed).client.storage.size = "9Gi".into();
    let Step::Stuck(fault) = step(&observed, Component::Client) else { panic!("20Gi were asked for") };
    assert_eq!(fault.reason, Reason::ShrinkRefused);
    observed.workloads.clear();
    assert_eq!(step(&observed, Component::Client), Step::Rest, "nothing is known to have been asked for");
}

#[test]
fn quantities_are_read_as_the_server_writes_them() {
    for (less, more) in [
        ("1Gi", "2Gi"),
        ("1023Mi", "1Gi"),
        ("1G", "1Gi"),
        ("1.5Gi", "1537Mi"),
        ("999", "1k"),
        ("128974848000m", "129M"),
    ] {
        assert!(is_smaller(less, more) && !is_smaller(more, less), "{less} {more}");
    }
    for (one, same) in [("1Ti", "1024Gi"), ("1.5Gi", "1536Mi"), ("1000m", "1"), ("1Ki", "1024")] {
        assert!(!is_smaller(one, same) && !is_smaller(same, one), "{one} {same}");
    }
}

proptest! {
    /// Whatever is there, nothing is made smaller, and no workload is taken away before its claim has the size.
    #[test]
    fn nothing_shrinks_and_the_claim_goes_first(claim in 1u32..50, template in 1u32..50, wanted in 1u32..50) {
        let mut observed = grown();
        let size = |gi: u32| format!("{gi}Gi");
        volume(&mut observed).size = size(claim);
        observed.workloads.get_mut(&Component::Client).expect("it has one").size = Some(size(template));
        spec(&mut observed).client.storage.size = size(wanted);
        match step(&observed, Component::Client) {
            Step::Grow(_, to) => prop_assert!(claim < wanted && to == size(wanted)),
            Step::Renew => prop_assert!(claim >= wanted && template < wanted),
            Step::Rest => prop_assert!(claim.min(template) == wanted),
            Step::Stuck(fault) => {
                prop_assert_eq!(fault.reason, Reason::ShrinkRefused);
                prop_assert!(claim > wanted && template > wanted, "{}", fault);
            }
        }
    }
}
