//! Tests that the content of Secrets, planted or generated, appears nowhere else.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{
    rejected_pods::tell,
    world::{NAMESPACE, World, base64, client, member, node, object, secret},
};
use crate::{logs, model::redact::last_words, testing::specs};

const NODE_KEY: &str = "c0ffee11c0ffee22c0ffee33c0ffee44c0ffee55c0ffee66c0ffee77c0ffee88";
const NO_KEY: &str = "canary/node+key=7f3a91";
const LOCKED: &str = "canary/locked+manager=2b8c40";
const LOCK: &str = "canary/password+lock=e5d016";
const DATABASE: &str = "canary/password+database=91c7";
const CERTIFICATE: &str = "canary/client+certificate=4d2e";
const AUTHORITY: &str = "canary/authority+key=a86b03";
const APPLIED: &str = "canary/last+applied=0c5f92";
const ANSWER: &str = "canary/answer+garbled=63d8e1";
const LAST_WORDS: &str = "the client has said its last";
const PLANTED: [&str; 9] =
    [NODE_KEY, NO_KEY, LOCKED, LOCK, DATABASE, CERTIFICATE, AUTHORITY, APPLIED, ANSWER];

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

fn put_secret(world: &World, name: &str, data: &[(&str, &str)]) {
    let data: serde_json::Map<_, _> =
        data.iter().map(|(key, text)| ((*key).to_owned(), json!(base64(text.as_bytes())))).collect();
    world.server.put(&json!({"apiVersion": "v1", "kind": "Secret", "data": data, "metadata": {
        "name": name, "namespace": NAMESPACE,
        // as left by `kubectl apply`
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": APPLIED}}}));
}

fn with_key(mut node: Value, secret: &str) -> Value {
    node["spec"]["nodeKey"] = json!({"secretRef": {"name": secret, "key": "nodekey"}});
    node
}

/// A manager with an external database.
fn outside(name: &str, way: Value) -> Value {
    let mut node = member(name);
    let mut database = specs::with_password()["spec"]["transactionManager"]["database"].clone();
    let external = database["external"].as_object_mut().unwrap();
    external.remove("passwordRef");
    external.extend(way.as_object().unwrap().clone());
    node["spec"]["transactionManager"]["database"] = database;
    node["spec"]["transactionManager"]["keys"] = json!({"secretRef": {"name": "alice-tm-keys"}});
    node
}

fn plant(world: &World) {
    put_secret(world, "good-key", &[("nodekey", NODE_KEY)]);
    put_secret(world, "bad-key", &[("nodekey", NO_KEY)]);
    let locked = json!({"type": "argon2sbox", "data": {"sbox": LOCKED, "asalt": LOCKED, "snonce": LOCKED,
        "aopts": {"variant": "id", "memory": 1, "iterations": 1, "parallelism": 1}}});
    put_secret(world, "carol-tm-keys", &[("tm.key", &locked.to_string()), ("tm.pub", LOCKED)]);
    put_secret(world, "lock", &[("password", LOCK)]);
    put_secret(world, "db-password", &[("password", DATABASE)]);
    put_secret(
        world,
        "db-client",
        &[("tls.crt", CERTIFICATE), ("tls.key", CERTIFICATE), ("ca.crt", CERTIFICATE)],
    );
    put_secret(
        world,
        "qnet-sick-ca",
        &[("tls.crt", AUTHORITY), ("tls.key", AUTHORITY), ("ca.crt", AUTHORITY)],
    );
    let authority = crate::model::secrets::generate::authority("db", "2027-01-01T00:00:00Z".parse().unwrap());
    let bundle = String::from_utf8(authority.unwrap()["ca.crt"].0.clone()).unwrap();
    world.server.put(&json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"ca.crt": bundle},
        "metadata": {"name": "db-ca", "namespace": NAMESPACE}}));
}

/// Whole lives of nodes: valid and invalid keys of all kinds, responses that do not decode, watches that end, a
/// deletion.
async fn lives() -> World {
    let mut world = World::new();
    plant(&world);
    world.start();
    world.server.put(&with_key(member("alice"), "good-key"));
    world.server.put(&with_key(client("bob"), "bad-key"));
    let mut carol = member("carol");
    carol["spec"]["transactionManager"]["keys"]["passwordRef"] = json!({"name": "lock", "key": "password"});
    world.server.put(&carol);
    world.server.put(&outside("dave", json!({"passwordRef": {"name": "db-password", "key": "password"}})));
    world.server.put(&outside("erin", json!({"clientCertificateRef": {"name": "db-client"}})));
    let mut fred = client("fred");
    fred["spec"]["network"] = json!("sick");
    world.server.put(&fred);
    world.rest().await;
    for requests in ["get secrets", "create secrets", "apply secrets"] {
        world.server.garble(requests, Some(json!(ANSWER)));
        world.server.put(&client(&format!("new-{}", requests.len())));
        world.start();
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        world.server.garble(requests, None);
        world.rest().await;
    }
    world.server.end_watches(true);
    world.rest().await;
    say(&world).await;
    world.server.delete(&node("alice"), &json!({}));
    world.rest().await;
    world
}

/// A client that logs secrets when it exits, as text or as JSON.
async fn say(world: &World) {
    for (at, secret) in PLANTED.iter().enumerate() {
        let line = json!({"level": "ERROR", "message": LAST_WORDS, "error": secret}).to_string();
        let message = [format!("Fatal: {LAST_WORDS}: {secret} of {secret}"), line][at % 2].clone();
        world.server.edit(&object("v1", "pods", "alice-client-0"), "kubelet", |pod| {
            pod["status"]["conditions"][1]["status"] = json!("False");
            let container = &mut pod["status"]["containerStatuses"][0];
            container["ready"] = json!(false);
            container["state"] = json!({"terminated": {"exitCode": 1, "message": message}});
        });
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        let (.., told) = world.condition("alice", "ClientAvailable").expect("told");
        assert!(told.contains(LAST_WORDS), "{secret}: {told}");
        world.server.edit(&object("v1", "pods", "alice-client-0"), "kubelet", |pod| {
            let waiting = json!({"reason": "ErrImagePull", "message": format!("{LAST_WORDS}: {secret}")});
            pod["status"]["containerStatuses"][0]["state"] = json!({"waiting": waiting});
        });
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        let (.., told) = world.condition("alice", "ClientAvailable").expect("told");
        assert!(told.contains("cannot be pulled") && told.contains(LAST_WORDS), "{secret}: {told}");
    }
    world.server.hold_pods(true);
    world.server.delete(&object("v1", "pods", "alice-client-0"), &json!({}));
    let workload = object("apps/v1", "statefulsets", "alice-client");
    tell(world, &workload, ("FailedCreate", &format!("{LAST_WORDS}: {}", PLANTED.join(" or "))));
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let (_, reason, told) = world.condition("alice", "ClientAvailable").expect("told");
    assert!(reason == "FailedCreate" && told.contains(LAST_WORDS), "{told}");
    world.server.hold_pods(false);
}

/// Forms in which a value may be written.
fn forms(value: &[u8]) -> Vec<String> {
    let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    let url: String = value
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(*byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect();
    let decimal = value.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let mut forms = vec![hex.to_uppercase(), hex, url, decimal];
    forms.extend(std::str::from_utf8(value).map(str::to_owned));
    // inside other text, base64 may begin at any offset
    for before in 0..3 {
        let all = base64(&[&vec![0; before], value].concat());
        forms.push(all[4 * before.min(1)..all.len() - 4].to_owned());
    }
    forms
}

/// All planted values, and all generated private keys.
fn secrets(world: &World) -> Vec<(String, Vec<u8>)> {
    let planted = PLANTED.iter().map(|value| ((*value).to_owned(), value.as_bytes().to_vec()));
    let raw: Vec<u8> = (0..NODE_KEY.len() / 2)
        .map(|at| u8::from_str_radix(&NODE_KEY[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let mut found: Vec<_> =
        planted.chain([("node key".to_owned(), raw), ("manager key".into(), vec![7; 32])]).collect();
    for (target, object) in world.server.objects() {
        let private = |key: &str| matches!(key, "nodekey" | "tls.key" | "tls.pkcs8.der" | "tls.key.der");
        for (key, text) in object["data"].as_object().into_iter().flatten().filter(|(key, _)| private(key)) {
            if target.resource != "secrets" {
                panic!("{} {} holds {key}", target.resource, target.name);
            }
            let bytes = serde_json::from_value::<k8s_openapi::ByteString>(text.clone()).unwrap().0;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let lines = text.lines().filter(|line| line.len() >= 32 && !line.contains("-----"));
            found.extend(lines.map(|line| (format!("{}/{key}", target.name), line.as_bytes().to_vec())));
        }
    }
    found
}

fn seen(text: &str, secrets: &[(String, Vec<u8>)]) -> Vec<String> {
    let shown = |value: &[u8]| forms(value).iter().any(|form| text.contains(form.as_str()));
    secrets.iter().filter(|(_, value)| shown(value)).map(|(what, _)| what.clone()).collect()
}

/// Keeps the log complete while other tests run: with a single subscriber in the process, a log line whose first caller
/// has no subscriber would be disabled for all threads.
fn company() -> tracing::Dispatch {
    tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default())
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_seen_nowhere_but_in_secrets() {
    let log = Log::default();
    let to = log.clone();
    let watching = tracing::subscriber::set_default(
        logs::lines("trace,kube_client::client=trace", move || to.clone()).expect("a filter"),
    );
    let company = company();
    let world = lives().await;
    drop((watching, company));
    let config = world.server.get(&secret("qn-dave-tm-config")).expect("a configuration").to_string();
    let password = [("password".to_owned(), DATABASE.as_bytes().to_vec())];
    assert_eq!(seen(&config, &password), ["password"], "it is where it belongs");
    let secrets = secrets(&world);
    assert!(secrets.len() > PLANTED.len() + 10, "{} were made", secrets.len() - PLANTED.len());
    for (what, value) in &secrets {
        for form in forms(value) {
            let quoted = last_words(&format!("Fatal: {LAST_WORDS}: {form} of {form}")).expect("words");
            assert_eq!(seen(&quoted, &secrets), [""; 0], "{what}: {quoted}");
        }
    }
    let log = log.text();
    for part in ["quorum_operator::control", "kube_runtime", "does not decode"] {
        assert!(log.contains(part), "the log has no {part}");
    }
    assert_eq!(seen(&log, &secrets), [""; 0], "log");
    for change in world.server.changes().iter().filter(|change| change.target.resource != "secrets") {
        let mut object = change.object.clone();
        // what kubelets and other controllers write is not the operator's
        match change.target.resource.as_str() {
            "pods" => object["status"] = json!(null),
            "events" if change.target.group_version == "v1" => continue,
            _ => {}
        }
        let text = object.to_string();
        assert_eq!(seen(&text, &secrets), [""; 0], "{:?}: {text}", change.target);
    }
    assert_eq!(seen(&world.metrics.text(), &secrets), [""; 0], "metrics");
    assert_eq!(seen(&format!("{:?}", world.server.calls()), &secrets), [""; 0], "paths and queries");
}

/// The client library quotes a response that does not decode: without the filter it would be in the log.
#[tokio::test(start_paused = true)]
async fn without_the_filter_an_answer_would_be_in_the_log() {
    let log = Log::default();
    let to = log.clone();
    let plain =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || to.clone());
    let watching = tracing::subscriber::set_default(plain.finish());
    let company = company();
    let world = lives().await;
    drop((watching, company));
    assert!(seen(&log.text(), &secrets(&world)).contains(&ANSWER.to_owned()));
}

#[test]
fn a_secret_is_known_in_every_form() {
    let value = "canary/x+y=1 23456789";
    let secrets = [("it".to_owned(), value.as_bytes().to_vec())];
    for text in [
        value.to_owned(),
        format!("{:?}", value.as_bytes()),
        base64(format!("ab{value}").as_bytes()),
        base64(format!("a{value}c").as_bytes()),
        "63616E6172792F782B793D31203233343536373839".to_owned(),
        "canary%2Fx%2By%3D1%2023456789".to_owned(),
    ] {
        assert_eq!(seen(&text, &secrets), ["it"], "{text}");
    }
}
