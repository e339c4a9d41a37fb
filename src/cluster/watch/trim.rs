//! Trims cached objects to the fields that the operator reads. Pure.

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetSpec},
        core::v1::{
            Node, NodeStatus, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus,
            Pod, PodSpec, Service, ServiceSpec,
        },
    },
    apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry,
};
use kube::api::ObjectMeta;

use crate::{
    cluster::write::managed_fields,
    model::{
        names,
        third_party::{Certificate, CertificateSpec, PodMonitor, PodMonitorSpec},
    },
};

/// Trims metadata to the ownership, and to labels and annotations of the operator. Annotations of others may be large,
/// and `kubectl apply` stores the content of a Secret in one.
pub(crate) fn metadata(meta: &mut ObjectMeta) {
    let is_read =
        |key: &str| key.starts_with(names::OURS) || [names::MANAGED_BY, names::REVISION].contains(&key);
    for notes in [&mut meta.labels, &mut meta.annotations] {
        notes.iter_mut().for_each(|notes| notes.retain(|key, _| is_read(key)));
        notes.take_if(|notes| notes.is_empty());
    }
    for owner in meta.owner_references.iter_mut().flatten() {
        owner.api_version = String::new();
    }
    keep_our_fields(meta);
}

/// Trims managed fields to the operator's entries, which show drift, and those of later writers, which a field conflict
/// names. The other entries are most of an object's size.
fn keep_our_fields(meta: &mut ObjectMeta) {
    let Some(entries) = &mut meta.managed_fields else { return };
    let is_ours = |entry: &ManagedFieldsEntry| entry.manager.as_deref() == Some(names::MANAGER);
    let time = |entry: &ManagedFieldsEntry| entry.time.as_ref().map(|time| time.0);
    let ours = entries.iter().filter(|entry| is_ours(entry)).filter_map(time).max();
    entries.retain(|entry| is_ours(entry) || entry.subresource.is_none() && time(entry) >= ours);
    entries.shrink_to_fit();
    for entry in entries {
        (entry.api_version, entry.fields_type) = (None, None);
        entry.fields_v1.iter_mut().for_each(managed_fields::fold);
    }
}

pub(crate) fn workload(workload: &mut StatefulSet) {
    workload.spec = workload.spec.take().map(|spec| StatefulSetSpec {
        replicas: spec.replicas,
        volume_claim_templates: spec.volume_claim_templates.map(|templates| {
            let sizes = templates.into_iter().map(|template| PersistentVolumeClaim {
                spec: template.spec.map(request),
                ..Default::default()
            });
            sizes.collect()
        }),
        ..Default::default()
    });
    if let Some(status) = &mut workload.status {
        status.conditions = None;
    }
}

pub(crate) fn service(service: &mut Service) {
    service.status = None;
    if let Some(spec) = &mut service.spec {
        let cluster_ip = spec.cluster_ip.take();
        *spec = ServiceSpec { cluster_ip, ..Default::default() };
    }
}

pub(crate) fn claim(claim: &mut PersistentVolumeClaim) {
    claim.metadata.managed_fields = None;
    claim.metadata.annotations = None;
    let is_bound = claim.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Bound"));
    claim.spec = claim.spec.take().map(|mut spec| {
        let modes = spec.access_modes.take().filter(|_| !is_bound);
        PersistentVolumeClaimSpec { access_modes: modes, ..request(spec) }
    });
    claim.status = claim.status.take().map(|mut status| {
        for condition in status.conditions.iter_mut().flatten() {
            (condition.last_probe_time, condition.last_transition_time) = (None, None);
        }
        PersistentVolumeClaimStatus {
            phase: status.phase,
            capacity: status.capacity,
            conditions: status.conditions,
            allocated_resource_statuses: status.allocated_resource_statuses,
            ..Default::default()
        }
    });
}

/// Requested resources, storage class and bound volume of a claim.
fn request(spec: PersistentVolumeClaimSpec) -> PersistentVolumeClaimSpec {
    PersistentVolumeClaimSpec {
        resources: spec.resources,
        storage_class_name: spec.storage_class_name,
        volume_name: spec.volume_name,
        ..Default::default()
    }
}

