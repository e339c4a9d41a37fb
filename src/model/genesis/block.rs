//! The genesis block: every member of a genesis except `config`. The client computes the block's hash from them.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::{
    json::{Json, Members},
    members::{Faults, Section, hex},
    quantity::Quantity,
};
use crate::model::secrets::hex as shown;

/// The gas limit that the client uses where the genesis has 0.
const GAS_LIMIT: u64 = 4_712_388;

/// The members of a genesis block.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    pub(super) nonce: u64,
    pub(super) timestamp: u64,
    pub(super) extra_data: Vec<u8>,
    pub(super) gas_limit: u64,
    pub(super) difficulty: Quantity,
    pub(super) mix_hash: [u8; 32],
    pub(super) coinbase: [u8; 20],
    pub(super) gas_used: u64,
    pub(super) parent_hash: [u8; 32],
    /// The accounts, by address.
    pub(super) alloc: BTreeMap<[u8; 20], Account>,
}

/// An account of the genesis state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    balance: Quantity,
    nonce: u64,
    pub(super) code: Vec<u8>,
    storage: BTreeMap<[u8; 32], [u8; 32]>,
}

impl Block {
    /// Its non-zero members by name. Blocks with equal members have the same hash. Members that may be long are
    /// replaced by their SHA-256.
    pub(super) fn members(&self) -> BTreeMap<String, String> {
        let number = |number: u64| format!("{number:#x}");
        let bytes = |bytes: &[u8]| format!("0x{}", shown(bytes));
        let long = |bytes: &[u8]| format!("sha256:{}", shown(&Sha256::digest(bytes)));
        let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        [
            ("nonce", number(self.nonce), self.nonce == 0),
            ("timestamp", number(self.timestamp), self.timestamp == 0),
            ("extraData", long(&self.extra_data), self.extra_data.is_empty()),
            ("gasLimit", number(self.gas_limit), false),
            ("difficulty", self.difficulty.to_string(), self.difficulty == Quantity::default()),
            ("mixHash", bytes(&self.mix_hash), is_zero(&self.mix_hash)),
            ("coinbase", bytes(&self.coinbase), is_zero(&self.coinbase)),
            ("gasUsed", number(self.gas_used), self.gas_used == 0),
            ("parentHash", bytes(&self.parent_hash), is_zero(&self.parent_hash)),
            ("alloc", long(self.accounts().as_bytes()), self.alloc.is_empty()),
        ]
        .into_iter()
        .filter(|(_, _, left_out)| !left_out)
        .map(|(name, value, _)| (name.to_owned(), value))
        .collect()
    }

    /// One line per account. Storage slots that are zero are omitted, as in the state.
    fn accounts(&self) -> String {
        let line = |(address, account): (&[u8; 20], &Account)| {
            let storage: String = account
                .storage
                .iter()
                .filter(|(_, value)| **value != [0; 32])
                .map(|(key, value)| format!(" {}={}", shown(key), shown(value)))
                .collect();
            let code = shown(&Sha256::digest(&account.code));
            format!("{} {} {:#x} {code}{storage}\n", shown(address), account.balance, account.nonce)
        };
        self.alloc.iter().map(line).collect()
    }
}

