use super::*;
use crate::model::genesis::Validators;

fn seconds(genesis: &Value, head: u64) -> u64 {
    read(genesis).expect("no fault").schedule.longest_period(head).as_secs()
}

fn listed(genesis: &Value, head: u64) -> Option<Vec<String>> {
    match read(genesis).expect("no fault").schedule.validators(head) {
        Validators::Relist(addresses) => Some(addresses.iter().cloned().collect()),
        Validators::Unknown => None,
    }
}

#[test]
fn the_period_is_that_of_the_next_block_empty_blocks_included() {
    assert_eq!(seconds(&qbft(), 0), 2);
    assert_eq!(seconds(&without("/config/qbft/blockperiodseconds"), 0), 5, "the client's own");
    assert_eq!(seconds(&with("/config/qbft/blockperiodseconds", json!(0)), 0), 5);
    let empty = with("/config/qbft/emptyblockperiodseconds", json!(60));
    assert_eq!((seconds(&empty, 0), seconds(&empty, u64::MAX)), (60, 60));
    assert_eq!(seconds(&with("/config/qbft/emptyblockperiodseconds", json!(0)), 7), 2);
    let ibft = set(ibft(), "/config/ibft/blockperiodseconds", Some(json!(9)));
    assert_eq!(seconds(&ibft, 3), 9);
    let transitions = json!([
        {"block": 10, "emptyblockperiodseconds": 30},
        {"block": 20, "blockperiodseconds": 40},
        {"block": 30, "emptyblockperiodseconds": 0},
        {"block": 40, "blockperiodseconds": 0},
        {"block": 50, "algorithm": "qbft"},
    ]);
    let changing = with("/config/transitions", transitions);
    let heads = [0, 8, 9, 18, 19, 29, 39, 99].map(|head| (head, seconds(&changing, head)));
    assert_eq!(heads, [(0, 2), (8, 2), (9, 30), (18, 30), (19, 40), (29, 40), (39, 40), (99, 40)]);
}

#[test]
fn the_validators_are_those_of_extra_data_of_config_or_of_a_transition() {
    let own = format!("0x{VALIDATOR}");
    assert_eq!(listed(&qbft(), 0), Some(vec![own.clone()]));
    assert_eq!(listed(&ibft(), 7), Some(vec![own.clone()]));
    let other = format!("0x{}", "Ab".repeat(20));
    let lower = vec![other.to_lowercase()];
    assert_eq!(listed(&with("/config/qbft/validators", json!([other])), 0), Some(lower.clone()));
    let at = |block: u64| with("/config/transitions", json!([{"block": block, "validators": [other]}]));
    assert_eq!(listed(&at(0), 0), Some(lower.clone()));
    assert_eq!((listed(&at(9), 7), listed(&at(9), 8)), (Some(vec![own.clone()]), Some(lower)));
    let third = format!("0x{}", "cd".repeat(20));
    let both = set(at(0), "/config/qbft/validators", Some(json!([third])));
    assert_eq!(
        listed(&both, 0),
        Some(vec![third]),
        "the section goes before a transition at its first block"
    );
    let period = with("/config/transitions", json!([{"block": 9, "blockperiodseconds": 1}]));
    assert_eq!(listed(&period, 99), Some(vec![own]), "nothing is said of them");
}

#[test]
fn whom_a_contract_names_is_not_known() {
    let address = format!("0x{}", "c0".repeat(20));
    let entry =
        json!([{"block": 9, "validatorcontractaddress": address, "validatorselectionmode": "contract"}]);
    let later = with("/config/transitions", entry);
    assert_eq!((listed(&later, 7).is_some(), listed(&later, 8)), (true, None));
    let first = set(
        with("/extraData", json!(extra_empty())),
        "/config/qbft/validatorcontractaddress",
        Some(json!(address)),
    );
    let first = set(first, "/config/qbft/validatorselectionmode", Some(json!("contract")));
    let first = set(first, &format!("/alloc/{address}"), Some(json!({"balance": "0", "code": "0x6001"})));
    assert_eq!(listed(&first, 0), None);
    assert_eq!(listed(&set(qbft(), "/config/clique", Some(json!({"period": 5}))), 0), None);
}

#[test]
fn of_a_chain_whose_head_is_not_known_every_list_may_be_in_force() {
    let (own, other, third) =
        (format!("0x{VALIDATOR}"), format!("0x{}", "ab".repeat(20)), format!("0x{}", "cd".repeat(20)));
    let all = |genesis: &Value, head: u64| {
        let listed = read(genesis).expect("no fault").schedule.listed(head);
        listed.map(|(count, addresses)| (count, addresses.into_iter().collect::<Vec<_>>()))
    };
    let mut every = vec![own.clone(), other.clone(), third.clone()];
    every.sort();
    let later = with("/config/transitions", json!([{"block": 9, "validators": [other, third]}]));
    assert_eq!(all(&later, 0), Some((1, every)));
    assert_eq!(all(&later, 7), Some((1, vec![own])));
    assert_eq!(all(&later, 8), Some((2, vec![other, third])));
    let contract = json!([{"block": 9, "validatorcontractaddress": format!("0x{}", "c0".repeat(20)),
        "validatorselectionmode": "contract"}]);
    let later = with("/config/transitions", contract);
    assert_eq!((all(&later, 0), all(&later, 7).is_some(), all(&later, 8)), (None, true, None));
}
