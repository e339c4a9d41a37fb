mod pinned;
mod schedule;
mod wrong;

use serde_json::{Value, json};

use super::*;

const VALIDATOR: &str = "7e5f4552091a69125d5dfcb7b8c2659029395bdf";

fn extra_qbft() -> String {
    format!("0xf83aa0{}d594{VALIDATOR}c080c0", "0".repeat(64))
}

fn extra_ibft() -> String {
    format!("0x{}f85ad594{VALIDATOR}b841{}c0", "0".repeat(64), "0".repeat(130))
}

/// QBFT `extraData` without validators.
fn extra_empty() -> String {
    format!("0xe5a0{}c0c080c0", "0".repeat(64))
}

/// A QBFT genesis with one validator, which a real client accepted.
fn qbft() -> Value {
    json!({
        "config": {
            "chainId": 41337, "homesteadBlock": 0, "eip150Block": 0, "eip155Block": 0, "eip158Block": 0,
            "byzantiumBlock": 0, "constantinopleBlock": 0, "petersburgBlock": 0, "istanbulBlock": 0,
            "isQuorum": true, "txnSizeLimit": 64,
            "qbft": {"policy": 0, "epochlength": 30000, "blockperiodseconds": 2, "requesttimeoutseconds": 4}
        },
        "nonce": "0x0", "timestamp": "0x58ee40ba",
        "extraData": extra_qbft(),
        "gasLimit": "0xe0000000", "difficulty": "0x1",
        "mixHash": "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365",
        "coinbase": "0x0000000000000000000000000000000000000000",
        "alloc": {VALIDATOR: {"balance": "1000"}},
        "number": "0x0", "gasUsed": "0x0"
    })
}

/// The same genesis with IBFT.
fn ibft() -> Value {
    let mut genesis = qbft();
    let config = genesis["config"].as_object_mut().expect("a map");
    let section = config.remove("qbft").expect("a section");
    config.insert("ibft".into(), section);
    genesis["extraData"] = json!(extra_ibft());
    genesis
}

fn read(genesis: &Value) -> Result<GenesisFacts, String> {
    read_genesis(&serde_json::to_vec(genesis).expect("JSON"))
}

/// Sets or removes the value at a path.
fn set(mut genesis: Value, path: &str, value: Option<Value>) -> Value {
    let (parent, key) = path.rsplit_once('/').expect("a path");
    let parent = genesis.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
    match value {
        Some(value) => drop(parent.insert(key.into(), value)),
        None => drop(parent.remove(key).expect("it is there")),
    }
    genesis
}

fn with(path: &str, value: Value) -> Value {
    set(qbft(), path, Some(value))
}

fn without(path: &str) -> Value {
    set(qbft(), path, None)
}

fn fault(genesis: &Value) -> String {
    read(genesis).expect_err(&genesis.to_string())
}

/// The engine of a genesis with this `config`. Adds the chain id, and the members that geth requires in each section.
fn engine_of(mut config: Value, extra_data: String) -> Engine {
    config["chainId"] = json!(7);
    for name in ["ibft", "qbft"] {
        if config[name].is_object() {
            config[name]["policy"] = json!(0);
        }
    }
    config.as_object_mut().expect("a map").retain(|_, value| !value.is_null());
    let genesis = set(with("/config", config), "/extraData", Some(json!(extra_data)));
    read(&genesis).expect("no fault").engine
}

#[test]
fn a_genesis_with_one_validator_is_read() {
    let facts = read(&qbft()).expect("no fault");
    assert_eq!((facts.chain_id, facts.engine), (41337, Engine::Qbft));
    assert_eq!(read(&ibft()).expect("no fault").engine, Engine::Ibft);
}

#[test]
fn what_the_demo_and_the_tests_on_a_cluster_use_is_read() {
    let demo = include_str!("../../../config/demo/network.yaml");
    let maps = demo.split("\n---\n").filter_map(|part| {
        let map: Value = serde_saphyr::from_str(part).ok()?;
        Some(map["data"]["genesis.json"].as_str()?.to_owned())
    });
    let all: Vec<String> = maps.chain([include_str!("../../../e2e/genesis.json").to_owned()]).collect();
    assert_eq!(all.len(), 2);
    for genesis in all {
        assert_eq!(read_genesis(genesis.as_bytes()).map(|facts| facts.engine), Ok(Engine::Qbft));
    }
}

#[test]
fn the_digest_is_of_the_bytes_and_the_block_is_of_what_they_mean() {
    let bytes = serde_json::to_vec(&qbft()).expect("JSON");
    let plain = read_genesis(&bytes).expect("no fault");
    let spaced = read_genesis(&serde_json::to_vec_pretty(&qbft()).expect("JSON")).expect("no fault");
    assert_ne!(plain.sha256, spaced.sha256);
    assert_eq!((plain.chain_id, plain.engine, &plain.block), (spaced.chain_id, spaced.engine, &spaced.block));
    assert_eq!(plain.sha256, hex(&Sha256::digest(&bytes)));
}

