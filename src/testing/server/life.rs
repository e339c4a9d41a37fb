//! Controllers and kubelets of a healthy cluster: create claims and pods, report revisions, finish deletions and
//! collect garbage.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::START;
use super::{Server, admission::mebibytes, lock, request::Target, state::State};

impl Server {
    /// While true, volumes do not grow, as with a driver that cannot expand them.
    pub fn hold_volumes(&self, hold: bool) {
        let mut state = lock(&self.state);
        state.held_volumes = hold;
        live(&mut state);
    }
}

/// Runs all controllers until their work settles.
pub(super) fn live(state: &mut State) {
    // one round may cause work for the next
    for _ in 0..4 {
        workloads(state);
        volumes(state);
        finish_deletions(state);
        collect_garbage(state);
    }
}

fn revision(workload: &Value) -> String {
    let template = workload["spec"]["template"].to_string();
    Sha256::digest(template).iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

fn core(resource: &str, namespace: &str, name: &str) -> Target {
    Target {
        group_version: "v1".into(),
        resource: resource.into(),
        namespace: namespace.into(),
        name: name.into(),
    }
}

fn workloads(state: &mut State) {
    let workloads: Vec<_> =
        state.of_kind("statefulsets").map(|(target, object)| (target.clone(), object.clone())).collect();
    for (target, workload) in workloads {
        let revision = revision(&workload);
        let pod = core("pods", &target.namespace, &format!("{}-0", target.name));
        let wanted = workload["spec"]["replicas"].as_i64().unwrap_or(1) > 0
            && workload["metadata"]["deletionTimestamp"].is_null();
        if wanted && !state.no_new_pods && state.get(&pod).is_none() {
            claims(state, &target, &workload);
            let started = !state.slow;
            state.store(&pod, new_pod((&target, &workload), &revision, started));
        }
        adopt(state, &pod, (&target, &workload));
        if !wanted && state.get(&pod).is_some() && workload["spec"]["replicas"] == 0 {
            let _ = state.delete(&pod, &json!({}));
        }
        let mut updated = workload.clone();
        updated["status"] = json!({"updateRevision": revision, "replicas": i64::from(wanted),
            "observedGeneration": workload["metadata"]["generation"]});
        state.store(&target, updated);
    }
}

/// Makes the workload the owner of its pod if the selector matches and the pod has no owner.
fn adopt(state: &mut State, name: &Target, (target, workload): (&Target, &Value)) {
    let Some(mut pod) = state.get(name).cloned() else { return };
    let selected = workload["spec"]["selector"]["matchLabels"]
        .as_object()
        .is_some_and(|wanted| wanted.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value));
    let ends = |object: &Value| object["metadata"]["deletionTimestamp"].is_string();
    if selected && owners(&pod).next().is_none() && !ends(workload) && !ends(&pod) {
        pod["metadata"]["ownerReferences"] = json!([owner((target, workload))]);
        state.store(name, pod);
    }
}

fn owner((target, workload): (&Target, &Value)) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
        "name": target.name, "uid": workload["metadata"]["uid"], "controller": true})
}

fn claims(state: &mut State, target: &Target, workload: &Value) {
    for template in workload["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
        let template_name = template["metadata"]["name"].as_str().unwrap_or_default();
        let claim =
            core("persistentvolumeclaims", &target.namespace, &format!("{template_name}-{}-0", target.name));
        if state.get(&claim).is_none() {
            state.store(
                &claim,
                json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"labels": template["metadata"]["labels"]}, "spec": template["spec"],
                "status": {"phase": "Bound", "capacity": template["spec"]["resources"]["requests"]}}),
            );
        }
    }
}

/// Grows volumes to the size that their claims request, as storage drivers do.
fn volumes(state: &mut State) {
    if state.held_volumes {
        return;
    }
    let claims: Vec<_> = state
        .of_kind("persistentvolumeclaims")
        .map(|(target, claim)| (target.clone(), claim.clone()))
        .filter(|(_, claim)| claim["status"]["phase"] == "Bound")
        .collect();
    for (target, mut claim) in claims {
        let asked = claim["spec"]["resources"]["requests"].clone();
        if mebibytes(&claim["status"]["capacity"]["storage"]) < mebibytes(&asked["storage"]) {
            claim["status"]["capacity"] = asked;
            state.store(&target, claim);
        }
    }
}

/// Makes every starting pod ready.
pub(super) fn all_started(state: &mut State) {
    let pods: Vec<_> = state.of_kind("pods").map(|(target, pod)| (target.clone(), pod.clone())).collect();
    for (target, mut pod) in pods {
        pod["status"]["conditions"][1]["status"] = json!("True");
        pod["status"]["initContainerStatuses"] = initialised(&pod["spec"], true);
        state.store(&target, pod);
    }
}

