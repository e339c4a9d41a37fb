//! Closed list of the differences that are allowed between an object as rendered and as the server stores it. Any other
//! difference is drift and is removed. Every entry states its reason.

/// Values that are allowed at a path.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// Any value: the server sets it, or others may write it.
    Any,
    /// Any value except this text.
    AnyBut(&'static str),
    /// A list of at most one item.
    AtMostOne,
    /// This text, which the server fills in if the field is left out.
    Text(&'static str),
    /// This number, filled in the same way.
    Number(i64),
    /// This JSON, filled in the same way.
    Json(&'static str),
    /// A quantity, which the server normalizes.
    Quantity,
}

/// A field that may differ.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Kinds that the entry applies to, separated by `|`.
    kinds: &'static str,
    /// Path from the root of the object: members separated by `.`, `[]` for any list item, `*` for any member, `|`
    /// between alternative members.
    pub path: &'static str,
    /// Allowed values.
    pub rule: Rule,
    /// Reason.
    pub why: &'static str,
}

const DEFAULT: &str = "the API server fills it in";
const QUANTITY: &str = "the API server normalizes quantities, such as 1000m to 1";

macro_rules! pod {
    ($path:literal) => {
        concat!("spec.template.spec.", $path)
    };
}

macro_rules! containers {
    ($path:literal) => {
        concat!("spec.template.spec.containers|initContainers.[].", $path)
    };
}

macro_rules! probes {
    ($path:literal) => {
        concat!(
            "spec.template.spec.containers|initContainers.[].startupProbe|livenessProbe|readinessProbe.",
            $path
        )
    };
}

const fn entry(kinds: &'static str, path: &'static str, rule: Rule, why: &'static str) -> Entry {
    Entry { kinds, path, rule, why }
}

/// Metadata fields that may have any value, with the reason. The operator compares its own labels and annotations, the
/// owners, and whether its finalizer is set. It compares the metadata of a pod template as a whole.
pub const METADATA: &[(&str, &str)] = &[
    ("metadata.annotations.added", "annotations without the operator's prefix belong to others"),
    ("metadata.labels.added", "labels without the operator's prefix belong to others"),
    ("metadata.finalizers", "a third-party finalizer only delays a deletion, and is reported then"),
    ("metadata.creationTimestamp", "the API server sets it"),
    ("metadata.deletionGracePeriodSeconds", "the API server sets it"),
    ("metadata.deletionTimestamp", "the API server sets it; a deleted object is recreated"),
    ("metadata.generateName", "the API server reads it only at creation"),
    ("metadata.generation", "the API server sets it"),
    ("metadata.managedFields", "the API server sets it"),
    ("metadata.name", "the object is looked up by it"),
    ("metadata.namespace", "the object is looked up by it"),
    ("metadata.resourceVersion", "the API server sets it"),
    ("metadata.selfLink", "the API server sets it"),
    ("metadata.uid", "the API server sets it"),
    ("metadata.added", "the API server drops unknown fields"),
];

/// Fields outside the metadata that may differ.
pub const ALLOWED: &[Entry] = &[
    entry(
        "ServiceAccount",
        "imagePullSecrets",
        Rule::Any,
        "administrators add registry credentials to accounts",
    ),
    entry(
        "ServiceAccount",
        "secrets",
        Rule::Any,
        "token controllers of old clusters list their Secrets here",
    ),
    entry("NetworkPolicy", "spec.ingress|egress.[].ports.[].protocol", Rule::Text("TCP"), DEFAULT),
    entry(
        "Service",
        "spec.clusterIP",
        Rule::AnyBut("None"),
        "the API server assigns it; the operator sets only None",
    ),
    entry("Service", "spec.clusterIPs", Rule::AtMostOne, "it repeats spec.clusterIP"),
    entry(
        "Service",
        "spec.ipFamilies",
        Rule::AtMostOne,
        "the API server assigns the cluster's first address family",
    ),
    entry("Service", "spec.ipFamilyPolicy", Rule::Text("SingleStack"), DEFAULT),
    entry("Service", "spec.internalTrafficPolicy", Rule::Text("Cluster"), DEFAULT),
    entry("Service", "spec.sessionAffinity", Rule::Text("None"), DEFAULT),
    entry("StatefulSet", "spec.revisionHistoryLimit", Rule::Number(10), DEFAULT),
    entry(
        "StatefulSet",
        "spec.persistentVolumeClaimRetentionPolicy",
        Rule::Json(r#"{"whenDeleted":"Retain","whenScaled":"Retain"}"#),
        DEFAULT,
    ),
    entry("StatefulSet", "spec.volumeClaimTemplates.[].apiVersion", Rule::Text("v1"), DEFAULT),
    entry("StatefulSet", "spec.volumeClaimTemplates.[].kind", Rule::Text("PersistentVolumeClaim"), DEFAULT),
    entry(
        "StatefulSet",
        "spec.volumeClaimTemplates.[].status",
        Rule::Json(r#"{"phase":"Pending"}"#),
        DEFAULT,
    ),
    entry("StatefulSet", "spec.volumeClaimTemplates.[].spec.volumeMode", Rule::Text("Filesystem"), DEFAULT),
    entry(
        "StatefulSet",
        "spec.volumeClaimTemplates.[].spec.resources.requests|limits.*",
        Rule::Quantity,
        QUANTITY,
    ),
    entry("StatefulSet", pod!("restartPolicy"), Rule::Text("Always"), DEFAULT),
    entry("StatefulSet", pod!("dnsPolicy"), Rule::Text("ClusterFirst"), DEFAULT),
    entry("StatefulSet", pod!("schedulerName"), Rule::Text("default-scheduler"), DEFAULT),
    entry(
        "StatefulSet",
        pod!("serviceAccount"),
        Rule::Any,
        "the API server repeats serviceAccountName here, and reads only that",
    ),
    entry(
        "StatefulSet",
        pod!("volumes.[].secret|configMap|projected.defaultMode"),
        Rule::Number(420),
        DEFAULT,
    ),
    entry("StatefulSet", pod!("volumes.[].emptyDir.sizeLimit"), Rule::Quantity, QUANTITY),
    entry(
        "StatefulSet",
        pod!("volumes.[].projected.sources.[].serviceAccountToken.expirationSeconds"),
        Rule::Number(3600),
        DEFAULT,
    ),
    entry("StatefulSet", containers!("terminationMessagePath"), Rule::Text("/dev/termination-log"), DEFAULT),
    entry("StatefulSet", containers!("resources"), Rule::Json("{}"), DEFAULT),
    entry("StatefulSet", containers!("resources.requests|limits.*"), Rule::Quantity, QUANTITY),
    entry("StatefulSet", containers!("ports.[].protocol"), Rule::Text("TCP"), DEFAULT),
    entry("StatefulSet", containers!("env.[].valueFrom.fieldRef.apiVersion"), Rule::Text("v1"), DEFAULT),
    entry("StatefulSet", probes!("timeoutSeconds"), Rule::Number(1), DEFAULT),
    entry("StatefulSet", probes!("periodSeconds"), Rule::Number(10), DEFAULT),
    entry("StatefulSet", probes!("successThreshold"), Rule::Number(1), DEFAULT),
    entry("StatefulSet", probes!("failureThreshold"), Rule::Number(3), DEFAULT),
    entry("StatefulSet", probes!("httpGet.scheme"), Rule::Text("HTTP"), DEFAULT),
    entry("Secret", "type", Rule::Text("Opaque"), DEFAULT),
];

/// Fields that change only if the object is deleted and recreated: kind and path prefixes.
const FIXED: &[(&str, &[&str])] = &[
    ("ConfigMap", &["immutable"]),
    ("Secret", &["immutable", "type"]),
    ("Service", &["spec.clusterIP"]),
    (
        "StatefulSet",
        &["spec.podManagementPolicy", "spec.selector", "spec.serviceName", "spec.volumeClaimTemplates"],
    ),
];

/// Fields that an admission webhook may change without weakening a node: kind and path prefixes. Any other change by a
/// webhook makes the node not `Ready`.
const HARMLESS: &[(&str, &[&str])] = &[
    ("PodDisruptionBudget", &["spec"]),
    (
        "StatefulSet",
        &[
            "spec.revisionHistoryLimit",
            "spec.template.metadata.annotations",
            "spec.template.spec.imagePullSecrets",
            "spec.template.spec.nodeSelector",
            "spec.template.spec.priority",
            "spec.template.spec.tolerations",
            "spec.template.spec.topologySpreadConstraints",
        ],
    ),
];

/// Labels of the operator without its prefix.
pub const LABELS: [&str; 6] = [
    "app.kubernetes.io/component",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/name",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/version",
];

/// Kinds that are compared as a whole.
pub const KINDS: [&str; 9] = [
    "ServiceAccount",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Service",
    "Certificate",
    "PodMonitor",
    "ConfigMap",
    "Secret",
    "StatefulSet",
];

/// Entries that apply to a kind.
pub fn of(kind: &str) -> impl Iterator<Item = &'static Entry> {
    ALLOWED.iter().filter(move |entry| entry.kinds.split('|').any(|named| named == kind))
}

/// Whether the object must be recreated to change a field.
pub fn is_fixed(kind: &str, path: &str) -> bool {
    listed(FIXED, kind, path)
}

/// Whether a change by an admission webhook at this path can weaken the node: the security profile of its pods, access
/// to its keys, or network access. Resource requests and limits cannot.
pub fn weakens(kind: &str, path: &str) -> bool {
    let of_resources = kind == "StatefulSet"
        && path.split('.').any(|part| part == "resources")
        && path.contains("ontainers[");
    !of_resources && !listed(HARMLESS, kind, path)
}

fn listed(list: &[(&str, &[&str])], kind: &str, path: &str) -> bool {
    let mut paths = list.iter().filter(|(named, _)| *named == kind).flat_map(|(_, paths)| *paths);
    paths.any(|listed| {
        path.strip_prefix(listed).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}
