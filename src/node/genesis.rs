//! What a genesis says: which chain it starts and by which consensus, and whether `geth init` would take it.

mod block;
mod config;
mod extra;
mod json;
mod members;
mod pin;
mod quantity;
mod rlp;
mod schedule;
mod transitions;

use std::{collections::BTreeMap, sync::Arc};

use sha2::{Digest as _, Sha256};

pub use config::Engine;
pub use pin::{Pinned, against};
pub use schedule::{Schedule, Validators};

use super::secrets::hex;
use json::Json;
use members::{Faults, Section};

/// What follows from a genesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisFacts {
    /// SHA-256 of its bytes, lower-case hexadecimal.
    pub sha256: String,
    /// `config.chainId`.
    pub chain_id: u64,
    /// The engine of the first block.
    pub engine: Engine,
    /// What the hash of the first block is made from, by the names of members, in one notation.
    pub block: BTreeMap<String, String>,
    /// How far blocks are apart, and who makes them.
    pub schedule: Arc<Schedule>,
}

/// Reads a `genesis.json`.
///
/// # Errors
/// Everything that is wrong with it and what to do, where `geth init` would refuse it or crash, or the client it
/// starts would make no block.
pub fn read_genesis(bytes: &[u8]) -> Result<GenesisFacts, String> {
    let genesis: Json =
        serde_json::from_slice(bytes).map_err(|why| format!("it is not JSON ({why}): correct it"))?;
    let Json::Object(genesis) = genesis else {
        return Err("it is not a JSON object: put the network's genesis.json there".into());
    };
    let genesis = Section::new("", &genesis);
    let mut faults = Faults::default();
    let config = genesis.section("config", &mut faults);
    if genesis.is_absent("config") {
        faults
            .say("it has no `config` object, without which geth init crashes: add it, with chainId and qbft");
    }
    let config = config.map(|config| config::read(config, &mut faults));
    let block = block::read(genesis, &mut faults);
    let mut validators = Validators::Unknown;
    if let (Some(config), None) = (&config, faults.told()) {
        validators = extra::judge(config, &block, &mut faults);
    }
    match (config, faults.told()) {
        (Some(config), None) => Ok(GenesisFacts {
            schedule: Arc::new(Schedule::of(&config, validators)),
            sha256: hex(&Sha256::digest(bytes)),
            chain_id: config.chain_id,
            engine: config.engine,
            block: block.members(),
        }),
        (_, faults) => Err(faults.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests;
