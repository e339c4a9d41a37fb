//! Callers of JSON-RPC: how the guard identifies each one, and what it may call.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    node::is_default,
    parts::{ConfigMapKey, Resources, Source},
};
use crate::protocol::policy;

/// Access to JSON-RPC. The guard next to the client admits only these callers.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Rpc {
    /// At most 32 callers of JSON-RPC. The client restarts when you add the first caller, remove the last caller, grant
    /// the first method of a module, or withdraw the last method of a module. Any other change takes effect within
    /// seconds, without a restart. Default: no callers, and the JSON-RPC port is closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub callers: Vec<Caller>,

    /// At most 16 additional DNS names, in lower case, under which callers reach port 8545. The guard accepts these
    /// names in the header `Host`, and the guard's certificate contains them. Default: only the names of the Service
    /// `NODE-rpc`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253), regex(pattern = HOSTNAME)))]
    pub hostnames: Vec<String>,

    /// Limits of the guard. A change takes effect within seconds, without a restart. Exception: if `rpc.resources` is
    /// not set, a change of `connections` that changes the default of `rpc.resources` restarts the client. Default: the
    /// default of each field.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Limits,

    /// CPU and memory of the guard's container. Half of the memory is for the requests, messages and answers that the
    /// guard is passing on for all callers. The memory must be at least 32Mi, plus 64Ki for each of
    /// `limits.connections`. A change restarts the client. Default: a CPU request of 50m; 64Mi of memory, plus 32Mi for
    /// each 256 of `limits.connections`, rounded up, which is 128Mi for 512 connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl Rpc {
    /// CPU and memory of the guard's container, by default or from the spec.
    #[must_use]
    pub fn guard_resources(&self) -> Resources {
        let default = || {
            let memory = 64 + 32 * self.connections().div_ceil(256);
            Resources::of("50m", &format!("{memory}Mi"))
        };
        self.resources.clone().unwrap_or_else(default)
    }

    /// Minimum memory of the guard for its limit of connections, in MiB.
    #[must_use]
    pub fn least_memory_mib(&self) -> u64 {
        32 + self.connections().div_ceil(16)
    }

    fn connections(&self) -> u64 {
        u64::try_from(self.limits.connections).unwrap_or_default()
    }
}

/// Pattern of a DNS name in lower case.
const HOSTNAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// Pattern of the `Origin` that a browser sends: without a path, never `*` or `null`.
const ORIGIN: &str = r"^https?://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[1-9][0-9]{0,4})?$";

/// Pattern of method names and wildcards. The reconcile checks whether they can be granted.
const METHOD: &str = r"^[a-zA-Z0-9_@]+\*?$";

/// Pattern of a certificate's subject: a name with its kind.
const SUBJECT: &str =
    r"^(dns:[a-zA-Z0-9]([-a-zA-Z0-9._]*[a-zA-Z0-9])?|uri:[a-zA-Z][-+.a-zA-Z0-9]*:[!-~]+|cn:.+)$";

/// Pattern of an issuer's URL: without user, query or fragment.
const ISSUER: &str =
    r"^https://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[1-9][0-9]{0,4})?(/[-a-zA-Z0-9._~%!$&'()*+,;=:@/]*)?$";

/// A caller of JSON-RPC.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Caller {
    /// Name of the caller, a lower-case DNS label of at most 20 characters. The name appears in the name of the
    /// caller's network policy, in audit records and in metrics.
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// One to 16 sources from which the caller may connect to port 8545.
    #[schemars(length(min = 1, max = 16))]
    pub from: Vec<Source>,

    /// How the guard identifies the caller. Exactly one of the fields must be set. No two callers may have the same
    /// identity.
    pub identity: Identity,

    /// Methods that the caller may call: 1 to 128 entries. An entry is the name of a method (`eth_call`), or a wildcard
    /// for the methods of a module (`eth_*`, `net_*`, `txpool_*`, `web3_*`). Wildcards do not include methods that
    /// sign, unlock, trace, or return accounts or private data: list these methods by name. Some methods cannot be
    /// granted. `privateState` decides whether `eth_*` includes methods that read private contracts.
    #[schemars(length(min = 1, max = 128), inner(length(max = 128), regex(pattern = METHOD)))]
    pub methods: Vec<String>,

    /// Whether `eth_*` includes the methods that read private contracts: `eth_call`, `eth_createAccessList`,
    /// `eth_estimateGas`, `eth_getBalance`, `eth_getCode`, `eth_getFilterChanges`, `eth_getFilterLogs`, `eth_getLogs`,
    /// `eth_getProof`, `eth_getStorageAt`, `eth_getTransactionCount`, `eth_getTransactionReceipt`, `eth_newFilter`,
    /// `eth_subscribe`. A method that `methods` lists by name is granted in either case. If the node has a
    /// transactionManager, the field is required for each caller with `eth_*`, so that adding a transactionManager
    /// never gives a caller access to private contracts by accident. Without a transactionManager, the default is true,
    /// because there are no private contracts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_state: Option<bool>,

    /// At most 16 origins from which a browser may call as this caller. Write each origin exactly as the browser sends
    /// it, such as `https://app.example`. An origin with `http` is accepted only if `profile` is Development. Default:
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 262), regex(pattern = ORIGIN)))]
    pub origins: Vec<String>,

    /// Maximum rate of the caller's calls. Default: 100 calls a second, with bursts of up to 200 calls.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rate: Rate,

    /// Maximum number of the caller's connections: 1 to 65536, default 64.
    #[serde(default = "default_connections")]
    #[schemars(range(min = 1, max = 65536))]
    pub connections: i32,
}

