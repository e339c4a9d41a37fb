//! Sample nodes that together set every field of the spec.

use serde_json::{Value, json};

const DIGEST: &str = "2a200c8c51f406b176450fb8f48f6840cf66708e59d8b639011438e9e2593be9";
const KEY: &str = "ac6b1096ca56b9f6d004b779ae3728bf83f8e22453404cc3cef16a3d9b96608b\
                   c67c4b30db88e0a5a6c6390213f7acbe1153ff6d23ce57380104288ae19373ef";

/// Image reference pinned by digest.
#[must_use]
pub fn image(name: &str) -> String {
    format!("registry.example/{name}@sha256:{DIGEST}")
}

/// A node with only the required fields.
#[must_use]
pub fn smallest(name: &str) -> Value {
    json!({
        "apiVersion": "quorum.security/v1alpha1",
        "kind": "QuorumNode",
        "metadata": {"name": name, "namespace": "ledger"},
        "spec": {
            "network": "acme",
            "client": {"image": image("goquorum"), "version": "24.4.1"},
            "consensus": {"type": "QBFT", "operators": "ThirdParty"},
            "genesis": {"configMapRef": {"name": "acme-genesis", "key": "genesis.json"}},
        },
    })
}

/// Every field set, with a managed database.
#[must_use]
pub fn with_managed_database() -> Value {
    let mut node = full();
    node["spec"]["transactionManager"]["database"] = json!({"managed": {
        "image": image("postgres"), "version": "15.18",
        "storage": {"size": "10Gi", "className": "fast", "accessMode": "ReadWriteOncePod"},
        "resources": resources("1Gi"),
    }});
    node
}

/// Every field set, with an external database and a client certificate for it.
#[must_use]
pub fn with_external_database() -> Value {
    let mut node = full();
    node["spec"]["transactionManager"]["database"] = external();
    node["spec"]["transactionManager"]["database"]["external"]["clientCertificateRef"] =
        json!({"name": "db-client"});
    node
}

/// Every field set, with certificates from cert-manager, and an external database with a password.
#[must_use]
pub fn with_password() -> Value {
    let mut node = full();
    node["spec"]["transactionManager"]["database"] = external();
    node["spec"]["transactionManager"]["database"]["external"]["passwordRef"] =
        json!({"name": "db-password", "key": "password"});
    let tls = &mut node["spec"]["tls"];
    tls["issuer"] = json!("CertManager");
    tls["certManager"] =
        json!({"issuerRef": {"name": "bank", "kind": "StepClusterIssuer", "group": "certmanager.step.sm"}});
    tls.as_object_mut().map(|tls| tls.remove("provided"));
    node["spec"]["consensus"] = json!({"type": "QBFT", "operators": "ThirdParty",
        "validatorAddresses": [format!("0x{}", "aB".repeat(20)), format!("0x{}", "01".repeat(20))]});
    node
}

fn external() -> Value {
    json!({"external": {
        "host": "db.example", "port": 5433, "database": "tessera", "username": "tessera",
        "cidrs": ["192.0.2.10/32"], "pods": pods("data", "postgres", 5432), "caRef": {"name": "db-ca", "key": "ca.crt"},
    }})
}

fn pods(namespace: &str, app: &str, port: u16) -> Value {
    json!({"namespace": namespace, "podLabels": {"app": app}, "port": port})
}

