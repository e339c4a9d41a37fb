//! Checks before the measurements that all peers allow and deny the same requests.

use std::{io, sync::Arc};

use anyhow::ensure;
use rustls::ClientConfig;

use crate::{
    caller::{Dial, post, request},
    peer::{Kind, Peer},
    policy::METHODS,
    setup::Setup,
};

/// A small call: 63 bytes.
pub(crate) fn small() -> String {
    call("eth_blockNumber", "[]")
}

/// A call of 48 KB, the size of a contract deployment.
pub(crate) fn large() -> String {
    sized(48 * 1024)
}

/// A call of 48 KB with many small values: the logs of 1090 addresses.
pub(crate) fn many() -> String {
    let addresses = vec![format!(r#""0x{}""#, "6b".repeat(20)); 1090];
    call("eth_getLogs", &format!(r#"[{{"address":[{}]}}]"#, addresses.join(",")))
}

/// A call that the policy denies.
pub(crate) fn denied() -> String {
    call("admin_nodeInfo", "[]")
}

fn call(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

fn sized(bytes: usize) -> String {
    let empty = call("eth_sendRawTransaction", r#"["0x"]"#).len();
    call("eth_sendRawTransaction", &format!(r#"["0x{}"]"#, "6b".repeat((bytes - empty) / 2)))
}

/// A request, and the methods that must reach the client.
struct Case {
    what: String,
    request: Vec<u8>,
    reaches: Vec<&'static str>,
}

fn cases(kind: Kind) -> Vec<Case> {
    let case = |what: &str, request: Vec<u8>, reaches: &[&'static str]| Case {
        what: what.into(),
        request,
        reaches: reaches.to_vec(),
    };
    let batch = |methods: &[&str]| {
        let calls: Vec<String> = methods.iter().map(|method| call(method, "[]")).collect();
        post(&format!("[{}]", calls.join(",")))
    };
    // a peer that cannot inspect batches refuses them; only the guard drops denied calls and forwards the others
    let reads = |methods: &'static [&'static str]| if kind.reads_batches() { methods } else { &[] };
    let kept: &[&str] = if kind == Kind::Guard { &["eth_chainId"] } else { &[] };
    let mut cases = vec![
        case("a large call", post(&large()), &["eth_sendRawTransaction"]),
        case(
            "members in another order, with space",
            post(r#" { "params" : [ ] , "method" : "eth_call" , "id" : 1 , "jsonrpc" : "2.0" } "#),
            &["eth_call"],
        ),
        case("a name in capitals", post(&call("ETH_BLOCKNUMBER", "[]")), &[]),
        case("a name that only begins like one", post(&call("eth_callMany", "[]")), &[]),
        case("no name", post(r#"{"jsonrpc":"2.0","id":1,"params":[]}"#), &[]),
        case("a name that is no string", post(r#"{"jsonrpc":"2.0","id":1,"method":["eth_call"]}"#), &[]),
        case("no JSON", post("eth_blockNumber"), &[]),
        case("no body", post(""), &[]),
        case("an empty batch", post("[]"), &[]),
        case("over the limit of 1 MiB", post(&sized(1024 * 1024 + 2)), &[]),
        case("another verb", request("PUT", &small()), &[]),
        case("a batch", batch(&["eth_chainId", "net_version"]), reads(&["eth_chainId", "net_version"])),
        case("a batch with one that is denied", batch(&["eth_chainId", "admin_nodeInfo"]), kept),
    ];
    let denied = [
        "admin_nodeInfo",
        "admin_peers",
        "debug_traceCall",
        "eth_sign",
        "eth_sendTransaction",
        "eth_accounts",
        "miner_start",
        "personal_listAccounts",
        "txpool_content",
    ];
    cases.extend(METHODS.map(|method| case(method, post(&call(method, "[]")), &[method])));
    cases.extend(denied.map(|method| case(method, post(&call(method, "[]")), &[])));
    cases
}

/// Sends all test requests to a peer and returns their number.
///
/// # Errors
/// If a wrong set of methods reaches the client, or an answer is wrong.
pub(crate) fn check(peer: &Peer, setup: &Setup) -> anyhow::Result<usize> {
    let (upstream, port) = (&setup.upstream, peer.port);
    upstream.keep(true);
    let cases = cases(peer.kind);
    for case in &cases {
        let name = || format!("{}: {}", peer.kind.name(), case.what);
        let answered = ask(port, setup.pki.dials()?, &case.request);
        let asked = upstream.asked();
        ensure!(asked == case.reaches, "{}: {asked:?} reached the client, not {:?}", name(), case.reaches);
        let has_result = answered.as_ref().is_ok_and(|has_result| *has_result);
        ensure!(has_result != case.reaches.is_empty(), "{}: answered with a result: {answered:?}", name());
    }
    let others = setup.pki.others()?;
    for (who, config) in &others {
        let answered = ask(port, config.clone(), &post(&small()));
        let asked = upstream.asked();
        ensure!(asked.is_empty() && !answered.is_ok_and(|has| has), "{}: {who}: {asked:?}", peer.kind.name());
    }
    upstream.keep(false);
    Ok(cases.len() + others.len())
}

/// Sends a request on a new connection, since some peers close after a rejection. Returns whether the answer has a
/// result.
fn ask(port: u16, config: Arc<ClientConfig>, request: &[u8]) -> io::Result<bool> {
    let mut caller = Dial { port, config }.connect()?;
    let answer = caller.ask(request)?;
    Ok(answer.body.windows(8).any(|window| window == b"\"result\""))
}

/// Checks the sizes of the calls in bytes.
pub(crate) fn sizes() -> anyhow::Result<()> {
    let sizes = [small().len(), large().len(), many().len() / 100];
    ensure!(sizes == [63, 48 * 1024, 491], "{sizes:?}");
    Ok(())
}
