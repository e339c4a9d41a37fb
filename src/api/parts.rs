//! Pieces that several fields share: references, storage, resources, sources of connections.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One key of a ConfigMap of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKey {
    /// Name of the ConfigMap, in the node's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Key inside the ConfigMap.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// One key of a Secret of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret, in the node's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Key inside the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// A Secret of the same namespace, as a whole.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// Name of the Secret, in the node's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// A volume claim.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Size of the claim as a Kubernetes quantity, such as `20Gi`. It may grow: the claim asks for the new size at
    /// once and no pod is restarted; the storage class must allow volume expansion. What was refused, or what the
    /// volume has not got, may be taken back; a volume never shrinks, and a size below what it has stalls the node.
    #[schemars(length(max = 16), regex(pattern = r"^[1-9][0-9]{0,5}(Mi|Gi|Ti)$"))]
    pub size: String,
    /// Storage class. Default: the cluster's default class. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
    /// How the volume may be mounted: `ReadWriteOncePod` (default), by one pod of the whole cluster, which the volume's
    /// driver must know; or `ReadWriteOnce`, by the pods of one host, where it does not. Immutable.
    #[serde(default)]
    pub access_mode: AccessMode,
}

/// How a volume may be mounted.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum AccessMode {
    /// By one pod: two processes with one node key would sign two blocks.
    #[default]
    ReadWriteOncePod,
    /// By the pods of one host.
    ReadWriteOnce,
}

impl AccessMode {
    /// As it stands in a volume claim.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadWriteOncePod => "ReadWriteOncePod",
            Self::ReadWriteOnce => "ReadWriteOnce",
        }
    }
}

/// CPU and memory of one container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// CPU requested, as a Kubernetes quantity such as `500m` or `2`. No limit is set on CPU.
    #[schemars(length(max = 16), regex(pattern = r"^([1-9][0-9]{0,5}m|[1-9][0-9]{0,2})$"))]
    pub cpu: String,
    /// Memory requested and limit in one, such as `2Gi`: memory that is not there must not be promised.
    #[schemars(length(max = 16), regex(pattern = r"^[1-9][0-9]{0,5}(Mi|Gi)$"))]
    pub memory: String,
    /// Limit of CPU, at least `cpu`, where a quota of the namespace asks for one: a container that reaches it is slowed
    /// down. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([1-9][0-9]{0,5}m|[1-9][0-9]{0,2})$"))]
    pub cpu_limit: Option<String>,
    /// Ephemeral storage requested and limit in one, such as `1Gi`, where a quota of the namespace asks for it: a pod that
    /// takes more, its log included, is evicted. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^[1-9][0-9]{0,5}(Mi|Gi)$"))]
    pub ephemeral_storage: Option<String>,
}

/// CPU and memory of quorum-guard's containers.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Sidecars {
    /// Of the container `metrics`, beside the client. Default: 20m CPU requested, 64Mi memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Resources>,
    /// Of the container `probe`, beside the transaction manager. Default: 20m CPU requested, 64Mi memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Resources>,
    /// Of each init container of quorum-guard's image. Default: 20m CPU requested, 64Mi memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Resources>,
}

/// Labels and annotations beside the operator's.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Notes {
    /// Labels, at most 16. None of Kubernetes' or the operator's own. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub labels: BTreeMap<String, String>,
    /// Annotations, at most 16. None of the operator's own, and none that loosens a pod's security. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 1024}))]
    pub annotations: BTreeMap<String, String>,
}

impl Resources {
    /// So much CPU and memory.
    #[must_use]
    pub fn of(cpu: &str, memory: &str) -> Self {
        Self { cpu: cpu.into(), memory: memory.into(), cpu_limit: None, ephemeral_storage: None }
    }

    /// Memory in MiB. The schema has admitted the form; anything else counts as none.
    #[must_use]
    pub fn memory_mib(&self) -> u64 {
        let number = |digits: &str| digits.parse::<u64>().unwrap_or(0);
        match (self.memory.strip_suffix("Gi"), self.memory.strip_suffix("Mi")) {
            (Some(gib), _) => number(gib) * 1024,
            (_, Some(mib)) => number(mib),
            _ => 0,
        }
    }
}

