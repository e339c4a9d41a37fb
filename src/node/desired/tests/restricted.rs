//! Checks the restricted profile of the Pod Security Standards field by field, and the additional rules of this
//! project.

use k8s_openapi::api::core::v1::{
    Container, PodSpec, Probe, SELinuxOptions, SeccompProfile, SecurityContext,
};
use serde_json::{Value, json};

use super::sample;

/// Volume types that the restricted profile allows, by their field names.
const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

fn confined(profile: Option<&SeccompProfile>) -> bool {
    profile.is_some_and(|profile| profile.type_ == "RuntimeDefault")
}

fn labelled(options: Option<&SELinuxOptions>) -> bool {
    options.is_some_and(|options| options.type_.is_some() || options.user.is_some() || options.role.is_some())
}

/// Violations of these rules by a pod.
pub(super) fn violations(pod: &PodSpec) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |holds: bool, what: &str| {
        if !holds {
            found.push(what.to_owned());
        }
    };
    check(pod.host_network != Some(true), "hostNetwork");
    check(pod.host_pid != Some(true), "hostPID");
    check(pod.host_ipc != Some(true), "hostIPC");
    check(pod.automount_service_account_token == Some(false), "automountServiceAccountToken");
    check(pod.ephemeral_containers.is_none(), "ephemeralContainers");
    let context = pod.security_context.clone().unwrap_or_default();
    check(context.run_as_non_root == Some(true), "pod runAsNonRoot");
    check(context.run_as_user.is_some_and(|user| user > 0), "pod runAsUser");
    check(context.run_as_group.is_some_and(|group| group > 0), "pod runAsGroup");
    check(context.fs_group.is_some_and(|group| group > 0), "pod fsGroup");
    check(!context.supplemental_groups.iter().flatten().any(|group| *group == 0), "pod supplementalGroups");
    check(confined(context.seccomp_profile.as_ref()), "pod seccompProfile");
    check(!labelled(context.se_linux_options.as_ref()), "pod seLinuxOptions");
    check(context.sysctls.is_none(), "sysctls");
    check(context.windows_options.is_none(), "pod windowsOptions");
    let unconfined = context.app_armor_profile.is_some_and(|profile| profile.type_ == "Unconfined");
    check(!unconfined, "pod appArmorProfile");
    for volume in pod.volumes.iter().flatten() {
        let Ok(Value::Object(fields)) = serde_json::to_value(volume) else { continue };
        for field in fields.keys().filter(|field| *field != "name") {
            check(VOLUMES.contains(&field.as_str()), &format!("volume {field}"));
        }
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        check(sources.clone().all(|source| source.service_account_token.is_none()), "serviceAccountToken");
    }
    for container in sample::containers(pod) {
        found.extend(container_violations(container));
    }
    found
}

fn container_violations(container: &Container) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |holds: bool, what: &str| {
        if !holds {
            found.push(what.to_owned());
        }
    };
    let context = container.security_context.clone().unwrap_or_default();
    let capabilities = context.capabilities.clone().unwrap_or_default();
    check(context.allow_privilege_escalation == Some(false), "allowPrivilegeEscalation");
    check(context.privileged != Some(true), "privileged");
    check(context.read_only_root_filesystem == Some(true), "readOnlyRootFilesystem");
    check(context.run_as_non_root != Some(false), "runAsNonRoot");
    check(context.run_as_user != Some(0), "runAsUser");
    check(context.run_as_group != Some(0), "runAsGroup");
    check(capabilities.drop == Some(vec!["ALL".into()]), "capabilities.drop");
    check(capabilities.add.unwrap_or_default().is_empty(), "capabilities.add");
    check(context.seccomp_profile.is_none() || confined(context.seccomp_profile.as_ref()), "seccompProfile");
    check(!labelled(context.se_linux_options.as_ref()), "seLinuxOptions");
    check(context.proc_mount.is_none_or(|mount| mount == "Default"), "procMount");
    check(context.windows_options.is_none(), "windowsOptions");
    check(context.app_armor_profile.is_none_or(|profile| profile.type_ != "Unconfined"), "appArmorProfile");
    check(container.volume_devices.is_none(), "volumeDevices");
    for port in container.ports.iter().flatten() {
        check(port.host_port.is_none() && port.host_ip.is_none(), "hostPort");
    }
    let probes = [&container.startup_probe, &container.liveness_probe, &container.readiness_probe];
    check(!probes.into_iter().flatten().any(names_a_host), "probe host");
    check(container.lifecycle.is_none(), "lifecycle");
    found
}

/// Whether a probe names a host. Such a probe lets the author of a pod send requests from the kubelet.
fn names_a_host(probe: &Probe) -> bool {
    probe.http_get.as_ref().is_some_and(|get| get.host.is_some())
        || probe.tcp_socket.as_ref().is_some_and(|socket| socket.host.is_some())
}

#[test]
fn every_pod_of_every_node_is_restricted() {
    for node in sample::network() {
        let desired = sample::render(&node);
        assert!(!desired.workloads.is_empty(), "{}", node.names.node);
        for workload in &desired.workloads {
            let name = workload.metadata.name.as_deref();
            assert_eq!(violations(sample::pod(workload)), Vec::<String>::new(), "{name:?}");
        }
    }
}

/// A valid pod with both kinds of containers.
fn sound() -> PodSpec {
    let desired = sample::render(&sample::alone(&sample::managed()));
    let pod = sample::pod(&desired.workloads[0]).clone();
    assert!(pod.init_containers.is_some());
    pod
}

