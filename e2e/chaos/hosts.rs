//! Three hosts without machines: Node objects with a heartbeat, and a kubelet by script that says of every pod
//! bound to them that it runs and is Ready, and lets go of those that are being deleted. Scheduler, workload
//! controllers, disruption budgets and garbage collection are the real ones.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::plane::{Plane, path};

pub(crate) const HOSTS: [&str; 3] = ["host-1", "host-2", "host-3"];
const VOLUMES: usize = 30;
/// Seconds from a pod's making to its being Ready, in which another validator could be lost.
const START: i64 = 3;

pub(crate) async fn make(plane: &Plane) -> anyhow::Result<()> {
    for host in HOSTS {
        let node = json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": host, "labels": {"kubernetes.io/hostname": host, "kubernetes.io/os": "linux"}}});
        plane.create("/api/v1/nodes", &node).await?;
    }
    for number in 0..VOLUMES {
        let mode = if number % 2 == 0 { "ReadWriteOnce" } else { "ReadWriteOncePod" };
        let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": format!("chaos-{number}")},
            "spec": {"storageClassName": "bed-local", "capacity": {"storage": "40Gi"}, "accessModes": [mode],
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": format!("/nowhere/{number}")}}});
        plane.create("/api/v1/persistentvolumes", &volume).await?;
    }
    Ok(())
}

/// Looks every half second; what fails is tried again in the next round.
pub(crate) async fn live(plane: Plane) {
    tokio::spawn(report(plane.clone()));
    loop {
        let pods = timely(plane.list("/api/v1/pods")).await.and_then(Result::ok);
        for pod in pods.unwrap_or_default() {
            let _ = timely(tend(&plane, &pod)).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Heartbeats of the hosts, which nothing holds up.
async fn report(plane: Plane) {
    loop {
        for host in HOSTS {
            let _ = timely(plane.patch(&format!("/api/v1/nodes/{host}/status"), &healthy(host))).await;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

/// What a request comes to, if it does within five seconds: a client that tries again and again is not waited for.
async fn timely<T>(request: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(5), request).await.ok()
}

fn healthy(host: &str) -> Value {
    let room = json!({"cpu": "64", "memory": "512Gi", "pods": "110", "ephemeral-storage": "500Gi"});
    json!({"status": {"capacity": room, "allocatable": room,
        "nodeInfo": {"machineID": host, "systemUUID": host, "bootID": format!("boot-{host}"), "kernelVersion": "6",
            "osImage": "none", "containerRuntimeVersion": "none://1", "kubeletVersion": "v1.36.3", "kubeProxyVersion": "",
            "operatingSystem": "linux", "architecture": "amd64"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Scripted", "message": "",
            "lastHeartbeatTime": Timestamp::now().to_string(), "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})
}

async fn tend(plane: &Plane, pod: &Value) -> anyhow::Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &pod["metadata"];
    let this = path("pods", &text(&metadata["namespace"]), &text(&metadata["name"]));
    if pod["spec"]["nodeName"].is_null() {
        return Ok(());
    }
    if !metadata["deletionTimestamp"].is_null() {
        let exactly = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}});
        return plane.delete(&this, &exactly).await;
    }
    let conditions = pod["status"]["conditions"].as_array();
    let is_ready = |it: &Value| it["type"] == "Ready" && it["status"] == "True";
    // the control plane takes a pod's readiness away where its host was silent; a kubelet says it again
    if pod["status"]["phase"] == "Running" && conditions.into_iter().flatten().any(is_ready) {
        return Ok(());
    }
    let made = text(&metadata["creationTimestamp"]).parse::<Timestamp>()?;
    if Timestamp::now().duration_since(made).as_secs() < START {
        return Ok(());
    }
    let since = "2026-01-01T00:00:00Z";
    let now = Timestamp::from_second(Timestamp::now().as_second())?.to_string();
    let is = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let containers: Vec<Value> = pod["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|container| {
            json!({"name": container["name"], "image": container["image"], "imageID": container["image"],
                "containerID": "none://1", "ready": true, "started": true, "restartCount": 0,
                "state": {"running": {"startedAt": since}}})
        })
        .collect();
    let status = json!({"metadata": {"uid": metadata["uid"]}, "status": {"phase": "Running", "podIP": "10.215.1.1",
        "podIPs": [{"ip": "10.215.1.1"}], "containerStatuses": containers,
        "conditions": [is("PodScheduled"), is("Initialized"), is("ContainersReady"), is("Ready")]}});
    plane.patch(&format!("{this}/status"), &status).await
}
