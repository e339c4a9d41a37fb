//! Tests of certificates from cert-manager: an issuer that is slow, that refuses, that makes mistakes, and that works;
//! and cert-manager being installed and removed.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    bank::{Bank, CERT_MANAGER, LASTS, say_of_all},
    world::{World, client, member, node, object, secret},
};
use crate::testing::server::{Call, Server, Target};

const METRICS: &str = "qn-alice-cm-metrics";
const PEERS: &str = "qn-alice-cm-tm-peers";

/// The node with certificates from cert-manager for what others see.
pub(super) fn through(mut alice: Value) -> Value {
    alice["spec"]["tls"] = json!({"issuer": "CertManager", "duration": "240h", "renewBefore": "80h",
        "certManager": {"issuerRef": {"name": "bank", "kind": "Issuer", "group": "cert-manager.io"}}});
    alice
}

fn certificate(name: &str) -> Target {
    object(CERT_MANAGER, "certificates", name)
}

fn workload() -> Target {
    object("apps/v1", "statefulsets", "alice-client")
}

fn certificates_ready(world: &World) -> (String, String, String) {
    world.condition("alice", "CertificatesReady").expect("always there")
}

fn assert_says(world: &World, reason: &str, words: &[&str]) {
    let (status, said, message) = certificates_ready(world);
    assert_eq!((status.as_str(), said.as_str()), ("False", reason), "{message}");
    for word in words {
        assert!(message.contains(word), "{word}: {message}");
    }
}

/// The operator's setting reaches the request to the issuer.
#[tokio::test(start_paused = true)]
async fn the_names_that_are_asked_for_are_of_the_clusters_domain() {
    let mut world = World::new();
    world.render_config.domain = "corp.example".into();
    world.server.learn(CERT_MANAGER);
    world.start();
    world.server.put(&through(client("alice")));
    world.rest().await;
    let spec = world.server.get(&certificate(METRICS)).expect("asked for")["spec"].clone();
    let names = ["alice-metrics.ledger.svc.corp.example", "alice-metrics.ledger.svc"];
    assert_eq!(spec["dnsNames"], json!(names));
}

fn discoveries(calls: &[Call]) -> usize {
    calls.iter().filter(|call| call.verb == "discover").count()
}

/// A world with cert-manager, and alice with issued certificates.
async fn certified(alice: &Value) -> (World, Bank) {
    let (mut world, bank) = (World::new(), Bank::new());
    world.server.learn(CERT_MANAGER);
    world.start();
    world.server.put(alice);
    world.rest().await;
    bank.grant(&world.server, |_| {});
    world.rest().await;
    world.assert_ready("alice");
    (world, bank)
}

#[tokio::test(start_paused = true)]
async fn an_issuer_may_be_slow_refuse_and_err_and_is_believed_when_it_does_it_right() {
    let (mut world, bank) = (World::new(), Bank::new());
    world.server.learn(CERT_MANAGER);
    world.start();
    world.server.put(&through(member("alice")));
    world.rest().await;
    assert_says(&world, "Issuing", &[METRICS, "Issuer bank"]);
    let spec = world.server.get(&certificate(PEERS)).expect("asked for")["spec"].clone();
    assert_eq!(
        spec,
        json!({"secretName": PEERS,
            "issuerRef": {"name": "bank", "kind": "Issuer", "group": "cert-manager.io"},
            "dnsNames": ["alice-tm.ledger.svc", "alice-tm.ledger.svc.cluster.local"],
            "usages": ["digital signature", "key encipherment", "server auth", "client auth"],
            "privateKey": {"algorithm": "RSA", "size": 2048, "encoding": "PKCS8", "rotationPolicy": "Always"},
            "duration": "240h0m0s", "renewBefore": "80h0m0s"})
    );
    let spec = world.server.get(&certificate(METRICS)).expect("asked for")["spec"].clone();
    assert_eq!(spec["usages"], json!(["digital signature", "server auth"]));
    assert_eq!(
        (&spec["privateKey"]["algorithm"], &spec["privateKey"]["size"]),
        (&json!("ECDSA"), &json!(256))
    );

    say_of_all(&world.server, "True", "the order is pending");
    world.rest().await;
    assert_says(&world, "Issuing", &[METRICS, "the order is pending"]);
    say_of_all(&world.server, "False", &format!("the bank says no{}", "!".repeat(5000)));
    world.rest().await;
    assert_says(&world, "NotIssued", &[METRICS, "the bank says no!"]);
    assert!(certificates_ready(&world).2.len() < 500, "it is cut short");
    assert_eq!(world.server.get(&workload()), None, "nothing is started before it has its certificates");

    for (wrong, says) in [
        (("dnsNames", json!(["bob-metrics.ledger.svc"])), "lacks the names alice-metrics.ledger.svc"),
        (("usages", json!(["server auth", "client auth"])), "needs the extended key usage serverAuth alone"),
    ] {
        bank.grant(&world.server, |spec| spec[wrong.0] = wrong.1.clone());
        world.rest().await;
        assert_says(&world, "Invalid", &[METRICS, "Issuer bank", says]);
        assert_eq!(world.server.get(&workload()), None);
    }
    bank.grant(&world.server, |spec| {
        spec["privateKey"]["algorithm"] = json!("ECDSA");
    });
    world.rest().await;
    assert_says(&world, "Invalid", &[PEERS, "needs an RSA key of 2048 bits"]);

    bank.grant(&world.server, |_| {});
    world.rest().await;
    world.assert_ready("alice");
    let status = world.server.get(&node("alice")).expect("alice")["status"].clone();
    assert_eq!(status["certificateExpiry"], json!((bank.now + LASTS).to_string()));
    let mounted = world.server.get(&workload()).expect("the client").to_string();
    assert!(mounted.contains(METRICS) && !mounted.contains("qn-alice-tls-metrics"), "{mounted}");
    for ours in ["qn-alice-tls-metrics", "qn-alice-tls-tm-peers"] {
        assert_eq!(world.server.get(&secret(ours)), None, "nobody needs {ours}");
    }
    let is_theirs = |call: &Call| call.is_write() && [METRICS, PEERS].contains(&call.target.name.as_str());
    let touched: Vec<_> = world.server.calls().into_iter().filter(is_theirs).collect();
    assert_eq!(touched.len(), 2, "two requests, and nothing after: {touched:#?}");
    assert!(touched.iter().all(|call| call.target.resource == "certificates"), "{touched:#?}");
    let before = world.server.calls().len();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.server.calls().len(), before, "{:#?}", world.recent());
    tokio::time::sleep(Duration::from_secs(100 * 3600)).await;
    assert_says(&world, "Expired", &[METRICS]);
}

