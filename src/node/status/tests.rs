mod certificates;
mod chain;
mod events;
mod fault_tolerance;
mod genesis;
mod kstatus;
mod peers;
mod reasons;
mod risky_grants;
mod served_certificates;
mod situations;
mod synced;
mod volumes;

use super::*;
use crate::{
    api::status::GenesisStatus,
    model::lookup::Found,
    node::observed::samples::{self, GENERATION, identity, in_order, member, now, recorded, smallest, spec},
};
use serde_json::json;

/// All writes succeeded.
fn applied() -> Applied {
    let workloads = ["alice", "bob"]
        .into_iter()
        .flat_map(|node| Component::ALL.map(|component| format!("{node}-{}", component.as_str())));
    Applied { policies: true, settled: workloads.collect(), ..Applied::default() }
}

fn report(observed: &Observed) -> QuorumNodeStatus {
    status(observed, &validate::validate(observed), &applied(), now())
}

fn condition<'a>(status: &'a QuorumNodeStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind)
}

fn ready(status: &QuorumNodeStatus) -> &Condition {
    condition(status, "Ready").expect("Ready is always there")
}

/// The client, on its host, not ready yet.
fn starting() -> Observed {
    let mut observed = in_order(smallest());
    samples::pod(&mut observed, Component::Client).ready = false;
    observed
}

fn stuck() -> Observed {
    let mut observed = in_order(smallest());
    observed.genesis = Found::Missing;
    observed
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_second(now().as_second() + seconds).expect("a time")
}

/// The status of `observed` after `before`, at another time.
fn again(before: &QuorumNodeStatus, mut observed: Observed, at: Timestamp) -> QuorumNodeStatus {
    *samples::status(&mut observed) = before.clone();
    status(&observed, &validate::validate(&observed), &applied(), at)
}

fn moved(status: &QuorumNodeStatus, kind: &str) -> Timestamp {
    condition(status, kind).expect("the condition is there").last_transition_time.0
}

#[test]
fn a_node_in_order_is_ready_and_nothing_else_is_left_to_say() {
    let status = report(&in_order(member()));
    let told: Vec<_> = status.conditions.iter().map(|it| (it.type_.as_str(), it.status.as_str())).collect();
    let parts = [
        "Ready",
        "ConfigValid",
        "IdentityReady",
        "CertificatesReady",
        "NetworkPoliciesApplied",
        "PlacementIsolated",
        "ClientAvailable",
        "TransactionManagerAvailable",
    ];
    let nobody_looks = ("ChainAdvancing", "Unknown");
    assert_eq!(told, [&parts.map(|kind| (kind, "True"))[..], &[nobody_looks]].concat());
    let status = report(&in_order(smallest()));
    assert!(condition(&status, "TransactionManagerAvailable").is_none(), "there is none");
}

#[test]
fn every_condition_but_ready_speaks_of_the_generation_that_was_looked_at() {
    for (observed, answered) in [(in_order(member()), GENERATION), (starting(), GENERATION), (stuck(), 0)] {
        let status = report(&observed);
        assert_eq!(status.observed_generation, GENERATION);
        let (ready, others) = status.conditions.split_first().expect("Ready is first");
        assert_eq!(ready.observed_generation, Some(answered));
        assert!(others.iter().all(|condition| condition.observed_generation == Some(GENERATION)));
    }
}

#[test]
fn the_same_world_gives_the_same_status_at_any_time() {
    for observed in [in_order(member()), starting(), stuck()] {
        let first = report(&observed);
        assert_eq!(again(&first, observed, later(86_400)), first);
    }
}

#[test]
fn a_transition_is_dated_when_the_status_moves_in_whole_seconds() {
    let before = report(&starting());
    let at = later(60).checked_add(k8s_openapi::jiff::SignedDuration::from_millis(700)).expect("a time");
    let after = again(&before, in_order(smallest()), at);
    assert_eq!(ready(&after).status, "True");
    assert_eq!((moved(&after, "Ready"), moved(&after, "ClientAvailable")), (later(60), later(60)));
    assert_eq!(moved(&after, "ConfigValid"), now(), "it was True before");
}

#[test]
fn another_reason_or_message_moves_no_transition() {
    let before = report(&starting());
    let mut observed = starting();
    samples::pod(&mut observed, Component::Client).trouble =
        Some("container client waits: ImagePullBackOff".into());
    let after = again(&before, observed, later(60));
    assert_ne!(ready(&after).reason, ready(&before).reason);
    assert_ne!(ready(&after).message, ready(&before).message);
    for kind in ["Ready", "Reconciling", "ClientAvailable"] {
        assert_eq!(moved(&after, kind), now(), "{kind}");
    }
}

