//! What a genesis says: which chain it starts and by which consensus, and whether `geth init` would take it.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::secrets::hex;

/// The consensus engine a chain starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// `config.qbft`.
    Qbft,
    /// `config.ibft`, or the older `config.istanbul`.
    Ibft,
    /// Neither.
    Unspecified,
}

/// What follows from a genesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisFacts {
    /// SHA-256 of its bytes, lower-case hexadecimal.
    pub sha256: String,
    /// `config.chainId`.
    pub chain_id: u64,
    /// The engine of the first block.
    pub engine: Engine,
}

/// Reads a `genesis.json`.
///
/// # Errors
/// What is wrong with it and what to do, where `geth init` would refuse it, crash, or start another chain.
pub fn read_genesis(bytes: &[u8]) -> Result<GenesisFacts, String> {
    let genesis: Value =
        serde_json::from_slice(bytes).map_err(|why| format!("it is not JSON ({why}): correct it"))?;
    let genesis =
        genesis.as_object().ok_or("it is not a JSON object: put the network's genesis.json there")?;
    let config = section(genesis, "config")?
        .ok_or("it has no `config` object, without which geth init crashes: add it, with chainId and qbft")?;
    let chain_id = chain_id(config)?;
    let engine = engine(config)?;
    required_fields(genesis)?;
    extra_data(genesis, engine)?;
    Ok(GenesisFacts { sha256: hex(&Sha256::digest(bytes)), chain_id, engine })
}

/// An object under a key; null is absence, as it is to geth.
fn section<'a>(parent: &'a Map<String, Value>, key: &str) -> Result<Option<&'a Map<String, Value>>, String> {
    match parent.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(section)) => Ok(Some(section)),
        Some(_) => Err(format!("`{key}` is not a JSON object: correct it")),
    }
}

/// geth reads the number as a big integer, which takes neither a string nor a fraction nor an exponent.
fn chain_id(config: &Map<String, Value>) -> Result<u64, String> {
    let value = config.get("chainId").ok_or("`config.chainId` is missing: add the number of the chain")?;
    value.as_u64().filter(|id| *id > 0).ok_or_else(|| {
        "`config.chainId` must be a whole decimal number from 1 to 18446744073709551615, without quotes: correct it"
            .into()
    })
}

/// geth takes the first of clique, istanbul, ibft and qbft that is there, whatever else is. A transition at
/// block 0 comes on top.
fn engine(config: &Map<String, Value>) -> Result<Engine, String> {
    let [clique, istanbul, ibft, qbft] =
        ["clique", "istanbul", "ibft", "qbft"].map(|key| section(config, key));
    let (clique, istanbul, ibft, qbft) = (clique?, istanbul?, ibft?, qbft?);
    let mut engine = match istanbul {
        Some(istanbul) if istanbul.get("testQBFTBlock").is_some_and(is_zero) => Engine::Qbft,
        Some(_) => Engine::Ibft,
        None if ibft.is_some() => Engine::Ibft,
        None if qbft.is_some() => Engine::Qbft,
        None => Engine::Unspecified,
    };
    let mut is_qbft = qbft.is_some();
    for transition in transitions(config)? {
        let block = transition.get("block").filter(|block| block.is_u64());
        let block = block.ok_or("an entry of `config.transitions` has no block number: add `block` to it")?;
        let algorithm = transition.get("algorithm").and_then(Value::as_str).unwrap_or_default();
        if algorithm.eq_ignore_ascii_case("qbft") {
            is_qbft = true;
        } else if !algorithm.eq_ignore_ascii_case("ibft") {
            continue;
        } else if is_qbft {
            return Err(
                "`config.transitions` goes back from qbft to ibft, which geth refuses: remove it".into()
            );
        }
        if is_zero(block) {
            engine = if is_qbft { Engine::Qbft } else { Engine::Ibft };
        }
    }
    Ok(if clique.is_some() { Engine::Unspecified } else { engine })
}

fn transitions(config: &Map<String, Value>) -> Result<&[Value], String> {
    match config.get("transitions") {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(transitions)) => Ok(transitions),
        Some(_) => Err("`config.transitions` is not a JSON array: correct it".into()),
    }
}

fn is_zero(value: &Value) -> bool {
    value.as_u64() == Some(0)
}

fn required_fields(genesis: &Map<String, Value>) -> Result<(), String> {
    section(genesis, "alloc")?.ok_or("`alloc` is missing: add it, {} if nobody starts with a balance")?;
    for key in ["difficulty", "gasLimit"] {
        let value = genesis
            .get(key)
            .ok_or_else(|| format!("`{key}` is missing, and geth init requires it: add it"))?;
        if !is_hex_or_decimal(value) {
            return Err(format!("`{key}` must be a number such as \"0x1\" or \"1\": correct it"));
        }
    }
    Ok(())
}

fn is_hex_or_decimal(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_u64(),
        Value::String(text) => match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit()),
            None => !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()),
        },
        _ => false,
    }
}

/// The validators of the first block are in it, so a chain by either engine does not start without.
fn extra_data(genesis: &Map<String, Value>, engine: Engine) -> Result<(), String> {
    let text = match genesis.get("extraData") {
        None | Some(Value::Null) if engine == Engine::Unspecified => return Ok(()),
        None | Some(Value::Null) => {
            return Err("`extraData` is missing, and it names the first validators: add it".into());
        }
        Some(value) => value.as_str(),
    };
    let digits = text.and_then(|text| text.strip_prefix("0x"));
    let is_bytes = digits
        .is_some_and(|digits| digits.len() % 2 == 0 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    if is_bytes {
        Ok(())
    } else {
        Err("`extraData` must be a string of 0x and pairs of hexadecimal digits: correct it".into())
    }
}

#[cfg(test)]
mod tests;
