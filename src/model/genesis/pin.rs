//! Compares a genesis with the pinned one, which a client has been initialised with.

use super::GenesisFacts;
use crate::api::status::GenesisStatus;

/// How a genesis differs from the pinned one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// The same bytes.
    Same,
    /// Another `config`, with the same block and chain id: `geth init` may accept it.
    OtherConfig,
    /// Another chain, with the differences; none where they are unknown.
    OtherChain(Vec<String>),
}

/// Compares a genesis with the pinned one. A status written by an earlier version has only the digest of the bytes.
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
        // digests mean nothing to a reader
        let digests = [was, is].iter().any(|value| value.starts_with("sha256:"));
        differs.push(if digests {
            format!("{name} differs")
        } else {
            format!("{name} was {was} and is {is}")
        });
    }
    if differs.is_empty() { Pinned::OtherConfig } else { Pinned::OtherChain(differs) }
}
