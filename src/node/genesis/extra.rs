//! `extraData`: the first validators, in the layout of the engine, and what else the engine wants of a genesis block.

use super::{
    block::Block,
    config::{Bft, Config, Engine},
    members::Faults,
    quantity::Quantity,
    rlp::{self, Item},
    schedule::Validators,
};
use crate::node::secrets::hex;

/// What `mixHash` must be: by it the client knows a block of QBFT or IBFT.
const MIX_HASH: &str = "63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365";

/// Bytes in front of the validators, in the layout of IBFT.
const VANITY: usize = 32;

type Address = [u8; 20];

/// Judges what the engine reads of the block when it starts. The first validators, where it says who they are.
pub(super) fn judge(config: &Config, block: &Block, faults: &mut Faults) -> Validators {
    let (engine, layout): (_, fn(&[u8]) -> _) = match config.engine {
        Engine::Unspecified => return Validators::Unknown,
        Engine::Qbft => ("QBFT", qbft),
        Engine::Ibft => ("IBFT", ibft),
    };
    header(config, engine, block, faults);
    if block.extra_data.is_empty() {
        faults.say("`extraData` is missing, and it names the first validators: add it");
        return Validators::Unknown;
    }
    match layout(&block.extra_data) {
        Ok(validators) => first_validators(config, block, &validators, faults),
        Err(why) => {
            let (other, read): (_, fn(&[u8]) -> _) =
                if config.engine == Engine::Qbft { ("IBFT", ibft) } else { ("QBFT", qbft) };
            let remedy = match read(&block.extra_data) {
                Ok(_) => format!("it is in the layout of {other}; name {other} in `config`, or make it anew"),
                Err(_) => "make it anew with a generator of genesis files".into(),
            };
            faults.say(format!("`extraData` {why}, and so is not in the layout of {engine}: {remedy}"));
            Validators::Unknown
        }
    }
}

fn header(config: &Config, engine: &str, block: &Block, faults: &mut Faults) {
    let mix_hash = hex(&block.mix_hash);
    if mix_hash != MIX_HASH {
        let value =
            if block.mix_hash == [0; 32] { "zero or missing".into() } else { format!("0x{mix_hash}") };
        faults.wrong("mixHash", value, format!("write 0x{MIX_HASH}, without which {engine} does not start"));
    }
    if block.difficulty != Quantity::from(1) {
        let remedy = format!("write \"0x1\", without which {engine} does not start");
        faults.wrong("difficulty", block.difficulty, remedy);
    }
    if config.engine == Engine::Ibft && ![0, u64::MAX].contains(&block.nonce) {
        let nonce = format!("{:#x}", block.nonce);
        faults.wrong("nonce", nonce, "write \"0x0\", without which IBFT does not start");
    }
}

/// Validators come from a contract, from `config`, or else from `extraData`, and there is at least one.
fn first_validators(
    config: &Config,
    block: &Block,
    validators: &[Address],
    faults: &mut Faults,
) -> Validators {
    if config.is_quorum {
        contract_alone(config, block, faults);
    }
    let none = Bft::default();
    let section = config.section().unwrap_or(&none);
    let first = || config.transitions.iter().filter(|transition| transition.block == 0);
    let contract = first().filter_map(|first| first.contract).next_back().or(section.contract);
    let by_contract =
        first().filter_map(|first| first.from_contract).next_back().unwrap_or(section.from_contract);
    if let (Some(contract), true) = (contract, by_contract) {
        if block.alloc.get(&contract).is_none_or(|account| account.code.is_empty()) {
            faults.say(format!(
                "`alloc` has no account with `code` at 0x{}, the contract that names the validators: add it",
                hex(&contract)
            ));
        }
        return Validators::Unknown;
    }
    let listed = if section.validators.is_empty() {
        config.transitions.first().filter(|first| first.block == 0).map(|first| first.validators.as_slice())
    } else {
        Some(section.validators.as_slice())
    };
    let listed = listed.unwrap_or_default();
    if listed.is_empty() && validators.is_empty() {
        let remedy = if contract.is_some() {
            "; or have them come from the contract, with `validatorselectionmode` contract"
        } else {
            ""
        };
        faults.say(format!(
            "`extraData` names no validator, and without one no block is made: put the first ones into it{remedy}"
        ));
    }
    Validators::of(if listed.is_empty() { validators } else { listed })
}