#[tokio::test(start_paused = true)]
async fn what_becomes_wrong_leaves_what_runs() {
    let (mut world, bank) = certified(&through(member("alice"))).await;
    let manager = object("apps/v1", "statefulsets", "alice-tm");
    let before = world.server.get(&manager);
    let calls = {
        let other = Bank::new();
        let named = |spec: &mut Value| spec["dnsNames"] = json!(["somebody.else"]);
        world.calls_of(|server| other.grant(server, named)).await
    };
    assert_says(&world, "Invalid", &[METRICS, "lacks the names"]);
    assert_eq!(world.server.get(&manager), before);
    let children = calls.iter().filter(|call| {
        call.is_write() && !["quorumnodes", "events"].contains(&call.target.resource.as_str())
    });
    assert_eq!(children.count(), 0, "{calls:#?}");
    // a mistake of the issuer must not stop the repair of policies
    world.server.delete(&object("networking.k8s.io/v1", "networkpolicies", "alice-dns"), &json!({}));
    world.rest().await;
    assert!(world.server.get(&object("networking.k8s.io/v1", "networkpolicies", "alice-dns")).is_some());
    // a rejected renewal is only reported
    bank.grant(&world.server, |_| {});
    world.rest().await;
    world.assert_ready("alice");
    say_of_all(&world.server, "False", "the bank is closed");
    world.rest().await;
    world.assert_ready("alice");
    let (_, _, message) = certificates_ready(&world);
    assert!(
        message.contains(&format!("cert-manager does not renew Certificate {METRICS}: the bank is closed")),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn cert_manager_may_come_late_go_and_come_back() {
    let (mut world, bank) = (World::new(), Bank::new());
    world.start();
    world.server.put(&client("bob"));
    world.rest().await;
    world.assert_ready("bob");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(discoveries(&world.server.calls()), 0, "nobody asks for it");

    world.server.put(&through(client("alice")));
    world.rest().await;
    assert_says(&world, "ApiMissing", &["certificates.cert-manager.io", "install cert-manager"]);
    let errors = |world: &World| {
        let text = world.metrics.text();
        text.lines().find(|line| line.starts_with("quorum_operator_watch_errors_total")).map(str::to_owned)
    };
    let (calls, before) = (world.server.calls().len(), errors(&world));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let looked = world.server.calls().split_off(calls);
    assert_eq!(discoveries(&looked), looked.len(), "it is looked for, and nothing else: {looked:#?}");
    assert!((55..=61).contains(&looked.len()), "once a minute: {}", looked.len());
    assert_eq!(errors(&world), before);

    world.server.learn(CERT_MANAGER);
    tokio::time::sleep(Duration::from_secs(65)).await;
    bank.grant(&world.server, |_| {});
    world.rest().await;
    world.assert_ready("alice");

    // cert-manager is removed with all its objects: issued certificates stay valid
    let calls = world.calls_of(|server| server.unlearn(CERT_MANAGER)).await;
    world.assert_ready("alice");
    let (_, _, message) = certificates_ready(&world);
    assert!(message.contains("cert-manager is no longer installed"), "{message}");
    let asked = calls.iter().filter(|call| call.target.group_version == CERT_MANAGER).count();
    assert!(asked <= 5, "no flood: {calls:#?}");
    assert_eq!(errors(&world), before, "and no trouble");
    // a replica that starts now reports the same, and waits for nothing
    let version = world.server.version();
    world.start();
    world.rest().await;
    assert_eq!(world.server.version(), version, "{:#?}", world.recent());
    world.server.put(&client("carol"));
    world.rest().await;
    world.assert_ready("carol");

    world.server.learn(CERT_MANAGER);
    tokio::time::sleep(Duration::from_secs(65)).await;
    world.rest().await;
    assert!(world.server.get(&certificate(METRICS)).is_some(), "asked for again");
    assert_eq!(certificates_ready(&world).2, "all certificates exist and are valid");
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_is_put_back_and_never_taken_from_others() {
    let (mut world, _) = certified(&through(client("alice"))).await;
    let spec = |world: &World| world.server.get(&certificate(METRICS)).map(|it| it["spec"].clone());
    let before = spec(&world);
    world.server.edit(&certificate(METRICS), "kubectl-edit", |it| it["spec"]["dnsNames"] = json!(["x"]));
    world.rest().await;
    assert_eq!(spec(&world), before);
    world.server.delete(&certificate(METRICS), &json!({}));
    world.rest().await;
    assert_eq!(spec(&world), before);
    // a silent watch is noticed here too
    world.server.fall_silent(crate::testing::server::Silence::Open);
    world.server.edit(&certificate(METRICS), "kubectl-edit", |it| it["spec"]["dnsNames"] = json!(["x"]));
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(spec(&world), before);

    let mut world = World::new();
    world.server.learn(CERT_MANAGER);
    let theirs = json!({"apiVersion": CERT_MANAGER, "kind": "Certificate",
        "metadata": {"name": METRICS, "namespace": "ledger"}, "spec": {"secretName": "theirs"}});
    world.server.put(&theirs);
    world.start();
    world.server.put(&through(client("alice")));
    world.rest().await;
    assert_eq!(world.condition("alice", "Stalled").expect("told").1, "NameConflict");
    assert_eq!(spec(&world), Some(json!({"secretName": "theirs"})));
}

#[tokio::test(start_paused = true)]
async fn another_issuer_or_none_leaves_nothing_of_ours_and_its_secret_alone() {
    let (mut world, _) = certified(&through(client("alice"))).await;
    world.server.edit(&node("alice"), "kubectl-edit", |alice| {
        alice["spec"]["tls"]["certManager"]["issuerRef"] =
            json!({"name": "mint", "kind": "ClusterIssuer", "group": "cert-manager.io"});
    });
    world.rest().await;
    let spec = world.server.get(&certificate(METRICS)).expect("there")["spec"].clone();
    assert_eq!(
        (&spec["issuerRef"]["name"], &spec["issuerRef"]["kind"]),
        (&json!("mint"), &json!("ClusterIssuer"))
    );
    // the issuer is BuiltIn from now on, written while no operator runs
    world.stop();
    world.server.edit(&node("alice"), "kubectl-edit", |alice| {
        alice["spec"]["tls"] = json!({"issuer": "BuiltIn", "duration": "240h", "renewBefore": "80h"});
    });
    world.start();
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!(world.server.get(&certificate(METRICS)), None);
    assert!(world.server.get(&secret(METRICS)).is_some(), "it is cert-manager's");
    let status = world.server.get(&node("alice")).expect("alice")["status"].clone();
    assert_eq!(status["optionalKinds"], Value::Null);
    let mounted = world.server.get(&workload()).expect("the client").to_string();
    assert!(mounted.contains("qn-alice-tls-metrics") && !mounted.contains(METRICS), "{mounted}");
    // no node uses it any more
    tokio::time::sleep(Duration::from_secs(61)).await;
    let before = world.server.calls().len();
    world.server.unlearn(CERT_MANAGER);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.server.calls().len(), before, "{:#?}", world.recent());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_deleted_leaves_no_request_behind() {
    let (mut world, _) = certified(&through(client("alice"))).await;
    Server::delete(&world.server, &node("alice"), &json!({"propagationPolicy": "Background"}));
    world.rest().await;
    assert_eq!(world.server.get(&node("alice")), None);
    assert_eq!(world.server.get(&certificate(METRICS)), None);
    assert!(world.server.get(&secret(METRICS)).is_some(), "it is cert-manager's");
}

/// The annotation that requests new certificates concerns only the operator's own; cert-manager has its own method.
#[tokio::test(start_paused = true)]
async fn new_certificates_on_demand_are_the_operators_own() {
    let (mut world, _) = certified(&through(member("alice"))).await;
    let of = |world: &World, name: &str| world.server.get(&secret(name)).map(|it| it["data"].clone());
    let (theirs, ours) = (of(&world, METRICS), of(&world, "qn-alice-tls-tm"));
    world.server.edit(&node("alice"), "kubectl-annotate", |alice| {
        alice["metadata"]["annotations"]["quorum.security/renew-certs-at"] = json!("now");
    });
    world.rest().await;
    assert_eq!(of(&world, METRICS), theirs);
    assert_ne!(of(&world, "qn-alice-tls-tm"), ours);
}
