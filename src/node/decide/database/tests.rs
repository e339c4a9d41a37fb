use super::*;
use crate::node::observed::samples::{
    self, in_order, member, member_of_external_database, smallest, spec, status as node_status,
};

const PINNED: SystemIdentifier = SystemIdentifier(7_713_822_710_339_601_900);
const OTHER: SystemIdentifier = SystemIdentifier(u64::MAX);

fn of_15(verdict: Verdict, identifier: SystemIdentifier) -> Report {
    let image_major_version = Some(if verdict == Verdict::OtherMajor { 16 } else { 15 });
    Report { major_version: Some(15), image_major_version, ..Report::new(verdict, Some(identifier)) }
}

fn recorded(identifier: SystemIdentifier, major_version: Option<i32>) -> Option<DatabaseStatus> {
    Some(DatabaseStatus { system_identifier: identifier.to_string(), major_version })
}

/// `bob`, whose status pins a database, and whose pod reports this one.
fn pinned(found: Option<Report>) -> Observed {
    let mut observed = in_order(member());
    node_status(&mut observed).database = recorded(PINNED, Some(15));
    samples::pod(&mut observed, Component::Database).database = found;
    observed
}

fn accept(observed: &mut Observed, lost: SystemIdentifier) {
    let node = std::sync::Arc::make_mut(&mut observed.node);
    let annotations = node.metadata.annotations.get_or_insert_default();
    annotations.insert(names::ACCEPT_DATABASE_LOSS.into(), lost.to_string());
}

fn reasons(pin: &Pin) -> Vec<Reason> {
    pin.faults.iter().map(|fault| fault.reason).collect()
}

#[test]
fn a_database_is_pinned_when_it_is_first_in_use() {
    let mut observed = in_order(member());
    assert_eq!(pin(&observed), Pin::default(), "nothing is known of it");
    samples::pod(&mut observed, Component::Database).database = Some(of_15(Verdict::InUse, PINNED));
    let found = pin(&observed);
    assert_eq!((found.recorded, found.expected), (recorded(PINNED, Some(15)), Some(PINNED)));
    for refused in [Verdict::Replaced, Verdict::OtherMajor] {
        samples::pod(&mut observed, Component::Database).database = Some(of_15(refused, OTHER));
        assert_eq!(pin(&observed).recorded, None, "{refused:?}: it was never in use");
    }
}

#[test]
fn a_pin_stays_whatever_is_not_known_and_learns_the_version() {
    let unknown = pin(&pinned(None));
    assert_eq!(unknown, Pin { recorded: recorded(PINNED, Some(15)), expected: Some(PINNED), faults: vec![] });
    let mut without_manager = in_order(smallest());
    node_status(&mut without_manager).database = recorded(PINNED, Some(15));
    assert_eq!(pin(&without_manager).recorded, recorded(PINNED, Some(15)));
    let mut earlier = pinned(Some(of_15(Verdict::InUse, PINNED)));
    node_status(&mut earlier).database = recorded(PINNED, None);
    assert_eq!(pin(&earlier).recorded, recorded(PINNED, Some(15)));
}

#[test]
fn an_empty_or_foreign_database_is_told_with_both_identifiers_and_the_ways_out() {
    let empty = Report::new(Verdict::Replaced, None);
    for (found, value) in [
        (empty, "an empty volume".to_owned()),
        (of_15(Verdict::Replaced, OTHER), format!("system identifier {OTHER}")),
        (of_15(Verdict::InUse, OTHER), format!("system identifier {OTHER}")),
    ] {
        let pin = pin(&pinned(Some(found)));
        assert_eq!(reasons(&pin), [Reason::DatabaseReplaced]);
        let fault = &pin.faults[0];
        assert_eq!((fault.field.as_str(), &fault.value), ("spec.transactionManager.database", &value));
        for part in [
            format!("system identifier {PINNED}"),
            "restore the volume of that database".into(),
            format!(
                "kubectl -n ledger annotate qn bob --overwrite quorum.security/accept-database-loss={PINNED}"
            ),
        ] {
            assert!(fault.remedy.contains(&part), "{part}: {fault}");
        }
        assert_eq!((pin.recorded, pin.expected), (recorded(PINNED, Some(15)), Some(PINNED)));
    }
}

