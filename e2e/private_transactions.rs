//! Private transactions between two organisations in two namespaces, with separate CAs and managers. One manager stores
//! payloads in a PostgreSQL in a third namespace.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use quorum_operator::model::secrets::{
    Data, generate,
    tls::{KeyAlgorithm, LeafRequest, Usage, Validity},
};
use serde_json::{Value, json};

use crate::support::{
    kubectl::{self, eventually, variable},
    network, pods,
    private_payloads::{self, Member},
};

const LEFT: Member = Member { namespace: "e2e-left", name: "lara", client: "lara-client-0" };
const RIGHT: Member = Member { namespace: "e2e-right", name: "rolf", client: "rolf-client-0" };
const DATA: &str = "e2e-data";

/// Creates the PostgreSQL cluster with one role and one database if it is missing, and serves it on port 5433 with TLS
/// only.
const POSTGRES: &str = r#"set -e
if [ ! -e /data/pg/PG_VERSION ]; then
  initdb -D /data/pg -U postgres -E UTF8 --no-locale --auth-local=reject --auth-host=reject
  echo "create role rolf login password '$PASSWORD'" | postgres --single -D /data/pg postgres
  echo "create database payloads owner rolf" | postgres --single -D /data/pg postgres
fi
exec postgres -D /data/pg -c listen_addresses='*' -c port=5433 -c unix_socket_directories= \
  -c ssl=on -c ssl_cert_file=/tls/tls.crt -c ssl_key_file=/tls/tls.key -c hba_file=/config/pg_hba.conf
"#;

/// CA certificate of the database, and a certificate that it has signed for the database's Service.
fn certificate() -> (String, Data) {
    let authority = generate::authority("data pg", Timestamp::now()).expect("an authority");
    let hours = SignedDuration::from_hours;
    let request = LeafRequest {
        common_name: "pg".into(),
        dns_names: vec![format!("pg.{DATA}.svc")],
        usage: Usage::Server,
        algorithm: KeyAlgorithm::EcdsaP256,
        validity: Validity { duration: hours(48), renew_before: hours(12) },
        pkcs8_der: false,
    };
    let leaf = generate::leaf(&authority, &request, Timestamp::now()).expect("a certificate");
    (String::from_utf8(authority["tls.crt"].0.clone()).expect("PEM"), leaf)
}

/// Creates an external PostgreSQL, and a bystander in the same namespace that listens on the same port.
fn install_postgres(password: &str) {
    let (authority, leaf) = certificate();
    let restricted = json!({"allowPrivilegeEscalation": false, "runAsNonRoot": true, "runAsUser": 65532,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}});
    let mount = |name: &str, path: &str| json!({"name": name, "mountPath": path});
    kubectl::apply(&[
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": DATA}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pg", "namespace": DATA}, "data": {
            "passwd": "postgres:x:65532:65532::/data:/bin/false\n",
            "pg_hba.conf": "hostssl payloads rolf all scram-sha-256\n",
        }}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pg-tls", "namespace": DATA}, "data": leaf}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "pg", "namespace": DATA},
            "spec": {"selector": {"app": "postgres"}, "ports": [{"port": 5432, "targetPort": 5433}]}}),
        json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "pg", "namespace": DATA, "labels": {"app": "postgres"}},
        "spec": {
            "securityContext": {"fsGroup": 65532}, "terminationGracePeriodSeconds": 5,
            "containers": [{
                "name": "postgres", "image": variable("POSTGRES_IMAGE"), "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/sh", "-c", POSTGRES], "securityContext": restricted,
                "env": [{"name": "PASSWORD", "value": password}],
                "volumeMounts": [
                    mount("data", "/data"), mount("tls", "/tls"), mount("config", "/config"), mount("shm", "/dev/shm"),
                    {"name": "config", "mountPath": "/etc/passwd", "subPath": "passwd"},
                ],
            }],
            "volumes": [
                {"name": "data", "emptyDir": {}}, {"name": "shm", "emptyDir": {"medium": "Memory"}},
                {"name": "tls", "secret": {"secretName": "pg-tls", "defaultMode": 0o440}},
                {"name": "config", "configMap": {"name": "pg"}},
            ],
        }}),
        json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "bystander", "namespace": DATA, "labels": {"app": "bystander"}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
            "name": "dialer", "image": variable("DIALER_IMAGE"), "imagePullPolicy": "IfNotPresent",
            "args": ["serve", ":5433"], "securityContext": restricted,
        }]}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "pg-ca", "namespace": RIGHT.namespace}, "data": {"ca.crt": authority}}),
        json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "pg-rolf", "namespace": RIGHT.namespace}, "stringData": {"password": password}}),
    ]);
    kubectl::text(&["-n", DATA, "wait", "--for=condition=Ready", "--timeout=60s", "pod/pg", "pod/bystander"]);
}

