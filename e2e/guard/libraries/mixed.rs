//! Batches of granted and rejected calls: compares what a library resolves for each call.

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

/// Batches for the libraries: with granted calls first, last and in between, none granted, all granted, and a method
/// that the client does not have. No two methods of a batch have the same answer.
pub(crate) const BATCHES: &str = r#"[
    [["eth_chainId",[]],["admin_peers",[]],["net_version",[]],["personal_listAccounts",[]],["web3_clientVersion",[]]],
    [["admin_peers",[]],["eth_chainId",[]]],
    [["eth_chainId",[]],["admin_peers",[]]],
    [["admin_peers",[]],["personal_listAccounts",[]]],
    [["net_version",[]],["eth_blockNumber",[]],["web3_clientVersion",[]]],
    [["eth_nope",[]],["net_version",[]],["admin_nodeInfo",[]],["eth_chainId",[]]],
    [["txpool_status",[]],["eth_getBlockByNumber",["0x0",false]],["admin_datadir",[]],["eth_gasPrice",[]]],
    [["admin_peers",[]]]
]"#;

/// What a library resolved for a batch.
#[derive(Debug, Deserialize)]
pub(crate) struct Outcome {
    way: String,
    calls: Vec<(String, Value)>,
    got: Vec<Got>,
}

/// What a library resolved for a call. Both are `None` if the result is null.
#[derive(Debug, Default, Deserialize)]
struct Got {
    result: Option<Value>,
    error: Option<String>,
}

/// Parses the outcomes that a script prints, one in a line.
pub(crate) fn read(printed: &str) -> anyhow::Result<Vec<Outcome>> {
    let outcome = |line: &str| serde_json::from_str(line).with_context(|| line.to_owned());
    printed.lines().filter_map(|line| line.strip_prefix("mixed ")).map(outcome).collect()
}

/// Differences between outcomes through the guard and directly from the client.
pub(crate) fn unlike(
    straight: &[Outcome],
    guarded: &[Outcome],
    is_granted: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut faults = Vec::new();
    let key = |outcome: &Outcome| (outcome.way.clone(), format!("{:?}", outcome.calls));
    let (mut straight, mut guarded): (Vec<_>, Vec<_>) = (straight.iter().collect(), guarded.iter().collect());
    straight.sort_by_key(|outcome| key(outcome));
    guarded.sort_by_key(|outcome| key(outcome));
    if straight.len() != guarded.len() {
        faults.push(format!("{} batches straight, {} through the guard", straight.len(), guarded.len()));
    }
    for (of_client, of_guard) in straight.into_iter().zip(guarded) {
        for (place, (method, _)) in of_guard.calls.iter().enumerate() {
            let none = Got::default();
            let [wanted, got] = [of_client, of_guard].map(|outcome| outcome.got.get(place).unwrap_or(&none));
            // error messages contain addresses and ids, so they are not compared
            let is_right = if is_granted(method) {
                wanted.result == got.result && wanted.error.is_some() == got.error.is_some()
            } else {
                got.error.as_ref().is_some_and(|error| error.contains("not granted"))
            };
            if !is_right {
                let methods: Vec<_> = of_guard.calls.iter().map(|(method, _)| method.as_str()).collect();
                let got = format!("{got:?}").chars().take(160).collect::<String>();
                faults.push(format!("{} {methods:?}: {method} became {got}", of_guard.way));
            }
        }
    }
    faults
}
