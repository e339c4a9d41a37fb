//! The genesis that the node's client has taken, until which another one may come in its place; and what it does not name.

use super::{Finding, finding};
use crate::{
    api::status::{GenesisStatus, QuorumNodeStatus},
    node::{
        chain,
        fault::Fault,
        genesis::{self, GenesisFacts, Pinned},
        names::Component,
        observed::Observed,
        validate::Validated,
    },
};

/// What is pinned: what `geth init` has taken, and before that nothing.
pub(super) fn pinned(
    observed: &Observed,
    validated: &Result<Validated, Vec<Fault>>,
    before: &QuorumNodeStatus,
) -> Option<GenesisStatus> {
    let Ok(node) = validated else { return before.genesis.clone() };
    let Some(pinned) = &before.genesis else {
        return is_taken(observed, &node.genesis).then(|| status(&node.genesis))?;
    };
    match genesis::against(pinned, &node.genesis) {
        // one of an earlier version has no block in it
        Pinned::Same if pinned.block.is_none() => {
            Some(GenesisStatus { block: Some(node.genesis.block.clone()), ..pinned.clone() })
        }
        Pinned::OtherConfig if is_taken(observed, &node.genesis) => status(&node.genesis),
        _ => Some(pinned.clone()),
    }
}

/// What is listed beside the need, and what the genesis does not name, is told where nothing is wrong.
pub(super) fn config_valid(observed: &Observed, node: &Validated) -> Finding {
    let stranger = chain::stranger(observed, node);
    let remarks = node.peers.remarks.iter().chain(&stranger).map(String::as_str);
    let all: Vec<_> = std::iter::once("spec and references hold").chain(remarks).collect();
    finding("ConfigValid", "True", "Valid", all.join("; "))
}

fn status(genesis: &GenesisFacts) -> Option<GenesisStatus> {
    let chain_id = i64::try_from(genesis.chain_id).ok()?;
    Some(GenesisStatus { sha256: genesis.sha256.clone(), chain_id, block: Some(genesis.block.clone()) })
}

/// Whether the client's pod was made from a template with this very genesis, and `geth init` has ended well in it.
fn is_taken(observed: &Observed, genesis: &GenesisFacts) -> bool {
    let client = Component::Client;
    let (Some(workload), Some(pod)) = (observed.workloads.get(&client), observed.pods.get(&client)) else {
        return false;
    };
    workload.genesis.as_ref() == Some(&genesis.sha256)
        && workload.settled
        && pod.revision.is_some()
        && pod.revision == workload.update_revision
        && pod.initialised
}
