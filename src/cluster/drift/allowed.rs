//! The closed list of what may differ between an object as the operator rendered it and as the server holds it.
//! Whatever is not on it is drift, and is removed. Every entry says why it is there.

/// What may differ at a path.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// Any value: it is the server's, or others may write it.
    Any,
    /// Any value but this text.
    AnyBut(&'static str),
    /// A list of at most one item.
    AtMostOne,
    /// This value, which the server fills in where the field is left out: text.
    Text(&'static str),
    /// The same: a number.
    Number(i64),
    /// The same: JSON.
    Json(&'static str),
    /// A quantity, which the server writes in a form of its own.
    Quantity,
}

/// A field that may differ.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Kinds of objects it holds for, separated by `|`.
    kinds: &'static str,
    /// Path from the object's top: members separated by `.`, `[]` for an item of a list, `*` for any member, `|` between
    /// members that are alike.
    pub path: &'static str,
    /// What may be there.
    pub rule: Rule,
    /// Why.
    pub why: &'static str,
}

const DEFAULT: &str = "the API server fills it in";
const QUANTITY: &str = "the API server writes 1000m as 1";

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

/// What of an object's own metadata may be anything, and why. The operator judges its own labels and annotations, the
/// owners, and whether its finalizer is there. The metadata of a pod template is judged in whole.
pub const METADATA: &[(&str, &str)] = &[
    ("metadata.annotations.added", "others note what they like under names that are not ours"),
    ("metadata.labels.added", "others label what they like under names that are not ours"),
    ("metadata.finalizers", "a finalizer of others delays only the end of an object, and is told then"),
    ("metadata.creationTimestamp", "the API server sets it"),
    ("metadata.deletionGracePeriodSeconds", "the API server sets it"),
    ("metadata.deletionTimestamp", "the API server sets it; an object that is being deleted is made again"),
    ("metadata.generateName", "the API server reads it at creation alone"),
    ("metadata.generation", "the API server sets it"),
    ("metadata.managedFields", "the API server sets it"),
    ("metadata.name", "it is how the object was found"),
    ("metadata.namespace", "it is how the object was found"),
    ("metadata.resourceVersion", "the API server sets it"),
    ("metadata.selfLink", "the API server sets it"),
    ("metadata.uid", "the API server sets it"),
    ("metadata.added", "the API server knows no such field and drops it"),
];

/// What of an object outside its metadata may differ.
pub const ALLOWED: &[Entry] = &[
    entry(
        "ServiceAccount",
        "imagePullSecrets",
        Rule::Any,
        "admins give accounts the credentials of a registry",
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
        "the API server assigns it; None is a setting of ours",
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

/// Fields that can only be changed by deleting the object and making it again: kind, and beginnings of paths.
const FIXED: &[(&str, &[&str])] = &[
    ("ConfigMap", &["immutable"]),
    ("Secret", &["immutable", "type"]),
    ("Service", &["spec.clusterIP"]),
    (
        "StatefulSet",
        &["spec.podManagementPolicy", "spec.selector", "spec.serviceName", "spec.volumeClaimTemplates"],
    ),
];

/// Where an admission webhook may write without weakening a node: kind, and ends of paths' beginnings. Everything else
/// that one changes takes `Ready` away.
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

/// Labels of ours that do not begin with our prefix.
pub const LABELS: [&str; 6] = [
    "app.kubernetes.io/component",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/name",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/version",
];

/// The kinds that are judged in whole.
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

/// The entries of a kind.
pub fn of(kind: &str) -> impl Iterator<Item = &'static Entry> {
    ALLOWED.iter().filter(move |entry| entry.kinds.split('|').any(|named| named == kind))
}

/// Whether a field can only be changed by making the object again.
pub fn is_fixed(kind: &str, path: &str) -> bool {
    listed(FIXED, kind, path)
}

/// Whether what an admission webhook wrote here weakens the node: its pods' security profile, who mounts its keys, or who
/// may reach it. Requests and limits of resources do not.
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