#[test]
fn each_spoilt_field_of_a_pod_would_be_seen() {
    for (field, value, expected) in [
        ("/hostNetwork", json!(true), "hostNetwork"),
        ("/hostPID", json!(true), "hostPID"),
        ("/hostIPC", json!(true), "hostIPC"),
        ("/automountServiceAccountToken", json!(true), "automountServiceAccountToken"),
        ("/automountServiceAccountToken", json!(null), "automountServiceAccountToken"),
        ("/ephemeralContainers", json!([{"name": "debug"}]), "ephemeralContainers"),
        ("/securityContext/runAsNonRoot", json!(null), "pod runAsNonRoot"),
        ("/securityContext/runAsNonRoot", json!(false), "pod runAsNonRoot"),
        ("/securityContext/runAsUser", json!(0), "pod runAsUser"),
        ("/securityContext/runAsGroup", json!(0), "pod runAsGroup"),
        ("/securityContext/fsGroup", json!(0), "pod fsGroup"),
        ("/securityContext/supplementalGroups", json!([0]), "pod supplementalGroups"),
        ("/securityContext/seccompProfile", json!(null), "pod seccompProfile"),
        ("/securityContext/seccompProfile/type", json!("Unconfined"), "pod seccompProfile"),
        ("/securityContext/seLinuxOptions", json!({"type": "spc_t"}), "pod seLinuxOptions"),
        ("/securityContext/sysctls", json!([{"name": "kernel.msgmax", "value": "1"}]), "sysctls"),
        ("/securityContext/windowsOptions", json!({"hostProcess": true}), "pod windowsOptions"),
        ("/securityContext/appArmorProfile", json!({"type": "Unconfined"}), "pod appArmorProfile"),
        ("/volumes/0", json!({"name": "host", "hostPath": {"path": "/"}}), "volume hostPath"),
        ("/volumes/0", json!({"name": "nfs", "nfs": {"path": "/", "server": "x"}}), "volume nfs"),
        (
            "/volumes/0",
            json!({"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}),
            "serviceAccountToken",
        ),
    ] {
        assert_eq!(violations(&spoilt(field, &value)), [expected], "{field} = {value}");
    }
}

#[test]
fn each_spoilt_field_of_a_container_would_be_seen_in_both_kinds() {
    for kind in ["/initContainers/0", "/containers/0", "/containers/1"] {
        for (field, value, expected) in [
            ("/allowPrivilegeEscalation", json!(true), "allowPrivilegeEscalation"),
            ("/allowPrivilegeEscalation", json!(null), "allowPrivilegeEscalation"),
            ("/privileged", json!(true), "privileged"),
            ("/readOnlyRootFilesystem", json!(false), "readOnlyRootFilesystem"),
            ("/readOnlyRootFilesystem", json!(null), "readOnlyRootFilesystem"),
            ("/runAsNonRoot", json!(false), "runAsNonRoot"),
            ("/runAsUser", json!(0), "runAsUser"),
            ("/runAsGroup", json!(0), "runAsGroup"),
            ("/capabilities/drop", json!(null), "capabilities.drop"),
            ("/capabilities/drop", json!(["NET_RAW"]), "capabilities.drop"),
            ("/capabilities/add", json!(["NET_BIND_SERVICE"]), "capabilities.add"),
            ("/seccompProfile/type", json!("Unconfined"), "seccompProfile"),
            ("/seLinuxOptions", json!({"user": "system_u"}), "seLinuxOptions"),
            ("/procMount", json!("Unmasked"), "procMount"),
            ("/windowsOptions", json!({"hostProcess": true}), "windowsOptions"),
            ("/appArmorProfile", json!({"type": "Unconfined"}), "appArmorProfile"),
        ] {
            let pod = spoilt(&format!("{kind}/securityContext{field}"), &value);
            assert_eq!(violations(&pod), [expected], "{kind} {field} = {value}");
        }
        for (field, value, expected) in [
            ("/ports", json!([{"containerPort": 1, "hostPort": 1}]), "hostPort"),
            ("/volumeDevices", json!([{"name": "data", "devicePath": "/dev/x"}]), "volumeDevices"),
            ("/livenessProbe", json!({"httpGet": {"host": "10.0.0.1", "port": 80}}), "probe host"),
            ("/startupProbe", json!({"tcpSocket": {"host": "10.0.0.1", "port": 80}}), "probe host"),
            ("/lifecycle", json!({"preStop": {"httpGet": {"host": "10.0.0.1", "port": 80}}}), "lifecycle"),
        ] {
            assert_eq!(violations(&spoilt(&format!("{kind}{field}"), &value)), [expected], "{kind} {field}");
        }
    }
}

#[test]
fn a_container_without_a_context_of_its_own_would_be_seen() {
    let mut pod = sound();
    pod.containers[0].security_context = None::<SecurityContext>;
    assert_eq!(
        violations(&pod),
        ["allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities.drop"],
        "the pod's context cannot say these"
    );
}

/// The valid pod with one field set.
fn spoilt(field: &str, value: &Value) -> PodSpec {
    let mut pod = serde_json::to_value(sound()).expect("a pod as JSON");
    let (parent, last) = field.rsplit_once('/').expect("a path");
    let parent = pod.pointer_mut(parent).unwrap_or_else(|| panic!("{parent} is not there"));
    match parent {
        Value::Array(items) => items[last.parse::<usize>().expect("an index")] = value.clone(),
        parent => parent[last] = value.clone(),
    }
    serde_json::from_value(pod).expect("a pod from JSON")
}
