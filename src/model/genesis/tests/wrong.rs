//! Tests of genesis faults: each message names the member, the value and what to do.

use super::*;

/// Asserts that the fault of `path` with this value contains these parts and begins with the member.
fn told(path: &str, value: Value, parts: &[&str]) {
    let told = fault(&with(path, value.clone()));
    for part in parts {
        assert!(told.contains(part), "{path} {value}: {part}: {told}");
    }
    let (member, remedy) = told.split_once(": ").unwrap_or_default();
    assert!(member.contains('`') && !remedy.is_empty(), "{told}");
}

#[test]
fn what_is_no_json_object_is_refused() {
    assert!(read_genesis(b"{\"config\":").expect_err("none").contains("not JSON"));
    assert!(read_genesis(b"").expect_err("none").contains("not JSON"));
    assert!(read_genesis(b"[]").expect_err("none").contains("not a JSON object"));
    assert!(fault(&without("/config")).contains("no `config` object"));
    assert!(fault(&with("/config", json!(null))).contains("no `config` object"));
    assert!(fault(&with("/config", json!("qbft"))).contains("`config` is \"qbft\": write a JSON object"));
}

#[test]
fn members_that_the_client_requires_must_be_there() {
    for key in ["alloc", "difficulty", "gasLimit"] {
        let missing = format!("`{key}` is missing, and geth init requires it: add it");
        assert!(fault(&without(&format!("/{key}"))).contains(&missing), "{key}");
        assert!(fault(&with(&format!("/{key}"), json!(null))).contains(&missing), "{key}");
    }
    assert!(fault(&without("/extraData")).contains("`extraData` is missing"));
    assert!(fault(&without("/mixHash")).contains("`mixHash` is zero or missing: write 0x6374"));
    assert!(fault(&without("/config/chainId")).contains("`config.chainId` is missing"));
}

#[test]
fn numbers_of_the_block_are_texts() {
    for name in ["gasLimit", "nonce", "timestamp", "number", "gasUsed"] {
        for wrong in [
            json!(17),
            json!("0x"),
            json!("0xzz"),
            json!("1g"),
            json!("-1"),
            json!({}),
            json!("18446744073709551616"),
        ] {
            told(&format!("/{name}"), wrong, &[&format!("`{name}` is "), "a number below 2^64"]);
        }
    }
    told("/difficulty", json!(1), &["`difficulty` is 1: write a text with a number below 2^256"]);
    told("/difficulty", json!("2"), &["`difficulty` is 0x2: write \"0x1\""]);
    told("/number", json!("0x7"), &["`number` is 7: write \"0x0\""]);
    let ibft = set(ibft(), "/nonce", Some(json!("0x42")));
    assert!(fault(&ibft).contains("`nonce` is 0x42: write \"0x0\""), "{}", fault(&ibft));
    assert_eq!(read(&with("/nonce", json!("0x42"))).err(), None, "QBFT does not look at it");
}

#[test]
fn bytes_have_their_length() {
    for name in ["mixHash", "parentHash"] {
        for wrong in
            [json!("0x00"), json!(""), json!("00".repeat(32)), json!(format!("0x{}zz", "0".repeat(62)))]
        {
            told(&format!("/{name}"), wrong, &[&format!("`{name}` is "), "64 hexadecimal digits"]);
        }
    }
    told("/coinbase", json!("0x00"), &["`coinbase` is \"0x00\": write an address"]);
    told(
        "/mixHash",
        json!(format!("0x{}", "ab".repeat(32))),
        &["`mixHash` is 0xabab", "QBFT does not start"],
    );
    for wrong in [json!("f83a"), json!("0xf83"), json!("0xf83g"), json!(7)] {
        told("/extraData", wrong, &["`extraData` is ", "pairs of hexadecimal digits"]);
    }
}

#[test]
fn accounts_are_read_one_by_one() {
    let of = |account: Value| json!({VALIDATOR: account});
    let member = format!("`alloc.{VALIDATOR}");
    for (account, part) in [
        (json!({}), ".balance` is missing"),
        (json!(null), "` is null: write a JSON object"),
        (json!({"balance": 1}), ".balance` is 1: write a text"),
        (json!({"balance": "-1"}), ".balance` is \"-1\": write a text"),
        (json!({"balance": "1", "code": "60"}), ".code` is \"60\": write a text of 0x"),
        (json!({"balance": "1", "nonce": 1}), ".nonce` is 1: write a text"),
        (
            json!({"balance": "1", "storage": {"0x1": "0x01"}}),
            ".storage` has the key \"0x1\": write up to 64",
        ),
        (json!({"balance": "1", "storage": {"0x01": 1}}), ".storage.0x01` is 1: write up to 64"),
        (json!({"balance": "1", "storage": {"01": "00".repeat(33)}}), "… of 66 characters: write up to 64"),
        (
            json!({"balance": "1", "storage": {"01": "02", "0x01": "02"}}),
            ".storage.0x01` is given more than once",
        ),
    ] {
        told("/alloc", of(account), &[&member, part]);
    }
    told("/alloc", json!({"7e5f": {"balance": "1"}}), &["`alloc` has the key \"7e5f\": write an address"]);
    told("/alloc", json!([]), &["`alloc` is a list: write a JSON object"]);
    let twice = json!({VALIDATOR: {"balance": "1"}, format!("0x{VALIDATOR}"): {"balance": "2"}});
    told("/alloc", twice, &["is given more than once: give each address once"]);
    let many: Value = (0..20).map(|i| (format!("{i}"), json!({}))).collect::<serde_json::Map<_, _>>().into();
    told("/alloc", many, &["; and 12 more"]);
}

