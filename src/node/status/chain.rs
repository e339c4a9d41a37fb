//! Condition `ChainAdvancing`: whether the chain makes blocks, with remarks about this node's client. Not part of
//! `Ready`: replacing a node because its network is stalled would make it worse.

use super::{Finding, finding};
use crate::{
    model::chain::ClientProgress,
    node::{decide::chain_message, observed::Observed, validate::Validated},
};

pub(super) fn advancing(observed: &Observed, node: &Validated) -> Finding {
    let chain_message::ChainMessage { status, reason, message } = chain_message::told(observed);
    let clients = observed.chain.as_ref().map(|view| &view.assessment.clients);
    let own = clients.and_then(|clients| clients.get(&node.names.node));
    let remark = own.and_then(|(_, standing)| match standing {
        ClientProgress::Behind => Some("this node's client has not caught up with its network".to_owned()),
        ClientProgress::MissingPeers => {
            Some("this node's client has fewer peers than before its pod was replaced".to_owned())
        }
        ClientProgress::Pending | ClientProgress::Unobserved | ClientProgress::CaughtUp => None,
    });
    let all: Vec<_> = [Some(message), remark, chain_message::unlisted_validator(observed, node)]
        .into_iter()
        .flatten()
        .collect();
    finding(chain_message::ADVANCING, status, reason, all.join("; "))
}
