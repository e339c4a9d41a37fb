//! Tessera's configuration file: strict TLS on every server, no `ThirdParty` server, keys as files.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::SecretTemplate;
use crate::{
    model::names::{self, Component, DATABASE, Names},
    node::validate::{Database, Manager, Validated},
};

/// Name of the file.
pub(super) const FILE: &str = "config.json";

/// Paths inside the transaction manager's container.
pub(super) mod path {
    pub(crate) const CONFIG: &str = "/etc/tessera";
    pub(crate) const KEYS: &str = "/keys";
    pub(crate) const PASSWORD: &str = "/password";
    pub(crate) const TLS: &str = "/tls/tm";
    pub(crate) const PEERS_TLS: &str = "/tls/peers";
    pub(crate) const DATABASE_TLS: &str = "/tls/db";
    pub(crate) const DATABASE_CA: &str = "/tls/db-ca";
    pub(crate) const TRUST: &str = "/tls/trust";
}

/// The whole file, for a manager that knows the managers of the nodes in `known`.
pub(super) fn configuration(node: &Validated, manager: &Manager, known: &BTreeSet<&str>) -> Value {
    let mut peers: Vec<_> = known.iter().map(|network_member| peer(node, network_member)).collect();
    peers.extend(manager.outside.iter().cloned());
    peers.sort();
    peers.dedup();
    json!({
        "mode": "tessera",
        // it compares addresses with names and would reject every peer; mutual TLS and network policies admit peers
        // instead
        "useWhiteList": false,
        "jdbc": jdbc(node, manager),
        "serverConfigs": [peers_server(node), client_server(node)],
        "peer": peers.iter().map(|url| json!({"url": url})).collect::<Vec<_>>(),
        "disablePeerDiscovery": true,
        "keys": keys(manager),
        "alwaysSendTo": [],
        // otherwise a peer could claim another's public key and receive its payloads
        "features": {"enableRemoteKeyValidation": true},
    })
}

fn peer(node: &Validated, network_member: &str) -> String {
    let names = Names { node: network_member.to_owned(), ..node.names.clone() };
    let service = names.dns(&names.workload(Component::TransactionManager));
    format!("https://{service}:{}/", names::MANAGER_TO_MANAGER)
}

fn keys(manager: &Manager) -> Value {
    let mut keys = json!({
        "keyData": [{
            "privateKeyPath": format!("{}/private", path::KEYS),
            "publicKeyPath": format!("{}/public", path::KEYS),
        }],
    });
    if manager.spec.keys.password_ref.is_some() {
        keys["passwordFile"] = json!(format!("{}/password", path::PASSWORD));
    }
    keys
}

/// Server for the client. Access to it gives access to the private data, so it trusts only the node's own CA.
fn client_server(node: &Validated) -> Value {
    let service = node.names.dns(&node.names.workload(Component::TransactionManager));
    json!({
        "app": "Q2T",
        "serverAddress": format!("https://{service}:{}", names::CLIENT_TO_MANAGER),
        // Tessera listens on every address of both families, whatever the value here
        "bindingAddress": format!("https://0.0.0.0:{}", names::CLIENT_TO_MANAGER),
        "communicationType": "REST",
        "sslConfig": {
            "tls": "STRICT",
            "sslConfigType": "SERVER_ONLY",
            "generateKeyStoreIfNotExisted": false,
            "clientAuth": true,
            "serverTrustMode": "CA",
            "serverTlsKeyPath": format!("{}/tls.key", path::TLS),
            "serverTlsCertificatePath": format!("{}/tls.crt", path::TLS),
            "serverTrustCertificates": [format!("{}/ca.crt", path::TLS)],
        },
    })
}

/// Server and client settings for other managers.
fn peers_server(node: &Validated) -> Value {
    let service = node.names.dns(&node.names.workload(Component::TransactionManager));
    let advertised = node.spec.transaction_manager.as_ref().and_then(|manager| manager.advertise.clone());
    let address = advertised.unwrap_or_else(|| format!("https://{service}:{}", names::MANAGER_TO_MANAGER));
    let mut trusted = vec![format!("{}/ca.crt", path::PEERS_TLS)];
    trusted.extend((0..node.spec.tls.trust.len()).map(|i| format!("{}/{i}/ca.crt", path::TRUST)));
    json!({
        "app": "P2P",
        "serverAddress": address,
        "bindingAddress": format!("https://0.0.0.0:{}", names::MANAGER_TO_MANAGER),
        "communicationType": "REST",
        "sslConfig": {
            "tls": "STRICT",
            "sslConfigType": "SERVER_AND_CLIENT",
            "generateKeyStoreIfNotExisted": false,
            "clientAuth": true,
            "serverTrustMode": "CA",
            "serverTlsKeyPath": format!("{}/tls.key", path::PEERS_TLS),
            "serverTlsCertificatePath": format!("{}/tls.crt", path::PEERS_TLS),
            "serverTrustCertificates": trusted,
            "clientTrustMode": "CA",
            "clientTlsKeyPath": format!("{}/tls.key", path::PEERS_TLS),
            "clientTlsCertificatePath": format!("{}/tls.crt", path::PEERS_TLS),
            "clientTrustCertificates": trusted,
        },
    })
}

/// Database connection. The server's certificate and name are verified. The key is PKCS#8 DER: the driver reads no PEM.
fn jdbc(node: &Validated, manager: &Manager) -> Value {
    let (host, port, database, user) = match &manager.database {
        Database::Managed(_) => {
            let service = node.names.dns(&node.names.workload(Component::Database));
            (service, names::POSTGRES, DATABASE.to_owned(), DATABASE.to_owned())
        }
        Database::External(external, _) => {
            (external.host.clone(), external.port, external.database.clone(), external.username.clone())
        }
    };
    let mut url = format!(
        "jdbc:postgresql://{host}:{port}/{database}?sslmode=verify-full&sslrootcert={}/ca.crt",
        path::DATABASE_CA
    );
    let password = match &manager.database {
        Database::External(external, _) if external.password_ref.is_some() => SecretTemplate::PLACE,
        _ => {
            let directory = path::DATABASE_TLS;
            url.push_str(&format!("&sslcert={directory}/tls.crt&sslkey={directory}/tls.pk8"));
            ""
        }
    };
    json!({"url": url, "username": user, "password": password, "autoCreateTables": true})
}
