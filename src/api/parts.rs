//! Types that several fields share: references, storage, resources, sources of connections.

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
    /// Key in the data of the ConfigMap.
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
    /// Key in the data of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// A Secret of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// Name of the Secret, in the node's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// A PersistentVolumeClaim.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Size of the PersistentVolumeClaim as a Kubernetes quantity, such as `20Gi`. You may raise the size if the
    /// storage class allows volume expansion: the claim then requests the new size at once, and no pod restarts. As
    /// long as the volume has not reached the requested size, you may set a smaller size that is above the volume's
    /// present size. A volume never shrinks, so a size below the volume's present size stalls the node.
    #[schemars(length(max = 16), regex(pattern = r"^[1-9][0-9]{0,5}(Mi|Gi|Ti)$"))]
    pub size: String,
    /// Storage class of the PersistentVolumeClaim. Default: the cluster's default class. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
    /// Access mode of the PersistentVolumeClaim. `ReadWriteOncePod` (default): only one pod of the cluster may mount
    /// the volume; the volume's driver must support this mode. `ReadWriteOnce`: only pods of one host may mount the
    /// volume. Immutable.
    #[serde(default)]
    pub access_mode: AccessMode,
}

/// Access mode of a volume.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum AccessMode {
    /// Only one pod may mount the volume, because two processes with one node key would sign two blocks.
    #[default]
    ReadWriteOncePod,
    /// Only pods of one host may mount the volume.
    ReadWriteOnce,
}

impl AccessMode {
    /// The access mode as written in a PersistentVolumeClaim.
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
    /// CPU request, as a Kubernetes quantity such as `500m` or `2`.
    #[schemars(length(max = 16), regex(pattern = r"^([1-9][0-9]{0,5}m|[1-9][0-9]{0,2})$"))]
    pub cpu: String,
    /// Memory request and memory limit, such as `2Gi`. Request and limit are equal, so that the node's pods do not
    /// overcommit a host's memory.
    #[schemars(length(max = 16), regex(pattern = r"^[1-9][0-9]{0,5}(Mi|Gi)$"))]
    pub memory: String,
    /// CPU limit, at least `cpu`. Set the limit if the namespace's quota requires one. Kubernetes throttles a container
    /// that reaches its CPU limit. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^([1-9][0-9]{0,5}m|[1-9][0-9]{0,2})$"))]
    pub cpu_limit: Option<String>,
    /// Request and limit of ephemeral storage, such as `1Gi`. Set this field if the namespace's quota requires it.
    /// Kubernetes evicts a pod that uses more ephemeral storage, including the pod's logs. Default: no request and no
    /// limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^[1-9][0-9]{0,5}(Mi|Gi)$"))]
    pub ephemeral_storage: Option<String>,
}

/// CPU and memory of quorum-guard's containers.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Sidecars {
    /// CPU and memory of the container `metrics` in the client's pod. Default: a CPU request of 20m, and 64Mi of
    /// memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Resources>,
    /// CPU and memory of the container `probe` in the transaction manager's pod. Default: a CPU request of 20m, and
    /// 64Mi of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Resources>,
    /// CPU and memory of each init container with quorum-guard's image. Default: a CPU request of 20m, and 64Mi of
    /// memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Resources>,
}

/// Labels and annotations in addition to those of the operator.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Notes {
    /// At most 16 labels to add. These keys are rejected: keys that begin with `quorum.security/`; keys whose prefix is
    /// `kubernetes.io`, `k8s.io` or a subdomain of either; `controller-revision-hash`; `pod-template-hash`. Default:
    /// none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub labels: BTreeMap<String, String>,
    /// At most 16 annotations to add. Keys with these prefixes are rejected: `quorum.security`,
    /// `kubectl.kubernetes.io`, `statefulset.kubernetes.io`. Keys whose prefix contains `security` as a DNS label, such
    /// as `container.apparmor.security.beta.kubernetes.io`, are also rejected, because these annotations may weaken the
    /// pod's security. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 1024}))]
    pub annotations: BTreeMap<String, String>,
}

impl Resources {
    /// Resources with this CPU and memory, without other limits.
    #[must_use]
    pub fn of(cpu: &str, memory: &str) -> Self {
        Self { cpu: cpu.into(), memory: memory.into(), cpu_limit: None, ephemeral_storage: None }
    }