fn default_connections() -> i32 {
    64
}

/// How the guard identifies a caller.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.serviceAccount) ? 1 : 0) + (has(self.clientCertificate) ? 1 : 0) + (has(self.oidc) ? 1 : 0) == 1")
        .message("give exactly one of serviceAccount, clientCertificate and oidc")
)]
pub struct Identity {
    /// ServiceAccount of this cluster that identifies the caller. The caller's token must be a projected ServiceAccount
    /// token with the audience `NODE-rpc.NAMESPACE.svc` and a lifetime of at most one hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccount>,
    /// Client certificate that identifies the caller in the TLS handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
    /// OpenID Connect issuer whose tokens identify the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,
}

impl Identity {
    /// ConfigMap with the CA that this identity names, if any.
    #[must_use]
    pub fn authority(&self) -> Option<&ConfigMapKey> {
        let certificate = self.client_certificate.as_ref().map(|certificate| &certificate.authority);
        certificate.or_else(|| self.oidc.as_ref()?.authority.as_ref())
    }
}

/// A ServiceAccount of the cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccount {
    /// Namespace of the ServiceAccount.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Name of the ServiceAccount.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// A client certificate, signed by a certificate authority (CA) that the guard trusts for this caller alone.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificate {
    /// Key of a ConfigMap of this namespace that contains, in at most 16 KiB of PEM, the certificates of the CAs that
    /// sign the caller's certificate. A change takes effect within seconds.
    pub authority: ConfigMapKey,
    /// One to 64 accepted subjects: `dns:NAME`, `uri:URI` or `cn:NAME`. The caller's certificate must have at least one
    /// of these subjects. The guard compares subjects byte by byte.
    #[schemars(length(min = 1, max = 64), inner(length(max = 256), regex(pattern = SUBJECT)))]
    pub subjects: Vec<String>,
}

/// Tokens of an OpenID Connect issuer.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Oidc {
    /// URL of the issuer, as in the claim `iss` of the issuer's tokens. Every five minutes, the operator fetches the
    /// issuer's public keys, which `ISSUER/.well-known/openid-configuration` refers to.
    #[schemars(length(max = 512), regex(pattern = ISSUER))]
    pub issuer: String,
    /// Audience that the tokens must have in the claim `aud`.
    #[schemars(length(min = 1, max = 256))]
    pub audience: String,
    /// One to 64 accepted values of the claim `sub`, compared byte by byte.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 256)))]
    pub subjects: Vec<String>,
    /// Key of a ConfigMap of this namespace with the CA that signed the TLS certificate of the issuer's server, as PEM.
    /// Default: the public CAs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<ConfigMapKey>,
}

/// Maximum rate of a caller's calls. Each call of a batch counts.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Rate {
    /// Maximum number of calls per second in the long run: 1 to 100000, default 100.
    #[schemars(range(min = 1, max = 100_000))]
    pub calls_per_second: i32,
    /// Maximum number of calls that may arrive at once after a pause: 1 to 1000000, default 200.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: i32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { calls_per_second: 100, burst: 200 }
    }
}

