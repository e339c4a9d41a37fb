//! JSON-RPC callers with real kubelets, tokens of a real API server and a real client: which calls the guard allows,
//! and how changes of policy, certificates and processes affect callers.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    happy_path,
    support::{
        kubectl::{self, eventually, variable},
        network,
        pods::{self, From},
    },
};

const NAMESPACE: &str = "e2e-rpc";
const URL: &str = "https://carol-rpc.e2e-rpc.svc:8545";
const POD: &str = "carol-client-0";

/// A pod with the service account of the caller `wallet`.
const WALLET: From = From { namespace: "e2e-apps", pod: "wallet", container: "dialer" };
/// A pod that network policies admit, and whose service account is no caller.
const IMPOSTOR: From = From { namespace: "e2e-apps", pod: "impostor", container: "dialer" };
/// A pod with the caller's service account that network policies do not admit.
const OUTSIDER: From = From { namespace: "e2e-apps", pod: "outsider", container: "dialer" };

fn caller(name: &str, methods: &[&str]) -> Value {
    json!({
        "name": name,
        "from": [{"namespace": "e2e-apps", "podLabels": {"may": "call"}}],
        "identity": {"serviceAccount": {"namespace": "e2e-apps", "name": name}},
        "methods": methods,
        "rate": {"callsPerSecond": 1000, "burst": 1000},
    })
}

fn set_callers(callers: Vec<Value>) {
    let patch = json!({"spec": {"rpc": {"callers": callers}}}).to_string();
    kubectl::text(&["-n", NAMESPACE, "patch", "quorumnode", "carol", "--type=merge", "-p", &patch]);
}

fn as_at_first() -> Vec<Value> {
    vec![caller("wallet", &["eth_*", "net_version"]), caller("other", &["net_version"])]
}

/// Waits until the node is ready with its initial callers. No other test changes it while the guard is held.
fn ready() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    static UP: OnceLock<()> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    UP.get_or_init(|| {
        network::prepare(NAMESPACE, &[]);
        let mut carol = network::client(NAMESPACE, "carol");
        carol["spec"]["rpc"] = json!({"callers": as_at_first()});
        kubectl::apply(&[carol]);
        kubectl::wait_condition(NAMESPACE, "carol", "Ready", "True", "");
        let authority = kubectl::get(&["-n", NAMESPACE, "configmap", "qnet-acme-ca"]);
        kubectl::apply(&[
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "e2e-apps"}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "data": authority["data"],
                "metadata": {"name": "acme-ca", "namespace": "e2e-apps"}}),
        ]);
        for (from, account, may) in
            [(WALLET, "wallet", "call"), (IMPOSTOR, "impostor", "call"), (OUTSIDER, "wallet", "not")]
        {
            start(from, account, may);
        }
        for from in [WALLET, IMPOSTOR, OUTSIDER] {
            let wait = ["wait", "--for=condition=Ready", "--timeout=60s", "pod", from.pod];
            kubectl::text(&[&["-n", from.namespace], &wait[..]].concat());
        }
    });
    set_callers(as_at_first());
    eventually("wallet may call", Duration::from_secs(60), || {
        let (said, _) = call(WALLET, "eth_blockNumber");
        if said.contains("\"result\"") { Ok(()) } else { Err(said) }
    });
    turn
}

fn start(from: From, account: &str, may: &str) {
    kubectl::apply(&[
        json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": account, "namespace": from.namespace}}),
        json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": from.pod, "namespace": from.namespace, "labels": {"may": may}},
        "spec": {
            "serviceAccountName": account, "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "volumes": [
                {"name": "ca", "configMap": {"name": "acme-ca"}},
                {"name": "token", "projected": {"sources": [{"serviceAccountToken": {
                    "path": "token", "audience": "carol-rpc.e2e-rpc.svc", "expirationSeconds": 600}}]}},
            ],
            "containers": [{"name": "dialer", "image": variable("DIALER_IMAGE"),
                "imagePullPolicy": "IfNotPresent", "args": ["wait"],
                "volumeMounts": [{"name": "ca", "mountPath": "/ca"}, {"name": "token", "mountPath": "/token"}]}],
        }}),
    ]);
}

/// Output and success of a dialler command that presents the pod's token.
fn dialler(from: From, command: &str, method: &str, more: &[&str]) -> (String, bool) {
    let shown = ["-ca", "/ca/ca.crt", "-token", "/token/token"];
    pods::exec(from, &[&["/dialer", command, URL, method], &shown[..], more].concat())
}

fn call(from: From, method: &str) -> (String, bool) {
    dialler(from, "call", method, &[])
}

