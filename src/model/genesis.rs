//! Parsing and validation of `genesis.json`: chain id, consensus engine, block hash inputs, and every error that would
//! make `geth init` or the client fail.

mod block;
mod config;
mod extra_data;
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

/// Facts read from a genesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisFacts {
    /// SHA-256 of its bytes, lower-case hexadecimal.
    pub sha256: String,
    /// `config.chainId`.
    pub chain_id: u64,
    /// The consensus engine at block 0.
    pub engine: Engine,
    /// Inputs of the genesis block's hash, by member name, in one notation.
    pub block: BTreeMap<String, String>,
    /// Block periods and validators.
    pub schedule: Arc<Schedule>,
}

/// Reads a `genesis.json`.
///
/// # Errors
/// All faults with what to do about each, where `geth init` would reject the genesis or crash, or the client would make
/// no block.
pub fn read_genesis(bytes: &[u8]) -> Result<GenesisFacts, String> {
    let genesis: Json = serde_json::from_slice(bytes)
        .map_err(|why| format!("the genesis is not JSON ({why}): correct the JSON"))?;
    let Json::Object(genesis) = genesis else {
        return Err(
            "the genesis is not a JSON object: write the network's genesis.json into the ConfigMap".into()
        );
    };
    let genesis = Section::new("", &genesis);
    let mut faults = Faults::default();
    let config = genesis.section("config", &mut faults);
    if genesis.is_absent("config") {
        faults.say(
            "the genesis has no `config` object, and geth init crashes without this object: add `config` with chainId and qbft",
        );
    }
    let config = config.map(|config| config::read(config, &mut faults));
    let block = block::read(genesis, &mut faults);
    let mut validators = Validators::Unknown;
    if let (Some(config), None) = (&config, faults.summary()) {
        validators = extra_data::judge(config, &block, &mut faults);
    }
    match (config, faults.summary()) {
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
