use serde_json::json;

use super::*;

/// QBFT with one validator, the layout that a client took.
fn qbft() -> Value {
    let zeros = "0".repeat(64);
    json!({
        "config": {
            "chainId": 41337, "homesteadBlock": 0, "berlinBlock": 0, "isQuorum": true, "txnSizeLimit": 64,
            "qbft": {"policy": 0, "epochlength": 30000, "blockperiodseconds": 2, "requesttimeoutseconds": 4}
        },
        "nonce": "0x0", "timestamp": "0x58ee40ba",
        "extraData": format!("0xf83aa0{zeros}d5947e5f4552091a69125d5dfcb7b8c2659029395bdfc080c0"),
        "gasLimit": "0xe0000000", "difficulty": "0x1",
        "mixHash": "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365",
        "coinbase": "0x0000000000000000000000000000000000000000",
        "alloc": {"7e5f4552091a69125d5dfcb7b8c2659029395bdf": {"balance": "1000"}},
        "number": "0x0", "gasUsed": "0x0"
    })
}

fn read(genesis: &Value) -> Result<GenesisFacts, String> {
    read_genesis(&serde_json::to_vec(genesis).unwrap())
}

fn with(path: &str, value: Value) -> Value {
    let mut genesis = qbft();
    let (parent, key) = path.rsplit_once('/').unwrap();
    genesis.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.into(), value);
    genesis
}

fn without(path: &str) -> Value {
    let mut genesis = qbft();
    let (parent, key) = path.rsplit_once('/').unwrap();
    genesis.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    genesis
}

fn fault(genesis: &Value) -> String {
    read(genesis).unwrap_err()
}

/// The engine of a genesis with this `config`, the chain id aside.
fn engine_of(mut config: Value) -> Engine {
    config["chainId"] = json!(7);
    read(&with("/config", config)).unwrap().engine
}

#[test]
fn a_qbft_genesis_with_one_validator_is_read() {
    let facts = read(&qbft()).unwrap();
    assert_eq!((facts.chain_id, facts.engine), (41337, Engine::Qbft));
}

#[test]
fn the_digest_is_of_the_bytes_so_that_white_space_counts() {
    let plain = read_genesis(&serde_json::to_vec(&qbft()).unwrap()).unwrap();
    let spaced = read_genesis(&serde_json::to_vec_pretty(&qbft()).unwrap()).unwrap();
    assert_ne!(plain.sha256, spaced.sha256);
    assert_eq!((plain.chain_id, plain.engine), (spaced.chain_id, spaced.engine));
    assert_eq!(plain.sha256, hex(&Sha256::digest(serde_json::to_vec(&qbft()).unwrap())));
    assert_eq!(plain.sha256.len(), 64);
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
        (json!({"istanbul": null, "qbft": {}}), Engine::Qbft),
        (json!({"ibft": {}, "qbft": null}), Engine::Ibft),
        (json!({"clique": {"period": 5}}), Engine::Unspecified),
        (json!({}), Engine::Unspecified),
    ] {
        assert_eq!(engine_of(config.clone()), engine, "{config}");
    }
}

#[test]
fn a_transition_counts_at_block_0_alone() {
    let transition = |block: u64, algorithm: &str| json!([{"block": block, "algorithm": algorithm}]);
    assert_eq!(engine_of(json!({"ibft": {}, "transitions": transition(0, "qbft")})), Engine::Qbft);
    assert_eq!(engine_of(json!({"ibft": {}, "transitions": transition(120, "qbft")})), Engine::Ibft);
    assert_eq!(engine_of(json!({"transitions": transition(0, "ibft")})), Engine::Ibft);
    assert_eq!(
        engine_of(json!({"qbft": {}, "transitions": [{"block": 0, "blockperiodseconds": 3}]})),
        Engine::Qbft
    );
    assert_eq!(engine_of(json!({"ibft": {}, "transitions": transition(0, "QBFT")})), Engine::Qbft);
}

