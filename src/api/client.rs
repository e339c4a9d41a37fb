//! The GoQuorum client, and what of it may be tuned.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    node::is_default,
    parts::{AccessMode, Resources, Storage},
};

/// The GoQuorum client.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// Image of GoQuorum, with `geth` on its path. Must be pinned by digest unless profile is Development.
    /// A change takes effect when the pod is next replaced.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[a-zA-Z0-9][-a-zA-Z0-9._:/@]*$"))]
    pub image: String,

    /// GoQuorum version inside the image, such as `24.4.1`. Shown in status and labels.
    #[schemars(length(max = 32), regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+$"))]
    pub version: String,

    /// Volume for the chain data. Default: 20Gi of the cluster's default storage class. It may grow.
    #[serde(default = "client_storage")]
    pub storage: Storage,

    /// CPU and memory of the client's container. Default: 500m CPU requested, 2Gi memory.
    #[serde(default = "client_resources")]
    pub resources: Resources,

    /// Settings of the client that may be tuned. Default: see each.
    #[serde(default)]
    pub tunables: Tunables,
}

fn client_storage() -> Storage {
    Storage { size: "20Gi".into(), class_name: None, access_mode: AccessMode::default() }
}

fn client_resources() -> Resources {
    Resources::of("500m", "2Gi")
}

/// Settings of the client that may be tuned: a closed list, since there are no extra arguments.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Tunables {
    /// Cache in MiB (`--cache`), 128 to 65536, default 512. At most half of the client's memory, since
    /// geth keeps about twice its cache resident. Takes effect at the next start.
    #[serde(default = "default_cache")]
    #[schemars(range(min = 128, max = 65536))]
    pub cache_mib: i32,

    /// Peers at most (`--maxpeers`), 1 to 1000, default 50. Two thirds of them may be inbound. Takes
    /// effect at the next start.
    #[serde(default = "default_max_peers")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_peers: i32,

    /// Which states are kept (`--gcmode`): `Full` (default) recent ones, `Archive` all. Takes effect at
    /// the next start; an archive cannot be made of states already dropped.
    #[serde(default)]
    pub gc_mode: GcMode,

    /// Log level (`--verbosity`), 0 silent to 3 info, default 3. Higher levels are refused: they log
    /// configuration, and make CVE-2022-29177 reachable. Where there are callers the client's server of JSON-RPC logs
    /// at 1 at most, since it would write the data of each failed call. Takes effect at the next start.
    #[serde(default = "default_verbosity")]
    #[schemars(range(min = 0, max = 3))]
    pub verbosity: i32,

    /// Gas that one `eth_call` or `eth_estimateGas` may use (`--rpc.gascap`), 1000000 to 1000000000, default 25000000:
    /// it bounds time and memory of a call. At the default a call takes up to 26 MiB of the client's memory, and
    /// `rpc.limits.requestsAtClient` of them run at a time: give `client.resources.memory` room for all of them
    /// beside twice `cacheMib`, which is what 2Gi, 16 and 512 are made for. Rendered where there are callers. Takes
    /// effect at the next start.
    #[serde(default = "default_gas_cap")]
    #[schemars(range(min = 1_000_000, max = 1_000_000_000))]
    pub rpc_gas_cap: i32,

    /// Ether that the fee of one transaction sent by JSON-RPC may come to (`--rpc.txfeecap`), 0 to 1000000; 0 sets no
    /// bound. Rendered where there are callers. Takes effect at the next start. Default: the client's own, 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub rpc_tx_fee_cap: Option<i32>,

    /// Bounds of the pool of transactions. Takes effect at the next start. Default: the client's own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tx_pool: TxPool,

    /// Gas of a block that a validator aims at (`--miner.gastarget`), 1000000 to 2147483647. Takes effect at the next
    /// start. Default: the client's own, 700000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_000_000, max = 2_147_483_647))]
    pub miner_gas_target: Option<i32>,

    /// Gas of a block that a validator goes up to (`--miner.gaslimit`), 1000000 to 2147483647. Takes effect at the next
    /// start. Default: the client's own, 800000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_000_000, max = 2_147_483_647))]
    pub miner_gas_limit: Option<i32>,

    /// How the client logs: `Text` (default), or `Json` (`--log.json`), one object in a line. Takes effect at the next
    /// start.
    #[serde(default)]
    pub log_format: LogFormat,
}

/// Bounds of the pool of transactions.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TxPool {
    /// Transactions that an account may surely have ready (`--txpool.accountslots`), 1 to 1000000. Default: 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub account_slots: Option<i32>,
    /// Transactions of all accounts that may be ready (`--txpool.globalslots`), 1 to 1000000. Default: 4096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub global_slots: Option<i32>,
    /// Transactions of an account that may wait for others (`--txpool.accountqueue`), 1 to 1000000. Default: 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub account_queue: Option<i32>,
    /// Transactions of all accounts that may wait (`--txpool.globalqueue`), 1 to 1000000. Default: 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub global_queue: Option<i32>,
    /// Minutes that a transaction may wait (`--txpool.lifetime`), 1 to 10080. Default: 180.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_080))]
    pub lifetime_minutes: Option<i32>,
}

/// How the client logs.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One object in a line.
    Json,
}

fn default_cache() -> i32 {
    512
}
fn default_max_peers() -> i32 {
    50
}
fn default_verbosity() -> i32 {
    3
}
fn default_gas_cap() -> i32 {
    25_000_000
}

impl Default for Tunables {
    fn default() -> Self {
        Self {
            cache_mib: default_cache(),
            max_peers: default_max_peers(),
            gc_mode: GcMode::default(),
            verbosity: default_verbosity(),
            rpc_gas_cap: default_gas_cap(),
            rpc_tx_fee_cap: None,
            tx_pool: TxPool::default(),
            miner_gas_target: None,
            miner_gas_limit: None,
            log_format: LogFormat::default(),
        }
    }
}

/// Which states the client keeps.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum GcMode {
    /// Recent states.
    #[default]
    Full,
    /// All states.
    Archive,
}
