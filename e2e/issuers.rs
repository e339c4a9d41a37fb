//! Certificates from cert-manager, which the test imitates: it installs the CRD while the operator runs, and removes it
//! again. `E2E_CERT_MANAGER_CRD` names a file with cert-manager's own CRD.

use std::{fs, time::Duration};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use quorum_operator::model::secrets::{
    Data, generate,
    tls::{KeyAlgorithm, LeafRequest, Usage, Validity},
};
use serde_json::{Value, json};

use crate::{
    happy_path,
    support::{
        kubectl::{self, condition, eventually},
        network, pods,
    },
};

const NAMESPACE: &str = "e2e-issuers";
const CERTIFICATE: &str = "qn-casey-cm-metrics";
const DEFINITION: &str = "certificates.cert-manager.io";

/// Minimal CRD for the kind, without validation.
fn stand_in() -> Value {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = json!({"type": "object", "properties": {"spec": any, "status": any}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": DEFINITION},
        "spec": {"group": "cert-manager.io", "scope": "Namespaced",
            "names": {"kind": "Certificate", "listKind": "CertificateList", "plural": "certificates", "singular": "certificate"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": schema}}]}})
}

fn install() {
    match std::env::var("E2E_CERT_MANAGER_CRD") {
        Ok(path) => {
            let definition = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            let output = kubectl::run(&["apply", "--server-side", "-f", "-"], &definition);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        Err(_) => kubectl::apply(&[stand_in()]),
    }
    kubectl::text(&["wait", "--for=condition=Established", "--timeout=30s", &format!("crd/{DEFINITION}")]);
}

/// Writes a certificate for these names into the Secret, as cert-manager does.
fn issue(authority: &Data, dns_names: Vec<String>) {
    let hours = SignedDuration::from_hours;
    let request = LeafRequest {
        common_name: "whatever the bank likes".into(),
        dns_names,
        usage: Usage::Server,
        algorithm: KeyAlgorithm::EcdsaP256,
        validity: Validity { duration: hours(48), renew_before: hours(12) },
        pkcs8_der: false,
    };
    let data = generate::leaf(authority, &request, Timestamp::now()).expect("a certificate");
    kubectl::apply(&[json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": CERTIFICATE, "namespace": NAMESPACE}, "data": data})]);
}

/// Waits until `CertificatesReady` has this reason and its message contains `words`.
fn says(reason: &str, words: &str) {
    eventually(&format!("{reason}: {words}"), Duration::from_secs(30), || {
        let node = kubectl::get(&["-n", NAMESPACE, "quorumnode", "casey"]);
        match condition(&node, "CertificatesReady") {
            Some((_, said, message)) if said == reason && message.contains(words) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn metrics_are_served_with_a_certificate_from_cert_manager() {
    install();
    network::prepare(NAMESPACE, &[]);
    let mut node = network::client(NAMESPACE, "casey");
    node["spec"]["tls"] = json!({"issuer": "CertManager", "certManager": {"issuerRef": {"name": "bank", "kind": "ClusterIssuer"}}});
    kubectl::apply(&[node]);
    says("Issuing", CERTIFICATE);
    let spec = eventually("the Certificate", Duration::from_secs(10), || {
        let found = kubectl::find(&["-n", NAMESPACE, "certificates.cert-manager.io", CERTIFICATE]);
        found.map(|found| found["spec"].clone()).ok_or_else(|| "not there".to_owned())
    });
    let names = vec![
        format!("casey-metrics.{NAMESPACE}.svc.cluster.local"),
        format!("casey-metrics.{NAMESPACE}.svc"),
    ];
    let whole = json!({"secretName": CERTIFICATE, "dnsNames": names,
        "issuerRef": {"name": "bank", "kind": "ClusterIssuer", "group": "cert-manager.io"},
        "usages": ["digital signature", "server auth"],
        "privateKey": {"algorithm": "ECDSA", "size": 256, "encoding": "PKCS8", "rotationPolicy": "Always"},
        "duration": "2160h0m0s", "renewBefore": "720h0m0s"});
    assert_eq!(spec, whole, "the server takes all of it");

    let bank = generate::authority("bank", Timestamp::now()).expect("an authority");
    issue(&bank, vec!["somebody.else".into()]);
    says("Invalid", "lacks the names");
    assert!(kubectl::find(&["-n", NAMESPACE, "statefulset", "casey-client"]).is_none());
    issue(&bank, names);
    says("Issued", "all certificates exist and are valid");

    // remove cert-manager with all its objects
    kubectl::text(&["delete", "crd", DEFINITION, "--timeout=30s"]);
    says("Issued", "cert-manager is no longer installed");
    let set = eventually("the client", Duration::from_secs(10), || {
        kubectl::find(&["-n", NAMESPACE, "statefulset", "casey-client"]).ok_or_else(|| "not there".to_owned())
    });
    assert!(set.to_string().contains(CERTIFICATE), "{set}");

    kubectl::wait_condition(NAMESPACE, "casey", "Ready", "True", "");
    let authority = String::from_utf8(bank["tls.crt"].0.clone()).expect("PEM");
    kubectl::apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}})]);
    happy_path::install_scraper("prometheus-bank", "bank-ca", &json!({"ca.crt": authority}));
    let scraper = pods::From { namespace: "monitoring", pod: "prometheus-bank", container: "dialer" };
    let page = happy_path::scrape(scraper, NAMESPACE, "casey");
    assert!(page.contains("quorum_node_info{"), "{page}");
    kubectl::text(&["-n", NAMESPACE, "delete", "quorumnode", "casey", "--wait=false"]);
}