/// Where connections may come from: pods of a namespace, or a range of addresses.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.__namespace__) != has(self.cidr)")
        .message("give either namespace (with podLabels) or cidr"),
    validation = Rule::new("has(self.__namespace__) == has(self.podLabels)")
        .message("namespace and podLabels go together: name the pods, a whole namespace is too wide"),
    validation = Rule::new("!has(self.podLabels) || size(self.podLabels) > 0")
        .message("podLabels must not be empty: that would admit every pod of the namespace")
)]
pub struct Source {
    /// Namespace the pods are in, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// Labels that a pod must all have, 1 to 16 of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub pod_labels: Option<BTreeMap<String, String>>,
    /// Range of addresses, no wider than /24 (IPv4) or /64 (IPv6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 43), regex(pattern = NARROW_CIDR))]
    pub cidr: Option<String>,
}

/// Pods of a namespace to which connections go. Network policies see the address of a pod, never that of the
/// Service before it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("size(self.podLabels) > 0")
        .message("name the pods by podLabels: all pods of the namespace are too many")
)]
pub struct PodTarget {
    /// Namespace the pods are in, by name.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Labels that a pod must all have, 1 to 16 of them.
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub pod_labels: BTreeMap<String, String>,
    /// TCP port on which the pods listen, which need not be that of their Service. Default: the port that is
    /// dialled; of peers 30303.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}

/// No wider than /24 or /64. Whether it is an address at all is checked when it is used.
pub(super) const NARROW_CIDR: &str = r"^([0-9]{1,3}(\.[0-9]{1,3}){3}/(2[4-9]|3[0-2])|[0-9a-fA-F:]{2,39}/(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-8]))$";

/// Peers outside this namespace's network.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Peering {
    /// Outside nodes to dial and to admit, as enode URLs with an address (not a name), at most 128. Letters of either
    /// case, `discport` and `raftport` are taken. New ones are admitted at once and dialled from the client's next start
    /// on. Default: none.
    #[serde(default, rename = "static", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub dialled: Vec<String>,

    /// Outside nodes to admit without dialling them, as enode URLs, at most 128. Takes effect at their
    /// next dial; only the key counts. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub permissioned: Vec<String>,

    /// Pods of this cluster that the addresses in `static` lead to, at most 64: the network is opened to them. An
    /// address that is a Service's opens nothing by itself. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub to: Vec<PodTarget>,

    /// Where outside nodes' connections to the P2P port come from, at most 64. Default: nowhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub from: Vec<Source>,

    /// Address under which outside nodes find this one. Default: the address of its Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<Advertise>,
}

/// An address and port that lead to the node from outside.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Advertise {
    /// IP address, not a name.
    #[schemars(length(max = 39), regex(pattern = r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F:]{2,39})$"))]
    pub address: String,
    /// TCP port, default 30303.
    #[serde(default = "default_p2p_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

fn default_p2p_port() -> i32 {
    30303
}

/// What the client must show before it counts as ready.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// Peers it must have, 0 to 1000, default 0. Takes effect when the pod is next replaced.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub min_peers: i32,
}

/// Who may read the client's metrics.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.podMonitor) || self.podMonitor == 'Disabled' || (has(self.scrapers) && size(self.scrapers) > 0)")
        .message("podMonitor needs a scraper: name Prometheus in scrapers, or nobody may connect")
        .field_path(".podMonitor"),
    validation = Rule::new("!has(self.podMonitor) || self.podMonitor == 'Disabled' || !has(self.clientAuthority)")
        .message("podMonitor and clientAuthority exclude each other: write a PodMonitor of your own, with the scraper's certificate")
        .field_path(".podMonitor")
)]
pub struct Metrics {
    /// Scrapers that may connect to port 9545, at most 16. Default: nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub scrapers: Vec<Scraper>,

    /// Authority whose certificate a scraper must show: a ConfigMap of this namespace with its
    /// certificate as PEM. Default: scrapers are admitted by the network alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_authority: Option<ConfigMapKey>,

    /// Whether a PodMonitor tells the Prometheus operator of the client: `Enabled`, with port, authority and
    /// name to check, or `Disabled` (default). Needs `monitoring.coreos.com/v1`; where that is missing a
    /// condition says so and the node is as ready as without.
    #[serde(default)]
    pub pod_monitor: PodMonitoring,
}

/// Whether a PodMonitor is written.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum PodMonitoring {
    /// It is.
    Enabled,
    /// It is not.
    #[default]
    Disabled,
}

/// A scraper by name.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Scraper {
    /// Name of the scraper, a lower-case DNS label of at most 20 characters; part of its policy's name.
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Where its connections come from.
    pub from: Source,
}
