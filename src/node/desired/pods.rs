//! Common parts of all pods of a node: restricted security settings, anti-affinity, volumes and probes.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{
            StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
            StatefulSetUpdateStrategy,
        },
        core::v1::{
            Capabilities, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource,
            HTTPGetAction, KeyToPath, LocalObjectReference, ObjectFieldSelector, PersistentVolumeClaim,
            PersistentVolumeClaimSpec, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
            ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, ServiceAccount,
            TCPSocketAction, Toleration, Volume, VolumeMount, VolumeResourceRequirements,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};
use kube::api::ObjectMeta;

use super::{affinity, components};
use crate::{
    api::parts::{Resources, Storage},
    model::names::{self, Component},
    node::{decide::placement, validate::Validated},
    settings::Users,
};

/// User and group id of every container; never root.
pub(super) const USER: i64 = 65532;

/// The component-specific parts of a workload.
pub(super) struct Parts {
    pub(super) component: Component,
    pub(super) version: String,
    /// Digest of the configuration that is read at start.
    pub(super) config_digest: String,
    pub(super) init: Vec<Container>,
    pub(super) containers: Vec<Container>,
    pub(super) volumes: Vec<Volume>,
    pub(super) claim: Option<Storage>,
    /// Who assigns the user id.
    pub(super) users: Users,
    /// Termination grace period in seconds.
    pub(super) grace: i64,
}