#[test]
fn a_transition_that_the_client_refuses_is_refused() {
    for block in [0, 120] {
        let back = with("/config/transitions", json!([{"block": block, "algorithm": "ibft"}]));
        assert!(fault(&back).contains("back from qbft to ibft"), "{}", fault(&back));
    }
    let steps = json!([{"block": 0, "algorithm": "ibft"}, {"block": 5, "algorithm": "qbft"}]);
    assert_eq!(engine_of(json!({"transitions": steps})), Engine::Ibft);
    for block in [json!(null), json!("0"), json!(-1)] {
        let nowhere = with("/config/transitions", json!([{"block": block, "blockperiodseconds": 3}]));
        assert!(fault(&nowhere).contains("has no block number"), "{}", fault(&nowhere));
    }
}

#[test]
fn what_is_no_json_object_is_refused() {
    assert!(read_genesis(b"{\"config\":").unwrap_err().contains("not JSON"));
    assert!(read_genesis(b"").unwrap_err().contains("not JSON"));
    assert!(read_genesis(b"[]").unwrap_err().contains("not a JSON object"));
}

#[test]
fn a_genesis_without_config_is_refused_since_it_crashes_the_client() {
    assert!(fault(&without("/config")).contains("no `config` object"));
    assert!(fault(&with("/config", json!(null))).contains("no `config` object"));
    assert!(fault(&with("/config", json!("qbft"))).contains("`config` is not a JSON object"));
}

#[test]
fn a_chain_id_is_a_whole_number_above_zero() {
    assert!(fault(&without("/config/chainId")).contains("`config.chainId` is missing"));
    for wrong in [json!(0), json!(-5), json!("41337"), json!("0xa1"), json!(1.5), json!(null), json!(1e30)] {
        let fault = fault(&with("/config/chainId", wrong.clone()));
        assert!(fault.contains("whole decimal number"), "{wrong}: {fault}");
    }
    assert_eq!(read(&with("/config/chainId", json!(u64::MAX))).unwrap().chain_id, u64::MAX);
}

#[test]
fn a_section_of_the_wrong_type_is_refused() {
    assert!(fault(&with("/config/qbft", json!(true))).contains("`qbft` is not a JSON object"));
    assert!(
        fault(&with("/config/transitions", json!({}))).contains("`config.transitions` is not a JSON array")
    );
}

#[test]
fn fields_that_the_client_requires_must_be_there() {
    for key in ["alloc", "difficulty", "gasLimit"] {
        assert!(fault(&without(&format!("/{key}"))).contains(&format!("`{key}` is missing")), "{key}");
    }
    assert!(fault(&with("/alloc", json!([]))).contains("`alloc` is not a JSON object"));
    assert!(read(&with("/alloc", json!({}))).is_ok());
}

#[test]
fn difficulty_and_gas_limit_are_numbers_in_hex_or_decimal() {
    for right in [json!("0x2"), json!("17"), json!(17)] {
        assert!(read(&with("/difficulty", right.clone())).is_ok(), "{right}");
        assert!(read(&with("/gasLimit", right)).is_ok());
    }
    for wrong in [json!("0x"), json!("0xzz"), json!("1g"), json!(""), json!(-1), json!(1.5), json!({})] {
        assert!(
            fault(&with("/difficulty", wrong.clone())).contains("`difficulty` must be a number"),
            "{wrong}"
        );
        assert!(fault(&with("/gasLimit", wrong)).contains("`gasLimit` must be a number"));
    }
}

#[test]
fn extra_data_is_whole_bytes_in_hex() {
    for wrong in [json!("f83a"), json!("0xf83"), json!("0xf83g"), json!(7)] {
        assert!(fault(&with("/extraData", wrong.clone())).contains("`extraData` must be"), "{wrong}");
    }
}

#[test]
fn extra_data_may_be_absent_only_where_it_names_no_validators() {
    assert!(fault(&without("/extraData")).contains("`extraData` is missing"));
    let mut other = without("/extraData");
    other["config"] = json!({"chainId": 7});
    assert_eq!(read(&other).unwrap().engine, Engine::Unspecified);
}