#[test]
fn a_key_that_does_not_belong_there_is_not_shown() {
    let told = fault(&with("/alloc", json!({VALIDATOR: {"balance": "1", "secretKey": "hunter2"}})));
    assert!(
        told.contains(".secretKey` is invalid (the value is not shown here): remove the member")
            && !told.contains("hunter2"),
        "{told}"
    );
    let key = "4f".repeat(32);
    let told = fault(&with("/coinbase", json!(key)));
    assert!(told.contains("… of 64 characters") && !told.contains(&key), "{told}");
}

#[test]
fn numbers_of_config_are_json_numbers() {
    for wrong in [json!(0), json!(-5), json!("41337"), json!(1.5), json!(1e30)] {
        told("/config/chainId", wrong, &["`config.chainId` is "]);
    }
    for name in [
        "berlinBlock",
        "qip714Block",
        "enableGasPriceBlock",
        "qbft/epochlength",
        "txnSizeLimit",
        "maxCodeSize",
    ] {
        let member = format!("`config.{}` is ", name.replace('/', "."));
        for wrong in [json!("0"), json!(-1), json!(true), json!(2.5)] {
            told(&format!("/config/{name}"), wrong, &[&member, "a whole decimal number"]);
        }
    }
    for name in ["isQuorum", "isMPS", "daoForkSupport"] {
        told(
            &format!("/config/{name}"),
            json!("true"),
            &[&format!("`config.{name}` is \"true\": write true or false")],
        );
    }
    told("/config/eip150Hash", json!(null), &["`config.eip150Hash` is null: remove the member"]);
    told("/config/qbft", json!(true), &["`config.qbft` is true: write a JSON object"]);
    told(
        "/config/qbft",
        json!({"epoch": 3}),
        &["`config.qbft` has none of the members epochlength, ", "geth crashes"],
    );
    told(
        "/config/qbft/validators",
        json!([null]),
        &["`config.qbft.validators[0]` is null: write an address"],
    );
    told("/config/qbft/validatorcontractaddress", json!(null), &["validatorcontractaddress` is null"]);
    told("/config/transitions", json!({}), &["`config.transitions` is an object: write a JSON array"]);
    told("/config/clique", json!({"period": "5"}), &["`config.clique.period` is \"5\""]);
}

#[test]
fn forks_come_in_their_order() {
    told(
        "/config/homesteadBlock",
        json!(3),
        &["`config.eip150Block` is 0: write 3 (the value of `config.homesteadBlock`) or more"],
    );
    let gap = fault(&set(without("/config/istanbulBlock"), "/config/berlinBlock", Some(json!(9))));
    assert!(
        gap.contains("`config.berlinBlock` is 9: add `config.istanbulBlock` at block 9 or before"),
        "{gap}"
    );
}

#[test]
fn sizes_have_their_bounds() {
    for wrong in [1, 31, 129] {
        told(
            "/config/txnSizeLimit",
            json!(wrong),
            &[&format!("`config.txnSizeLimit` is {wrong}: write a number from 32 to 128")],
        );
        told(
            "/config/transitions",
            json!([{"block": 1, "transactionSizeLimit": wrong}]),
            &[&format!(
                "`config.transitions[0].transactionSizeLimit` is {wrong}: write a number from 32 to 128"
            )],
        );
    }
    told(
        "/config/maxCodeSize",
        json!(64),
        &[
            "`config.maxCodeSize` is 64: remove this member, because geth init rejects it, and add `config.maxCodeSizeConfig`",
        ],
    );
    told(
        "/config/maxCodeSizeChangeBlock",
        json!(0),
        &["`config.maxCodeSizeChangeBlock` is 0: remove this member"],
    );
    let beside = set(
        with("/config/maxCodeSize", json!(64)),
        "/config/maxCodeSizeConfig",
        Some(json!([{"block": 0, "size": 64}])),
    );
    assert!(
        fault(&beside).contains(
            "remove this member, because geth init rejects it together with `config.maxCodeSizeConfig`"
        ),
        "{}",
        fault(&beside)
    );
    for (list, part) in [
        (
            json!([{"block": 0, "size": 23}]),
            "`config.maxCodeSizeConfig[0].size` is 23: write a number from 24 to 128",
        ),
        (
            json!([{"block": 0, "size": 129}]),
            "`config.maxCodeSizeConfig[0].size` is 129: write a number from 24 to 128",
        ),
        (
            json!([{"block": 0}]),
            "`config.maxCodeSizeConfig[0].size` is missing: write a number from 24 to 128",
        ),
        (json!([{"size": 64}]), "`config.maxCodeSizeConfig[0].block` is missing"),
        (
            json!([{"block": 9, "size": 64}, {"block": 8, "size": 64}]),
            "`config.maxCodeSizeConfig[1].block` is 8: write 9 or more",
        ),
        (json!([null]), "`config.maxCodeSizeConfig[0]` is null: write a JSON object"),
    ] {
        told("/config/maxCodeSizeConfig", list, &[part]);
    }
    let both = set(
        with("/config/maxCodeSizeConfig", json!([{"block": 0, "size": 64}])),
        "/config/transitions",
        Some(json!([{"block": 1, "contractsizelimit": 64}])),
    );
    assert!(fault(&both).contains("contractsizelimit` is 64: remove either this member"), "{}", fault(&both));
}