/// Sets the transition time of the pod's Ready condition if its status changed, otherwise keeps the old time.
pub(super) fn dated(before: Option<&Value>, pod: &mut Value, elapsed: Duration) {
    let ready = |pod: &Value| {
        pod["status"]["conditions"].as_array()?.iter().find(|it| it["type"] == "Ready").cloned()
    };
    let before = before.and_then(ready);
    let conditions = pod["status"]["conditions"].as_array_mut().into_iter().flatten();
    for condition in conditions.filter(|it| it["type"] == "Ready") {
        condition["lastTransitionTime"] = match &before {
            Some(before) if before["status"] == condition["status"] => before["lastTransitionTime"].clone(),
            _ => {
                let second = START + i64::try_from(elapsed.as_secs()).unwrap_or_default();
                json!(Timestamp::from_second(second).unwrap_or_default().to_string())
            }
        };
    }
}

/// Removes the transition times of a pod's conditions.
pub(super) fn undate(object: &mut Value) {
    if object["kind"] == "Pod" {
        let conditions = object["status"]["conditions"].as_array_mut().into_iter().flatten();
        conditions.for_each(|condition| condition["lastTransitionTime"] = Value::Null);
    }
}

/// A pod of the workload, on the host that is fixed for its component.
fn new_pod((target, workload): (&Target, &Value), revision: &str, started: bool) -> Value {
    let mut labels = workload["spec"]["template"]["metadata"]["labels"].clone();
    labels["controller-revision-hash"] = json!(revision);
    let host = match labels["quorum.security/component"].as_str() {
        Some("client") => "host-1",
        Some("tm") => "host-2",
        _ => "host-3",
    };
    let mut spec = workload["spec"]["template"]["spec"].clone();
    spec["nodeName"] = json!(host);
    let containers: Vec<_> = spec["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|container| {
            json!({"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0,
            "ready": started})
        })
        .collect();
    let init = initialised(&spec, started);
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"labels": labels, "annotations": workload["spec"]["template"]["metadata"]["annotations"],
            "ownerReferences": [owner((target, workload))]},
        "spec": spec,
        "status": {"conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": if started { "True" } else { "False" }}],
            "initContainerStatuses": init, "containerStatuses": containers, "podIP": "10.0.0.1"}})
}

/// Statuses of the init containers: terminated with code 0, or running.
fn initialised(spec: &Value, done: bool) -> Value {
    let state = if done { json!({"terminated": {"exitCode": 0}}) } else { json!({"running": {}}) };
    let containers = spec["initContainers"].as_array().into_iter().flatten();
    let status = |container: &Value| {
        json!({"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0,
            "ready": done, "state": state})
    };
    containers.map(status).collect()
}

fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    object["metadata"]["ownerReferences"].as_array().into_iter().flatten()
}

/// Handles the garbage collector's finalizers `orphan` and `foregroundDeletion`.
fn finish_deletions(state: &mut State) {
    let deleted: Vec<_> = state
        .all()
        .filter(|(_, object)| object["metadata"]["deletionTimestamp"].is_string())
        .map(|(target, object)| (target.clone(), object.clone()))
        .collect();
    for (target, object) in deleted {
        let has = |name: &str| {
            object["metadata"]["finalizers"].as_array().is_some_and(|listed| listed.contains(&json!(name)))
        };
        let dependents: Vec<_> = state
            .all()
            .filter(|(_, dependent)| owners(dependent).any(|owner| owner["uid"] == object["metadata"]["uid"]))
            .map(|(target, dependent)| (target.clone(), dependent.clone()))
            .collect();
        if has("orphan") {
            for (dependent, mut content) in dependents {
                let rest: Vec<_> = owners(&content)
                    .filter(|owner| owner["uid"] != object["metadata"]["uid"])
                    .cloned()
                    .collect();
                content["metadata"]["ownerReferences"] = json!(rest);
                state.store(&dependent, content);
            }
            drop_finalizer(state, &target, "orphan");
        } else if has("foregroundDeletion") {
            let blocking = dependents.iter().any(|(_, dependent)| {
                owners(dependent).any(|owner| {
                    owner["uid"] == object["metadata"]["uid"] && owner["blockOwnerDeletion"] == true
                })
            });
            for (dependent, content) in dependents {
                if content["metadata"]["deletionTimestamp"].is_null() {
                    let _ = state.delete(&dependent, &json!({"propagationPolicy": "Foreground"}));
                }
            }
            if !blocking {
                drop_finalizer(state, &target, "foregroundDeletion");
            }
        }
    }
}

fn drop_finalizer(state: &mut State, target: &Target, name: &str) {
    if let Some(mut object) = state.get(target).cloned() {
        if let Some(listed) = object["metadata"]["finalizers"].as_array_mut() {
            listed.retain(|entry| entry != name);
        }
        state.store(target, object);
    }
}

fn collect_garbage(state: &mut State) {
    let alive: std::collections::HashSet<String> =
        state.all().filter_map(|(_, object)| object["metadata"]["uid"].as_str().map(str::to_owned)).collect();
    let orphans: Vec<Target> = state
        .all()
        .filter(|(_, object)| {
            object["metadata"]["deletionTimestamp"].is_null()
                && owners(object).next().is_some()
                && owners(object).all(|owner| owner["uid"].as_str().is_none_or(|uid| !alive.contains(uid)))
        })
        .map(|(target, _)| target.clone())
        .collect();
    for target in orphans {
        let _ = state.delete(&target, &json!({}));
    }
}
