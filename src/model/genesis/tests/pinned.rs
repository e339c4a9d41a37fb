//! Tests of replacing a pinned genesis.

use super::*;
use crate::api::status::GenesisStatus;

fn pin(genesis: &Value) -> GenesisStatus {
    let facts = read(genesis).expect("no fault");
    GenesisStatus { sha256: facts.sha256, chain_id: facts.chain_id as i64, block: Some(facts.block) }
}

/// Compares another genesis with the sample.
fn after(genesis: &Value) -> Pinned {
    against(&pin(&qbft()), &read(genesis).expect("no fault"))
}

fn differs(genesis: &Value, parts: &[&str]) {
    match after(genesis) {
        Pinned::OtherChain(told) => assert_eq!(told, parts),
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_config_may_come_and_so_may_another_way_to_write_the_same() {
    assert_eq!(after(&qbft()), Pinned::Same);
    let upper =
        json!({format!("0x{}", VALIDATOR.to_uppercase()): {"balance": "0x03e8", "storage": {"01": "00"}}});
    for genesis in [
        with("/config/berlinBlock", json!(100)),
        with("/config/transitions", json!([{"block": 9, "blockperiodseconds": 1}])),
        with("/config/maxCodeSizeConfig", json!([{"block": 9, "size": 64}])),
        with("/config/qbft/blockperiodseconds", json!(9)),
        with("/timestamp", json!("1492009146")),
        with("/alloc", upper),
        with("/comment", json!("ours")),
        without("/nonce"),
        without("/coinbase"),
    ] {
        assert_eq!(after(&genesis), Pinned::OtherConfig, "{genesis}");
    }
}

#[test]
fn whatever_makes_another_block_is_another_chain_and_named() {
    differs(&with("/gasLimit", json!("0x5")), &["gasLimit was 0xe0000000 and is 0x5"]);
    differs(&with("/gasLimit", json!("")), &["gasLimit was 0xe0000000 and is 0x47e7c4"]);
    differs(&with("/nonce", json!("0x5")), &["nonce was zero and is 0x5"]);
    differs(&without("/timestamp"), &["timestamp was 0x58ee40ba and is zero"]);
    differs(&with("/gasUsed", json!("1")), &["gasUsed was zero and is 0x1"]);
    differs(
        &with("/coinbase", json!(format!("0x{VALIDATOR}"))),
        &[&format!("coinbase was zero and is 0x{VALIDATOR}")],
    );
    let parent = format!("0x{}", "ab".repeat(32));
    differs(&with("/parentHash", json!(parent)), &[&format!("parentHash was zero and is {parent}")]);
    let other = extra_qbft().replace(VALIDATOR, &"ab".repeat(20));
    differs(&with("/extraData", json!(other)), &["extraData differs"]);
    for alloc in [
        json!({}),
        json!({VALIDATOR: {"balance": "1001"}}),
        json!({VALIDATOR: {"balance": "1000", "nonce": "1"}}),
        json!({VALIDATOR: {"balance": "1000", "code": "0x60"}}),
        json!({VALIDATOR: {"balance": "1000", "storage": {"01": "01"}}}),
        json!({VALIDATOR: {"balance": "1000"}, "ab".repeat(20): {"balance": "0"}}),
    ] {
        differs(&with("/alloc", alloc), &["alloc differs"]);
    }
    let two = set(with("/config/chainId", json!(5)), "/gasLimit", Some(json!("0x5")));
    differs(&two, &["config.chainId was 41337 and is 5", "gasLimit was 0xe0000000 and is 0x5"]);
}

#[test]
fn a_status_of_an_earlier_version_pins_the_bytes() {
    let old = GenesisStatus { block: None, ..pin(&qbft()) };
    assert_eq!(against(&old, &read(&qbft()).expect("no fault")), Pinned::Same);
    let other = read(&with("/config/berlinBlock", json!(100))).expect("no fault");
    assert_eq!(against(&old, &other), Pinned::OtherChain(vec![]));
}
