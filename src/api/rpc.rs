//! Who may call JSON-RPC, how each caller is known, and what it may call.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    node::is_default,
    parts::{ConfigMapKey, Resources, Source},
};
use crate::policy;

/// Callers of JSON-RPC. The guard beside the client lets in these and no others.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Rpc {
    /// Who may call, at most 32. The first and the last one restart the client, and so does a method of a module
    /// that nobody was granted before; any other change takes effect within seconds and without a restart. Default:
    /// nobody, and no port of JSON-RPC is opened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub callers: Vec<Caller>,

    /// More names under which callers reach port 8545, at most 16, in lower case: they are accepted in `Host` and
    /// stand in the certificate. Default: only those of the Service `NODE-rpc`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253), regex(pattern = HOSTNAME)))]
    pub hostnames: Vec<String>,

    /// How much the guard takes of everything. A change takes effect within seconds, and restarts the client only
    /// where the guard's default memory changes with `connections`. Default: see each.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Limits,

    /// CPU and memory of the guard's container. Half of the memory is for bytes in flight: requests, messages and
    /// answers of all callers. It must be at least 32Mi and 64Ki for each of `limits.connections`. A change restarts
    /// the client. Default: 50m CPU requested; 64Mi of memory, and 32Mi more for each 256 of `limits.connections` or
    /// part of them: 128Mi at 512.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl Rpc {
    /// CPU and memory of the guard's container.
    #[must_use]
    pub fn guard_resources(&self) -> Resources {
        let default = || {
            let memory = 64 + 32 * self.connections().div_ceil(256);
            Resources::of("50m", &format!("{memory}Mi"))
        };
        self.resources.clone().unwrap_or_else(default)
    }

    /// MiB of memory that the guard needs at least, for as many connections as there may be.
    #[must_use]
    pub fn least_memory_mib(&self) -> u64 {
        32 + self.connections().div_ceil(16)
    }

    fn connections(&self) -> u64 {
        u64::try_from(self.limits.connections).unwrap_or_default()
    }
}

/// A DNS name in lower case.
const HOSTNAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// What a browser says in `Origin`; never `*`, never `null`, without a path.
const ORIGIN: &str = r"^https?://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[1-9][0-9]{0,4})?$";

/// Names and wildcards; whether they grant anything is decided by the pass.
const METHOD: &str = r"^[a-zA-Z0-9_@]+\*?$";

/// Names of a certificate, each with its kind.
const SUBJECT: &str =
    r"^(dns:[a-zA-Z0-9]([-a-zA-Z0-9._]*[a-zA-Z0-9])?|uri:[a-zA-Z][-+.a-zA-Z0-9]*:[!-~]+|cn:.+)$";

/// Without user, query or fragment.
const ISSUER: &str =
    r"^https://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[1-9][0-9]{0,4})?(/[-a-zA-Z0-9._~%!$&'()*+,;=:@/]*)?$";

/// Somebody who may call.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Caller {
    /// Name of the caller, a lower-case DNS label of at most 20 characters; part of its policy's name, and what
    /// audit records and metrics call it.
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// Where its connections to port 8545 come from, 1 to 16 sources.
    #[schemars(length(min = 1, max = 16))]
    pub from: Vec<Source>,

    /// How it is known: exactly one way. No two callers share an identity.
    pub identity: Identity,

    /// What it may call, 1 to 128: methods by name (`eth_call`), or all of a module (`eth_*`, `net_*`, `txpool_*`,
    /// `web3_*`). What signs, unlocks, traces, or shows accounts or private data is granted by its own name alone, and
    /// some methods are granted to nobody. For what `eth_*` includes of private contracts see `privateState`.
    #[schemars(length(min = 1, max = 128), inner(length(max = 128), regex(pattern = METHOD)))]
    pub methods: Vec<String>,

    /// Whether `eth_*` includes the methods that read private contracts where there are any: `eth_call`,
    /// `eth_createAccessList`, `eth_estimateGas`, `eth_getBalance`, `eth_getCode`, `eth_getFilterChanges`,
    /// `eth_getFilterLogs`, `eth_getLogs`, `eth_getProof`, `eth_getStorageAt`, `eth_getTransactionCount`,
    /// `eth_getTransactionReceipt`, `eth_newFilter`, `eth_subscribe`. What is listed by its own name is granted either
    /// way. With a transactionManager it must be said for each caller that has `eth_*`; so adding one to a node never
    /// shows private contracts to a caller that did not have them. Default, without a transactionManager: true, as
    /// there are no private contracts to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_state: Option<bool>,

    /// Origins from which a browser may call in its name, at most 16, exactly as the browser writes them, such as
    /// `https://app.example`. `http` only where profile is Development. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 262), regex(pattern = ORIGIN)))]
    pub origins: Vec<String>,

    /// How often it may call. Default: 100 calls a second, 200 at once.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rate: Rate,

    /// Connections that it may have at a time, 1 to 65536, default 64.
    #[serde(default = "default_connections")]
    #[schemars(range(min = 1, max = 65536))]
    pub connections: i32,
}

fn default_connections() -> i32 {
    64
}

