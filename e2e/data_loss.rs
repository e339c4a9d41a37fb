//! Loss of data that cannot be recreated, a database or a node key: the operator reports it and creates no replacement.

use std::{fs, process::Command, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    kubectl::{self, condition, eventually},
    network,
};

const NAMESPACE: &str = "e2e-drift";

fn object(kind: &str, name: &str) -> Value {
    kubectl::get(&["-n", NAMESPACE, kind, name])
}

fn apply(mut node: Value, change: &Value) {
    let name = node["metadata"]["name"].clone();
    // a separate network, so that no test waits for another test's node
    node["spec"]["network"] = name;
    for (field, value) in change.as_object().into_iter().flatten() {
        node["spec"][field] = value.clone();
    }
    kubectl::apply(&[node]);
}

/// Applies a Secret with a node key.
fn key(name: &str, key: &str) {
    kubectl::apply(&[json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE}, "stringData": {"nodekey": key}})]);
}

/// Kills a container's process, which is visible on this machine. Its kubelet restarts the container.
fn kill(pod: &str, program: &str) {
    let uid = object("pod", pod)["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let mut killed = 0;
    for entry in fs::read_dir("/proc").expect("processes").flatten() {
        let read = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        if read("comm").starts_with(program) && read("cgroup").replace('_', "-").contains(&uid) {
            let pid = entry.file_name().to_string_lossy().into_owned();
            killed += usize::from(Command::new("kill").args(["-9", &pid]).status().expect("kill").success());
        }
    }
    assert!(killed > 0, "{program} runs in {pod}");
}

#[test]
fn a_lost_database_is_reported_and_a_new_one_is_used_once_the_loss_is_accepted() {
    network::prepare(NAMESPACE, &["lena"]);
    apply(network::member(NAMESPACE, "lena"), &json!({}));
    kubectl::wait_condition(NAMESPACE, "lena", "Ready", "True", "");
    let pinned = |node: &Value| node["status"]["database"]["systemIdentifier"].as_str().map(str::to_owned);
    let first = pinned(&object("quorumnode", "lena")).expect("it is pinned");
    kubectl::text(&["-n", NAMESPACE, "delete", "pvc", "data-lena-tm-db-0", "--wait=false"]);
    kubectl::text(&["-n", NAMESPACE, "delete", "pod", "lena-tm-db-0"]);
    let message = kubectl::wait_condition(NAMESPACE, "lena", "Stalled", "True", "DatabaseReplaced");
    assert!(message.contains(&first) && message.contains("accept-database-loss"), "{message}");
    assert_eq!(condition(&object("quorumnode", "lena"), "Ready").map(|it| it.0).as_deref(), Some("False"));
    let note = format!("quorum.security/accept-database-loss={first}");
    kubectl::text(&["-n", NAMESPACE, "annotate", "quorumnode", "lena", &note]);
    eventually("another database is used", Duration::from_secs(400), || {
        let node = object("quorumnode", "lena");
        let ready = condition(&node, "Ready").is_some_and(|ready| ready.0 == "True");
        match pinned(&node) {
            Some(now) if now != first && ready => Ok(()),
            now => Err(format!("{now:?} {}", node["status"]["conditions"])),
        }
    });
}

#[test]
fn an_overwritten_node_key_starts_no_other_identity() {
    let (ours, other) = ("1".repeat(64), "2".repeat(64));
    network::prepare(NAMESPACE, &[]);
    key("kim-key", &ours);
    let adopted = json!({"nodeKey": {"secretRef": {"name": "kim-key", "key": "nodekey"}}});
    apply(network::client(NAMESPACE, "kim"), &adopted);
    kubectl::wait_condition(NAMESPACE, "kim", "Ready", "True", "");
    let public = object("quorumnode", "kim")["status"]["identity"]["publicKey"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    key("kim-key", &other);
    kubectl::wait_condition(NAMESPACE, "kim", "Stalled", "True", "NodeKeyChanged");
    kill("kim-client-0", "geth");
    eventually("geth runs again", Duration::from_secs(120), || {
        let pod = object("pod", "kim-client-0");
        let statuses = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
        let client = statuses.into_iter().find(|status| status["name"] == "client").unwrap_or_default();
        let runs = client["restartCount"].as_i64() >= Some(1) && !client["state"]["running"].is_null();
        if runs { Ok(()) } else { Err(client.to_string()) }
    });
    eventually("it says who it is", Duration::from_secs(60), || {
        let log = kubectl::text(&["-n", NAMESPACE, "logs", "kim-client-0", "-c", "client"]);
        if log.contains(&format!("enode://{public}")) { Ok(()) } else { Err(log) }
    });
    // a new pod does not start with the other key
    kubectl::text(&["-n", NAMESPACE, "delete", "pod", "kim-client-0"]);
    eventually("prepare refuses the other key", Duration::from_secs(120), || {
        let pod = kubectl::find(&["-n", NAMESPACE, "pod", "kim-client-0"]).unwrap_or_default();
        let prepare = pod["status"]["initContainerStatuses"][0].clone();
        let ended = [&prepare["state"]["terminated"], &prepare["lastState"]["terminated"]];
        let refused = ended.iter().any(|ended| ended["exitCode"].as_i64().is_some_and(|code| code != 0));
        if refused { Ok(()) } else { Err(prepare.to_string()) }
    });
    key("kim-key", &ours);
    kubectl::wait_condition(NAMESPACE, "kim", "Ready", "True", "");
}

/// As when a backup is restored: the node exists first, and its Secret comes later.
#[test]
fn a_restored_node_waits_for_its_key_and_generates_none() {
    // the address of the key 33…33
    let (private, address) = ("3".repeat(64), "0x5cbdd86a2fa8dc4bddd8a8f69dba48572eec07fb");
    network::prepare(NAMESPACE, &[]);
    apply(network::client(NAMESPACE, "rex"), &json!({"nodeKey": {"expect": address}}));
    let message = kubectl::wait_condition(NAMESPACE, "rex", "Stalled", "True", "NodeKeyMissing");
    assert!(message.contains("qn-rex-nodekey") && message.contains(address), "{message}");
    assert_eq!(kubectl::find(&["-n", NAMESPACE, "secret", "qn-rex-nodekey"]), None, "none is made");
    key("qn-rex-nodekey", &private);
    kubectl::wait_condition(NAMESPACE, "rex", "Ready", "True", "");
    assert_eq!(object("quorumnode", "rex")["status"]["identity"]["address"], address);
}

/// Follows docs/deletion.md.
#[test]
fn a_deleted_node_key_is_retained_and_reported_and_can_be_recreated() {
    network::prepare(NAMESPACE, &[]);
    apply(network::client(NAMESPACE, "hugo"), &json!({}));
    kubectl::wait_condition(NAMESPACE, "hugo", "Ready", "True", "");
    let before = object("secret", "qn-hugo-nodekey");
    assert!(before["metadata"]["labels"]["app.kubernetes.io/instance"].is_null());
    kubectl::text(&["-n", NAMESPACE, "delete", "secret", "qn-hugo-nodekey", "--wait=false"]);
    kubectl::wait_condition(NAMESPACE, "hugo", "SecretTerminating", "True", "SecretDeleted");
    let mut saved = object("secret", "qn-hugo-nodekey");
    assert_eq!(saved["data"], before["data"], "its content stays");
    saved["metadata"] =
        json!({"name": "qn-hugo-nodekey", "namespace": NAMESPACE, "labels": saved["metadata"]["labels"]});
    let free = r#"{"metadata":{"finalizers":null}}"#;
    kubectl::text(&["-n", NAMESPACE, "patch", "secret", "qn-hugo-nodekey", "--type=merge", "-p", free]);
    let made = kubectl::run(&["-n", NAMESPACE, "create", "-f", "-"], &saved.to_string());
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    eventually("it is held again", Duration::from_secs(60), || {
        let node = object("quorumnode", "hugo");
        let held = object("secret", "qn-hugo-nodekey")["metadata"]["finalizers"].to_string();
        let told = condition(&node, "SecretTerminating").is_some();
        if held.contains("quorum.security/cleanup") && !told { Ok(()) } else { Err(held) }
    });
    kubectl::wait_condition(NAMESPACE, "hugo", "Ready", "True", "");
    assert_eq!(object("secret", "qn-hugo-nodekey")["data"], before["data"]);
}
