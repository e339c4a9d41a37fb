//! What a transaction manager reads at start beside its configuration: a change of it replaces the pod.

use std::collections::BTreeMap;

use crate::node::observed::{Observed, ObservedManager};

/// The field that names a database that exists.
const EXTERNAL: &str = "spec.transactionManager.database.external";

/// Digests of certificates and versions of Secrets, by the field that names them: the authorities of other
/// organisations, and what the connection to an external database needs. The authority of scrapers is not among them,
/// since a quorum-guard reads its files again by itself.
pub(super) fn read_once(seen: &ObservedManager, observed: &Observed) -> BTreeMap<String, String> {
    let is_read_once = |field: &str| field.starts_with("spec.tls.trust[") || field.starts_with(EXTERNAL);
    let bundles = observed.bundles.iter().filter(|(field, _)| is_read_once(field));
    let bundles = bundles.filter_map(|(field, digest)| Some((field.clone(), digest.usable()?.clone())));
    let secrets =
        [("passwordRef", &seen.database_password), ("clientCertificateRef", &seen.database_certificate)];
    let secrets = secrets.into_iter().filter_map(|(field, version)| {
        Some((format!("{EXTERNAL}.{field}"), version.as_ref()?.usable()?.clone()))
    });
    bundles.chain(secrets).collect()
}
