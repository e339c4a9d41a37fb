//! Objects that a transaction manager reads only at start, besides its configuration. A change of one replaces the pod.

use std::collections::BTreeMap;

use crate::node::observed::{Observed, ObservedManager};

/// The field of an external database.
const EXTERNAL: &str = "spec.transactionManager.database.external";

/// Digests of certificates and versions of Secrets, by the field that names them: CAs of other organisations, and
/// credentials for an external database. Excludes the CA of scrapers, which quorum-guard reloads by itself.
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