/// Adds labels or annotations from the spec, without overwriting existing ones.
pub(super) fn note(to: &mut BTreeMap<String, String>, asked: &BTreeMap<String, String>) {
    for (key, value) in asked {
        to.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

/// A StatefulSet with one pod. Its strategy is `OnDelete`, since a StatefulSet's own rollout ignores disruption
/// budgets.
pub(super) fn workload(node: &Validated, parts: Parts) -> StatefulSet {
    let component = parts.component;
    let mut labels = node.names.component_labels(component);
    labels.insert("app.kubernetes.io/version".into(), parts.version.clone());
    let mut pod_labels = labels.clone();
    pod_labels.insert(names::ROLE.into(), node.spec.role.as_str().into());
    let notes = &node.spec.pod_metadata;
    note(&mut pod_labels, &notes.labels);
    let mut annotations = BTreeMap::from([(names::CONFIG_DIGEST.into(), parts.config_digest.clone())]);
    note(&mut annotations, &notes.annotations);
    let claims = parts.claim.as_ref().map(|storage| vec![claim(node, component, storage)]);
    StatefulSet {
        metadata: node.names.meta(node.names.workload(component), labels, &node.owner),
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            service_name: Some(node.names.governing_service(component)),
            selector: node.names.pods(component),
            pod_management_policy: Some("OrderedReady".into()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".into()),
                rolling_update: None,
            }),
            persistent_volume_claim_retention_policy: claims.is_some().then(|| {
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some("Retain".into()),
                    when_scaled: Some("Retain".into()),
                }
            }),
            volume_claim_templates: claims,
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(pod_labels),
                    annotations: Some(annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(node, parts)),
            },
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

fn pod(node: &Validated, parts: Parts) -> PodSpec {
    let user = match parts.users {
        Users::Fixed => Some(USER),
        Users::Platform => None,
    };
    let hosts = placement::hosts(&node.spec.placement, parts.component);
    let tolerations: Vec<_> = hosts
        .tolerations
        .iter()
        .map(|tolerated| Toleration {
            key: Some(tolerated.key.clone()),
            operator: Some(if tolerated.value.is_some() { "Equal" } else { "Exists" }.into()),
            // the server drops an empty value
            value: tolerated.value.clone().filter(|value| !value.is_empty()),
            effect: tolerated.effect.map(|effect| format!("{effect:?}")),
            toleration_seconds: None,
        })
        .collect();
    let pull_secrets = node.spec.image_pull_secrets.iter();
    let pull_secrets = pull_secrets.map(|secret| LocalObjectReference { name: secret.name.clone() });
    PodSpec {
        service_account_name: Some(node.names.workload(parts.component)),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: user,
            run_as_group: user,
            fs_group: user,
            fs_group_change_policy: Some("OnRootMismatch".into()),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        affinity: Some(affinity::of(node, parts.component)),
        node_selector: Some(hosts.node_selector.clone()).filter(|labels| !labels.is_empty()),
        tolerations: Some(tolerations).filter(|tolerations| !tolerations.is_empty()),
        image_pull_secrets: Some(pull_secrets.collect::<Vec<_>>()).filter(|secrets| !secrets.is_empty()),
        priority_class_name: node.spec.priority_class_name.clone(),
        termination_grace_period_seconds: Some(parts.grace),
        init_containers: Some(parts.init).filter(|init| !init.is_empty()),
        containers: parts.containers,
        volumes: Some(parts.volumes),
        ..PodSpec::default()
    }
}

/// The claim template. It has only the two labels that never change, since the template is immutable.
fn claim(node: &Validated, component: Component, storage: &Storage) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some("data".into()),
            labels: Some(node.names.pod_labels(component)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec![storage.access_mode.as_str().into()]),
            storage_class_name: storage.class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".into(), Quantity(storage.size.clone()))])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

/// A ServiceAccount without permissions, whose token is mounted nowhere.
pub(super) fn account(node: &Validated, component: Component) -> ServiceAccount {
    debug_assert!(components(node).contains(&component), "an account for a part that is not there");
    ServiceAccount {
        metadata: node.names.meta(
            node.names.workload(component),
            node.names.component_labels(component),
            &node.owner,
        ),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// A container that meets the restricted Pod Security Standard in every field.
pub(super) fn container(name: &str, image: &str, command: &[&str], args: Vec<String>) -> Container {
    Container {
        name: name.into(),
        image: Some(image.into()),
        image_pull_policy: Some("IfNotPresent".into()),
        command: Some(command.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
            .filter(|words| !words.is_empty()),
        args: Some(args),
        // after a failure, the pod's status has the last lines of its log
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// Flag with which quorum-guard succeeds only in the one pod of a component.
pub(super) fn only_pod(node: &Validated, component: Component) -> String {
    format!("--only-pod={}", node.names.pod(component))
}

/// Environment variable with the pod's own name, by which an init container knows whether its pod may start.
pub(super) fn own_name() -> Option<Vec<EnvVar>> {
    let field = ObjectFieldSelector { api_version: Some("v1".into()), field_path: "metadata.name".into() };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    Some(vec![EnvVar { name: "POD_NAME".into(), value: None, value_from: Some(source) }])
}

/// Resource requirements. Memory and ephemeral storage have equal requests and limits; CPU has a request. Ephemeral
/// storage and a CPU limit are optional.
pub(super) fn resources(of: &Resources) -> Option<ResourceRequirements> {
    let amount = |kind: &str, amount: &String| (kind.to_owned(), Quantity(amount.clone()));
    let alike = [amount("memory", &of.memory)];
    let alike =
        alike.into_iter().chain(of.ephemeral_storage.iter().map(|size| amount("ephemeral-storage", size)));
    let limit = of.cpu_limit.iter().map(|limit| amount("cpu", limit));
    Some(ResourceRequirements {
        requests: Some(alike.clone().chain([amount("cpu", &of.cpu)]).collect()),
        limits: Some(alike.chain(limit).collect()),
        claims: None,
    })
}

/// Resources of a quorum-guard, unless the spec sets others.
pub(super) fn small(asked: Option<&Resources>) -> Option<ResourceRequirements> {
    asked.map_or_else(|| resources(&Resources::of("20m", "64Mi")), resources)
}

/// A volume with these keys of a Secret, readable only by the pod's user.
pub(super) fn secret(volume: &str, name: &str, items: &[(&str, &str)]) -> Volume {
    Volume {
        name: volume.into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(name.into()),
            default_mode: Some(0o400),
            items: Some(keys(items)),
            optional: None,
        }),
        ..Volume::default()
    }
}

/// A volume with these keys of a ConfigMap, or with all keys if `items` is empty.
pub(super) fn config(volume: &str, name: &str, items: &[(&str, &str)]) -> Volume {
    Volume {
        name: volume.into(),
        config_map: Some(ConfigMapVolumeSource {
            name: name.into(),
            default_mode: Some(0o444),
            items: Some(keys(items)).filter(|items| !items.is_empty()),
            optional: None,
        }),
        ..Volume::default()
    }
}

fn keys(items: &[(&str, &str)]) -> Vec<KeyToPath> {
    items
        .iter()
        .map(|(key, path)| KeyToPath { key: (*key).into(), path: (*path).into(), mode: None })
        .collect()
}

/// A directory that lives as long as its pod; in memory if it holds a key.
pub(super) fn scratch(volume: &str, size: &str, in_memory: bool) -> Volume {
    Volume {
        name: volume.into(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: in_memory.then(|| "Memory".into()),
            size_limit: Some(Quantity(size.into())),
        }),
        ..Volume::default()
    }
}

/// Mounts a volume read-only.
pub(super) fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..writable(volume, path) }
}

/// Mounts a volume to write to.
pub(super) fn writable(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.into(), mount_path: path.into(), ..VolumeMount::default() }
}

/// Probe that opens a TCP connection to `port`, every `period` seconds.
pub(super) fn accepts(port: i32, period: i32, failures: i32) -> Option<Probe> {
    Some(Probe {
        tcp_socket: Some(TCPSocketAction { port: IntOrString::Int(port), host: None }),
        ..every(period, failures)
    })
}

/// Probe of a quorum-guard's health server.
pub(super) fn says_ok(path: &str, port: i32, period: i32, failures: i32) -> Option<Probe> {
    Some(Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::Int(port),
            scheme: Some("HTTP".into()),
            ..HTTPGetAction::default()
        }),
        ..every(period, failures)
    })
}

/// A probe every `period` seconds that gives up after `failures`.
pub(super) fn every(period: i32, failures: i32) -> Probe {
    Probe {
        period_seconds: Some(period),
        failure_threshold: Some(failures),
        timeout_seconds: Some(5),
        success_threshold: Some(1),
        ..Probe::default()
    }
}
