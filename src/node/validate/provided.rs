//! Certificates that somebody else provides: there, whole, and what the node needs.

use super::Validated;
use crate::node::{
    desired::certificates::{Authority, secret_name, wanted},
    fault::{Fault, Reason},
    names::Purpose,
    observed::Observed,
    secrets::tls,
};

pub(super) fn check(node: &Validated, observed: &Observed) -> Vec<Fault> {
    let provided = wanted(node).into_iter().filter(|(_, wanted)| wanted.authority == Authority::Provided);
    let fault = |(purpose, wanted): (Purpose, crate::node::desired::certificates::Wanted)| {
        let (reason, why) = match observed.certificates.get(&purpose) {
            None => (Reason::ReferenceMissing, "create the Secret, in the node's namespace".to_owned()),
            Some(Err(why)) => (Reason::ReferenceUnusable, why.to_string()),
            Some(Ok(facts)) => (
                Reason::ReferenceUnusable,
                format!("tls.crt {}: have it issued so", tls::lacking(&wanted.request, facts)?),
            ),
        };
        let field = if purpose == Purpose::Metrics { "metrics" } else { "tmPeers" };
        let secret = secret_name(&node.names, &node.spec.tls, purpose);
        Some(Fault::new(reason, format!("spec.tls.provided.{field}"), format!("Secret {secret}"), why))
    };
    provided.filter_map(fault).collect()
}