#[test]
fn whoever_accepts_the_loss_names_what_is_lost_and_the_next_one_is_pinned() {
    let mut lost = pinned(Some(Report::new(Verdict::Replaced, None)));
    accept(&mut lost, PINNED);
    let open = pin(&lost);
    assert_eq!(open, Pin { recorded: recorded(PINNED, Some(15)), expected: None, faults: vec![] });
    for verdict in [Verdict::InUse, Verdict::Replaced] {
        samples::pod(&mut lost, Component::Database).database = Some(of_15(verdict, OTHER));
        let next = pin(&lost);
        assert_eq!((next.recorded, next.expected), (recorded(OTHER, Some(15)), Some(OTHER)));
        assert!(next.faults.is_empty());
    }
    accept(&mut lost, OTHER);
    assert_eq!(reasons(&pin(&lost)), [Reason::DatabaseReplaced], "that was not the one that is lost");
}

#[test]
fn an_external_database_is_told_by_the_managers_pod_and_named_otherwise() {
    let mut observed = in_order(member_of_external_database());
    let found = |identifier| Some(Report::new(Verdict::InUse, Some(identifier)));
    samples::pod(&mut observed, Component::TransactionManager).database = found(PINNED);
    assert_eq!(pin(&observed).recorded, recorded(PINNED, None));
    node_status(&mut observed).database = recorded(PINNED, None);
    samples::pod(&mut observed, Component::TransactionManager).database = found(OTHER);
    let pin = pin(&observed);
    assert_eq!(reasons(&pin), [Reason::DatabaseReplaced]);
    assert!(
        pin.faults[0].remedy.contains("set external to the server with that database"),
        "{}",
        pin.faults[0]
    );
}

/// Sets another version of PostgreSQL in the spec.
fn name_version(observed: &mut Observed, version: &str) {
    let manager = spec(observed).transaction_manager.as_mut().expect("a manager");
    manager.database.managed.as_mut().expect("a managed database").version = version.into();
}

#[test]
fn another_major_version_is_refused_with_both_named_and_a_minor_one_is_not() {
    for found in [None, Some(of_15(Verdict::InUse, PINNED)), Some(of_15(Verdict::OtherMajor, PINNED))] {
        let mut observed = pinned(found);
        for version in ["15", "15.3"] {
            name_version(&mut observed, version);
            assert_eq!(major_change(&observed), None, "{version}");
        }
        name_version(&mut observed, "16.2");
        let fault = major_change(&observed).expect("a fault");
        assert_eq!(fault.reason, Reason::DatabaseMajorChanged);
        assert_eq!(fault.field, "spec.transactionManager.database.managed.version");
        assert_eq!(fault.value, "16.2");
        assert!(
            fault.remedy.contains("PostgreSQL 15 created") && fault.remedy.contains("PostgreSQL 16 cannot")
        );
        let told = crate::node::validate::validate(&observed).expect_err("nothing is written");
        assert_eq!(told[0], fault);
    }
    let mut unknown = pinned(None);
    node_status(&mut unknown).database = recorded(PINNED, None);
    name_version(&mut unknown, "16");
    assert_eq!(major_change(&unknown), None, "the guard refuses where the operator does not know");
}

#[test]
fn another_major_version_may_follow_a_database_that_is_given_up_and_gone() {
    let mut observed = pinned(Some(of_15(Verdict::InUse, PINNED)));
    name_version(&mut observed, "16");
    accept(&mut observed, PINNED);
    assert!(major_change(&observed).is_some(), "it is still there");
    samples::pod(&mut observed, Component::Database).database = Some(Report::new(Verdict::Replaced, None));
    assert_eq!(major_change(&observed), None);
    samples::pod(&mut observed, Component::Database).database = None;
    assert_eq!(major_change(&observed), None, "the pod that makes the new one has told nothing yet");
}

#[test]
fn an_image_of_another_major_version_than_its_spec_says_is_told() {
    let pin = pin(&pinned(Some(of_15(Verdict::OtherMajor, PINNED))));
    assert_eq!(reasons(&pin), [Reason::DatabaseMajorChanged]);
    let fault = &pin.faults[0];
    assert_eq!(fault.field, "spec.transactionManager.database.managed.image");
    assert!(fault.value == "PostgreSQL 16" && fault.remedy.contains("PostgreSQL 15 created"), "{fault}");
    assert_eq!(pin.expected, Some(PINNED));
}
