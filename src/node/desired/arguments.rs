//! Command-line arguments of geth, from typed values only. Facts about geth are from its 24.4.1 sources.

use super::rpc;
use crate::{
    api::{
        client::{GcMode, LogFormat, Tunables},
        node::Role,
    },
    model::names::{self, Component},
    node::validate::Validated,
};

/// Paths inside the client's containers.
pub(super) mod path {
    pub(crate) const DATA: &str = "/data";
    /// The node key from its Secret, only for `prepare`.
    pub(crate) const SECRET_KEY: &str = "/secret/nodekey";
    /// The node key after the check, in memory.
    pub(crate) const KEYS: &str = "/keys";
    pub(crate) const NODE_KEY: &str = "/keys/nodekey";
    pub(crate) const GENESIS: &str = "/genesis/genesis.json";
    pub(crate) const PEERS: &str = "/etc/quorum/peers";
    pub(crate) const THROWAWAY_KEY: &str = "/run/quorum/nodekey";
    pub(crate) const MANAGER_TLS: &str = "/tls/tm";
    pub(crate) const RPC_TLS: &str = "/tls/rpc";
    pub(crate) const POLICY: &str = "/etc/quorum/guard";
}

/// Arguments of `geth init`, without those for the transaction manager: with them geth would call it, and exit.
pub(super) fn init() -> Vec<String> {
    vec![
        format!("--datadir={}", path::DATA),
        // without a key, geth generates one and leaves it in the data directory
        format!("--nodekey={}", path::THROWAWAY_KEY),
        "init".into(),
        path::GENESIS.into(),
    ]
}

/// Arguments of the running client.
pub(super) fn run(node: &Validated) -> Vec<String> {
    let mut arguments = base(node);
    if node.spec.role == Role::Validator {
        arguments.extend(validator(&node.spec.client.tunables));
    }
    if node.manager.is_some() {
        arguments.extend(transaction_manager(node));
    }
    if node.has_callers() {
        arguments.extend(json_rpc(node));
    }
    arguments
}

fn base(node: &Validated) -> Vec<String> {
    let tunables = &node.spec.client.tunables;
    let mut arguments = vec![
        format!("--datadir={}", path::DATA),
        // a key in the data directory that cannot be read would be replaced by a new one
        format!("--nodekey={}", path::NODE_KEY),
        // without it, geth assumes mainnet and raises the cache
        format!("--networkid={}", node.network_id),
        format!("--port={}", names::P2P),
        // the default asks the network for port mappings
        "--nat=none".into(),
        // geth rejects any other mode with a transaction manager
        "--syncmode=full".into(),
        format!(
            "--gcmode={}",
            match tunables.gc_mode {
                GcMode::Full => "full",
                GcMode::Archive => "archive",
            }
        ),
        // the default is a share of the host's memory, not of the container's
        format!("--cache={}", tunables.cache_mib),
        format!("--maxpeers={}", tunables.max_peers),
        // its presence counts, not its value; without it, geth contacts public Ethereum hosts
        "--nodiscover".into(),
        // admits only the nodes in permissioned-nodes.json
        "--permissioned".into(),
        // the socket offers every method without authentication
        "--ipcdisable".into(),
        // also disables the snap protocol: CVE-2021-41173 is not patched
        "--snapshot=false".into(),
    ];
    arguments.extend(pool(tunables));
    arguments.extend(log(node));
    arguments.extend([
        // no value: with one, collection stays off
        "--metrics".into(),
        // a separate listener on loopback, without the profiler; only the sidecar reads it
        "--metrics.addr=127.0.0.1".into(),
        format!("--metrics.port={}", names::CLIENT_METRICS),
    ]);
    arguments
}