#[test]
fn transitions_that_the_client_refuses_are_refused() {
    let address = format!("0x{}", "c0".repeat(20));
    for (entry, part) in [
        (json!({"block": 0, "algorithm": "ibft"}), "changes the algorithm from qbft back to ibft"),
        (json!({"block": 120, "algorithm": "IBFT"}), "changes the algorithm from qbft back to ibft"),
        (json!({"block": 0, "algorithm": "raft"}), ".algorithm` is \"raft\": write qbft or ibft"),
        (json!({"blockperiodseconds": 3}), ".block` is missing: add a block number"),
        (json!({"block": "0"}), ".block` is \"0\": write a whole"),
        (json!({"block": -1}), ".block` is -1: write a whole"),
        (
            json!({"block": 1, "contractsizelimit": 23}),
            ".contractsizelimit` is 23: write a number from 24 to 128",
        ),
        (json!({"block": 1, "validatorselectionmode": "vote"}), ".validatorselectionmode` is \"vote\""),
        (
            json!({"block": 1, "validatorcontractaddress": address}),
            "without `validatorselectionmode`: add `validatorselectionmode`",
        ),
        (json!({"block": 1, "beneficiaryMode": "us"}), ".beneficiaryMode` is \"us\": write fixed"),
        (json!({"block": 1, "privacyPrecompileEnabled": true}), "without `privacyEnhancementsEnabled`"),
        (json!({"block": 1, "gasPriceEnabled": 1}), ".gasPriceEnabled` is 1: write true or false"),
    ] {
        told("/config/transitions", json!([entry]), &["`config.transitions[0]", part]);
    }
    let descends = json!([{"block": 5}, {"block": 4}]);
    told("/config/transitions", descends, &["`config.transitions[1].block` is 4: write 5 or more"]);
    let tests = json!({"chainId": 7, "istanbul": {"testQBFTBlock": 5}, "transitions": [{"block": 1, "algorithm": "qbft"}]});
    told(
        "/config",
        tests,
        &["`config.transitions[0]` has `algorithm` while `config.istanbul.testQBFTBlock` is set"],
    );
}

#[test]
fn extra_data_is_in_the_layout_of_the_engine() {
    let zeros = "0".repeat(64);
    for (extra, part) in [
        (
            extra_ibft(),
            "it has the IBFT layout. Either name IBFT in `config`, or generate extraData for QBFT",
        ),
        (
            extra_qbft() + "00",
            "has bytes after its end, so it does not have the QBFT layout: generate extraData for QBFT",
        ),
        (extra_qbft()[..100].to_owned(), "ends early"),
        (format!("0xf839a0{zeros}d594{VALIDATOR}c080"), "has a list of 4 items instead of 5"),
        (
            format!("0xf839a0{zeros}d493{}c080c0", &VALIDATOR[2..]),
            "has a validator that is not an address of 20 bytes",
        ),
        (format!("0xf83aa0{zeros}d594{VALIDATOR}8080c0"), "has bytes where the vote must be a list"),
        (
            format!("0xf83aa0{zeros}d594{VALIDATOR}c000c0"),
            "has a round that is not a number of at most 4 bytes",
        ),
        (
            format!("0xf83aa0{zeros}d594{VALIDATOR}c0c0c0"),
            "has a round that is not a number of at most 4 bytes",
        ),
        (format!("0xf83aa0{zeros}d594{VALIDATOR}c08080"), "has bytes where the list of seals must be a list"),
        ("0x00".into(), "has bytes where the RLP must be a list"),
    ] {
        told("/extraData", json!(extra), &["`extraData` ", part]);
    }
    for (extra, part) in [
        (extra_qbft(), "it has the QBFT layout. Either name QBFT in `config`"),
        ("0x00".to_owned(), "has fewer than 32 bytes"),
        (format!("0x{zeros}"), "ends early, read from byte 32 on"),
        (format!("0x{zeros}c0"), "has a list of 0 items instead of 3"),
        (format!("0x{zeros}c3c080c0"), "`extraData` names no validator"),
    ] {
        let told = fault(&set(ibft(), "/extraData", Some(json!(extra))));
        assert!(told.contains("`extraData` ") && told.contains(part), "{part}: {told}");
    }
}
