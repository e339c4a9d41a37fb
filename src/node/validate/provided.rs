//! Certificates that somebody else provides: there, whole, and what the node needs.

use super::Validated;
use crate::node::{
    desired::certificates::{Authority, Lack, Wanted, lack, secret_name, wanted},
    fault::{Fault, Reason},
    names::Purpose,
    observed::Observed,
};

pub(super) fn check(node: &Validated, observed: &Observed) -> Vec<Fault> {
    let provided = wanted(node).into_iter().filter(|(_, wanted)| wanted.authority == Authority::Provided);
    let fault = |(purpose, wanted): (Purpose, Wanted)| {
        let (reason, why) = match lack(observed, purpose, &wanted)? {
            Lack::Missing => {
                (Reason::ReferenceMissing, "create the Secret, in the node's namespace".to_owned())
            }
            Lack::Of(why) => (Reason::ReferenceUnusable, why),
        };
        let field = match purpose {
            Purpose::Metrics => "metrics",
            Purpose::Rpc => "rpc",
            _ => "tmPeers",
        };
        let secret = secret_name(&node.names, &node.spec.tls, purpose);
        Some(Fault::new(reason, format!("spec.tls.provided.{field}"), format!("Secret {secret}"), why))
    };
    provided.filter_map(fault).collect()
}