#[test]
fn another_generation_moves_no_transition() {
    let before = report(&in_order(smallest()));
    let mut observed = in_order(smallest());
    std::sync::Arc::make_mut(&mut observed.node).metadata.generation = Some(GENERATION + 1);
    let after = again(&before, observed, later(60));
    assert_eq!(after.observed_generation, GENERATION + 1);
    assert!(after.conditions.iter().all(|condition| condition.observed_generation == Some(GENERATION + 1)));
    assert!(after.conditions.iter().all(|condition| condition.last_transition_time.0 == now()));
}

#[test]
fn every_fault_is_told_in_ready_stalled_and_config_valid() {
    let mut observed = in_order(smallest());
    observed.genesis = Found::Missing;
    spec(&mut observed).client.tunables.cache_mib = 4096;
    let status = report(&observed);
    let told: Vec<_> = status.conditions.iter().map(|it| (it.type_.as_str(), it.status.as_str())).collect();
    assert_eq!(told, [("Ready", "False"), ("Stalled", "True"), ("ConfigValid", "False")]);
    for condition in &status.conditions {
        assert_eq!(condition.reason, "InvalidField", "that of the first fault");
        for part in
            ["spec.client.tunables.cacheMib (4096): ", "; spec.genesis.configMapRef (ConfigMap acme-genesis"]
        {
            assert!(condition.message.contains(part), "{}", condition.message);
        }
    }
}

#[test]
fn a_fault_of_the_key_is_told_of_the_identity_too() {
    for (key, reason) in [
        (Found::Missing, "NodeKeyMissing"),
        (Found::Invalid("nodekey is empty: fill it".into()), "NodeKeyInvalid"),
        (Found::Present(identity('c')), "NodeKeyChanged"),
    ] {
        let mut observed = in_order(smallest());
        samples::status(&mut observed).identity = Some(recorded('b'));
        spec(&mut observed).client.tunables.cache_mib = 4096;
        observed.node_key = key;
        let status = report(&observed);
        let identity = condition(&status, "IdentityReady").expect("told");
        assert_eq!((identity.status.as_str(), identity.reason.as_str()), ("False", reason));
        assert!(
            identity.message.starts_with("metadata.name (Secret qn-alice-nodekey): "),
            "{}",
            identity.message
        );
    }
}

#[test]
fn what_was_recorded_first_stands() {
    let mut observed = in_order(smallest());
    *samples::status(&mut observed) = QuorumNodeStatus {
        identity: Some(recorded('b')),
        genesis: Some(GenesisStatus { sha256: "6f".repeat(32), chain_id: 1, block: None }),
        peer_address: Some("10.96.7.7".into()),
        ..QuorumNodeStatus::default()
    };
    observed.node_key = Found::Present(identity('c'));
    observed.peer_address = None;
    let status = report(&observed);
    assert_eq!(status.identity, Some(recorded('b')));
    assert_eq!(status.genesis.map(|genesis| genesis.sha256), Some("6f".repeat(32)));
    assert_eq!(status.peer_address.as_deref(), Some("10.96.7.7"), "it is asked for again");
    let enode = format!("enode://{}@10.96.7.7:30303?discport=0", identity('b').public_key);
    assert_eq!(status.enode, Some(enode));
}

#[test]
fn a_first_look_records_who_and_where_the_node_is() {
    let status = report(&in_order(member()));
    assert_eq!(status.identity, Some(recorded('b')));
    assert_eq!(status.genesis, Some(samples::pinned()));
    assert_eq!(status.transaction_manager_key.as_deref(), Some(samples::MANAGER_KEY));
    let hosts = status.hosts.expect("hosts");
    let hosts = [hosts.client, hosts.transaction_manager, hosts.database].map(Option::unwrap_or_default);
    assert_eq!(hosts, ["host-a", "host-b", "host-c"]);
}

#[test]
fn a_genesis_with_a_fault_is_not_recorded() {
    let mut observed = in_order(smallest());
    spec(&mut observed).genesis.sha256 = Some("6f".repeat(32));
    assert_eq!(report(&observed).genesis, None);
}

#[test]
fn an_advertised_address_is_the_one_that_peers_are_told() {
    let mut observed = in_order(smallest());
    spec(&mut observed).peering.advertise =
        Some(serde_json::from_value(json!({"address": "2001:db8::7", "port": 31000})).expect("an address"));
    let enode = report(&observed).enode.expect("an enode");
    assert!(enode.ends_with("@[2001:db8::7]:31000?discport=0"), "{enode}");
}

#[test]
fn a_node_without_key_or_address_has_no_enode() {
    let mut observed = in_order(smallest());
    observed.peer_address = None;
    assert_eq!(report(&observed).enode, None);
    let mut observed = in_order(smallest());
    (observed.node_key, observed.chain_data_exists) = (Found::Missing, Some(false));
    assert_eq!(report(&observed).enode, None);
}