/// The node with a managed database, or with the one in the third namespace.
fn node(member: Member) -> Value {
    let mut node = network::member(member.namespace, member.name);
    node["spec"]["deletionPolicy"] = json!({"data": "Delete"});
    if member.name == RIGHT.name {
        node["spec"]["transactionManager"]["database"] = json!({"external": {
            "host": format!("pg.{DATA}.svc"), "database": "payloads", "username": "rolf",
            "pods": {"namespace": DATA, "podLabels": {"app": "postgres"}, "port": 5433},
            "caRef": {"name": "pg-ca", "key": "ca.crt"},
            "passwordRef": {"name": "pg-rolf", "key": "password"},
        }});
    }
    node
}

/// The node with the other's CA as trusted and its manager as peer.
fn with_partner(own: Member, other: Member) -> Value {
    let authority = eventually("the partner's authority", Duration::from_secs(60), || {
        let found = kubectl::find(&["-n", other.namespace, "configmap", "qnet-acme-ca"]);
        found.map(|found| found["data"]["ca.crt"].clone()).ok_or_else(|| "not there".to_owned())
    });
    kubectl::apply(&[json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "partner-ca", "namespace": own.namespace}, "data": {"ca.crt": authority}})]);
    let mut node = node(own);
    node["spec"]["tls"] = json!({"trust": [{"configMapRef": {"name": "partner-ca", "key": "ca.crt"}}]});
    node["spec"]["transactionManager"]["peers"] = json!([{
        "url": format!("https://{}-tm.{}.svc:9000", other.name, other.namespace),
        "pods": {"namespace": other.namespace, "podLabels": {
            "quorum.security/network": "acme", "quorum.security/component": "tm",
        }},
    }]);
    node
}

#[test]
fn a_private_payload_goes_to_another_organisation_and_into_a_database_of_a_third_namespace() {
    for member in [LEFT, RIGHT] {
        network::prepare(member.namespace, &[member.name]);
    }
    install_postgres("e2e-only");
    for member in [LEFT, RIGHT] {
        kubectl::apply(&[node(member)]);
    }
    for (own, other) in [(LEFT, RIGHT), (RIGHT, LEFT)] {
        kubectl::apply(&[with_partner(own, other)]);
    }
    for member in [LEFT, RIGHT] {
        kubectl::wait_condition(member.namespace, member.name, "Ready", "True", "");
    }
    for (from, to, payload) in [(LEFT, RIGHT, "for rolf alone"), (RIGHT, LEFT, "for lara alone")] {
        eventually(&format!("{payload}: it is there"), Duration::from_secs(120), || {
            private_payloads::goes(from, to, payload)
        });
    }

    // policies allow only the database pod, not others in its namespace
    let manager = "rolf-tm-0";
    pods::enter(RIGHT.namespace, manager, "dialer", &variable("DIALER_IMAGE"), json!({"args": ["wait"]}));
    let from = pods::From { namespace: RIGHT.namespace, pod: manager, container: "dialer" };
    let dialled = |pod: &str| pods::dial(from, &format!("{}:5433", pods::address(DATA, pod)));
    assert_eq!(dialled("pg"), "open");
    assert_ne!(dialled("bystander"), "open");
    for member in [LEFT, RIGHT] {
        kubectl::text(&["-n", member.namespace, "delete", "quorumnode", member.name, "--wait=false"]);
    }
    kubectl::text(&["delete", "namespace", DATA, "--wait=false"]);
}