    /// Memory in MiB; 0 if the text does not have the form that the schema requires.
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

/// Source of connections: pods of a namespace, or a range of addresses.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.__namespace__) != has(self.cidr)")
        .message("give either namespace and podLabels, or cidr"),
    validation = Rule::new("has(self.__namespace__) == has(self.podLabels)")
        .message("set namespace and podLabels together, because a source selects pods, not a whole namespace"),
    validation = Rule::new("!has(self.podLabels) || size(self.podLabels) > 0")
        .message("podLabels must not be empty, because empty podLabels would admit every pod of the namespace")
)]
pub struct Source {
    /// Namespace of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// One to 16 labels of the pods. A pod must have all of these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub pod_labels: Option<BTreeMap<String, String>>,
    /// Range of IP addresses in CIDR notation, no wider than /24 (IPv4) or /64 (IPv6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 43), regex(pattern = NARROW_CIDR))]
    pub cidr: Option<String>,
}

/// Pods of a namespace, as the target of connections. Network policies match the addresses of pods, never the address
/// of a Service.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("size(self.podLabels) > 0")
        .message("podLabels needs at least one label, because a target cannot be every pod of the namespace")
)]
pub struct PodTarget {
    /// Namespace of the pods.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// One to 16 labels of the pods. A pod must have all of these labels.
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub pod_labels: BTreeMap<String, String>,
    /// TCP port on which the pods listen. Set the port if it differs from the port of the pods' Service. Default: for
    /// peers of the client, 30303; for a transaction manager, the port in its `url`; for a database, its `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}

/// Pattern of a range no wider than /24 or /64. The code that uses the range checks the address itself.
pub(super) const NARROW_CIDR: &str = r"^([0-9]{1,3}(\.[0-9]{1,3}){3}/(2[4-9]|3[0-2])|[0-9a-fA-F:]{2,39}/(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-8]))$";

/// Peers that are not nodes of this network in this namespace (outside nodes).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Peering {
    /// At most 128 outside nodes that the client dials and admits, as enode URLs with an IP address (not a DNS name).
    /// Upper-case and lower-case letters are accepted, and so are the parameters `discport` and `raftport`. The client
    /// admits a new node at once, but dials the node only after the client's next start. Default: none.
    #[serde(default, rename = "static", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub dialled: Vec<String>,

    /// At most 128 outside nodes that the client admits but does not dial, as enode URLs. Only the public key in an
    /// enode URL counts. A change takes effect when the outside node next dials. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub permissioned: Vec<String>,

    /// At most 64 entries, each for pods of this cluster behind an address in `static`. Network policies allow egress
    /// to these pods. The address of a Service in `static` does not allow egress to the pods of that Service. Default:
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub to: Vec<PodTarget>,

    /// At most 64 sources from which nodes of other networks or namespaces may connect to the P2P port. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub from: Vec<Source>,

    /// Address and port under which outside nodes reach this node. Default: the address of the node's Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<Advertise>,
}

/// An address and port under which outside nodes reach the node.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Advertise {
    /// IP address, not a DNS name.
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

/// What the client needs to be ready.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// Number of peers that the client must have to be ready: 0 to 1000, default 0. A change takes effect when the
    /// client's pod is next replaced.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub min_peers: i32,
}

/// Access to the client's metrics.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.podMonitor) || self.podMonitor == 'Disabled' || (has(self.scrapers) && size(self.scrapers) > 0)")
        .message("podMonitor needs a scraper: add Prometheus to scrapers, because otherwise Prometheus cannot connect")
        .field_path(".podMonitor"),
    validation = Rule::new("!has(self.podMonitor) || self.podMonitor == 'Disabled' || !has(self.clientAuthority)")
        .message("podMonitor and clientAuthority exclude each other: set podMonitor to Disabled, and create a PodMonitor of your own that names the scraper's client certificate")
        .field_path(".podMonitor")
)]
pub struct Metrics {
    /// At most 16 scrapers that may connect to port 9545, which serves the metrics. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub scrapers: Vec<Scraper>,

    /// Key of a ConfigMap of this namespace with the certificate of the scrapers' certificate authority (CA), as PEM. A
    /// scraper must present a client certificate that this CA signed. Default: no CA; a scraper needs no client
    /// certificate, and network policies alone decide which scrapers may connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_authority: Option<ConfigMapKey>,

    /// Whether the operator creates a PodMonitor, so that the Prometheus operator finds the client. `Enabled`: the
    /// operator creates a PodMonitor with port, CA and server name. `Disabled` (default): no PodMonitor. `Enabled`
    /// needs the API `monitoring.coreos.com/v1`. If that API is missing, the condition `Monitored` is `False`, and the
    /// node can still be ready.
    #[serde(default)]
    pub pod_monitor: PodMonitoring,
}

/// Whether the operator creates a PodMonitor.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum PodMonitoring {
    /// The operator creates a PodMonitor.
    Enabled,
    /// The operator creates no PodMonitor.
    #[default]
    Disabled,
}

/// A scraper.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Scraper {
    /// Name of the scraper, a lower-case DNS label of at most 20 characters. The name of the scraper's network policy
    /// ends with this name.
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Source of the scraper's connections.
    pub from: Source,
}