/// Where a section names a contract `geth init` wants no validators in `extraData`.
fn contract_alone(config: &Config, block: &Block, faults: &mut Faults) {
    if config.ibft.contract.is_some() {
        faults.say(
            "`config.ibft.validatorcontractaddress` is given, and geth init takes no `extraData` with it that the client could read afterwards: leave it out, and name the contract in an entry of `config.transitions` with block 0 and `validatorselectionmode` contract",
        );
    }
    if config.qbft.contract.is_some() && !qbft(&block.extra_data).is_ok_and(|named| named.is_empty()) {
        faults.say(
            "`extraData` names validators and so does `config.qbft.validatorcontractaddress`, which geth init refuses together: leave the contract out, or make extraData anew without validators",
        );
    }
}

/// The validators in the layout of QBFT: vanity, validators, vote, round, seals.
fn qbft(bytes: &[u8]) -> Result<Vec<Address>, String> {
    let items = list(rlp::read(bytes).map_err(str::to_owned)?, "RLP")?;
    let [vanity, validators, vote, round, seals] = exactly(items)?;
    is_bytes(&vanity, "vanity")?;
    let validators = addresses(validators)?;
    let vote = list(vote, "vote")?;
    if !vote.is_empty() {
        let [recipient, kind] = exactly(vote)?;
        addresses(Item::List(vec![recipient]))?;
        is_number(&kind, 1, "kind of vote")?;
    }
    is_number(&round, 4, "round")?;
    list(seals, "list of seals")?.iter().try_for_each(|seal| is_bytes(seal, "seal"))?;
    Ok(validators)
}

/// The validators in the layout of IBFT: vanity of 32 bytes, then validators, seal, seals.
fn ibft(bytes: &[u8]) -> Result<Vec<Address>, String> {
    let rest = bytes.get(VANITY..).ok_or_else(|| format!("has fewer than {VANITY} bytes"))?;
    let why = |why: &str| format!("{why}, read from byte {VANITY} on");
    let items = list(rlp::read(rest).map_err(why)?, "RLP").map_err(|told| why(&told))?;
    let [validators, seal, seals] = exactly(items)?;
    let validators = addresses(validators)?;
    is_bytes(&seal, "seal")?;
    list(seals, "list of seals")?.iter().try_for_each(|seal| is_bytes(seal, "seal"))?;
    Ok(validators)
}

fn list<'a>(item: Item<'a>, what: &str) -> Result<Vec<Item<'a>>, String> {
    match item {
        Item::List(items) => Ok(items),
        Item::Bytes(_) => Err(format!("has bytes where the {what} is to be a list")),
    }
}

fn exactly<const N: usize>(items: Vec<Item<'_>>) -> Result<[Item<'_>; N], String> {
    items.try_into().map_err(|items: Vec<_>| format!("has a list of {} items where {N} are due", items.len()))
}

fn is_bytes(item: &Item<'_>, what: &str) -> Result<(), String> {
    match item {
        Item::Bytes(_) => Ok(()),
        Item::List(_) => Err(format!("has a list where the {what} is to be bytes")),
    }
}

fn is_number(item: &Item<'_>, width: usize, what: &str) -> Result<(), String> {
    match item {
        Item::Bytes(bytes) if bytes.len() <= width && bytes.first() != Some(&0) => Ok(()),
        _ => Err(format!("has a {what} that is no number of {width} bytes at most, without zeros in front")),
    }
}

fn addresses(item: Item<'_>) -> Result<Vec<Address>, String> {
    let address = |item: Item<'_>| match item {
        Item::Bytes(bytes) => bytes.try_into().ok(),
        Item::List(_) => None,
    };
    let addresses: Option<_> = list(item, "list of validators")?.into_iter().map(address).collect();
    addresses.ok_or_else(|| "has a validator that is no address of 20 bytes".into())
}
