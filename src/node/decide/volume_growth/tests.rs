use proptest::prelude::*;

use super::*;
use crate::node::{
    observed::samples::{in_order, member, spec},
    validate::validate,
};

/// `bob`, whose templates and claims request the sizes of the spec.
fn settled() -> Observed {
    let mut observed = in_order(member());
    for (part, size) in [(Component::Client, "20Gi"), (Component::Database, "10Gi")] {
        observed.workloads.get_mut(&part).expect("it has one").size = Some(size.into());
        let capacity = Some(size.to_owned());
        let volume = Volume { size: size.into(), capacity, bound: true, ..Volume::default() };
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
    let Step::Resize(_, size) = step(&observed, Component::Client) else { panic!("the claim first") };
    assert_eq!(size, "30Gi");
    assert_eq!(step(&observed, Component::Database), Step::Rest);
    volume(&mut observed).size = "30Gi".into();
    assert_eq!(step(&observed, Component::Client), Step::Renew);
    // the server may use another notation
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
    observed.unwatchable = vec!["claims cannot be watched".into()];
    assert_eq!(step(&observed, Component::Client), Step::Rest, "nothing is known of it");
}

#[test]
fn a_size_that_cannot_be_read_is_left_alone() {
    let mut observed = grown();
    volume(&mut observed).size = "1e3x".into();
    observed.workloads.get_mut(&Component::Client).expect("it has one").size = None;
    assert_eq!(step(&observed, Component::Client), Step::Rest);
}

/// A client with these sizes in the template, the claim, the volume and the spec.
fn sizes(template: &str, claim: &str, capacity: Option<&str>, wanted: &str) -> Observed {
    let mut observed = settled();
    observed.workloads.get_mut(&Component::Client).expect("it has one").size = Some(template.into());
    let volume = volume(&mut observed);
    (volume.size, volume.capacity) = (claim.into(), capacity.map(Into::into));
    volume.bound = capacity.is_some();
    spec(&mut observed).client.storage.size = wanted.into();
    observed
}

fn stuck(observed: &Observed) -> String {
    let Step::Stuck(fault) = step(observed, Component::Client) else { panic!("{observed:?}") };
    assert_eq!(fault.reason, Reason::ShrinkRefused);
    fault.remedy
}

#[test]
fn a_claim_that_somebody_made_larger_is_no_fault_of_the_spec() {
    for (template, wanted, step_) in [
        ("20Gi", "20Gi", Step::Rest),
        // the template follows the spec, and the claim is left alone
        ("20Gi", "30Gi", Step::Renew),
        ("20Gi", "9Gi", Step::Renew),
    ] {
        let observed = sizes(template, "40Gi", Some("40Gi"), wanted);
        assert_eq!(step(&observed, Component::Client), step_, "{wanted}");
    }
    let mut observed = sizes("20Gi", "40Gi", Some("40Gi"), "9Gi");
    observed.workloads.clear();
    assert_eq!(step(&observed, Component::Client), Step::Rest, "nothing is known to have been asked for");
}

#[test]
fn what_a_volume_has_not_got_is_taken_back_and_what_it_has_is_not() {
    let taken_back = sizes("2000Gi", "2000Gi", Some("20Gi"), "21Gi");
    let Step::Resize(_, size) = step(&taken_back, Component::Client) else { panic!("it may be taken back") };
    assert_eq!(size, "21Gi");
    let done = sizes("2000Gi", "21Gi", Some("20Gi"), "21Gi");
    assert_eq!(step(&done, Component::Client), Step::Renew, "the template follows");
    for wanted in ["20Gi", "9Gi"] {
        let told = stuck(&sizes("2000Gi", "2000Gi", Some("20Gi"), wanted));
        assert!(told.contains("requests 2000Gi and has 20Gi"), "{told}");
        assert!(told.contains("set this field to more than 20Gi;"), "{told}");
    }
    let told = stuck(&sizes("20Gi", "20Gi", Some("20Gi"), "9Gi"));
    assert!(
        told.contains("has 20Gi, and a volume cannot be made smaller: set this field to 20Gi or more"),
        "{told}"
    );
    // a volume may have more than its claim ever requested
    let told = stuck(&sizes("12Gi", "12Gi", Some("16Gi"), "9Gi"));
    assert!(
        told.contains("has 16Gi, and a volume cannot be made smaller: set this field to 12Gi or more"),
        "{told}"
    );
}

#[test]
fn a_claim_without_a_volume_is_made_anew_by_whoever_deletes_it() {
    let never = sizes("2000Gi", "2000Gi", None, "20Gi");
    assert_eq!(step(&never, Component::Client), Step::Renew, "a recreated claim has the right size");
    let told = stuck(&sizes("20Gi", "2000Gi", None, "20Gi"));
    assert!(told.contains("requests 2000Gi and has no volume yet"), "{told}");
    assert!(told.contains("Delete the claim and its pod, which are then created again with 20Gi"), "{told}");
}

#[test]
fn what_the_server_says_is_told_with_what_was_asked() {
    let volume = Volume { size: "30Gi".into(), ..Volume::default() };
    let back = refused(Component::Client, &volume, "25Gi", "field can not be less than status.capacity");
    assert_eq!(back.reason, Reason::ShrinkRefused);
    assert!(
        back.remedy.contains("still requests 30Gi, because the API server rejects the change: field"),
        "{back}"
    );
    assert_eq!(refused(Component::Client, &volume, "35Gi", "no").reason, Reason::GrowthRefused);
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
    /// No request goes below a volume's capacity, and no workload is recreated before its claim is right.
    #[test]
    fn nothing_shrinks_and_the_claim_goes_first(
        claim in 1u32..50, template in 1u32..50, wanted in 1u32..50, capacity in proptest::option::of(1u32..50),
    ) {
        let size = |gi: u32| format!("{gi}Gi");
        let observed = sizes(&size(template), &size(claim), capacity.map(size).as_deref(), &size(wanted));
        let has = capacity.unwrap_or_default();
        match step(&observed, Component::Client) {
            Step::Resize(_, to) => {
                prop_assert_eq!(to, size(wanted));
                prop_assert!(capacity.is_some() && (claim < wanted || wanted > has && claim <= template));
            }
            Step::Renew => prop_assert!(claim >= wanted && template != wanted),
            Step::Rest => prop_assert!(claim.min(template) == wanted || capacity.is_none() && claim < wanted),
            Step::Stuck(fault) => {
                prop_assert_eq!(fault.reason, Reason::ShrinkRefused);
                prop_assert!(claim > wanted && (wanted <= has || capacity.is_none()), "{}", fault);
            }
        }
    }
}