/// Log arguments. Levels from 4 log configuration and make CVE-2022-29177 reachable. At levels 2 and 3, geth's JSON-RPC
/// server logs all data of a failed call, possibly megabytes: with callers it logs at level 1, and everything else at
/// the level of the spec.
fn log(node: &Validated) -> Vec<String> {
    let level = node.spec.client.tunables.verbosity;
    let mut arguments = match node.spec.client.tunables.log_format {
        LogFormat::Text => vec![],
        // no value: geth would take it for a command
        LogFormat::Json => vec!["--log.json".to_owned()],
    };
    if level <= 1 || !node.has_callers() {
        arguments.push(format!("--verbosity={level}"));
    } else {
        // the first rule that matches counts, and no rule lowers `--verbosity`
        arguments.extend(["--verbosity=1".into(), format!("--vmodule=rpc=1,go-ethereum/*={level}")]);
    }
    arguments
}

/// Validator arguments. A validator seals with its node key, so there is no account to unlock.
fn validator(tunables: &Tunables) -> Vec<String> {
    // the default price rejects local transactions of a free-gas network
    let mut arguments = vec!["--mine".to_owned(), "--miner.gasprice=0".into()];
    arguments.extend(tunables.miner_gas_target.map(|gas| format!("--miner.gastarget={gas}")));
    arguments.extend(tunables.miner_gas_limit.map(|gas| format!("--miner.gaslimit={gas}")));
    arguments
}

/// Limits of the transaction pool that the spec sets.
fn pool(tunables: &Tunables) -> impl Iterator<Item = String> {
    let pool = &tunables.tx_pool;
    let bounds = [
        ("accountslots", pool.account_slots),
        ("globalslots", pool.global_slots),
        ("accountqueue", pool.account_queue),
        ("globalqueue", pool.global_queue),
    ];
    let bounds = bounds.into_iter().filter_map(|(name, bound)| Some(format!("--txpool.{name}={}", bound?)));
    bounds.chain(pool.lifetime_minutes.map(|minutes| format!("--txpool.lifetime={minutes}m")))
}

/// Transaction manager arguments. All timeouts are explicit: geth does not apply its declared defaults, and no timeout
/// means forever.
fn transaction_manager(node: &Validated) -> Vec<String> {
    vec![
        format!("--ptm.url={}", manager_url(node)),
        "--ptm.timeout=5".into(),
        "--ptm.dialtimeout=1".into(),
        "--ptm.http.idletimeout=10".into(),
        "--ptm.http.writebuffersize=0".into(),
        "--ptm.http.readbuffersize=0".into(),
        // only lower case is accepted
        "--ptm.tls.mode=strict".into(),
        // a file: geth would read every entry of a directory, including links, and fail
        format!("--ptm.tls.rootca={}/ca.crt", path::MANAGER_TLS),
        format!("--ptm.tls.clientcert={}/tls.crt", path::MANAGER_TLS),
        format!("--ptm.tls.clientkey={}/tls.key", path::MANAGER_TLS),
    ]
}

/// JSON-RPC arguments, only for the guard. Host names, origins and addresses are constants that no caller affects.
fn json_rpc(node: &Validated) -> Vec<String> {
    let modules = rpc::modules(node).into_iter().collect::<Vec<_>>().join(",");
    let tunables = &node.spec.client.tunables;
    let fee = tunables.rpc_tx_fee_cap.map(|ether| format!("--rpc.txfeecap={ether}"));
    let arguments = vec![
        "--http".into(),
        "--http.addr=127.0.0.1".into(),
        format!("--http.port={}", names::CLIENT_HTTP),
        format!("--http.api={modules}"),
        "--http.vhosts=localhost".into(),
        "--http.corsdomain=".into(),
        "--ws".into(),
        "--ws.addr=127.0.0.1".into(),
        format!("--ws.port={}", names::CLIENT_WS),
        format!("--ws.api={modules}"),
        // a request with an origin must then come from this host; the guard sends none
        "--ws.origins=".into(),
        // 0 would mean no limit, and eth_estimateGas has no other
        format!("--rpc.gascap={}", tunables.rpc_gas_cap),
        "--vm.calltimeout=5".into(),
    ];
    arguments.into_iter().chain(fee).collect()
}

/// URL of the node's transaction manager.
pub(super) fn manager_url(node: &Validated) -> String {
    let service = node.names.workload(Component::TransactionManager);
    format!("https://{}:{}", node.names.dns(&service), names::CLIENT_TO_MANAGER)
}
