//! ConfigMaps: lists of peers, configuration of the transaction manager and the database, CA certificates.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::api::ObjectMeta;

use super::{
    Issued, Live, SecretTemplate, admitted_peers::Admitted, database, known_managers::Known, tessera,
};
use crate::{
    model::names::{self, Component},
    node::validate::{Database, Validated},
    protocol::database::FILE,
};

/// Annotation: resource version of the Secret that the password in a configuration comes from.
const PASSWORD_VERSION: &str = "quorum.security/password-version";

/// CA certificates of the network, for callers and scrapers to trust. All nodes of the network write the same bytes,
/// and the ConfigMap is deleted with the last of them.
pub(super) fn network_authority(node: &Validated, issued: &Issued) -> ConfigMap {
    let certificate = issued.network_authorities.clone();
    ConfigMap {
        metadata: ObjectMeta {
            owner_references: Some(node.network_owners.clone()),
            ..node.names.unowned(node.names.network_authority(), node.names.network_labels())
        },
        data: Some(BTreeMap::from([("ca.crt".into(), certificate)])),
        ..ConfigMap::default()
    }
}

/// Lists of the peers that the client dials and admits. Mounted as a directory, so that a change arrives without a
/// restart. The admitted peers are recorded here too, since the workload may be deleted without its pod.
pub(super) fn peers(node: &Validated, live: &Live) -> ConfigMap {
    let list = |urls: &[String]| serde_json::to_string_pretty(urls).unwrap_or_default();
    let data = BTreeMap::from([
        ("static-nodes.json".into(), list(&node.peers.dialled)),
        ("permissioned-nodes.json".into(), list(&node.peers.admitted_peers)),
    ]);
    let mut lists = config_map(node, node.names.peers(), Component::Client, data);
    let admitted = Admitted::next(live.admitted_peers.as_deref(), &node.peers.admitted_peers, live.leaving);
    lists.metadata.annotations = Some(BTreeMap::from([(names::PERMITTED.into(), admitted.to_string())]));
    lists
}

/// The transaction manager's configuration; a Secret if it contains a password. The known managers are recorded here
/// too.
pub(super) fn manager(node: &Validated, live: &Live) -> (Option<ConfigMap>, Option<SecretTemplate>) {
    let Some(manager) = &node.manager else { return (None, None) };
    let name = node.names.manager_config();
    let component = Component::TransactionManager;
    let known = Known::next(live.managers.as_deref(), &manager.network_members, live.joining);
    let mut listed = known.listed(manager);
    listed.remove(node.names.node.as_str());
    let text = tessera::configuration(node, manager, &listed).to_string();
    let known = (names::MANAGERS.to_owned(), known.to_string());
    match &manager.database {
        Database::External(external, version) if external.password_ref.is_some() => {
            let mut metadata = node.names.meta(name, node.names.component_labels(component), &node.owner);
            let password = (PASSWORD_VERSION.into(), version.clone().unwrap_or_default());
            metadata.annotations = Some(BTreeMap::from([password, known]));
            let data = BTreeMap::from([(tessera::FILE.to_owned(), ByteString(text.into_bytes()))]);
            let secret = Secret { metadata, data: Some(data), ..Secret::default() };
            let secret_templates =
                external.password_ref.clone().map(|password| SecretTemplate { secret, password });
            (None, secret_templates)
        }
        _ => {
            let data = BTreeMap::from([(tessera::FILE.to_owned(), text)]);
            let mut map = config_map(node, name, component, data);
            map.metadata.annotations = Some(BTreeMap::from([known]));
            (Some(map), None)
        }
    }
}

/// The managed database's configuration; for an external database, only its expected identity.
pub(super) fn database(node: &Validated) -> Option<ConfigMap> {
    let manager = node.manager.as_ref()?;
    let (component, files) = match manager.database {
        Database::Managed(_) => (Component::Database, database::files(manager.expected)),
        Database::External(..) => {
            let expected = manager.expected.map(|identifier| identifier.to_string()).unwrap_or_default();
            (Component::TransactionManager, BTreeMap::from([(FILE.into(), expected)]))
        }
    };
    Some(config_map(node, node.names.database_config(), component, files))
}

fn config_map(
    node: &Validated,
    name: String,
    component: Component,
    data: BTreeMap<String, String>,
) -> ConfigMap {
    ConfigMap {
        metadata: node.names.meta(name, node.names.component_labels(component), &node.owner),
        data: Some(data),
        ..ConfigMap::default()
    }
}