/// How a caller is known.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.serviceAccount) ? 1 : 0) + (has(self.clientCertificate) ? 1 : 0) + (has(self.oidc) ? 1 : 0) == 1")
        .message("give exactly one of serviceAccount, clientCertificate and oidc")
)]
pub struct Identity {
    /// By a projected token of the cluster, made for the audience `NODE-rpc.NAMESPACE.svc`, that lasts an hour at
    /// most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccount>,
    /// By a certificate that it shows in the TLS handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
    /// By a token of an OpenID Connect issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,
}

impl Identity {
    /// The ConfigMap with an authority that it names.
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
    /// Namespace of the account.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Name of the account.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// A client certificate of an authority that is trusted for this caller alone.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificate {
    /// ConfigMap of this namespace with the certificates of the authorities that sign it, as PEM, 16 kB at most. A
    /// change takes effect within seconds.
    pub authority: ConfigMapKey,
    /// Names of which its certificate must have one, 1 to 64, byte by byte: `dns:NAME`, `uri:URI` or `cn:NAME`.
    #[schemars(length(min = 1, max = 64), inner(length(max = 256), regex(pattern = SUBJECT)))]
    pub subjects: Vec<String>,
}

/// Tokens of an OpenID Connect issuer.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Oidc {
    /// The issuer's URL, as its tokens have it in `iss`. Its keys are read from
    /// `ISSUER/.well-known/openid-configuration` by the operator, every five minutes.
    #[schemars(length(max = 512), regex(pattern = ISSUER))]
    pub issuer: String,
    /// What its tokens have in `aud`.
    #[schemars(length(min = 1, max = 256))]
    pub audience: String,
    /// Of which they have one in `sub`, 1 to 64, byte by byte.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 256)))]
    pub subjects: Vec<String>,
    /// ConfigMap of this namespace with the authority of the issuer's own certificate, as PEM. Default: the public
    /// ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<ConfigMapKey>,
}

/// How often a caller may call; each call of a batch counts.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Rate {
    /// Calls a second in the long run, 1 to 100000, default 100.
    #[schemars(range(min = 1, max = 100_000))]
    pub calls_per_second: i32,
    /// Calls that may come at once after a pause, 1 to 1000000, default 200.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: i32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { calls_per_second: 100, burst: 200 }
    }
}

/// How much the guard takes of everything.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Connections at a time, of all callers and of those not yet known, 1 to 65536, default 512. The guard's memory
    /// must be enough for them, see `resources`.
    #[schemars(range(min = 1, max = 65536))]
    pub connections: i32,
    /// Seconds for the TLS handshake, 1 to 300, default 5.
    #[schemars(range(min = 1, max = 300))]
    pub handshake_seconds: i32,
    /// Seconds for a request's header to arrive, 1 to 300, default 5.
    #[schemars(range(min = 1, max = 300))]
    pub header_seconds: i32,
    /// Bytes of a request's header, 1024 to 1048576, default 16384.
    #[schemars(range(min = 1024, max = 1_048_576))]
    pub header_bytes: i32,
    /// Seconds for a request's body to arrive, whatever its rate, 1 to 3600, default 30.
    #[schemars(range(min = 1, max = 3600))]
    pub body_seconds: i32,
    /// Bytes a second at which a body must arrive after the first second, 1 to 1048576, default 1024.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub body_bytes_per_second: i32,
    /// Bytes of a request's body, or of a WebSocket's message, 1024 to 5242880, which is what the client itself
    /// takes, default 1048576.
    #[schemars(range(min = 1024, max = 5_242_880))]
    pub body_bytes: i32,
    /// Calls in a batch, 1 to 10000, default 100.
    #[schemars(range(min = 1, max = 10000))]
    pub batch_calls: i32,
    /// Seconds that a connection may say nothing, 1 to 86400, default 120. A WebSocket is asked by a ping then, and
    /// has as long to answer.
    #[schemars(range(min = 1, max = 86400))]
    pub idle_seconds: i32,
    /// Calls that the client executes at a time, 1 to 4096, default 16. One caller has half of them at most, and an
    /// eighth while its calls take long: more than 50 ms and twice what another caller's take, or more than 1 s. Each
    /// may take as much of the client's memory as `client.tunables.rpcGasCap` lets it.
    #[schemars(range(min = 1, max = 4096))]
    pub requests_at_client: i32,
    /// Calls that wait for their turn at the client, 1 to 65536, default 256; one caller has half of them at most. One
    /// more is refused at once.
    #[schemars(range(min = 1, max = 65536))]
    pub requests_waiting: i32,
    /// Seconds from a call's turn to the last byte of its answer, 1 to 3600, default 60.
    #[schemars(range(min = 1, max = 3600))]
    pub answer_seconds: i32,
    /// Bytes of the answer to one call, and of all answers to one batch together, 1024 to 1073741824, default
    /// 33554432. The guard streams answers and holds none of them whole; the client holds each one that it gives.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub answer_bytes: i32,
    /// Subscriptions of one WebSocket at a time, 1 to 4096, default 32.
    #[schemars(range(min = 1, max = 4096))]
    pub subscriptions: i32,
    /// Filters that one caller has installed in the client at a time, 1 to 4096, default 64. The client drops a filter
    /// that nobody reads for five minutes.
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
        // the schema has seen to it that none is negative
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
