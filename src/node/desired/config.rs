//! ConfigMaps: lists of peers, the transaction manager's and the database's configuration, authorities.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::api::ObjectMeta;

use super::{Issued, Live, Sealed, admitted::Admitted, database, known::Known, tessera};
use crate::{
    database::FILE,
    node::{
        names::{self, Component},
        validate::{Database, Validated},
    },
};

/// Annotation: resource version of the Secret a sealed configuration took its password from.
const PASSWORD_VERSION: &str = "quorum.security/password-version";

/// The network's authority, for callers and scrapers to trust. All nodes of the network write the same
/// bytes, and it goes when the last of them goes.
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

/// Whom the client dials and whom it admits. Mounted as a directory, so that a change arrives without a
/// restart. Whom it has admitted stands here too: the workload may be taken away from around its pod.
pub(super) fn peers(node: &Validated, live: &Live) -> ConfigMap {
    let list = |urls: &[String]| serde_json::to_string_pretty(urls).unwrap_or_default();
    let data = BTreeMap::from([
        ("static-nodes.json".into(), list(&node.peers.dialled)),
        ("permissioned-nodes.json".into(), list(&node.peers.permitted)),
    ]);
    let mut lists = config_map(node, node.names.peers(), Component::Client, data);
    let admitted = Admitted::next(live.permitted.as_deref(), &node.peers.permitted, live.leaving);
    lists.metadata.annotations = Some(BTreeMap::from([(names::PERMITTED.into(), admitted.to_string())]));
    lists
}

/// The transaction manager's configuration; a Secret where it holds a password. Which managers it knows stands here too.
pub(super) fn manager(node: &Validated, live: &Live) -> (Option<ConfigMap>, Option<Sealed>) {
    let Some(manager) = &node.manager else { return (None, None) };
    let name = node.names.manager_config();
    let component = Component::TransactionManager;
    let known = Known::next(live.managers.as_deref(), &manager.siblings, live.joining);
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
            let sealed = external.password_ref.clone().map(|password| Sealed { secret, password });
            (None, sealed)
        }
        _ => {
            let data = BTreeMap::from([(tessera::FILE.to_owned(), text)]);
            let mut map = config_map(node, name, component, data);
            map.metadata.annotations = Some(BTreeMap::from([known]));
            (Some(map), None)
        }
    }
}

/// The managed database's configuration; of an external one, which it must be.
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