/// Reads every member except `config`.
pub(super) fn read(genesis: Section<'_>, faults: &mut Faults) -> Block {
    let gas_limit = genesis.quantity_64("gasLimit", faults);
    let difficulty = genesis.quantity_256("difficulty", faults);
    let alloc = genesis.section("alloc", faults);
    let required = [
        ("gasLimit", "add it, such as \"0xe0000000\""),
        ("difficulty", "add it, \"0x1\" for QBFT and IBFT"),
        ("alloc", "add it, {} if no account starts with a balance"),
    ];
    for (name, remedy) in required {
        if genesis.is_absent(name) {
            faults.say(format!("`{name}` is missing, and geth init requires it: {remedy}"));
        }
    }
    if let Some(number) = genesis.quantity_64("number", faults).filter(|number| *number > 0) {
        faults.wrong(
            "number",
            number,
            "write \"0x0\" or remove the member, because the genesis is the block with number 0",
        );
    }
    Block {
        nonce: genesis.quantity_64("nonce", faults).unwrap_or_default(),
        timestamp: genesis.quantity_64("timestamp", faults).unwrap_or_default(),
        extra_data: genesis.bytes("extraData", faults).unwrap_or_default(),
        gas_limit: gas_limit.filter(|limit| *limit > 0).unwrap_or(GAS_LIMIT),
        difficulty: difficulty.unwrap_or_default(),
        mix_hash: genesis.hash("mixHash", faults).unwrap_or_default(),
        coinbase: genesis.address("coinbase", faults).unwrap_or_default(),
        gas_used: genesis.quantity_64("gasUsed", faults).unwrap_or_default(),
        parent_hash: genesis.hash("parentHash", faults).unwrap_or_default(),
        alloc: alloc.map(|alloc| accounts(alloc, faults)).unwrap_or_default(),
    }
}

/// The accounts of `alloc`. Their addresses may omit `0x`.
fn accounts(alloc: &Members, faults: &mut Faults) -> BTreeMap<[u8; 20], Account> {
    let mut accounts = BTreeMap::new();
    for (name, value) in Section::new("alloc", alloc).all() {
        let path = format!("alloc.{name}");
        let Some(address) = address(name) else {
            faults.say(format!(
                "`alloc` has the key {}: write an address, which is 40 hexadecimal digits with or without 0x",
                Json::Text(name.into())
            ));
            continue;
        };
        let Json::Object(members) = value else {
            faults.wrong(&path, value, "write a JSON object, such as {\"balance\": \"0x0\"}");
            continue;
        };
        if accounts.insert(address, account(Section::new(&path, members), faults)).is_some() {
            faults.say(format!("`{path}` is given more than once: give each address once"));
        }
    }
    accounts
}

fn address(text: &str) -> Option<[u8; 20]> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    hex(digits)?.try_into().ok()
}

fn account(account: Section<'_>, faults: &mut Faults) -> Account {
    let balance = account.quantity_256("balance", faults);
    if account.is_absent("balance") {
        faults.say(format!(
            "`{}` is missing, and geth init requires it: add it, \"0x0\" for none",
            account.path("balance")
        ));
    }
    account.secret("secretKey", faults);
    let storage = account.section("storage", faults);
    Account {
        balance: balance.unwrap_or_default(),
        nonce: account.quantity_64("nonce", faults).unwrap_or_default(),
        code: account.bytes("code", faults).unwrap_or_default(),
        storage: storage.map(|storage| slots(&account.path("storage"), storage, faults)).unwrap_or_default(),
    }
}

fn slots(path: &str, storage: &Members, faults: &mut Faults) -> BTreeMap<[u8; 32], [u8; 32]> {
    let remedy = "write up to 64 hexadecimal digits in pairs, with or without 0x";
    let mut slots = BTreeMap::new();
    for (name, value) in Section::new(path, storage).all() {
        let Some(key) = word(name) else {
            faults.say(format!("`{path}` has the key {}: {remedy}", Json::Text(name.into())));
            continue;
        };
        let content = match value {
            Json::Text(text) => word(text),
            Json::Null => Some([0; 32]),
            _ => None,
        };
        match content {
            Some(content) => {
                if slots.insert(key, content).is_some() {
                    faults.say(format!("`{path}.{name}` is given more than once: give each key once"));
                }
            }
            None => faults.wrong(&format!("{path}.{name}"), value, remedy),
        }
    }
    slots
}

/// Up to 32 bytes, padded with zeros in front. Here the client accepts only the lower-case prefix `0x`.
fn word(text: &str) -> Option<[u8; 32]> {
    let bytes = hex(text.strip_prefix("0x").unwrap_or(text))?;
    let mut word = [0; 32];
    word[32_usize.checked_sub(bytes.len())?..].copy_from_slice(&bytes);
    Some(word)
}