fn full() -> Value {
    let enode = |address: &str| format!("enode://{KEY}@{address}:30303?discport=0");
    let mut node = smallest("bob");
    let spec = &mut node["spec"];
    spec["profile"] = json!("Consortium");
    spec["role"] = json!("Validator");
    spec["client"]["storage"] = json!({"size": "20Gi", "className": "fast", "accessMode": "ReadWriteOnce"});
    spec["client"]["resources"] = resources("4Gi");
    spec["client"]["tunables"] = json!({"cacheMib": 1024, "maxPeers": 25, "gcMode": "Archive", "verbosity": 2, "rpcGasCap": 40_000_000,
        "rpcTxFeeCap": 2, "minerGasTarget": 20_000_000, "minerGasLimit": 30_000_000, "logFormat": "Json",
        "txPool": {"accountSlots": 17, "globalSlots": 5000, "accountQueue": 65, "globalQueue": 2000, "lifetimeMinutes": 45}});
    spec["consensus"]["validators"] = json!(4);
    spec["genesis"]["networkId"] = json!(1337);
    spec["genesis"]["sha256"] = json!("0f".repeat(32));
    spec["nodeKey"] = json!({"secretRef": {"name": "bob-nodekey", "key": "nodekey"}, "expect": KEY});
    spec["peering"] = json!({
        "static": [enode("192.0.2.1")],
        "permissioned": [enode("[2001:db8::1]")],
        "to": [pods("partner", "goquorum", 30303)],
        "from": [
            {"cidr": "192.0.2.0/24"},
            {"namespace": "partner", "podLabels": {"app": "goquorum"}},
        ],
        "advertise": {"address": "192.0.2.77", "port": 30404},
    });
    spec["deletionPolicy"] = json!({"keys": "Delete", "data": "Retain"});
    spec["paused"] = json!(true);
    spec["rollout"] = json!({"maxUnavailable": 2, "minReadySeconds": 10});
    spec["readiness"] = json!({"minPeers": 1});
    spec["transactionManager"] = json!({
        "image": image("tessera"), "version": "24.4.2",
        "keys": {
            "secretRef": {"name": "bob-tm-keys", "privateKey": "tm.key", "publicKey": "tm.pub"},
            "passwordRef": {"name": "bob-tm-password", "key": "password"},
        },
        "resources": resources("2Gi"),
        "peers": [{
            "url": "https://tm.example:9000", "cidrs": ["198.51.100.7/32"], "pods": pods("partner", "tessera", 9000),
        }],
        "advertise": "https://bob.example:9000",
    });
    spec["tls"] = json!({
        "issuer": "Provided", "provided": {
            "metrics": {"name": "bob-metrics"}, "tmPeers": {"name": "bob-tm-peers"}, "rpc": {"name": "bob-rpc"},
        },
        "duration": "720h", "renewBefore": "240h",
        "trust": [{"configMapRef": {"name": "partner-ca", "key": "ca.crt"}}],
    });
    spec["metrics"] = json!({
        "scrapers": [
            {"name": "prometheus", "from": {"namespace": "monitoring", "podLabels": {"app": "prometheus"}}},
            {"name": "outside", "from": {"cidr": "203.0.113.9/32"}},
        ],
        "clientAuthority": {"name": "scraper-ca", "key": "ca.crt"}, "podMonitor": "Disabled",
    });
    spec["rpc"] = rpc();
    spec["imagePullSecrets"] = json!([{"name": "registry"}]);
    spec["priorityClassName"] = json!("ledger");
    spec["placement"] = json!({
        "spread": "Required", "nodeSelector": {"pool": "ledger"},
        "tolerations": [{"key": "ledger", "value": "only", "effect": "NoSchedule"}],
        "client": part(), "transactionManager": part(), "database": part(),
    });
    spec["sidecars"] =
        json!({"metrics": resources("64Mi"), "probe": resources("64Mi"), "init": resources("64Mi")});
    let notes = json!({"labels": {"team": "ledger"}, "annotations": {"why": "audit"}});
    (spec["podMetadata"], spec["serviceMetadata"]) = (notes.clone(), notes);
    node
}

/// Every resource that a container can request.
fn resources(memory: &str) -> Value {
    json!({"cpu": "250m", "memory": memory, "cpuLimit": "2", "ephemeralStorage": "1Gi"})
}

/// Placement of one component.
fn part() -> Value {
    json!({"nodeSelector": {"pool": "ledger"}, "tolerations": [{"key": "ledger", "value": "only", "effect": "NoSchedule"}]})
}

/// Three callers, one for each kind of identity.
fn rpc() -> Value {
    let from = json!([{"namespace": "shop", "podLabels": {"app": "till"}}, {"cidr": "203.0.113.64/28"}]);
    let caller = |name: &str, identity: Value| {
        json!({
            "name": name, "from": from, "identity": identity, "methods": ["eth_*", "personal_listAccounts"],
            "privateState": false, "origins": ["https://app.example:8443"], "rate": {"callsPerSecond": 50, "burst": 75}, "connections": 8,
        })
    };
    json!({
        "callers": [
            caller("till", json!({"serviceAccount": {"namespace": "shop", "name": "till"}})),
            caller("bank", json!({"clientCertificate": {
                "authority": {"name": "bank-callers", "key": "ca.crt"},
                "subjects": ["dns:bank.example", "uri:spiffe://bank.example/till", "cn:Bank, Till 7"],
            }})),
            caller("auditor", json!({"oidc": {
                "issuer": "https://id.example/realms/audit", "audience": "ledger", "subjects": ["auditor-7"],
                "authority": {"name": "id-ca", "key": "ca.crt"},
            }})),
        ],
        "hostnames": ["rpc.bob.example"],
        "limits": {
            "connections": 100, "handshakeSeconds": 6, "headerSeconds": 7, "headerBytes": 8192, "bodySeconds": 20,
            "bodyBytesPerSecond": 2048, "bodyBytes": 524_288, "batchCalls": 50, "idleSeconds": 60,
            "requestsAtClient": 32, "requestsWaiting": 128, "answerSeconds": 30, "answerBytes": 16_777_216,
            "subscriptions": 16, "filters": 48,
        },
        "resources": resources("160Mi"),
    })
}