/// Limits of the guard.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Maximum number of connections to the guard: 1 to 65536, default 512. The connections of all callers count, and
    /// so do connections whose caller the guard has not identified yet. The guard's memory must suffice for this
    /// number, see `rpc.resources`.
    #[schemars(range(min = 1, max = 65536))]
    pub connections: i32,
    /// Maximum duration of the TLS handshake: 1 to 300 seconds, default 5.
    #[schemars(range(min = 1, max = 300))]
    pub handshake_seconds: i32,
    /// Maximum time for a request's header to arrive: 1 to 300 seconds, default 5.
    #[schemars(range(min = 1, max = 300))]
    pub header_seconds: i32,
    /// Maximum size of a request's header: 1024 to 1048576 bytes, default 16384.
    #[schemars(range(min = 1024, max = 1_048_576))]
    pub header_bytes: i32,
    /// Maximum time for a request's whole body to arrive, however fast: 1 to 3600 seconds, default 30.
    #[schemars(range(min = 1, max = 3600))]
    pub body_seconds: i32,
    /// Minimum rate at which a request's body must arrive after the first second: 1 to 1048576 bytes per second,
    /// default 1024.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub body_bytes_per_second: i32,
    /// Maximum size of a request's body or of a WebSocket message: 1024 to 5242880 bytes, default 1048576. The client
    /// itself accepts at most 5242880 bytes.
    #[schemars(range(min = 1024, max = 5_242_880))]
    pub body_bytes: i32,
    /// Maximum number of calls in a batch: 1 to 10000, default 100.
    #[schemars(range(min = 1, max = 10000))]
    pub batch_calls: i32,
    /// Maximum time that a connection may be idle: 1 to 86400 seconds, default 120. The guard then closes an HTTP
    /// connection. On a WebSocket, the guard then sends a ping, and closes the connection if no answer arrives within
    /// the same time.
    #[schemars(range(min = 1, max = 86400))]
    pub idle_seconds: i32,
    /// Number of concurrency slots (calls that the client runs at a time): 1 to 4096, default 16. One caller may use at
    /// most half of the slots, and at most an eighth of the slots while the caller's calls are slow. Calls are slow if
    /// they take longer than 1 s, or longer than 50 ms and twice as long as the calls of another caller. Each call may
    /// use as much of the client's memory as `client.tunables.rpcGasCap` allows.
    #[schemars(range(min = 1, max = 4096))]
    pub requests_at_client: i32,
    /// Maximum number of calls that wait for a concurrency slot: 1 to 65536, default 256. Calls of one caller may take
    /// at most half of this number. The guard rejects further calls at once.
    #[schemars(range(min = 1, max = 65536))]
    pub requests_waiting: i32,
    /// Maximum time from when a call gets a concurrency slot to the last byte of the call's answer: 1 to 3600 seconds,
    /// default 60.
    #[schemars(range(min = 1, max = 3600))]
    pub answer_seconds: i32,
    /// Maximum size of the answer to a single call, and of the answers to a batch together: 1024 to 1073741824 bytes,
    /// default 33554432. The guard streams answers and never buffers a whole answer. The client holds each of its
    /// answers in memory.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub answer_bytes: i32,
    /// Maximum number of subscriptions of one WebSocket: 1 to 4096, default 32.
    #[schemars(range(min = 1, max = 4096))]
    pub subscriptions: i32,
    /// Maximum number of filters that one caller may have installed in the client: 1 to 4096, default 64. The client
    /// drops a filter that no caller reads for five minutes.
    #[schemars(range(min = 1, max = 4096))]
    pub filters: i32,
}

impl Default for Limits {
    fn default() -> Self {
        let policy::Limits {
            connections,
            handshake_seconds,
            header_seconds,
            header_bytes,
            body_seconds,
            body_bytes_per_second,
            body_bytes,
            batch_calls,
            idle_seconds,
            requests_at_client,
            requests_waiting,
            answer_seconds,
            answer_bytes,
            subscriptions,
            filters,
        } = policy::Limits::default();
        let signed = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        Self {
            connections: signed(connections),
            handshake_seconds: signed(handshake_seconds),
            header_seconds: signed(header_seconds),
            header_bytes: signed(header_bytes),
            body_seconds: signed(body_seconds),
            body_bytes_per_second: signed(body_bytes_per_second),
            body_bytes: signed(body_bytes),
            batch_calls: signed(batch_calls),
            idle_seconds: signed(idle_seconds),
            requests_at_client: signed(requests_at_client),
            requests_waiting: signed(requests_waiting),
            answer_seconds: signed(answer_seconds),
            answer_bytes: signed(answer_bytes),
            subscriptions: signed(subscriptions),
            filters: signed(filters),
        }
    }
}

impl From<&Limits> for policy::Limits {
    fn from(limits: &Limits) -> Self {
        // the schema rejects negative numbers
        let unsigned = |number: i32| u32::try_from(number).unwrap_or(1);
        Self {
            connections: unsigned(limits.connections),
            handshake_seconds: unsigned(limits.handshake_seconds),
            header_seconds: unsigned(limits.header_seconds),
            header_bytes: unsigned(limits.header_bytes),
            body_seconds: unsigned(limits.body_seconds),
            body_bytes_per_second: unsigned(limits.body_bytes_per_second),
            body_bytes: unsigned(limits.body_bytes),
            batch_calls: unsigned(limits.batch_calls),
            idle_seconds: unsigned(limits.idle_seconds),
            requests_at_client: unsigned(limits.requests_at_client),
            requests_waiting: unsigned(limits.requests_waiting),
            answer_seconds: unsigned(limits.answer_seconds),
            answer_bytes: unsigned(limits.answer_bytes),
            subscriptions: unsigned(limits.subscriptions),
            filters: unsigned(limits.filters),
        }
    }
}
