//! Whether the chain makes blocks, and what of this node is in its way. No part of being ready: what stands still is the
//! network, and a node that is replaced for it would make it worse.

use super::{Finding, finding};
use crate::node::{
    chain::{self, Standing},
    observed::Observed,
    validate::Validated,
};

pub(super) fn advancing(observed: &Observed, node: &Validated) -> Finding {
    let chain::Told { status, reason, message } = chain::told(observed);
    let clients = observed.chain.as_ref().map(|view| &view.verdict.clients);
    let own = clients.and_then(|clients| clients.get(&node.names.node));
    let remark = own.and_then(|(_, standing)| match standing {
        Standing::Behind => {
            Some("this node's client has not caught up with the others of the network".to_owned())
        }
        Standing::Alone => {
            Some("this node's client has fewer peers than before its pod was replaced".to_owned())
        }
        Standing::Awaited | Standing::Unseen | Standing::Back => None,
    });
    let all: Vec<_> =
        [Some(message), remark, chain::stranger(observed, node)].into_iter().flatten().collect();
    finding(chain::ADVANCING, status, reason, all.join("; "))
}
