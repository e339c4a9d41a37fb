//! A test issuer of certificates outside the operator: by hand or by a script, or as cert-manager does it.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::world::{NAMESPACE, START, object};
use crate::{
    model::secrets::{
        Data, generate,
        tls::{KeyAlgorithm, LeafRequest, Usage, Validity},
    },
    testing::server::Server,
};

pub(super) const CERT_MANAGER: &str = "cert-manager.io/v1";

/// How long its certificates last.
pub(super) const LASTS: SignedDuration = SignedDuration::from_hours(100);

pub(super) struct Bank {
    authority: Data,
    pub(super) now: Timestamp,
}

impl Bank {
    pub(super) fn new() -> Self {
        let now = Timestamp::from_second(START).expect("a time");
        Self { authority: generate::authority("bank", now).expect("an authority"), now }
    }

    /// A Secret with a certificate for a Service of alice.
    pub(super) fn issue(&self, name: &str, service: &str, usage: Usage) -> Value {
        let dns = format!("{service}.{NAMESPACE}.svc");
        let names = vec![format!("{dns}.cluster.local"), dns, "alice.bank.example".into()];
        let algorithm = if usage == Usage::Both { KeyAlgorithm::Rsa2048 } else { KeyAlgorithm::EcdsaP256 };
        self.sign(name, names, (usage, algorithm))
    }

    fn sign(&self, name: &str, dns_names: Vec<String>, (usage, algorithm): (Usage, KeyAlgorithm)) -> Value {
        let request = LeafRequest {
            common_name: "whatever the bank likes".into(),
            dns_names,
            usage,
            algorithm,
            validity: Validity { duration: LASTS, renew_before: SignedDuration::from_hours(1) },
            pkcs8_der: false,
        };
        let data = generate::leaf(&self.authority, &request, self.now).expect("a certificate");
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE},
            "data": data})
    }

    /// Issues every requested Certificate, changed by `change`, and reports that in its status.
    pub(super) fn grant(&self, server: &Server, change: impl Fn(&mut Value)) {
        for (name, mut spec) in requested(server) {
            change(&mut spec);
            let texts = |field: &str| -> Vec<String> {
                let listed = spec[field].as_array().into_iter().flatten();
                listed.filter_map(|text| text.as_str().map(str::to_owned)).collect()
            };
            let may = |usage: &str| texts("usages").iter().any(|listed| listed == usage);
            let usage = match (may("server auth"), may("client auth")) {
                (true, true) => Usage::Both,
                (true, false) => Usage::Server,
                _ => Usage::Client,
            };
            let key = &spec["privateKey"];
            assert_eq!((&key["encoding"], &key["rotationPolicy"]), (&json!("PKCS8"), &json!("Always")));
            let algorithm = match (key["algorithm"].as_str(), key["size"].as_i64()) {
                (Some("RSA"), Some(2048)) => KeyAlgorithm::Rsa2048,
                _ => KeyAlgorithm::EcdsaP256,
            };
            let secret_name = spec["secretName"].as_str().expect("a Secret").to_owned();
            let mut made = self.sign(&secret_name, texts("dnsNames"), (usage, algorithm));
            made["metadata"]["annotations"] = json!({"cert-manager.io/certificate-name": name});
            server.put(&made);
            say(server, &name, json!([{"type": "Ready", "status": "True", "message": "it is up to date"}]));
        }
    }
}

/// Sets the issuance conditions of every Certificate.
pub(super) fn say_of_all(server: &Server, issuing: &str, message: &str) {
    for (name, _) in requested(server) {
        let issuing = json!({"type": "Issuing", "status": issuing, "message": message});
        say(
            server,
            &name,
            json!([{"type": "Ready", "status": "False", "message": "there is none"}, issuing]),
        );
    }
}

fn requested(server: &Server) -> Vec<(String, Value)> {
    let certificates = server.objects().into_iter().filter(|(target, _)| target.resource == "certificates");
    certificates.map(|(target, object)| (target.name, object["spec"].clone())).collect()
}

fn say(server: &Server, name: &str, conditions: Value) {
    server.edit(&object(CERT_MANAGER, "certificates", name), "cert-manager", |certificate| {
        certificate["status"] = json!({"conditions": conditions});
    });
}
