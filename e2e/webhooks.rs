//! Mutating admission webhooks that change the operator's objects. This program serves the webhooks.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use base64::Engine as _;
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
use serde_json::{Value, json};

use crate::support::{
    kubectl::{self, condition, eventually},
    network,
};

const NAMESPACE: &str = "e2e-webhook";
/// Address at which the control plane reaches this machine.
const HERE: &str = "10.210.0.2";

/// Function that returns JSON patch operations for an object.
type Change = fn(&Value) -> Value;

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Serves admission reviews. Returns the address and the certificate to trust, in PEM.
fn serve(change: Change) -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed([HERE.to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a server");
    let listener = TcpListener::bind((HERE, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let config = Arc::new(config);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            std::thread::spawn(move || drop(answer(config, stream, change)));
        }
    });
    (address, made.cert.pem())
}

/// Answers requests until the caller closes the connection.
fn answer(config: Arc<ServerConfig>, stream: TcpStream, change: Change) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let (mut length, mut line) = (0, String::new());
        loop {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(said) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = said.trim().parse().unwrap_or_default();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let review: Value = serde_json::from_slice(&body).unwrap_or_default();
        let patch = change(&review["request"]["object"]).to_string();
        let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
            "uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch", "patch": base64(patch.as_bytes()),
        }})
        .to_string();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
        write!(stream.get_mut(), "{head} {}\r\n\r\n{answer}", answer.len())?;
        stream.get_mut().flush()?;
    }
}

/// Registers a webhook for every write of a node's StatefulSets.
fn register(name: &str, node: &str, (address, authority): &(SocketAddr, String)) {
    kubectl::apply(&[json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{
            "name": format!("{name}.example.com"), "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"url": format!("https://{address}/"), "caBundle": base64(authority.as_bytes())},
            "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                "resources": ["statefulsets"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
            "objectSelector": {"matchLabels": {"quorum.security/node": node}},
            "reinvocationPolicy": "IfNeeded",
        }],
    })]);
}

/// Adds a sidecar, as a service mesh does.
fn inject(object: &Value) -> Value {
    let containers = object["spec"]["template"]["spec"]["containers"].as_array();
    let there = containers.into_iter().flatten().any(|container| container["name"] == "sidecar");
    let sidecar = json!({"name": "sidecar", "image": "registry.example/mesh:1", "args": ["proxy"]});
    if there {
        json!([])
    } else {
        json!([{"op": "add", "path": "/spec/template/spec/containers/-", "value": sidecar}])
    }
}

/// Changes the resource limits.
fn rewrite(_: &Value) -> Value {
    json!([{"op": "add", "path": "/spec/template/spec/containers/0/resources/limits",
        "value": {"memory": "600Mi", "cpu": "2"}}])
}

fn ready(name: &str) {
    network::prepare(NAMESPACE, &[]);
    let mut node = network::client(NAMESPACE, name);
    node["spec"]["network"] = json!(name);
    kubectl::apply(&[node]);
    kubectl::wait_condition(NAMESPACE, name, "Ready", "True", "");
}

fn tune(name: &str, peers: u32) {
    let change = json!({"spec": {"client": {"tunables": {"maxPeers": peers}}}}).to_string();
    kubectl::text(&["-n", NAMESPACE, "patch", "quorumnode", name, "--type=merge", "-p", &change]);
}

/// Checks that the workload stays unchanged for 15 s, so that operator and webhook do not fight.
fn assert_rests(name: &str) {
    let version = || {
        let workload = kubectl::get(&["-n", NAMESPACE, "statefulset", &format!("{name}-client")]);
        workload["metadata"]["generation"].clone()
    };
    let mut last = (version(), Instant::now());
    eventually("the workload rests", Duration::from_secs(60), || {
        let now = version();
        if now != last.0 {
            last = (now, Instant::now());
        }
        if last.1.elapsed() > Duration::from_secs(15) { Ok(()) } else { Err(last.0.to_string()) }
    });
}

#[test]
fn a_sidecar_injector_is_reported_and_its_sidecar_never_runs() {
    ready("inge");
    let pod = kubectl::get(&["-n", NAMESPACE, "pod", "inge-client-0"])["metadata"]["uid"].clone();
    register("sidecar", "inge", &serve(inject));
    tune("inge", 31);
    let message = kubectl::wait_condition(NAMESPACE, "inge", "ObjectsApplied", "False", "Drifted");
    assert!(
        message.contains("of StatefulSet inge-client: exempt")
            && message.contains("spec.template.spec.containers"),
        "{message}"
    );
    let node = kubectl::get(&["-n", NAMESPACE, "quorumnode", "inge"]);
    assert_eq!(condition(&node, "Ready").map(|found| found.0).as_deref(), Some("False"));
    assert_rests("inge");
    let now = kubectl::get(&["-n", NAMESPACE, "pod", "inge-client-0"])["metadata"]["uid"].clone();
    assert_eq!(now, pod, "the pod is not replaced to bring the sidecar in");
    kubectl::text(&["delete", "mutatingwebhookconfiguration", "sidecar"]);
    tune("inge", 32);
    kubectl::wait_condition(NAMESPACE, "inge", "Ready", "True", "");
}

#[test]
fn a_webhook_that_changes_resources_is_reported_and_the_node_is_ready() {
    ready("rita");
    register("rewriter", "rita", &serve(rewrite));
    tune("rita", 31);
    let message = kubectl::wait_condition(NAMESPACE, "rita", "ChangedByAdmission", "True", "FieldsChanged");
    assert!(message.contains("spec.template.spec.containers[0].resources.limits"), "{message}");
    assert_rests("rita");
    kubectl::wait_condition(NAMESPACE, "rita", "Ready", "True", "");
    eventually("the new pod has what the webhook wrote", Duration::from_secs(120), || {
        let pod = kubectl::find(&["-n", NAMESPACE, "pod", "rita-client-0"]).unwrap_or_default();
        let limits = pod["spec"]["containers"][0]["resources"]["limits"].clone();
        if limits["memory"] == "600Mi" { Ok(()) } else { Err(limits.to_string()) }
    });
    kubectl::text(&["delete", "mutatingwebhookconfiguration", "rewriter"]);
}
