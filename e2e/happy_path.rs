//! Main path: applied nodes run, connect, use their database and report it.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    kubectl::{self, condition, eventually, variable},
    network::{self, NAMESPACE},
    pods,
};

#[test]
fn two_nodes_applied_together_are_ready_and_say_so() {
    network::ready();
    for node in ["alice", "bob"] {
        let node = kubectl::get(&["-n", NAMESPACE, "quorumnode", node]);
        let kinds = [
            "Ready",
            "ConfigValid",
            "IdentityReady",
            "CertificatesReady",
            "NetworkPoliciesApplied",
            "PlacementIsolated",
            "ClientAvailable",
            "TransactionManagerAvailable",
        ];
        for kind in kinds {
            assert_eq!(
                condition(&node, kind).map(|found| found.0).as_deref(),
                Some("True"),
                "{kind}: {}",
                node["status"]
            );
        }
        assert_eq!(condition(&node, "Stalled"), None);
        assert_eq!(condition(&node, "Reconciling"), None);
        assert_eq!(node["status"]["observedGeneration"], node["metadata"]["generation"]);
        let enode = node["status"]["enode"].as_str().unwrap_or_default();
        assert!(enode.starts_with("enode://") && enode.contains(":30303"), "{enode}");
        assert_eq!(node["status"]["certificates"].as_array().map(Vec::len), Some(7));
        assert!(node["status"]["certificateExpiry"].is_string());
    }
}

#[test]
fn three_roles_run_on_three_machines() {
    network::ready();
    let hosts = kubectl::get(&["nodes"]);
    let id = |host: &str, which: &str| {
        let found =
            hosts["items"].as_array().into_iter().flatten().find(|node| node["metadata"]["name"] == host);
        found.map(|node| node["status"]["nodeInfo"][which].to_string()).unwrap_or_default()
    };
    for node in ["alice", "bob"] {
        let hosts: Vec<String> = ["client", "tm", "tm-db"]
            .iter()
            .map(|role| {
                let pod = kubectl::get(&["-n", NAMESPACE, "pod", &format!("{node}-{role}-0")]);
                pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()
            })
            .collect();
        for which in ["machineID", "bootID"] {
            let ids: BTreeSet<String> = hosts.iter().map(|host| id(host, which)).collect();
            assert_eq!(ids.len(), 3, "{node}: {which} of {hosts:?}: {ids:?}");
        }
    }
}

fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[test]
fn the_two_clients_are_connected() {
    network::ready();
    install_authority();
    for node in ["alice", "bob"] {
        let mut in_a_row = 0;
        eventually(&format!("{node}: one peer in five scrapes in a row"), Duration::from_secs(120), || {
            let page = scrape(looker(), NAMESPACE, node);
            in_a_row = if value(&page, "p2p_peers ") == Some(1.0) { in_a_row + 1 } else { 0 };
            if in_a_row >= 5 { Ok(()) } else { Err(format!("p2p_peers {:?}", value(&page, "p2p_peers "))) }
        });
        let before = value(&scrape(looker(), NAMESPACE, node), "p2p_ingress ").expect("ingress is there");
        eventually(&format!("{node}: ingress bytes rise"), Duration::from_secs(120), || {
            let now = value(&scrape(looker(), NAMESPACE, node), "p2p_ingress ").unwrap_or_default();
            if now > before { Ok(()) } else { Err(format!("{before} then {now}")) }
        });
    }
}

#[test]
fn the_metrics_sidecar_shows_expiry_and_identity_and_no_profiler() {
    network::ready();
    install_authority();
    let page = scrape(looker(), NAMESPACE, "alice");
    assert!(page.contains("quorum_node_info{"), "{page}");
    assert!(page.contains("quorum_certificate_not_after_timestamp_seconds{purpose=\"tm-db\"}"), "{page}");
    for path in [
        "/debug/pprof/heap",
        "/debug/pprof/",
        "/metrics/../debug/pprof/heap",
        "//debug/pprof/heap",
        "/debug/metrics",
        "/%64ebug/pprof/heap",
        "/debug/metrics/prometheus",
    ] {
        let url = format!("https://alice-metrics.{NAMESPACE}.svc:9545{path}");
        let (said, _) = pods::exec(looker(), &["/dialer", "https", &url, "--ca", "/ca/ca.crt"]);
        assert!(said.contains("404") || said.contains("400"), "{path}: {said}");
    }
}

