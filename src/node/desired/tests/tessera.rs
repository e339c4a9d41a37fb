use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::api::ObjectMeta;
use serde_json::{Value, json};

use super::{
    sample::{
        self, alone, client_alone, everything, external_with_certificate, external_with_password, managed,
        validator,
    },
    world,
};
use crate::{
    model::names::Component,
    node::{
        desired::{Desired, Joining, Live, SecretTemplate, desired, tessera},
        validate::Validated,
    },
};

/// The configuration as written, into a ConfigMap or a Secret.
fn configuration(node: &Validated) -> Value {
    written(node, &sample::render(node))
}

fn written(node: &Validated, desired: &Desired) -> Value {
    let name = format!("qn-{}-tm-config", node.names.node);
    let plain = desired.config_maps.iter().filter(|map| map.metadata.name.as_ref() == Some(&name));
    let plain = plain.filter_map(|map| map.data.as_ref()?.get(tessera::FILE).cloned());
    let secret_templates = desired
        .secret_templates
        .iter()
        .filter(|secret_templates| secret_templates.secret.metadata.name.as_ref() == Some(&name));
    let secret_templates = secret_templates
        .filter_map(|secret_templates| secret_templates.secret.data.as_ref()?.get(tessera::FILE));
    let secret_templates = secret_templates.map(|bytes| String::from_utf8(bytes.0.clone()).expect("text"));
    let mut found: Vec<String> = plain.chain(secret_templates).collect();
    assert_eq!(found.len(), 1, "one configuration, in one object");
    serde_json::from_str(&found.remove(0)).expect("JSON")
}

#[test]
fn both_servers_demand_a_certificate_of_a_named_authority() {
    let configuration = configuration(&alone(&managed()));
    assert_eq!(
        configuration["serverConfigs"],
        json!([
            {
                "app": "P2P",
                "serverAddress": "https://alice-tm.ledger.svc:9000",
                "bindingAddress": "https://0.0.0.0:9000",
                "communicationType": "REST",
                "sslConfig": {
                    "tls": "STRICT",
                    "sslConfigType": "SERVER_AND_CLIENT",
                    "generateKeyStoreIfNotExisted": false,
                    "clientAuth": true,
                    "serverTrustMode": "CA",
                    "serverTlsKeyPath": "/tls/peers/tls.key",
                    "serverTlsCertificatePath": "/tls/peers/tls.crt",
                    "serverTrustCertificates": ["/tls/peers/ca.crt"],
                    "clientTrustMode": "CA",
                    "clientTlsKeyPath": "/tls/peers/tls.key",
                    "clientTlsCertificatePath": "/tls/peers/tls.crt",
                    "clientTrustCertificates": ["/tls/peers/ca.crt"],
                },
            },
            {
                "app": "Q2T",
                "serverAddress": "https://alice-tm.ledger.svc:9101",
                "bindingAddress": "https://0.0.0.0:9101",
                "communicationType": "REST",
                "sslConfig": {
                    "tls": "STRICT",
                    "sslConfigType": "SERVER_ONLY",
                    "generateKeyStoreIfNotExisted": false,
                    "clientAuth": true,
                    "serverTrustMode": "CA",
                    "serverTlsKeyPath": "/tls/tm/tls.key",
                    "serverTlsCertificatePath": "/tls/tm/tls.crt",
                    "serverTrustCertificates": ["/tls/tm/ca.crt"],
                },
            },
        ])
    );
}

#[test]
fn the_rest_of_the_file_is_this() {
    let mut configuration = configuration(&alone(&managed()));
    for elsewhere in ["serverConfigs", "jdbc"] {
        assert!(configuration.as_object_mut().is_some_and(|file| file.remove(elsewhere).is_some()));
    }
    assert_eq!(
        configuration,
        json!({
            "mode": "tessera",
            "useWhiteList": false,
            "peer": [],
            "disablePeerDiscovery": true,
            "keys": {"keyData": [{"privateKeyPath": "/keys/private", "publicKeyPath": "/keys/public"}]},
            "alwaysSendTo": [],
            "features": {"enableRemoteKeyValidation": true},
        })
    );
}

