//! For each rule of the definition, a node, or a change of a node, that it refuses.

use serde_json::{Value, json};

use super::specs;

/// A node that is refused when it is made.
#[derive(Clone, Debug)]
pub struct Creation {
    /// What is wrong with it, in a few words.
    pub name: &'static str,
    /// The node.
    pub node: Value,
    /// How the message begins.
    pub says: &'static str,
}

/// A change that is refused.
#[derive(Clone, Debug)]
pub struct Change {
    /// What is changed, in a few words.
    pub name: &'static str,
    /// The node as it was admitted.
    pub before: Value,
    /// The node that is refused.
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

/// Nodes that a rule refuses.
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
        ("a number of validators and a list of them", base(), "state either validators or", |node| {
            node["spec"]["consensus"]["validators"] = json!(4);
            node["spec"]["consensus"]["validatorAddresses"] = json!([format!("0x{}", "ab".repeat(20))]);
        }),
        ("neither a key nor whose it is", base(), "nodeKey names a secretRef", |node| {
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
        ("one operator, foreign authority", base(), "tls.trust and transactionManager.peers", |node| {
            node["spec"]["consensus"]["operators"] = json!("SingleOperator");
            node["spec"]["transactionManager"]["peers"] = json!([]);
        }),
        ("one operator, foreign manager", base(), "tls.trust and transactionManager.peers", |node| {
            node["spec"]["consensus"]["operators"] = json!("SingleOperator");
            node["spec"]["tls"]["trust"] = json!([]);
        }),
        ("source of both kinds", base(), "give either namespace", |node| {
            node["spec"]["peering"]["from"][1]["cidr"] = json!("192.0.2.0/24");
        }),
        ("source of no kind", base(), "give either namespace", |node| {
            node["spec"]["metrics"]["scrapers"][0]["from"] = json!({});
        }),
        ("namespace without labels", base(), "namespace and podLabels go together", |node| {
            remove(node, "/spec/metrics/scrapers/0/from", "podLabels");
        }),
        ("no labels", base(), "podLabels must not be empty", |node| {
            node["spec"]["metrics"]["scrapers"][0]["from"]["podLabels"] = json!({});
        }),
        ("all pods of a partner's namespace", base(), "name the pods by podLabels", |node| {
            node["spec"]["peering"]["to"][0]["podLabels"] = json!({});
        }),
        ("a manager that is nowhere", base(), "say where the manager is", |node| {
            remove(node, "/spec/transactionManager/peers/0", "cidrs");
            remove(node, "/spec/transactionManager/peers/0", "pods");
        }),
        ("a database that is nowhere", external(), "say where the database is", |node| {
            remove(node, "/spec/transactionManager/database/external", "cidrs");
            remove(node, "/spec/transactionManager/database/external", "pods");
        }),
        ("renewal too early", base(), "renewBefore must be at most half", |node| {
            node["spec"]["tls"]["renewBefore"] = json!("361h");
        }),
        ("issued by you, nothing named", base(), "provided goes with issuer Provided", |node| {
            remove(node, "/spec/tls", "provided");
        }),
        ("built in, and Secrets named", base(), "provided goes with issuer Provided", |node| {
            node["spec"]["tls"]["issuer"] = json!("BuiltIn");
        }),
        (
            "through cert-manager, no issuer named",
            requested(),
            "certManager goes with issuer CertManager",
            |node| {
                remove(node, "/spec/tls", "certManager");
            },
        ),
        ("built in, and an issuer named", requested(), "certManager goes with issuer CertManager", |node| {
            node["spec"]["tls"]["issuer"] = json!("BuiltIn");
        }),
        (
            "an issuer of no kind of cert-manager's",
            requested(),
            "kind must be Issuer or ClusterIssuer",
            |node| {
                node["spec"]["tls"]["certManager"]["issuerRef"]["group"] = json!("cert-manager.io");
            },
        ),
        ("a monitor and nobody to scrape", base(), "podMonitor needs a scraper", |node| {
            node["spec"]["metrics"] = json!({"podMonitor": "Enabled"});
        }),
        (
            "a monitor without the certificate it needs",
            base(),
            "podMonitor and clientAuthority exclude",
            |node| {
                node["spec"]["metrics"]["podMonitor"] = json!("Enabled");
            },
        ),
        ("no certificate for the manager", base(), "tls.provided.tmPeers goes with", |node| {
            remove(node, "/spec/tls/provided", "tmPeers");
        }),
        ("a certificate for no manager", base(), "tls.provided.tmPeers goes with", |node| {
            remove(node, "/spec", "transactionManager");
        }),
        ("no certificate for callers", base(), "tls.provided.rpc goes with", |node| {
            remove(node, "/spec/tls/provided", "rpc");
        }),
        ("a certificate for no caller", base(), "tls.provided.rpc goes with", |node| {
            node["spec"]["rpc"]["callers"] = json!([]);
        }),
        ("an origin without TLS", base(), "rpc.callers[].origins must begin with https", |node| {
            node["spec"]["rpc"]["callers"][1]["origins"][0] = json!("http://app.example");
        }),
        (
            "private contracts, and nothing said of them",
            base(),
            "rpc.callers[].privateState must be said",
            |node| {
                remove(node, "/spec/rpc/callers/1", "privateState");
            },
        ),
        ("a caller that is known in two ways", base(), "give exactly one of serviceAccount", |node| {
            node["spec"]["rpc"]["callers"][2]["identity"]["serviceAccount"] =
                json!({"namespace": "a", "name": "b"});
        }),
        ("a caller that cannot be known", base(), "give exactly one of serviceAccount", |node| {
            node["spec"]["rpc"]["callers"][0]["identity"] = json!({});
        }),
        ("no database", base(), "give either managed or external", |node| {
            node["spec"]["transactionManager"]["database"] = json!({});
        }),
        ("two databases", external(), "give either managed or external", |node| {
            node["spec"]["transactionManager"]["database"]["managed"] =
                json!({"image": specs::image("postgres"), "version": "15"});
        }),
        ("two ways to log in", external(), "give either clientCertificateRef or passwordRef", |node| {
            node["spec"]["transactionManager"]["database"]["external"]["passwordRef"] =
                json!({"name": "db-password", "key": "password"});
        }),
        ("no way to log in", external(), "give either clientCertificateRef or passwordRef", |node| {
            remove(node, "/spec/transactionManager/database/external", "clientCertificateRef");
        }),
    ];
    cases
        .into_iter()
        .map(|(name, base, says, edit)| Creation { name, node: edited(base, edit), says })
        .collect()
}

/// Changes that a rule refuses.
#[must_use]
pub fn changes() -> Vec<Change> {
    let cases: [(&str, &str, Edit); 11] = [
        ("network", "network is fixed", |node| node["spec"]["network"] = json!("other")),
        ("genesis", "genesis is fixed", |node| node["spec"]["genesis"]["networkId"] = json!(7)),
        ("consensus", "consensus.type is fixed", |node| node["spec"]["consensus"]["type"] = json!("IBFT")),
        ("another node key", "nodeKey.secretRef holds the node's identity", |node| {
            node["spec"]["nodeKey"]["secretRef"]["name"] = json!("another");
        }),
        ("no node key", "nodeKey.secretRef holds the node's identity", |node| {
            remove(node, "/spec", "nodeKey")
        }),
        ("client's volume of another class", "client.storage.className cannot be changed", |node| {
            node["spec"]["client"]["storage"]["className"] = json!("slow");
        }),
        (
            "client's volume for another kind of mount",
            "client.storage.accessMode cannot be changed",
            |node| {
                remove(node, "/spec/client/storage", "accessMode");
            },
        ),
        (
            "database's volume for another kind of mount",
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
        ("database elsewhere", "a database cannot be changed between", |node| {
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
        says: "profile cannot be lowered",
    });
    changes.push(Change {
        name: "node key added",
        after: edited(production.clone(), |node| {
            node["spec"]["nodeKey"] = json!({"secretRef": {"name": "bob-nodekey", "key": "nodekey"}});
        }),
        before: production,
        says: "nodeKey.secretRef holds the node's identity",
    });
    changes
}