pub(crate) fn certificate(certificate: &mut Certificate) {
    certificate.spec = CertificateSpec::default();
}

pub(crate) fn monitor(monitor: &mut PodMonitor) {
    monitor.spec = PodMonitorSpec::default();
}

pub(crate) fn pod(pod: &mut Pod) {
    pod.metadata.managed_fields = None;
    if let Some(annotations) = &mut pod.metadata.annotations {
        annotations.retain(|key, _| key == names::CERTIFICATES || key == names::POLICY);
    }
    if let Some(spec) = &mut pod.spec {
        let node_name = spec.node_name.take();
        *spec = PodSpec { node_name, ..Default::default() };
    }
}

pub(crate) fn host(host: &mut Node) {
    host.metadata.managed_fields = None;
    host.metadata.annotations = None;
    host.metadata.resource_version = None;
    if let Some(status) = &mut host.status {
        let node_info = status.node_info.take();
        let ready =
            status.conditions.take().into_iter().flatten().find(|condition| condition.type_ == "Ready");
        let ready = ready.map(|mut condition| {
            condition.last_heartbeat_time = None;
            vec![condition]
        });
        *status = NodeStatus { node_info, conditions: ready, ..Default::default() };
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, Time};
    use serde_json::{Value, json};

    use super::*;

    fn entry(manager: &str, at: i64) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some(manager.into()),
            operation: Some("Apply".into()),
            time: Some(Time(k8s_openapi::jiff::Timestamp::from_second(at).expect("a time"))),
            fields_v1: Some(FieldsV1(json!({"f:data": {"f:tls.crt": {}}}))),
            ..ManagedFieldsEntry::default()
        }
    }

    #[test]
    fn what_kubectl_keeps_of_a_secret_is_not_kept_here() {
        let note = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let applied = "kubectl.kubernetes.io/last-applied-configuration";
        let content = note(applied, r#"{"stringData":{"password":"hunter2"}}"#);
        let mut meta = ObjectMeta {
            annotations: Some([content, note(names::DIGEST, "5e")].into()),
            ..ObjectMeta::default()
        };
        metadata(&mut meta);
        assert_eq!(meta.annotations, Some([note(names::DIGEST, "5e")].into()));
    }

    #[test]
    fn labels_that_are_gone_by_are_kept_and_those_of_others_are_not() {
        let read = [names::NODE, names::MANAGED_BY, names::IDENTITY, names::REVISION].map(str::to_owned);
        let all = read.iter().cloned().chain(["app.kubernetes.io/part-of".to_owned()]);
        let mut meta = ObjectMeta {
            labels: Some(all.map(|key| (key, "x".to_owned())).collect()),
            ..ObjectMeta::default()
        };
        metadata(&mut meta);
        let mut kept: Vec<_> = meta.labels.expect("kept").into_keys().collect();
        kept.sort_by_key(|key| read.iter().position(|one| one == key));
        assert_eq!(kept, read);
    }

    #[test]
    fn fields_are_kept_as_text_and_read_as_they_were() {
        let mut meta = ObjectMeta {
            managed_fields: Some(vec![entry("before", 1), entry(names::MANAGER, 2), entry("since", 3)]),
            ..ObjectMeta::default()
        };
        metadata(&mut meta);
        let kept = meta.managed_fields.expect("kept");
        assert_eq!(
            kept.iter().filter_map(|entry| entry.manager.as_deref()).collect::<Vec<_>>(),
            [names::MANAGER, "since"]
        );
        for mut fields in kept.into_iter().filter_map(|entry| entry.fields_v1) {
            assert_eq!(fields.0, Value::String("{\"f:data\u{2}tls.crt\":{}}}".into()));
            managed_fields::fold(&mut fields);
            assert_eq!(
                *managed_fields::unfold(&fields),
                json!({"f:data": {"f:tls.crt": {}}}),
                "once is enough"
            );
        }
    }
}
