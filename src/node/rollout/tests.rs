use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::cluster::guard::Guard;
use crate::node::{
    absent::Roll,
    observed::samples::{in_order, member, smallest},
    sibling::Sibling,
    validate::validate,
};

fn outdated(observed: &mut Observed, part: Component) {
    let workload = observed.workloads.entry(part).or_default();
    workload.update_revision = Some("r8".into());
}

fn chosen(observed: &Observed) -> Option<Component> {
    next(observed, &validate(observed).expect("a sample has no fault"))
}

fn validator(change: impl FnOnce(&mut Observed)) -> Observed {
    let mut node = smallest();
    node["spec"]["role"] = json!("Validator");
    let mut observed = in_order(node);
    outdated(&mut observed, Component::Client);
    observed.neighbours = ["a-first", "z-last"]
        .map(|name| Neighbour {
            name: name.into(),
            role: Some(Role::Validator),
            workload: Some(Workload { update_revision: Some("r7".into()), ..Workload::default() }),
            pod: Some(Pod { revision: Some("r7".into()), ready: true, ..Pod::default() }),
        })
        .to_vec();
    change(&mut observed);
    observed
}

fn pod(observed: &mut Observed, neighbour: usize) -> &mut Pod {
    observed.neighbours[neighbour].pod.get_or_insert_default()
}

#[test]
fn what_is_current_stays() {
    assert_eq!(chosen(&in_order(member())), None);
}

#[test]
fn the_database_goes_first_and_the_client_last() {
    let mut observed = in_order(member());
    for part in Component::ALL {
        outdated(&mut observed, part);
    }
    for part in ORDER {
        assert_eq!(chosen(&observed), Some(part));
        observed.pods.get_mut(&part).expect("it runs").revision = Some("r8".into());
    }
    assert_eq!(chosen(&observed), None);
}

#[test]
fn nothing_is_replaced_while_another_part_does_not_serve() {
    let mut observed = in_order(member());
    outdated(&mut observed, Component::Client);
    observed.pods.get_mut(&Component::Database).expect("it runs").ready = false;
    assert_eq!(chosen(&observed), None);
    observed.pods.get_mut(&Component::Client).expect("it runs").ready = false;
    assert_eq!(chosen(&observed), Some(Component::Client), "one that does not serve can only gain");
}

#[test]
fn a_pod_that_is_ending_is_not_ended_again() {
    let mut observed = in_order(smallest());
    outdated(&mut observed, Component::Client);
    assert_eq!(chosen(&observed), Some(Component::Client));
    observed.pods.get_mut(&Component::Client).expect("it runs").terminating = true;
    assert_eq!(chosen(&observed), None);
}

#[test]
fn a_validator_waits_while_another_one_does_not_serve() {
    assert_eq!(chosen(&validator(|_| {})), Some(Component::Client));
    assert_eq!(chosen(&validator(|observed| pod(observed, 1).ready = false)), None);
    assert_eq!(chosen(&validator(|observed| pod(observed, 1).terminating = true)), None);
    assert_eq!(chosen(&validator(|observed| observed.neighbours[1].pod = None)), None);
    let without = |role| {
        chosen(&validator(|observed| {
            observed.neighbours[1].pod = None;
            observed.neighbours[1].role = role;
        }))
    };
    assert_eq!(without(Some(Role::Member)), Some(Component::Client), "a member carries no quorum");
    assert_eq!(without(None), None, "whose role cannot be read may be a validator");
}

/// Its pod may be gone, and soon its object: the network has it all the same.
#[test]
fn a_validator_waits_while_another_one_is_being_deleted_or_was_a_moment_ago() {
    let ends = |role: &str| {
        chosen(&validator(|observed| {
            let mut node = smallest();
            node["metadata"]["name"] = json!("m-middle");
            node["spec"]["role"] = json!(role);
            let node = serde_json::from_value(node).expect("a node");
            observed.absent.ending = vec![Sibling::from(&Guard(Ok(node)))];
        }))
    };
    assert_eq!(ends("Validator"), None);
    assert_eq!(ends("Member"), Some(Component::Client), "a member carries no quorum");
    let was = |roll: &str, now: i64| {
        chosen(&validator(|observed| {
            observed.absent.validators = Roll::read(roll);
            observed.absent.now = Timestamp::from_second(now).expect("a time");
        }))
    };
    assert_eq!(was("m-middle@1000", 1299), None);
    assert_eq!(was("m-middle@1000", 1300), Some(Component::Client), "nobody expects it back");
}

#[test]
fn validators_go_one_by_one_in_the_order_of_their_names() {
    let newest = || Some(Workload { update_revision: Some("r8".into()), ..Workload::default() });
    let first_is_old = validator(|observed| observed.neighbours[0].workload = newest());
    assert_eq!(chosen(&first_is_old), None);
    let last_is_old = validator(|observed| observed.neighbours[1].workload = newest());
    assert_eq!(chosen(&last_is_old), Some(Component::Client));
}
