mod callers;
mod faults;
mod peers;

use super::*;
use crate::node::observed::samples::{
    identity, in_order, manager as references, member, member_of_external_database, pinned, recorded,
    smallest, spec, status,
};
use serde_json::json;

fn faults(observed: &Observed) -> Vec<Fault> {
    validate(observed).expect_err("a fault")
}

fn valid(observed: &Observed) -> Validated {
    validate(observed).expect("no fault")
}

#[test]
fn a_clean_spec_becomes_what_the_rest_builds_on() {
    let node = valid(&in_order(member()));
    assert_eq!((node.names.node.as_str(), node.names.namespace.as_str()), ("bob", "ledger"));
    assert_eq!(node.names.network, "acme");
    assert_eq!((node.owner.kind.as_str(), node.owner.name.as_str()), ("QuorumNode", "bob"));
    assert_eq!((node.owner.uid.as_str(), node.owner.controller), ("uid-bob", Some(true)));
    assert_eq!(node.identity, Some(identity('b')));
    assert_eq!(node.network_id, 41337, "the chain id, where the spec names no other");
    assert_eq!(node.node_key, ("qn-bob-nodekey".to_owned(), "nodekey".to_owned()));
    let manager = node.manager.expect("a transaction manager");
    assert_eq!(manager.public_key, crate::node::observed::samples::MANAGER_KEY);
    assert!(matches!(manager.database, Database::Managed(database) if database.version == "15"));
}

#[test]
fn a_node_without_transaction_manager_has_none() {
    assert!(valid(&in_order(smallest())).manager.is_none());
}

#[test]
fn a_network_id_that_is_named_is_taken() {
    let mut observed = in_order(smallest());
    spec(&mut observed).genesis.network_id = Some(1981);
    assert_eq!(valid(&observed).network_id, 1981);
}

#[test]
fn an_adopted_key_is_mounted_from_the_secret_that_holds_it() {
    let mut node = smallest();
    node["spec"]["nodeKey"] = json!({"secretRef": {"name": "from-vault", "key": "key.hex"}});
    assert_eq!(valid(&in_order(node)).node_key, ("from-vault".to_owned(), "key.hex".to_owned()));
}

#[test]
fn an_external_database_comes_with_the_version_of_its_password() {
    let manager = valid(&in_order(member_of_external_database())).manager.expect("a transaction manager");
    let Database::External(database, version) = manager.database else { panic!("not external") };
    assert_eq!((database.host.as_str(), version.as_deref()), ("pg.example", Some("4711")));
}

#[test]
fn a_genesis_that_is_pinned_and_the_same_is_taken() {
    let mut observed = in_order(smallest());
    spec(&mut observed).genesis.sha256 = Some("5e".repeat(32));
    status(&mut observed).genesis = Some(pinned());
    assert_eq!(valid(&observed).genesis.sha256, "5e".repeat(32));
}

#[test]
fn a_genesis_with_another_config_is_taken_unless_its_bytes_are_pinned() {
    let mut observed = in_order(smallest());
    let before = crate::api::status::GenesisStatus { sha256: "6f".repeat(32), ..pinned() };
    status(&mut observed).genesis = Some(before.clone());
    assert_eq!(valid(&observed).genesis.sha256, "5e".repeat(32));
    spec(&mut observed).genesis.sha256 = Some(before.sha256);
    assert_eq!(faults(&observed)[0].reason, Reason::GenesisChanged);
}

#[test]
fn a_cache_of_half_the_memory_is_the_largest() {
    let mut observed = in_order(smallest());
    for (memory, cache) in [("2Gi", 1024), ("1500Mi", 750)] {
        spec(&mut observed).client.resources.memory = memory.into();
        spec(&mut observed).client.tunables.cache_mib = cache;
        valid(&observed);
        spec(&mut observed).client.tunables.cache_mib = cache + 1;
        assert_eq!(faults(&observed)[0].field, "spec.client.tunables.cacheMib", "{memory}");
    }
}

/// The sources of an identity, and whether a key may be generated.
#[test]
fn a_key_is_made_only_where_neither_status_nor_claim_names_an_identity() {
    for (recorded_key, chain_data, made) in [
        (false, Some(false), true),
        (false, Some(true), false),
        (false, None, false),
        (true, Some(false), false),
        (true, Some(true), false),
        (true, None, false),
    ] {
        let mut observed = in_order(smallest());
        observed.node_key = Found::Missing;
        observed.chain_data_exists = chain_data;
        status(&mut observed).identity = recorded_key.then(|| recorded('b'));
        let case = format!("recorded {recorded_key}, chain data {chain_data:?}");
        match validate(&observed) {
            Ok(node) => assert!(made && node.identity.is_none(), "{case}"),
            Err(faults) => {
                assert!(!made, "{case}: {faults:?}");
                assert_eq!(
                    faults.iter().map(|fault| fault.reason).collect::<Vec<_>>(),
                    [Reason::NodeKeyMissing]
                );
            }
        }
    }
}

#[test]
fn a_key_that_is_to_be_adopted_is_never_made() {
    let mut node = smallest();
    node["spec"]["nodeKey"] = json!({"secretRef": {"name": "from-vault", "key": "key.hex"}});
    let mut observed = in_order(node);
    observed.node_key = Found::Missing;
    observed.chain_data_exists = Some(false);
    assert_eq!(faults(&observed)[0].reason, Reason::NodeKeyMissing);
}

#[test]
fn the_recorded_key_is_taken_again() {
    let mut observed = in_order(smallest());
    status(&mut observed).identity = Some(recorded('b'));
    assert_eq!(valid(&observed).identity, Some(identity('b')));
}

#[test]
fn an_authority_that_the_node_does_not_use_stalls_it_not() {
    let mut observed = in_order(smallest());
    observed.node_authority = Found::Invalid("tls.crt is empty: write the content of this key".into()).into();
    valid(&observed);
}

#[test]
fn an_authority_that_is_not_there_yet_is_no_fault() {
    let mut observed = in_order(member());
    (observed.network_authority, observed.node_authority) = (Found::Missing.into(), Found::Missing.into());
    valid(&observed);
}
