//! `extraData`: the first validators in the engine's layout, and the engine's other requirements on a genesis block.

use super::{
    block::Block,
    config::{Bft, Config, Engine},
    members::Faults,
    quantity::Quantity,
    rlp::{self, Item},
    schedule::Validators,
};
use crate::model::secrets::hex;

/// Required `mixHash`, which marks a block as QBFT or IBFT.
const MIX_HASH: &str = "63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365";

/// Length of the vanity bytes before the validators in the IBFT layout.
const VANITY: usize = 32;

type Address = [u8; 20];

/// Checks what the engine reads from the genesis block when it starts. Returns the first validators.
pub(crate) fn judge(config: &Config, block: &Block, faults: &mut Faults) -> Validators {
    let (engine, layout): (_, fn(&[u8]) -> _) = match config.engine {
        Engine::Unspecified => return Validators::Unknown,
        Engine::Qbft => ("QBFT", qbft),
        Engine::Ibft => ("IBFT", ibft),
    };
    header(config, engine, block, faults);
    if block.extra_data.is_empty() {
        faults.say("`extraData` is missing: add `extraData` with the first validators");
        return Validators::Unknown;
    }
    match layout(&block.extra_data) {
        Ok(validators) => first_validators(config, block, &validators, faults),
        Err(why) => {
            let (other, read): (_, fn(&[u8]) -> _) =
                if config.engine == Engine::Qbft { ("IBFT", ibft) } else { ("QBFT", qbft) };
            let remedy = match read(&block.extra_data) {
                Ok(_) => format!(
                    "it has the {other} layout. Either name {other} in `config`, or generate extraData for {engine}"
                ),
                Err(_) => format!("generate extraData for {engine} with a genesis tool"),
            };
            faults.say(format!("`extraData` {why}, so it does not have the {engine} layout: {remedy}"));
            Validators::Unknown
        }
    }
}

fn header(config: &Config, engine: &str, block: &Block, faults: &mut Faults) {
    let mix_hash = hex(&block.mix_hash);
    if mix_hash != MIX_HASH {
        let value =
            if block.mix_hash == [0; 32] { "zero or missing".into() } else { format!("0x{mix_hash}") };
        faults.wrong(
            "mixHash",
            value,
            format!("write 0x{MIX_HASH}, because {engine} does not start with another value"),
        );
    }
    if block.difficulty != Quantity::from(1) {
        let remedy = format!("write \"0x1\", because {engine} does not start with another value");
        faults.wrong("difficulty", block.difficulty, remedy);
    }
    if config.engine == Engine::Ibft && ![0, u64::MAX].contains(&block.nonce) {
        let nonce = format!("{:#x}", block.nonce);
        faults.wrong("nonce", nonce, "write \"0x0\", because IBFT does not start with this value");
    }
}

/// The first validators: from a contract, from `config`, or else from `extraData`. There must be at least one.
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
                "`alloc` has no account with `code` at 0x{}, which is the contract that names the validators: add this account",
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
            "; or set `validatorselectionmode` to contract, so that the contract names the validators"
        } else {
            ""
        };
        faults.say(format!(
            "`extraData` names no validator, so the chain would make no block: put the first validators into `extraData`{remedy}"
        ));
    }
    Validators::of(if listed.is_empty() { validators } else { listed })
}

/// Where a section names a contract, `geth init` rejects validators in `extraData`.
fn contract_alone(config: &Config, block: &Block, faults: &mut Faults) {
    if config.ibft.contract.is_some() {
        faults.say(
            "`config.ibft.validatorcontractaddress` is set, and geth init then accepts no `extraData` that the client can read: remove this member, and name the contract in an entry of `config.transitions` with block 0 and `validatorselectionmode` contract",
        );
    }
    if config.qbft.contract.is_some() && !qbft(&block.extra_data).is_ok_and(|named| named.is_empty()) {
        faults.say(
            "`extraData` names validators and `config.qbft.validatorcontractaddress` names a contract, which geth init rejects together: remove the contract, or generate extraData without validators",
        );
    }
}

/// The validators in the QBFT layout: vanity, validators, vote, round, seals.
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

/// The validators in the IBFT layout: vanity of 32 bytes, then validators, seal, seals.
fn ibft(bytes: &[u8]) -> Result<Vec<Address>, String> {
    let rest = bytes.get(VANITY..).ok_or_else(|| format!("has fewer than {VANITY} bytes"))?;
    let why = |why: &str| format!("{why}, read from byte {VANITY} on");
    let items = list(rlp::read(rest).map_err(why)?, "RLP").map_err(|error| why(&error))?;
    let [validators, seal, seals] = exactly(items)?;
    let validators = addresses(validators)?;
    is_bytes(&seal, "seal")?;
    list(seals, "list of seals")?.iter().try_for_each(|seal| is_bytes(seal, "seal"))?;
    Ok(validators)
}

fn list<'a>(item: Item<'a>, what: &str) -> Result<Vec<Item<'a>>, String> {
    match item {
        Item::List(items) => Ok(items),
        Item::Bytes(_) => Err(format!("has bytes where the {what} must be a list")),
    }
}

fn exactly<const N: usize>(items: Vec<Item<'_>>) -> Result<[Item<'_>; N], String> {
    items.try_into().map_err(|items: Vec<_>| format!("has a list of {} items instead of {N}", items.len()))
}

fn is_bytes(item: &Item<'_>, what: &str) -> Result<(), String> {
    match item {
        Item::Bytes(_) => Ok(()),
        Item::List(_) => Err(format!("has a list where the {what} must be bytes")),
    }
}

fn is_number(item: &Item<'_>, width: usize, what: &str) -> Result<(), String> {
    match item {
        Item::Bytes(bytes) if bytes.len() <= width && bytes.first() != Some(&0) => Ok(()),
        _ => Err(format!("has a {what} that is not a number of at most {width} bytes without leading zeros")),
    }
}

fn addresses(item: Item<'_>) -> Result<Vec<Address>, String> {
    let address = |item: Item<'_>| match item {
        Item::Bytes(bytes) => bytes.try_into().ok(),
        Item::List(_) => None,
    };
    let addresses: Option<_> = list(item, "list of validators")?.into_iter().map(address).collect();
    addresses.ok_or_else(|| "has a validator that is not an address of 20 bytes".into())
}