#[test]
fn a_foreign_authority_is_trusted_by_the_peers_server_alone() {
    let configuration = configuration(&alone(&everything()));
    let servers = configuration["serverConfigs"].as_array().expect("servers");
    let [peers, client] = servers.as_slice() else { panic!("two servers") };
    let both = json!(["/tls/peers/ca.crt", "/tls/trust/0/ca.crt"]);
    assert_eq!(peers["sslConfig"]["serverTrustCertificates"], both);
    assert_eq!(peers["sslConfig"]["clientTrustCertificates"], both);
    assert_eq!(client["sslConfig"]["serverTrustCertificates"], json!(["/tls/tm/ca.crt"]));
    assert_eq!(peers["serverAddress"], "https://tm.alice.example:19000", "as other organisations find it");
    assert_eq!(peers["bindingAddress"], "https://0.0.0.0:9000");
    assert_eq!(client["serverAddress"], "https://alice-tm.ledger.svc:9101", "nobody else's business");
}

#[test]
fn a_locked_keys_password_is_a_file() {
    let configuration = configuration(&alone(&everything()));
    assert_eq!(configuration["keys"]["passwordFile"], "/password/password");
    assert_eq!(configuration["keys"].get("passwords"), None);
}

#[test]
fn the_managed_database_is_verified_by_name_and_shown_a_certificate() {
    assert_eq!(
        configuration(&alone(&managed()))["jdbc"],
        json!({
            "url": "jdbc:postgresql://alice-tm-db.ledger.svc:5432/tessera?sslmode=verify-full\
                &sslrootcert=/tls/db-ca/ca.crt&sslcert=/tls/db/tls.crt&sslkey=/tls/db/tls.pk8",
            "username": "tessera",
            "password": "",
            "autoCreateTables": true,
        })
    );
}

#[test]
fn a_foreign_database_is_shown_a_certificate_where_there_is_one() {
    let node = alone(&external_with_certificate());
    assert_eq!(
        configuration(&node)["jdbc"],
        json!({
            "url": "jdbc:postgresql://pg.bank.example:6432/payloads?sslmode=verify-full\
                &sslrootcert=/tls/db-ca/ca.crt&sslcert=/tls/db/tls.crt&sslkey=/tls/db/tls.pk8",
            "username": "quorum_rw",
            "password": "",
            "autoCreateTables": true,
        })
    );
    assert!(sample::render(&node).secret_templates.is_empty(), "there is no password to hide");
}

#[test]
fn a_password_has_a_place_in_a_secret_and_nowhere_else() {
    let node = alone(&external_with_password());
    assert_eq!(
        configuration(&node)["jdbc"],
        json!({
            "url": "jdbc:postgresql://pg.bank.example:6432/payloads?sslmode=verify-full\
                &sslrootcert=/tls/db-ca/ca.crt",
            "username": "quorum_rw",
            "password": SecretTemplate::PLACE,
            "autoCreateTables": true,
        })
    );
    let desired = sample::render(&node);
    let [secret_templates] = desired.secret_templates.as_slice() else { panic!("one sealed Secret") };
    assert_eq!(
        (secret_templates.password.name.as_str(), secret_templates.password.key.as_str()),
        ("bank-login", "pw")
    );
    for map in &desired.config_maps {
        let text = serde_json::to_string(map).expect("JSON");
        assert!(!text.contains("jdbc"), "{:?}", map.metadata.name);
    }
}

#[test]
fn a_new_password_is_a_new_secret() {
    let node = alone(&external_with_password());
    let mut rotated = node.clone();
    if let Some(crate::node::validate::Database::External(_, version)) =
        rotated.manager.as_mut().map(|manager| &mut manager.database)
    {
        *version = Some("4712".into());
    }
    let secret = |node| sample::render(node).secret_templates.swap_remove(0).secret.metadata.annotations;
    assert_ne!(secret(&node), secret(&rotated));
}

