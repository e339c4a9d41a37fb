//! Pinned genesis in the status, and condition `ConfigValid` of a valid node. The genesis may be replaced by another
//! one until `geth init` has run.

use super::{Finding, finding};
use crate::node::decide::chain_message;
use crate::{
    api::status::{GenesisStatus, QuorumNodeStatus},
    model::{
        fault::Fault,
        genesis::{self, GenesisFacts, Pinned},
        names::Component,
    },
    node::{observed::Observed, validate::Validated},
};

/// The pinned genesis: the one that `geth init` has accepted, if any.
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
        // a status of an earlier version has no block
        Pinned::Same if pinned.block.is_none() => {
            Some(GenesisStatus { block: Some(node.genesis.block.clone()), ..pinned.clone() })
        }
        Pinned::OtherConfig if is_taken(observed, &node.genesis) => status(&node.genesis),
        _ => Some(pinned.clone()),
    }
}

/// Condition `ConfigValid`, with remarks about superfluous peers and about a validator that is not listed.
pub(super) fn config_valid(observed: &Observed, node: &Validated) -> Finding {
    let unlisted_validator = chain_message::unlisted_validator(observed, node);
    let remarks = node.peers.remarks.iter().chain(&unlisted_validator).map(String::as_str);
    let all: Vec<_> =
        std::iter::once("the spec and the objects that it references are valid").chain(remarks).collect();
    finding("ConfigValid", "True", "Valid", all.join("; "))
}

fn status(genesis: &GenesisFacts) -> Option<GenesisStatus> {
    let chain_id = i64::try_from(genesis.chain_id).ok()?;
    Some(GenesisStatus { sha256: genesis.sha256.clone(), chain_id, block: Some(genesis.block.clone()) })
}

/// Whether `geth init` has succeeded with this very genesis in the client's current pod.
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