/// All audit records of the guard, including those of its previous container.
fn records() -> Vec<Value> {
    let logs = |previous: &str| {
        let output = kubectl::run(&["-n", NAMESPACE, "logs", POD, "-c", "guard", previous], "");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let lines = [logs("--previous=true"), logs("--previous=false")].concat();
    let records = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records.filter(|record| record["verdict"].is_string()).collect()
}

fn count_allowed(method: &str) -> usize {
    records().iter().filter(|record| record["verdict"] == "allowed" && record["method"] == method).count()
}

#[test]
fn a_caller_can_call_granted_methods_and_no_other_client_can_call() {
    let _turn = ready();
    let (said, well) = call(WALLET, "eth_blockNumber");
    assert!(well && said.contains("\"result\":\"0x"), "{said}");
    for method in ["personal_listAccounts", "admin_peers", "web3_clientVersion"] {
        let (said, _) = call(WALLET, method);
        assert!(said.starts_with("200 ") && said.contains("-32601"), "{method}: {said}");
    }
    let (said, _) = call(IMPOSTOR, "eth_blockNumber");
    assert!(said.starts_with("401 "), "{said}");
    assert_eq!(pods::dial(WALLET, "carol-rpc.e2e-rpc.svc:8545"), "open");
    assert_ne!(pods::dial(OUTSIDER, "carol-rpc.e2e-rpc.svc:8545"), "open");
    // the pod's other ports stay closed for callers: the client's listeners, probes, metrics
    let address = pods::address(NAMESPACE, POD);
    for port in [8546, 8547, 8548, 9545, 9546, 6060, 30303] {
        assert_ne!(pods::dial(WALLET, &format!("{address}:{port}")), "open", "{port}");
    }
    let records = records();
    let of = |caller: Option<&str>, method: Option<&str>| {
        let is = |record: &&Value| record["caller"].as_str() == caller && record["method"].as_str() == method;
        records.iter().rfind(is).unwrap_or_else(|| panic!("no record of {caller:?} {method:?}"))
    };
    assert_eq!(of(Some("wallet"), Some("eth_blockNumber"))["verdict"], "allowed");
    assert_eq!(of(Some("wallet"), Some("admin_peers"))["reason"], "not_granted");
    assert_eq!(of(None, None)["reason"], "no_caller");
    assert_eq!(of(Some("wallet"), Some("admin_peers"))["from"], pods::address("e2e-apps", "wallet"));
}

#[test]
fn the_metrics_sidecar_shows_what_the_guard_counts() {
    let _turn = ready();
    let authority = kubectl::get(&["-n", NAMESPACE, "configmap", "qnet-acme-ca"]);
    let monitoring = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}});
    kubectl::apply(&[monitoring]);
    happy_path::install_scraper("prometheus-rpc", "rpc-ca", &authority["data"]);
    let from = From { namespace: "monitoring", pod: "prometheus-rpc", container: "dialer" };
    let page = happy_path::scrape(from, NAMESPACE, "carol");
    assert!(page.contains("quorum_guard_rpc_up 1\n"), "{page}");
    let calls = "quorum_guard_rpc_calls_total{caller=\"wallet\",verdict=\"allowed\"} ";
    let calls = page.lines().find_map(|line| line.strip_prefix(calls)).unwrap_or_default();
    assert!(calls.parse::<u32>().is_ok_and(|calls| calls > 0), "{page}");
}

#[test]
fn changed_grants_apply_within_a_second_of_the_files_change() {
    let _turn = ready();
    assert!(call(WALLET, "net_version").0.contains("\"result\""));
    set_callers(vec![caller("wallet", &["eth_*"]), caller("other", &["net_version"])]);
    eventually("net_version is refused", Duration::from_secs(60), || {
        let (said, _) = call(WALLET, "net_version");
        if said.contains("-32601") { Ok(()) } else { Err(said) }
    });
    let logs = kubectl::text(&["-n", NAMESPACE, "logs", POD, "-c", "guard"]);
    let lines = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let reloaded = lines.filter(|line| line["message"] == "policy reloaded");
    let reloaded = reloaded.reduce(|_, later| later).expect("it says so");
    let reloaded: k8s_openapi::jiff::Timestamp = reloaded["timestamp"].as_str().unwrap().parse().unwrap();
    let changed = k8s_openapi::jiff::Timestamp::try_from(changed()).expect("a time");
    let took = reloaded.duration_since(changed);
    assert!(took.as_millis() < 1000, "{took}");
    // no other container restarted
    let pod = kubectl::get(&["-n", NAMESPACE, "pod", POD]);
    let restarts = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let ran_through = |status: &&Value| status["name"] != "guard" && status["restartCount"] != 0;
    assert_eq!(restarts.filter(ran_through).count(), 0, "{}", pod["status"]);
}

/// Time at which the kubelet last replaced the symbolic link to the guard's policy.
fn changed() -> std::time::SystemTime {
    let uid = pod_uid();
    let beds = std::env::var("BED_DIR").unwrap_or_else(|_| ".bed".into());
    let mut places = vec![std::path::PathBuf::from(beds)];
    while let Some(place) = places.pop() {
        let link = place.join(format!("kubelet/pods/{uid}/volumes/kubernetes.io~configmap/callers/..data"));
        if let Ok(link) = fs::symlink_metadata(link) {
            return link.modified().expect("links have times here");
        }
        let inner = fs::read_dir(&place).into_iter().flatten().flatten();
        let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        let deep = place.components().count() > 64;
        places.extend(inner.filter(|_| !deep).filter(is_folder).map(|entry| entry.path()).filter(|path| {
            !["pods", "containerd", "volumes", "log"].iter().any(|name| path.ends_with(name))
        }));
    }
    panic!("no policy of pod {uid} on any host")
}

