//! `config.transitions`: changes of the chain's rules, each at a block.

use super::{
    config::Engine,
    json::Json,
    members::{Faults, Section},
};

/// Value of `validatorselectionmode`: a contract names the validators.
pub(super) const CONTRACT: &str = "contract";
const BLOCK_HEADER: &str = "blockheader";

/// Members that are numbers.
const NUMBERS: [&str; 4] =
    ["epochlength", "requesttimeoutseconds", "miner.gaslimit", "maxRequestTimeoutSeconds"];

/// Members with the seconds between blocks.
const PERIODS: [&str; 2] = ["blockperiodseconds", "emptyblockperiodseconds"];

/// Members that are true or false.
const FLAGS: [&str; 3] = ["enhancedPermissioningEnabled", "gasPriceEnabled", "2FPlus1Enabled"];

/// An entry of `config.transitions`.
#[derive(Clone, Debug)]
pub(super) struct Transition {
    pub(super) block: u64,
    /// The engine from this block on, where the entry names one.
    pub(super) engine: Option<Engine>,
    pub(super) contract: Option<[u8; 20]>,
    /// Whether a contract names the validators from this block on; `None` where the entry does not say.
    pub(super) from_contract: Option<bool>,
    pub(super) validators: Vec<[u8; 20]>,
    /// Seconds between blocks, and before an empty block.
    pub(super) periods: [Option<u64>; 2],
}

/// Other sections of `config`, by presence.
#[derive(Clone, Copy)]
pub(super) struct Context {
    /// `config.qbft`.
    pub(super) qbft: bool,
    /// `config.istanbul.testQBFTBlock`.
    pub(super) tests_qbft: bool,
}

/// Reads the transitions.
pub(super) fn read(config: Section<'_>, context: Context, faults: &mut Faults) -> Vec<Transition> {
    let mut transitions = Vec::new();
    let (mut is_qbft, mut last) = (context.qbft, 0);
    let has_sizes =
        config.list("maxCodeSizeConfig", &mut Faults::default()).is_some_and(|list| !list.is_empty());
    for (path, members) in config.sections("transitions", faults) {
        let entry = Section::new(&path, members);
        for name in NUMBERS {
            entry.whole(name, faults);
        }
        let periods = PERIODS.map(|name| entry.whole(name, faults));
        for name in FLAGS {
            entry.flag(name, faults);
        }
        entry.quantity_256("blockReward", faults);
        entry.address("miningBeneficiary", faults);
        privacy(entry, faults);
        sizes(entry, has_sizes, faults);
        beneficiary(entry, faults);
        let engine = engine(entry, faults);
        if engine.is_some() && context.tests_qbft {
            faults.say(format!(
                "`{path}` has `algorithm` while `config.istanbul.testQBFTBlock` is set, and geth rejects the two together: remove one of the two members"
            ));
        }
        is_qbft |= engine == Some(Engine::Qbft);
        if is_qbft && engine == Some(Engine::Ibft) {
            faults.say(format!(
                "`{path}` changes the algorithm from qbft back to ibft, which geth rejects: remove this entry"
            ));
        }
        entry.not_null("validatorcontractaddress", faults);
        let contract = entry.address("validatorcontractaddress", faults).filter(|one| *one != [0; 20]);
        let mode = entry.text("validatorselectionmode", faults).filter(|mode| !mode.is_empty());
        if let Some(mode) = mode.filter(|mode| ![CONTRACT, BLOCK_HEADER].contains(mode)) {
            faults.wrong(
                &entry.path("validatorselectionmode"),
                Json::Text(mode.into()),
                "write contract or blockheader",
            );
        } else if contract.is_some() && mode != Some(CONTRACT) {
            faults.say(format!(
                "`{path}` has `validatorcontractaddress` without `validatorselectionmode`: add `validatorselectionmode` with the value contract"
            ));
        }
        let validators = entry.addresses("validators", faults);
        if let Some(block) = block(entry, last, faults) {
            last = block;
            let from_contract = mode.map(|mode| mode == CONTRACT);
            transitions.push(Transition { block, engine, contract, from_contract, validators, periods });
        }
    }
    transitions
}

/// The block of a list entry. It must not be lower than `last`, the block of the entry before it.
pub(super) fn block(entry: Section<'_>, last: u64, faults: &mut Faults) -> Option<u64> {
    let block = entry.whole("block", faults);
    match block {
        None if entry.is_absent("block") => {
            faults.say(format!("`{}` is missing: add a block number", entry.path("block")));
        }
        Some(block) if block < last => {
            let remedy = format!("write {last} or more, because the blocks of this list must ascend");
            faults.wrong(&entry.path("block"), block, remedy);
        }
        _ => {}
    }
    block
}

fn engine(entry: Section<'_>, faults: &mut Faults) -> Option<Engine> {
    let algorithm = entry.text("algorithm", faults).filter(|algorithm| !algorithm.is_empty())?;
    if algorithm.eq_ignore_ascii_case("qbft") {
        return Some(Engine::Qbft);
    }
    if algorithm.eq_ignore_ascii_case("ibft") {
        return Some(Engine::Ibft);
    }
    faults.wrong(&entry.path("algorithm"), Json::Text(algorithm.into()), "write qbft or ibft");
    None
}

/// geth crashes where `privacyPrecompileEnabled` is given without `privacyEnhancementsEnabled`.
fn privacy(entry: Section<'_>, faults: &mut Faults) {
    let enhancements = entry.flag("privacyEnhancementsEnabled", faults);
    let precompile = entry.flag("privacyPrecompileEnabled", faults);
    if precompile.is_some() && enhancements.is_none() {
        faults.say(format!(
            "`{}` is given without `privacyEnhancementsEnabled`, so geth would crash at start: add `privacyEnhancementsEnabled`",
            entry.path("privacyPrecompileEnabled")
        ));
    }
}

/// Sizes in KiB.
fn sizes(entry: Section<'_>, has_sizes: bool, faults: &mut Faults) {
    let code = entry.whole("contractsizelimit", faults).filter(|limit| *limit != 0);
    if let Some(limit) = code.filter(|limit| !(24..=128).contains(limit)) {
        faults.wrong(
            &entry.path("contractsizelimit"),
            limit,
            "write a number from 24 to 128, or remove the member",
        );
    }
    if let (Some(limit), true) = (code, has_sizes) {
        let remedy = "remove either this member or `config.maxCodeSizeConfig`, because geth init rejects the two together";
        faults.wrong(&entry.path("contractsizelimit"), limit, remedy);
    }
    let transaction = entry.whole("transactionSizeLimit", faults).filter(|limit| *limit != 0);
    if let Some(limit) = transaction.filter(|limit| !(32..=128).contains(limit)) {
        faults.wrong(
            &entry.path("transactionSizeLimit"),
            limit,
            "write a number from 32 to 128, or remove the member",
        );
    }
}

fn beneficiary(entry: Section<'_>, faults: &mut Faults) {
    let mode = entry.text("beneficiaryMode", faults);
    if let Some(mode) = mode.filter(|mode| !["", "fixed", "validators", "list"].contains(mode)) {
        faults.wrong(
            &entry.path("beneficiaryMode"),
            Json::Text(mode.into()),
            "write fixed, validators or list",
        );
    }
}
