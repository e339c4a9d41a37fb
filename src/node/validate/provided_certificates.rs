//! Validates the certificates that the user provides.

use super::Validated;
use crate::{
    model::{
        fault::{Fault, Reason},
        names::{Purpose, secret_name},
    },
    node::{
        desired::certificates::{Authority, Lack, Wanted, lack, wanted},
        observed::Observed,
    },
};

pub(super) fn check(node: &Validated, observed: &Observed) -> Vec<Fault> {
    let provided = wanted(node).into_iter().filter(|(_, wanted)| wanted.authority == Authority::Provided);
    let fault = |(purpose, wanted): (Purpose, Wanted)| {
        let (reason, why) = match lack(observed, purpose, &wanted)? {
            Lack::Missing => {
                (Reason::ReferenceMissing, "create the Secret in the node's namespace".to_owned())
            }
            Lack::Of(why) => (Reason::ReferenceInvalid, why),
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