#[test]
fn the_engine_is_the_one_geth_chooses() {
    for (config, engine) in [
        (json!({"ibft": {}}), Engine::Ibft),
        (json!({"istanbul": {"epoch": 30000, "policy": 0}}), Engine::Ibft),
        (json!({"istanbul": {"testQBFTBlock": 0}}), Engine::Qbft),
        (json!({"istanbul": {"testQBFTBlock": 9}}), Engine::Ibft),
        (json!({"ibft": {}, "qbft": {}}), Engine::Ibft),
        (json!({"istanbul": {}, "qbft": {}}), Engine::Ibft),
        (json!({"clique": {}, "qbft": {}}), Engine::Unspecified),
        (json!({"istanbul": {"testQBFTBlock": 0}, "ibft": {}}), Engine::Qbft),
        (json!({"qbft": {}}), Engine::Qbft),
        (json!({"clique": {"period": 5}}), Engine::Unspecified),
        (json!({}), Engine::Unspecified),
        (json!({"ibft": {}, "transitions": [{"block": 0, "algorithm": "QBFT"}]}), Engine::Qbft),
        (json!({"ibft": {}, "transitions": [{"block": 120, "algorithm": "qbft"}]}), Engine::Ibft),
        (json!({"transitions": [{"block": 0, "algorithm": "ibft"}]}), Engine::Ibft),
        (
            json!({"transitions": [{"block": 0, "algorithm": "ibft"}, {"block": 5, "algorithm": "qbft"}]}),
            Engine::Ibft,
        ),
        (json!({"qbft": {}, "transitions": [{"block": 0, "blockperiodseconds": 3}]}), Engine::Qbft),
    ] {
        let extra = if engine == Engine::Ibft { extra_ibft() } else { extra_qbft() };
        assert_eq!(engine_of(config.clone(), extra), engine, "{config}");
    }
}

#[test]
fn what_the_client_takes_is_taken() {
    for (path, value) in [
        ("/gasLimit", json!("")),
        ("/gasLimit", json!("4712388")),
        ("/difficulty", json!("0X01")),
        ("/nonce", json!(null)),
        ("/timestamp", json!("18446744073709551615")),
        ("/config/chainId", json!(u64::MAX)),
        ("/config/txnSizeLimit", json!(0)),
        ("/config/txnSizeLimit", json!(128)),
        ("/config/maxCodeSize", json!(0)),
        ("/config/maxCodeSizeConfig", json!([{"block": 0, "size": 24}, {"block": 0, "size": 128}])),
        ("/config/transitions", json!([{"block": 5, "transactionSizeLimit": 32, "contractsizelimit": 128}])),
        ("/config/isQuorum", json!(null)),
        ("/config/berlinBlock", json!(7)),
        ("/config/daoForkBlock", json!(0)),
        ("/config/qbft/blockReward", json!("0x5")),
        ("/config/qbft/validatorcontractaddress", json!(format!("0x{}", "0".repeat(40)))),
        ("/alloc", json!({})),
        (
            "/alloc",
            json!({format!("0X{VALIDATOR}"): {"balance": "", "nonce": "1", "code": "0x60", "storage": {"01": "0x02", "0x": null}}}),
        ),
        ("/parentHash", json!(format!("0x{}", "ab".repeat(32)))),
        ("/comment", json!({"by": "us"})),
    ] {
        assert_eq!(read(&with(path, value.clone())).err(), None, "{path} {value}");
    }
}

#[test]
fn names_count_in_any_case_as_they_do_to_the_client() {
    let lower = set(without("/mixHash"), "/MIXHASH", Some(qbft()["mixHash"].clone()));
    assert_eq!(read(&lower).map(|facts| facts.block), read(&qbft()).map(|facts| facts.block));
    let twice = serde_json::to_string(&qbft()).expect("JSON").replacen('{', r#"{"GasLimit":"0x1","#, 1);
    let told = read_genesis(twice.as_bytes()).expect_err("two of them");
    assert!(told.starts_with("`gasLimit` occurs 2 times"), "{told}");
}

#[test]
fn validators_may_come_from_a_contract_or_from_config_instead() {
    let address = format!("0x{}", "c0".repeat(20));
    let contract = json!({"balance": "0", "code": "0x6001"});
    let empty = || with("/extraData", json!(extra_empty()));
    assert!(fault(&empty()).contains("`extraData` names no validator"));
    let listed = set(empty(), "/config/qbft/validators", Some(json!([address])));
    assert_eq!(read(&listed).err(), None);
    let at_first = json!([{"block": 0, "validators": [address]}]);
    assert_eq!(read(&set(empty(), "/config/transitions", Some(at_first))).err(), None);
    let later = json!([{"block": 9, "validators": [address]}]);
    assert!(fault(&set(empty(), "/config/transitions", Some(later))).contains("names no validator"));

    let by_contract = set(empty(), "/config/qbft/validatorcontractaddress", Some(json!(address)));
    assert!(fault(&by_contract).contains("set `validatorselectionmode` to contract"));
    let by_contract = set(by_contract, "/config/qbft/validatorselectionmode", Some(json!("contract")));
    assert!(fault(&by_contract).contains(&format!("`alloc` has no account with `code` at {address}")));
    let by_contract = set(by_contract, &format!("/alloc/{address}"), Some(contract.clone()));
    assert_eq!(read(&by_contract).err(), None);
    let both = set(by_contract, "/extraData", Some(json!(extra_qbft())));
    assert!(fault(&both).contains("which geth init rejects together"));

    // IBFT names a contract in a transition
    let entry =
        json!([{"block": 0, "validatorcontractaddress": address, "validatorselectionmode": "contract"}]);
    let moved = set(ibft(), "/config/transitions", Some(entry));
    let moved = set(moved, &format!("/alloc/{address}"), Some(contract));
    assert_eq!(read(&moved).err(), None);
    let section = set(ibft(), "/config/ibft/validatorcontractaddress", Some(json!(address)));
    assert!(fault(&section).contains("`config.ibft.validatorcontractaddress` is set"));
}
