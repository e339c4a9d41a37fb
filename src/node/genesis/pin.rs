//! Whether a genesis may take the place of the one that a client has taken.

use super::GenesisFacts;
use crate::api::status::GenesisStatus;

/// What a genesis is to the one that is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// The same bytes.
    Same,
    /// Another `config`, with the same block and chain id: `geth init` may take it.
    OtherConfig,
    /// Another chain; what differs, or nothing where that is not known.
    OtherChain(Vec<String>),
}

/// Compares a genesis with the one in the status. A status of an earlier version has the bytes' digest alone.
#[must_use]
pub fn against(pinned: &GenesisStatus, genesis: &GenesisFacts) -> Pinned {
    if pinned.sha256 == genesis.sha256 {
        return Pinned::Same;
    }
    let Some(before) = &pinned.block else { return Pinned::OtherChain(vec![]) };
    let mut differs = Vec::new();
    if i64::try_from(genesis.chain_id) != Ok(pinned.chain_id) {
        differs.push(format!("config.chainId was {} and is {}", pinned.chain_id, genesis.chain_id));
    }
    let zero = "zero".to_owned();
    let names: std::collections::BTreeSet<_> = before.keys().chain(genesis.block.keys()).collect();
    for name in names {
        let (was, is) = (before.get(name).unwrap_or(&zero), genesis.block.get(name).unwrap_or(&zero));
        if was == is {
            continue;
        }
        // a digest says nothing to people
        let digests = [was, is].iter().any(|value| value.starts_with("sha256:"));
        differs.push(if digests {
            format!("{name} differs")
        } else {
            format!("{name} was {was} and is {is}")
        });
    }
    if differs.is_empty() { Pinned::OtherConfig } else { Pinned::OtherChain(differs) }
}
