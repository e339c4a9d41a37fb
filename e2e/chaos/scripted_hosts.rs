//! Three simulated hosts: Node objects with heartbeats, and a scripted kubelet that reports their pods as running and
//! Ready and removes deleted ones. Scheduler, workload controllers, disruption budgets and garbage collection are real.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::api_server::{ApiServer, path};

pub(crate) const HOSTS: [&str; 3] = ["host-1", "host-2", "host-3"];
const VOLUMES: usize = 30;
/// Seconds from a pod's creation until it is Ready, in which another validator could become unavailable.
const START: i64 = 3;

pub(crate) async fn make(api_server: &ApiServer) -> anyhow::Result<()> {
    for host in HOSTS {
        let node = json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": host, "labels": {"kubernetes.io/hostname": host, "kubernetes.io/os": "linux"}}});
        api_server.create("/api/v1/nodes", &node).await?;
    }
    for number in 0..VOLUMES {
        let mode = if number % 2 == 0 { "ReadWriteOnce" } else { "ReadWriteOncePod" };
        let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": format!("chaos-{number}")},
            "spec": {"storageClassName": "bed-local", "capacity": {"storage": "40Gi"}, "accessModes": [mode],
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": format!("/nowhere/{number}")}}});
        api_server.create("/api/v1/persistentvolumes", &volume).await?;
    }
    Ok(())
}

/// Updates all pods every half second and retries failures in the next round.
pub(crate) async fn live(api_server: ApiServer) {
    tokio::spawn(report(api_server.clone()));
    loop {
        let pods = timely(api_server.list("/api/v1/pods")).await.and_then(Result::ok);
        for pod in pods.unwrap_or_default() {
            let _ = timely(tend(&api_server, &pod)).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Sends the hosts' heartbeats, independently of the pods.
async fn report(api_server: ApiServer) {
    loop {
        for host in HOSTS {
            let _ = timely(api_server.patch(&format!("/api/v1/nodes/{host}/status"), &healthy(host))).await;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

/// Result of a request, `None` after five seconds, so that a client that retries does not hold up the others.
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

async fn tend(api_server: &ApiServer, pod: &Value) -> anyhow::Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &pod["metadata"];
    let this = path("pods", &text(&metadata["namespace"]), &text(&metadata["name"]));
    if pod["spec"]["nodeName"].is_null() {
        return Ok(());
    }
    if !metadata["deletionTimestamp"].is_null() {
        let exactly = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}});
        return api_server.delete(&this, &exactly).await;
    }
    let conditions = pod["status"]["conditions"].as_array();
    let is_ready = |it: &Value| it["type"] == "Ready" && it["status"] == "True";
    // the control plane marks the pods of a silent host as not ready; a kubelet reports them ready again
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
    api_server.patch(&format!("{this}/status"), &status).await
}
