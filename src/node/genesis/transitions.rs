//! `config.transitions`: what changes at which block.

use super::{
    config::Engine,
    json::Json,
    members::{Faults, Section},
};

/// Validators are named by a contract.
pub(super) const CONTRACT: &str = "contract";
const BLOCK_HEADER: &str = "blockheader";

/// Members that are numbers.
const NUMBERS: [&str; 4] =
    ["epochlength", "requesttimeoutseconds", "miner.gaslimit", "maxRequestTimeoutSeconds"];

/// Members that say how far blocks are apart.
const PERIODS: [&str; 2] = ["blockperiodseconds", "emptyblockperiodseconds"];

/// Members that are true or false.
const FLAGS: [&str; 3] = ["enhancedPermissioningEnabled", "gasPriceEnabled", "2FPlus1Enabled"];

/// A change at a block.
#[derive(Clone, Debug)]
pub(super) struct Transition {
    pub(super) block: u64,
    /// The engine from there on, where it names one.
    pub(super) engine: Option<Engine>,
    pub(super) contract: Option<[u8; 20]>,
    /// Whether validators are named by a contract from there on, where it says so.
    pub(super) from_contract: Option<bool>,
    pub(super) validators: Vec<[u8; 20]>,
    /// Seconds from one block to the next, and to an empty one.
    pub(super) periods: [Option<u64>; 2],
}

/// What the rest of `config` has.
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
                "`{path}` names an algorithm beside `config.istanbul.testQBFTBlock`, which geth refuses: remove one of the two"
            ));
        }
        is_qbft |= engine == Some(Engine::Qbft);
        if is_qbft && engine == Some(Engine::Ibft) {
            faults.say(format!("`{path}` goes back from qbft to ibft, which geth refuses: remove it"));
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
                "`{path}` has `validatorcontractaddress` without `validatorselectionmode`: add it, with the value contract"
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

/// The block of an entry of a list, which is no earlier than that of the entry before it.
pub(super) fn block(entry: Section<'_>, last: u64, faults: &mut Faults) -> Option<u64> {
    let block = entry.whole("block", faults);
    match block {
        None if entry.is_absent("block") => {
            faults.say(format!("`{}` is missing: add the number of a block", entry.path("block")));
        }
        Some(block) if block < last => {
            let remedy = format!("write {last} or more: the blocks of such a list ascend");
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

/// geth looks at the second of these where the first is there, and crashes where it is not.
fn privacy(entry: Section<'_>, faults: &mut Faults) {
    let enhancements = entry.flag("privacyEnhancementsEnabled", faults);
    let precompile = entry.flag("privacyPrecompileEnabled", faults);
    if precompile.is_some() && enhancements.is_none() {
        faults.say(format!(
            "`{}` is given without `privacyEnhancementsEnabled`, with which geth crashes at start: add it",
            entry.path("privacyPrecompileEnabled")
        ));
    }
}

/// Sizes in KiB.
fn sizes(entry: Section<'_>, has_sizes: bool, faults: &mut Faults) {
    let code = entry.whole("contractsizelimit", faults).filter(|limit| *limit != 0);
    if let Some(limit) = code.filter(|limit| !(24..=128).contains(limit)) {
        faults.wrong(&entry.path("contractsizelimit"), limit, "write 24 to 128, or leave it out");
    }
    if let (Some(limit), true) = (code, has_sizes) {
        let remedy = "leave it out, or `config.maxCodeSizeConfig`: geth init refuses both together";
        faults.wrong(&entry.path("contractsizelimit"), limit, remedy);
    }
    let transaction = entry.whole("transactionSizeLimit", faults).filter(|limit| *limit != 0);
    if let Some(limit) = transaction.filter(|limit| !(32..=128).contains(limit)) {
        faults.wrong(&entry.path("transactionSizeLimit"), limit, "write 32 to 128, or leave it out");
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