/// A scraper in another namespace with the network's CA mounted.
pub(crate) fn looker() -> pods::From {
    pods::From { namespace: "monitoring", pod: "prometheus-tls", container: "dialer" }
}

/// Copies the network's CA to the scraper's namespace, as a platform team would.
pub(crate) fn install_authority() {
    let authority = kubectl::get(&["-n", NAMESPACE, "configmap", "qnet-acme-ca"]);
    install_scraper("prometheus-tls", "acme-ca", &authority["data"]);
}

/// Creates a scraper that trusts the CA in a ConfigMap.
pub(crate) fn install_scraper(pod: &str, map: &str, data: &serde_json::Value) {
    kubectl::apply(&[
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": map, "namespace": "monitoring"}, "data": data}),
        json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": pod, "namespace": "monitoring", "labels": {"app": "prometheus"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "volumes": [{"name": "ca", "configMap": {"name": map}}],
            "containers": [{"name": "dialer", "image": variable("DIALER_IMAGE"),
                "imagePullPolicy": "IfNotPresent", "args": ["wait"],
                "volumeMounts": [{"name": "ca", "mountPath": "/ca"}]}],
        }}),
    ]);
    kubectl::text(&["-n", "monitoring", "wait", "--for=condition=Ready", "--timeout=60s", "pod", pod]);
}

/// Metrics of a node. It retries, since the Service of a ready pod works only when the scraper's host has its rules.
pub(crate) fn scrape(from: pods::From, namespace: &str, node: &str) -> String {
    let url = format!("https://{node}-metrics.{namespace}.svc:9545/metrics");
    eventually(&format!("a scrape of {node}"), Duration::from_secs(30), || {
        let (page, well) = pods::exec(from, &["/dialer", "https", &url, "--ca", "/ca/ca.crt"]);
        if well { Ok(page) } else { Err(page) }
    })
}

#[test]
fn the_managers_row_is_in_postgresql() {
    network::ready();
    let volumes = json!([
        {"name": "tls-db", "mountPath": "/tls/db", "readOnly": true},
        {"name": "db-ca", "mountPath": "/tls/db-ca", "readOnly": true},
    ]);
    let inside = pods::From { namespace: NAMESPACE, pod: "alice-tm-0", container: "psql" };
    let connection = format!(
        "host=alice-tm-db.{NAMESPACE}.svc dbname=tessera user=tessera sslmode=verify-full sslrootcert=/tls/db-ca/ca.crt sslcert=/tls/db/tls.crt sslkey=/tls/db/tls.key"
    );
    // the container runs a sleeping session over the same connection as the check
    let command = json!(["psql", connection, "-c", "select pg_sleep(3600)"]);
    pods::enter(
        NAMESPACE,
        "alice-tm-0",
        "psql",
        &variable("POSTGRES_IMAGE"),
        json!({"command": command, "volumeMounts": volumes}),
    );
    let (rows, well) =
        pods::exec(inside, &["psql", &connection, "-Atc", "select count(*) from stand_in_start"]);
    assert!(well && rows.trim().parse::<u32>().is_ok_and(|rows| rows >= 1), "{rows}");
}

#[test]
fn printer_columns_show_health_role_and_placement() {
    network::ready();
    let table = kubectl::text(&["-n", NAMESPACE, "get", "quorumnodes", "-o", "wide"]);
    let head = table.lines().next().unwrap_or_default();
    for column in ["READY", "ROLE", "VERSION", "AGE", "REASON", "HOST", "ENODE", "CERT-EXPIRY"] {
        assert!(head.contains(column), "{head}");
    }
    assert!(table.lines().any(|line| line.starts_with("alice") && line.contains("True")), "{table}");
}

#[test]
fn an_event_reports_that_a_node_became_ready() {
    network::ready();
    let events = kubectl::get(&["-n", NAMESPACE, "events.events.k8s.io"]);
    let told = |event: &Value| event["reason"] == "Ready" && event["regarding"]["name"] == "alice";
    assert!(events["items"].as_array().into_iter().flatten().any(told), "{events}");
}
