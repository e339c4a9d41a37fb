//! Nodes and changes of nodes that the validation rules of the CRD refuse, at least one for each rule.

use serde_json::{Value, json};

use super::specs;

/// A node that the API server must refuse to create.
#[derive(Clone, Debug)]
pub struct Creation {
    /// Short name of the fault, for failure messages.
    pub name: &'static str,
    /// The invalid node.
    pub node: Value,
    /// How the message begins.
    pub says: &'static str,
}

/// An update that the API server must refuse.
#[derive(Clone, Debug)]
pub struct Change {
    /// Short name of the change, for failure messages.
    pub name: &'static str,
    /// The valid node before the change.
    pub before: Value,
    /// The node after the change.
    pub after: Value,
    /// How the message begins.
    pub says: &'static str,
}

type Edit = fn(&mut Value);

fn edited(base: Value, edit: Edit) -> Value {
    let mut node = base;
    edit(&mut node);
    node
}

fn remove(node: &mut Value, parent: &str, field: &str) {
    if let Some(object) = node.pointer_mut(parent).and_then(Value::as_object_mut) {
        object.remove(field);
    }
}

/// Nodes that a validation rule refuses at creation.
#[must_use]
pub fn creations() -> Vec<Creation> {
    let base = specs::with_managed_database;
    let external = specs::with_external_database;
    let requested = specs::with_password;
    let cases: Vec<(&str, Value, &str, Edit)> = vec![
        ("name with a dot", base(), "metadata.name must begin", |node| {
            node["metadata"]["name"] = json!("a.b")
        }),
        ("name too long", base(), "metadata.name must begin", |node| {
            node["metadata"]["name"] = json!("a".repeat(41));
        }),
        ("both a count and a list of validators", base(), "set either validators or", |node| {
            node["spec"]["consensus"]["validators"] = json!(4);
            node["spec"]["consensus"]["validatorAddresses"] = json!([format!("0x{}", "ab".repeat(20))]);
        }),
        ("empty nodeKey", base(), "nodeKey must have secretRef", |node| {
            node["spec"]["nodeKey"] = json!({});
        }),
        ("client by tag", base(), "client.image must be pinned", |node| {
            node["spec"]["client"]["image"] = json!("registry.example/goquorum:24.4.1");
        }),
        ("manager by tag", base(), "transactionManager.image must be pinned", |node| {
            node["spec"]["transactionManager"]["image"] = json!("registry.example/tessera:24.4.2");
        }),
        ("database by tag", base(), "transactionManager.database.managed.image must be pinned", |node| {
            node["spec"]["transactionManager"]["database"]["managed"]["image"] = json!("postgres:15");
        }),
        ("one operator, third-party CA", base(), "tls.trust and transactionManager.peers", |node| {
            node["spec"]["consensus"]["operators"] = json!("SingleOperator");
            node["spec"]["transactionManager"]["peers"] = json!([]);
        }),
        ("one operator, third-party manager", base(), "tls.trust and transactionManager.peers", |node| {
            node["spec"]["consensus"]["operators"] = json!("SingleOperator");
            node["spec"]["tls"]["trust"] = json!([]);
        }),
        ("source with namespace and cidr", base(), "give either namespace", |node| {
            node["spec"]["peering"]["from"][1]["cidr"] = json!("192.0.2.0/24");
        }),
        ("empty source", base(), "give either namespace", |node| {
            node["spec"]["metrics"]["scrapers"][0]["from"] = json!({});
        }),
        ("namespace without podLabels", base(), "set namespace and podLabels together", |node| {
            remove(node, "/spec/metrics/scrapers/0/from", "podLabels");
        }),
        ("empty podLabels", base(), "podLabels must not be empty", |node| {
            node["spec"]["metrics"]["scrapers"][0]["from"]["podLabels"] = json!({});
        }),
        ("all pods of a partner's namespace", base(), "podLabels needs at least one label", |node| {
            node["spec"]["peering"]["to"][0]["podLabels"] = json!({});
        }),
        ("a manager without cidrs and pods", base(), "a peer needs cidrs", |node| {
            remove(node, "/spec/transactionManager/peers/0", "cidrs");
            remove(node, "/spec/transactionManager/peers/0", "pods");
        }),
        ("a database without cidrs and pods", external(), "an external database needs cidrs", |node| {
            remove(node, "/spec/transactionManager/database/external", "cidrs");
            remove(node, "/spec/transactionManager/database/external", "pods");
        }),
        ("renewal too early", base(), "renewBefore must be at most half", |node| {
            node["spec"]["tls"]["renewBefore"] = json!("361h");
        }),
        ("issuer Provided without Secrets", base(), "provided must be set if issuer is Provided", |node| {
            remove(node, "/spec/tls", "provided");
        }),
        ("issuer BuiltIn with Secrets", base(), "provided must be set if issuer is Provided", |node| {
            node["spec"]["tls"]["issuer"] = json!("BuiltIn");
        }),
        (
            "issuer CertManager without an issuerRef",
            requested(),
            "certManager must be set if issuer is CertManager",
            |node| {
                remove(node, "/spec/tls", "certManager");
            },
        ),
        (
            "issuer BuiltIn with an issuerRef",
            requested(),
            "certManager must be set if issuer is CertManager",
            |node| {
                node["spec"]["tls"]["issuer"] = json!("BuiltIn");
            },
        ),
        (
            "an issuerRef of a kind that cert-manager lacks",
            requested(),
            "kind must be Issuer or ClusterIssuer",
            |node| {
                node["spec"]["tls"]["certManager"]["issuerRef"]["group"] = json!("cert-manager.io");
            },
        ),
        ("a PodMonitor without a scraper", base(), "podMonitor needs a scraper", |node| {
            node["spec"]["metrics"] = json!({"podMonitor": "Enabled"});
        }),
        ("a PodMonitor and a client authority", base(), "podMonitor and clientAuthority exclude", |node| {
            node["spec"]["metrics"]["podMonitor"] = json!("Enabled");
        }),
        ("no certificate for the manager", base(), "tls.provided.tmPeers must be set", |node| {
            remove(node, "/spec/tls/provided", "tmPeers");
        }),
        ("a certificate for no manager", base(), "tls.provided.tmPeers must be set", |node| {
            remove(node, "/spec", "transactionManager");
        }),
        ("no certificate for callers", base(), "tls.provided.rpc must be set", |node| {
            remove(node, "/spec/tls/provided", "rpc");
        }),
        ("a certificate for no caller", base(), "tls.provided.rpc must be set", |node| {
            node["spec"]["rpc"]["callers"] = json!([]);
        }),
        ("an origin without TLS", base(), "rpc.callers[].origins must begin with https", |node| {
            node["spec"]["rpc"]["callers"][1]["origins"][0] = json!("http://app.example");
        }),
        (
            "a caller that leaves privateState unset",
            base(),
            "rpc.callers[].privateState must be set",
            |node| {
                remove(node, "/spec/rpc/callers/1", "privateState");
            },
        ),
        ("a caller with two identities", base(), "give exactly one of serviceAccount", |node| {
            node["spec"]["rpc"]["callers"][2]["identity"]["serviceAccount"] =
                json!({"namespace": "a", "name": "b"});
        }),
        ("a caller without an identity", base(), "give exactly one of serviceAccount", |node| {
            node["spec"]["rpc"]["callers"][0]["identity"] = json!({});
        }),
        ("no database", base(), "give either managed or external", |node| {
            node["spec"]["transactionManager"]["database"] = json!({});
        }),
        ("two databases", external(), "give either managed or external", |node| {
            node["spec"]["transactionManager"]["database"]["managed"] =
                json!({"image": specs::image("postgres"), "version": "15"});
        }),
        ("two database credentials", external(), "give either clientCertificateRef or passwordRef", |node| {
            node["spec"]["transactionManager"]["database"]["external"]["passwordRef"] =
                json!({"name": "db-password", "key": "password"});
        }),
        ("no database credential", external(), "give either clientCertificateRef or passwordRef", |node| {
            remove(node, "/spec/transactionManager/database/external", "clientCertificateRef");
        }),
    ];
    cases
        .into_iter()
        .map(|(name, base, says, edit)| Creation { name, node: edited(base, edit), says })
        .collect()
}

