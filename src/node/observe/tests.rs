use serde_json::{Value, json};

use super::{pods::is_initialised, *};

fn host(spec: Value, ready: &str) -> Host {
    let host = json!({
        "metadata": {"name": "k1", "labels": {"disk": "ssd"}}, "spec": spec,
        "status": {
            "nodeInfo": {
                "machineID": "m1", "bootID": "b1", "systemUUID": "", "kernelVersion": "", "osImage": "",
                "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "",
                "operatingSystem": "linux", "architecture": "amd64",
            },
            "conditions": [{"type": "DiskPressure", "status": "False"}, {"type": "Ready", "status": ready}],
        },
    });
    host_facts(&serde_json::from_value(host).expect("a host"))
}

#[test]
fn a_host_is_what_its_kubelet_reports() {
    let host = host(json!({}), "True");
    assert_eq!((host.machine_id.as_str(), host.boot_id.as_str()), ("m1", "b1"));
    assert_eq!(host.labels, [("disk".to_owned(), "ssd".to_owned())].into());
    assert!(host.schedulable && host.taints.is_empty());
}

#[test]
fn a_host_that_is_cordoned_or_not_ready_is_not_schedulable() {
    let cordoned = host(json!({"unschedulable": true}), "True");
    assert!(!cordoned.schedulable && cordoned.cordoned);
    assert!(host(json!({"unschedulable": false}), "True").schedulable);
    for ready in ["False", "Unknown"] {
        assert!(!host(json!({}), ready).schedulable, "{ready}");
    }
}

#[test]
fn taints_that_keep_pods_away_are_kept_and_those_that_only_prefer_are_not() {
    let taint = |key: &str, value: &str, effect: &str| Taint {
        key: key.into(),
        value: value.into(),
        effect: effect.into(),
    };
    let host = host(
        json!({"taints": [
            {"key": "for", "value": "ledger", "effect": "NoSchedule"},
            {"key": "slow", "effect": "PreferNoSchedule"},
            {"key": "broken", "effect": "NoExecute"},
        ]}),
        "True",
    );
    assert_eq!(host.taints, [taint("for", "ledger", "NoSchedule"), taint("broken", "", "NoExecute")]);
    assert!(host.schedulable, "whether a taint is tolerated is the node's to say");
}

#[test]
fn a_host_that_says_nothing_is_not_schedulable() {
    let host = host_facts(&core::Node::default());
    assert_eq!(host, Host::default());
    assert!(!host.schedulable);
}

#[test]
fn a_client_has_its_chain_when_init_has_ended_well_or_what_follows_runs() {
    let is = |status: Value| is_initialised(&serde_json::from_value(status).expect("a status"));
    let init = |state: Value| json!({"initContainerStatuses": [{"name": "prepare", "state": {"terminated": {"exitCode": 0}}}, {"name": "genesis", "state": state}]});
    assert!(is(init(json!({"terminated": {"exitCode": 0}}))));
    assert!(!is(init(json!({"terminated": {"exitCode": 1}}))));
    assert!(!is(init(json!({"running": {}}))) && !is(init(json!({"waiting": {}}))) && !is(json!({})));
    let client =
        |status: Value| json!({"containerStatuses": [{"name": "metrics", "state": {"running": {}}}, status]});
    assert!(is(client(json!({"name": "client", "state": {"running": {}}}))));
    assert!(is(client(json!({"name": "client", "restartCount": 1, "state": {"waiting": {}}}))));
    assert!(!is(client(json!({"name": "client", "state": {"waiting": {"reason": "PodInitializing"}}}))));
}

/// Otherwise a pod would be replaced because of a template that was repaired a moment ago.
#[test]
fn a_revision_counts_once_its_controller_has_seen_the_template() {
    let of = |generation: i64, observed: i64| {
        let workload = json!({"metadata": {"generation": generation},
            "status": {"observedGeneration": observed, "updateRevision": "r7", "replicas": 1}});
        update_revision(&serde_json::from_value(workload).expect("a StatefulSet"))
    };
    assert_eq!(of(3, 3).as_deref(), Some("r7"));
    assert_eq!(of(3, 2), None);
}
