//! The GoQuorum client and its tunable settings.

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
    /// Image of GoQuorum, with `geth` on the image's `PATH`. Unless `profile` is Development, the image must be pinned
    /// by digest. A change replaces the client's pod in a rollout.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[a-zA-Z0-9][-a-zA-Z0-9._:/@]*$"))]
    pub image: String,

    /// GoQuorum version inside the image, such as `24.4.1`. The version appears in the output of `kubectl get qn` and
    /// in the label `app.kubernetes.io/version` of the client's pod, so a change replaces the pod in a rollout.
    #[schemars(length(max = 32), regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+$"))]
    pub version: String,

    /// PersistentVolumeClaim for the chain data. Default: 20Gi of the cluster's default storage class.
    #[serde(default = "client_storage")]
    pub storage: Storage,

    /// CPU and memory of the client's container. Default: a CPU request of 500m, and 2Gi of memory.
    #[serde(default = "client_resources")]
    pub resources: Resources,

    /// Tunable settings of the client. Default: the default of each field.
    #[serde(default)]
    pub tunables: Tunables,
}

fn client_storage() -> Storage {
    Storage { size: "20Gi".into(), class_name: None, access_mode: AccessMode::default() }
}

fn client_resources() -> Resources {
    Resources::of("500m", "2Gi")
}

/// Tunable settings of the client. The operator passes no other user-defined arguments to the client.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Tunables {
    /// Size of geth's cache (`--cache`): 128 to 65536 MiB, default 512. The cache may be at most half of
    /// `client.resources.memory`, because geth uses about twice the size of its cache in memory. A change takes effect
    /// at the client's next start.
    #[serde(default = "default_cache")]
    #[schemars(range(min = 128, max = 65536))]
    pub cache_mib: i32,

    /// Maximum number of peers (`--maxpeers`): 1 to 1000, default 50. At most two thirds of the peers are inbound
    /// connections. A change takes effect at the client's next start.
    #[serde(default = "default_max_peers")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_peers: i32,

    /// Which states of the chain the client stores (`--gcmode`). `Full` (default): recent states. `Archive`: all
    /// states. A change takes effect at the client's next start. `Archive` does not bring back states that the client
    /// has already dropped.
    #[serde(default)]
    pub gc_mode: GcMode,

    /// Log level of the client (`--verbosity`): 0 (silent) to 3 (info), default 3. Higher levels are rejected, because
    /// they log configuration and make CVE-2022-29177 reachable. If `spec.rpc.callers` is not empty, the client's
    /// JSON-RPC server logs at level 1 at most, because at higher levels the server logs the data of each failed call.
    /// A change takes effect at the client's next start.
    #[serde(default = "default_verbosity")]
    #[schemars(range(min = 0, max = 3))]
    pub verbosity: i32,

    /// Gas limit of one `eth_call` or `eth_estimateGas` (`--rpc.gascap`): 1000000 to 1000000000, default 25000000. The
    /// limit bounds the time and the memory of a call: at the default, a call takes up to 26 MiB of the client's
    /// memory. The client runs up to `rpc.limits.requestsAtClient` calls at a time. `client.resources.memory` must
    /// suffice for all these calls and for twice `cacheMib`; the defaults of the three fields (2Gi, 16 and 512) fit
    /// together. The limit has an effect only if `spec.rpc.callers` is not empty. A change takes effect at the client's
    /// next start.
    #[serde(default = "default_gas_cap")]
    #[schemars(range(min = 1_000_000, max = 1_000_000_000))]
    pub rpc_gas_cap: i32,

    /// Maximum fee of one transaction sent by JSON-RPC (`--rpc.txfeecap`): 0 to 1000000 ether; 0 means no limit. The
    /// limit has an effect only if `spec.rpc.callers` is not empty. A change takes effect at the client's next start.
    /// Default: the client's default, 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub rpc_tx_fee_cap: Option<i32>,

    /// Limits of the transaction pool. A change takes effect at the client's next start. Default: the client's
    /// defaults.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tx_pool: TxPool,

    /// Minimum gas limit that a validator aims at for its blocks (`--miner.gastarget`): 1000000 to 2147483647. A change
    /// takes effect at the client's next start. Default: the client's default, 700000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_000_000, max = 2_147_483_647))]
    pub miner_gas_target: Option<i32>,

    /// Maximum gas limit that a validator aims at for its blocks (`--miner.gaslimit`): 1000000 to 2147483647. A change
    /// takes effect at the client's next start. Default: the client's default, 800000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1_000_000, max = 2_147_483_647))]
    pub miner_gas_limit: Option<i32>,

    /// Format of the client's log. `Text` (default): lines of text. `Json` (`--log.json`): one JSON object per line. A
    /// change takes effect at the client's next start.
    #[serde(default)]
    pub log_format: LogFormat,
}

/// Limits of the transaction pool.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TxPool {
    /// Number of executable transactions that the pool guarantees to each account (`--txpool.accountslots`): 1 to
    /// 1000000. Default: 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub account_slots: Option<i32>,
    /// Maximum number of executable transactions of all accounts together (`--txpool.globalslots`): 1 to 1000000.
    /// Default: 4096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub global_slots: Option<i32>,
    /// Maximum number of non-executable transactions of one account (`--txpool.accountqueue`): 1 to 1000000. Default:
    /// 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub account_queue: Option<i32>,
    /// Maximum number of non-executable transactions of all accounts together (`--txpool.globalqueue`): 1 to 1000000.
    /// Default: 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub global_queue: Option<i32>,
    /// Minutes that a non-executable transaction stays in the pool (`--txpool.lifetime`): 1 to 10080. Default: 180.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_080))]
    pub lifetime_minutes: Option<i32>,
}

/// Format of the client's log.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum LogFormat {
    /// Lines of text.
    #[default]
    Text,
    /// One JSON object per line.
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

/// Which states of the chain the client stores.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum GcMode {
    /// Recent states.
    #[default]
    Full,
    /// All states.
    Archive,
}
