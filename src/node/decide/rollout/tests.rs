use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::{
    cluster::write::AdmissionChanges,
    model::{decode::Decoded, network_member::NetworkMember},
    node::{
        decide::{absent_nodes::Roll, rollout::plan::Health},
        observed::samples::{in_order, member, smallest},
        validate::validate,
    },
};

fn due(observed: &Observed) -> Vec<Component> {
    let node = validate(observed).expect("a sample has no fault");
    outdated(observed, &node, &settled(&node))
}

/// Every workload matches the spec.
fn settled(node: &Validated) -> Applied {
    let settled = components(node).into_iter().map(|part| node.names.workload(part)).collect();
    Applied { settled, ..Applied::default() }
}

fn change(observed: &mut Observed, part: Component) {
    let workload = observed.workloads.entry(part).or_default();
    workload.update_revision = Some("r8".into());
}

fn validator(change: impl FnOnce(&mut Observed)) -> Observed {
    let mut node = smallest();
    node["spec"]["role"] = json!("Validator");
    let mut observed = in_order(node);
    let serves = Pod { revision: Some("r7".into()), ready: true, ..Pod::default() };
    observed.neighbours =
        vec![Neighbour { name: "other".into(), role: Some(Role::Validator), pod: Some(serves) }; 2];
    change(&mut observed);
    observed
}

fn is_away(change: impl FnOnce(&mut Observed)) -> bool {
    let observed = validator(change);
    is_validator_away(&observed, &validate(&observed).expect("a sample has no fault"))
}

fn pod(observed: &mut Observed, neighbour: usize) -> &mut Pod {
    observed.neighbours[neighbour].pod.get_or_insert_default()
}

/// Another node of the network, without a running client.
fn other(name: &str, role: &str) -> NetworkMember {
    let mut node = smallest();
    node["metadata"]["name"] = json!(name);
    node["spec"]["role"] = json!(role);
    NetworkMember::from(&Decoded(Ok(serde_json::from_value(node).expect("a node"))))
}

#[test]
fn what_is_current_stays() {
    assert_eq!(due(&in_order(member())), []);
}

#[test]
fn the_database_goes_first_and_the_client_last() {
    let mut observed = in_order(member());
    for part in Component::ALL {
        change(&mut observed, part);
    }
    assert_eq!(due(&observed), ORDER);
    for (i, part) in ORDER.into_iter().enumerate() {
        observed.pods.get_mut(&part).expect("it runs").revision = Some("r8".into());
        assert_eq!(due(&observed), ORDER[i + 1..]);
    }
}

#[test]
fn nothing_of_a_node_that_is_paused_is_replaced() {
    let mut node = smallest();
    node["spec"]["paused"] = json!(true);
    let mut observed = in_order(node);
    change(&mut observed, Component::Client);
    assert_eq!(due(&observed), []);
}

#[test]
fn what_somebody_else_made_of_a_template_is_not_brought_in() {
    let mut observed = in_order(member());
    Component::ALL.into_iter().for_each(|part| change(&mut observed, part));
    let node = validate(&observed).expect("a sample has no fault");
    let due = |applied: &Applied| outdated(&observed, &node, applied);
    let mut applied = settled(&node);
    applied.settled.remove(&node.names.workload(Component::Database));
    assert_eq!(due(&applied), ORDER[1..]);
    let name = node.names.workload(Component::TransactionManager);
    let admission_changes = |kind: &str, weakens| {
        let admission_changes =
            AdmissionChanges { kind: kind.into(), name: name.clone(), weakens, fields: vec![] };
        due(&Applied { admission_changes: vec![admission_changes], ..applied.clone() })
    };
    assert_eq!(admission_changes("StatefulSet", true), [Component::Client]);
    assert_eq!(admission_changes("StatefulSet", false), ORDER[1..]);
    assert_eq!(admission_changes("Service", true), ORDER[1..]);
}

#[test]
fn a_pod_that_is_ending_is_not_ended_again() {
    let mut observed = in_order(smallest());
    change(&mut observed, Component::Client);
    assert_eq!(due(&observed), [Component::Client]);
    observed.pods.get_mut(&Component::Client).expect("it runs").terminating = true;
    assert_eq!(due(&observed), []);
}

#[test]
fn a_validator_that_does_not_serve_is_away() {
    assert!(!is_away(|_| {}));
    assert!(is_away(|observed| pod(observed, 1).ready = false));
    assert!(is_away(|observed| pod(observed, 1).terminating = true));
    assert!(is_away(|observed| observed.neighbours[1].pod = None));
    let without = |role| {
        is_away(|observed| {
            observed.neighbours[1].pod = None;
            observed.neighbours[1].role = role;
        })
    };
    assert!(!without(Some(Role::Member)), "a member carries no quorum");
    assert!(without(None), "whose role cannot be read may be a validator");
}

/// The chain counts a validator even after its pod, and soon its object, is gone.
#[test]
fn a_validator_that_is_being_deleted_or_was_a_moment_ago_or_has_not_started_is_missing() {
    let missing = |network: &[Part], change: &dyn Fn(&mut Observed)| {
        let observed = validator(change);
        let node = validate(&observed).expect("a sample has no fault");
        let missing = missing_validator(&observed, &node, network);
        missing.map(|wait| match wait {
            Wait::Away(named, _) => named.node,
            other => panic!("{other:?}"),
        })
    };
    let named = |name: &str| Some(name.to_owned());
    let ends = |role| missing(&[], &|observed| observed.absent.ending = vec![other("m-middle", role)]);
    assert_eq!(ends("Validator"), named("m-middle"));
    assert_eq!(ends("Member"), None, "a member carries no quorum");
    let was = |roll: &str, now: i64| {
        missing(&[], &|observed| {
            observed.absent.validators = Roll::read(roll);
            observed.absent.now = Timestamp::from_second(now).expect("a time");
        })
    };
    assert_eq!(was("m-middle@1000", 1299), named("m-middle"));
    assert_eq!(was("m-middle@1000", 1300), None, "it is not expected back");
    let starts = |role, network: &[Part]| {
        missing(network, &|observed| observed.network_members = vec![other("m-middle", role)])
    };
    assert_eq!(starts("Validator", &[]), named("m-middle"));
    assert_eq!(starts("Member", &[]), None);
    let named = Named { node: "m-middle".into(), component: Component::Client };
    let health = Health::Serves(None);
    let part = Part { named, pod: String::new(), is_validator: true, health, is_waiting: false };
    assert_eq!(starts("Validator", &[part]), None);
}

#[test]
fn a_validator_of_the_chain_that_is_gone_is_one_of_those_that_may_be_away() {
    let address = |digit: u8| format!("0x{}", format!("{digit:02x}").repeat(20));
    let spared_of = |listed: u8, gone: &[u8]| {
        let observed = validator(|observed| {
            let spec = &mut std::sync::Arc::make_mut(&mut observed.node).spec;
            spec.consensus.validator_addresses = (1..=listed).map(address).collect();
            observed.absent.chain_validators = gone.iter().copied().map(address).collect();
        });
        let node = validate(&observed).expect("a sample has no fault");
        (tolerated(&node), missing_validator(&observed, &node, &[]))
    };
    assert_eq!(spared_of(7, &[]), (2, None));
    assert_eq!(spared_of(7, &[5]), (1, None));
    assert_eq!(spared_of(7, &[5, 6]), (0, Some(Wait::MissingValidator(address(5)))));
    assert_eq!(spared_of(4, &[2]), (0, Some(Wait::MissingValidator(address(2)))));
    assert_eq!(spared_of(4, &[9]), (1, None), "it is no validator of the chain");
}