#[test]
fn managers_of_the_network_and_declared_ones_are_peers() {
    let node = sample::among(
        &everything(),
        &[client_alone(), external_with_password(), validator(), external_with_certificate()],
    );
    assert_eq!(
        configuration(&node)["peer"],
        json!([
            {"url": "https://bob-tm.ledger.svc:9000/"},
            {"url": "https://erin-tm.ledger.svc:9000/"},
            {"url": "https://tm.rival.example:9443/"},
        ])
    );
}

#[test]
fn every_file_that_is_named_is_mounted() {
    for node in sample::network().into_iter().filter(|node| node.manager.is_some()) {
        let container = sample::container(&node, crate::model::names::Component::TransactionManager, "tm");
        let mounts: Vec<_> =
            container.volume_mounts.iter().flatten().map(|mount| &mount.mount_path).collect();
        let text = configuration(&node).to_string();
        let jdbc = text.replace(['?', '&', '='], "\"");
        let files: Vec<_> = jdbc.split('"').filter(|word| word.starts_with('/') && word.len() > 1).collect();
        assert!(files.len() > 8, "{files:?}");
        for file in files {
            let directory = file.rsplit_once('/').map(|(directory, _)| directory.to_owned());
            assert!(mounts.iter().any(|mount| Some(*mount) == directory.as_ref()), "{file}: {mounts:?}");
        }
    }
}

/// A manager's pod template, the managers that it lists, and the known managers as recorded in both places.
fn known(node: &Validated, before: Option<&str>) -> (PodTemplateSpec, Vec<String>, String) {
    let live = Live {
        managers: before.map(str::to_owned),
        joining: Joining { now: "2031-03-07T11:13:17Z".parse().expect("a time"), is_free: false },
        ..Live::default()
    };
    let desired = desired(node, &sample::issued(node), &world::render_config(), &live);
    let workload = sample::workload(&desired, Component::TransactionManager).expect("a manager");
    let noted = |meta: &ObjectMeta| meta.annotations.as_ref()?.get("quorum.security/managers").cloned();
    let config = format!("qn-{}-tm-config", node.names.node);
    let maps = desired.config_maps.iter().map(|map| &map.metadata);
    let mut configs =
        maps.chain(desired.secret_templates.iter().map(|secret_templates| &secret_templates.secret.metadata));
    let config = configs.find(|meta| meta.name.as_ref() == Some(&config)).and_then(noted).expect("told");
    assert_eq!(noted(&workload.metadata), Some(config.clone()));
    let peers = written(node, &desired)["peer"].clone();
    let urls = peers
        .as_array()
        .expect("peers")
        .iter()
        .map(|peer| peer["url"].as_str().unwrap_or_default().to_owned());
    (sample::template(workload).clone(), urls.collect(), config)
}

#[test]
fn a_newcomer_is_named_at_once_and_restarts_a_manager_when_its_own_serves() {
    for (spec, newcomer, name) in
        [(everything(), external_with_password(), "bob"), (external_with_password(), managed(), "alice")]
    {
        let url = format!("https://{name}-tm.ledger.svc:9000/");
        let (before, peers, none) = known(&alone(&spec), None);
        assert!(none == ":" && !peers.contains(&url), "{none}");
        let mut node = sample::among(&spec, &[newcomer]);
        let (template, peers, unmet) = known(&node, Some(&none));
        assert_eq!((&template, unmet.as_str()), (&before, ":"));
        assert!(peers.contains(&url));
        let serves = "2031-03-07T11:12:47Z".parse().expect("a time");
        node.manager.as_mut().expect("a manager").network_members = [(name.to_owned(), Some(serves))].into();
        let (template, _, met) = known(&node, Some(&unmet));
        assert_ne!(template, before);
        assert!(met.ends_with(&format!(":{name}")), "{met}");
        // the new manager leaves and comes back
        assert_eq!(known(&alone(&spec), Some(&met)), (template.clone(), peers, met.clone()));
        assert_eq!(known(&node, Some(&met)).0, template);
    }
}