/// Changes that a validation rule refuses.
#[must_use]
pub fn changes() -> Vec<Change> {
    let cases: [(&str, &str, Edit); 11] = [
        ("network", "network is immutable", |node| node["spec"]["network"] = json!("other")),
        ("genesis", "genesis is immutable", |node| node["spec"]["genesis"]["networkId"] = json!(7)),
        ("consensus", "consensus.type is immutable", |node| {
            node["spec"]["consensus"]["type"] = json!("IBFT")
        }),
        ("another node key", "nodeKey.secretRef determines the node's identity", |node| {
            node["spec"]["nodeKey"]["secretRef"]["name"] = json!("another");
        }),
        ("no node key", "nodeKey.secretRef determines the node's identity", |node| {
            remove(node, "/spec", "nodeKey")
        }),
        ("client's volume of another class", "client.storage.className cannot be changed", |node| {
            node["spec"]["client"]["storage"]["className"] = json!("slow");
        }),
        ("other access mode of the client's volume", "client.storage.accessMode cannot be changed", |node| {
            remove(node, "/spec/client/storage", "accessMode");
        }),
        (
            "other access mode of the database's volume",
            "managed.storage.accessMode cannot be changed",
            |node| {
                node["spec"]["transactionManager"]["database"]["managed"]["storage"]["accessMode"] =
                    json!("ReadWriteOnce");
            },
        ),
        ("database's volume of another class", "managed.storage.className cannot be changed", |node| {
            node["spec"]["transactionManager"]["database"]["managed"]["storage"]["className"] = json!("slow");
        }),
        ("database's volume of no class", "managed.storage.className cannot be changed", |node| {
            remove(node, "/spec/transactionManager/database/managed/storage", "className");
        }),
        ("managed database made external", "a database cannot be changed between", |node| {
            node["spec"]["transactionManager"]["database"] =
                specs::with_password()["spec"]["transactionManager"]["database"].clone();
        }),
    ];
    let mut changes: Vec<Change> = cases
        .into_iter()
        .map(|(name, says, edit)| {
            let before = specs::with_managed_database();
            Change { name, after: edited(before.clone(), edit), before, says }
        })
        .collect();
    let production = specs::smallest("bob");
    changes.push(Change {
        name: "profile lowered",
        after: edited(production.clone(), |node| node["spec"]["profile"] = json!("Development")),
        before: production.clone(),
        says: "profile cannot be changed",
    });
    changes.push(Change {
        name: "node key added",
        after: edited(production.clone(), |node| {
            node["spec"]["nodeKey"] = json!({"secretRef": {"name": "bob-nodekey", "key": "nodekey"}});
        }),
        before: production,
        says: "nodeKey.secretRef determines the node's identity",
    });
    changes
}