fn pod_uid() -> String {
    let pod = kubectl::get(&["-n", NAMESPACE, "pod", POD]);
    pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_caller_that_is_removed_loses_its_websocket_at_once() {
    let _turn = ready();
    let socket = thread::spawn(|| dialler(WALLET, "socket", "eth_subscribe", &[]).0);
    eventually("the WebSocket has answered", Duration::from_secs(30), || {
        let over = |record: &&Value| record["transport"] == "websocket";
        if records().iter().any(|record| over(&record)) { Ok(()) } else { Err("no record of it".into()) }
    });
    set_callers(vec![caller("other", &["net_version"])]);
    let said = socket.join().expect("the dialler ends");
    assert!(said.contains("\"result\"") && said.contains("closed 1008"), "{said}");
    let (said, _) = call(WALLET, "eth_blockNumber");
    assert!(said.starts_with("401 "), "{said}");
}

/// Calls at a steady rate of 100 a second. Returns successes, failures and the dialler's output.
fn steady(seconds: u32) -> (usize, usize, String) {
    let lasting = format!("{seconds}s");
    let (said, _) = dialler(WALLET, "steady", "eth_chainId", &["-rate", "100", "-for", &lasting]);
    let last = said.lines().last().unwrap_or_default();
    let numbers: Vec<usize> = last.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers.len(), 2, "{said}");
    (numbers[0], numbers[1], said)
}

fn leaf() -> String {
    let (said, _) =
        pods::exec(WALLET, &["/dialer", "tls", "carol-rpc.e2e-rpc.svc:8545", "-ca", "/ca/ca.crt"]);
    said
}

/// The RPC certificate in the node's Secret, as base64.
fn secret_version() -> String {
    let secret = kubectl::get(&["-n", NAMESPACE, "secret", "qn-carol-tls-rpc"]);
    secret["data"]["tls.crt"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_certificate_is_replaced_and_no_request_fails_at_a_hundred_a_second() {
    let _turn = ready();
    let (first, served) = (secret_version(), leaf());
    let calls = thread::spawn(|| steady(45));
    let renew = format!("quorum.security/renew-certs-at=rotate-{}", std::process::id());
    kubectl::text(&["-n", NAMESPACE, "annotate", "quorumnode", "carol", "--overwrite", &renew]);
    eventually("another certificate", Duration::from_secs(30), || {
        if secret_version() == first { Err("the same".into()) } else { Ok(()) }
    });
    // a kubelet refreshes mounted volumes when a pod changes, otherwise within a minute or two
    let mark = format!("example.com/looked-at={}", std::process::id());
    kubectl::text(&["-n", NAMESPACE, "annotate", "pod", POD, "--overwrite", &mark]);
    eventually("it is served", Duration::from_secs(40), || {
        let now = leaf();
        if now == served { Err(now) } else { Ok(()) }
    });
    let (well, failed, said) = calls.join().expect("the dialler ends");
    assert!(failed == 0 && well > 4000, "{said}");
}

#[test]
fn a_killed_guard_loses_only_calls_in_flight() {
    let _turn = ready();
    let before = count_allowed("eth_chainId");
    let calls = thread::spawn(|| steady(20));
    eventually("calls are under way", Duration::from_secs(10), || {
        let now = count_allowed("eth_chainId");
        if now > before + 100 { Ok(()) } else { Err(format!("{now}")) }
    });
    kill_guard();
    let killed = Instant::now();
    eventually("it answers again", Duration::from_secs(60), || {
        let (said, _) = call(WALLET, "eth_blockNumber");
        if said.contains("\"result\"") { Ok(()) } else { Err(said) }
    });
    let away = killed.elapsed();
    let (well, failed, said) = calls.join().expect("the dialler ends");
    assert!(well > 500, "{said}");
    // every answer has a record
    let recorded = count_allowed("eth_chainId") - before;
    assert!(recorded >= well, "{recorded} records of {well} answers");
    // only calls failed that came while the guard was down, or in the second that detecting this takes
    let most = (away.as_secs_f64() + 1.0) * 100.0;
    assert!((failed as f64) < most, "{failed} failed, away for {away:?}");
}

/// Kills the guard's process, which is visible on this machine.
fn kill_guard() {
    let uid = pod_uid();
    let mut killed = BTreeMap::new();
    for entry in fs::read_dir("/proc").expect("processes").flatten() {
        let read = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let is_guard = read("cmdline").starts_with("/quorum-guard\0rpc\0");
        if is_guard && read("cgroup").replace('_', "-").contains(&uid) {
            let pid = entry.file_name().to_string_lossy().into_owned();
            let status = std::process::Command::new("kill").args(["-9", &pid]).status();
            killed.insert(pid, status.expect("kill runs").success());
        }
    }
    assert_eq!(killed.values().collect::<Vec<_>>(), [&true], "{killed:?}");
}
