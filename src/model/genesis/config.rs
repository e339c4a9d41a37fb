//! `config` of a genesis: the rules of the chain. It is not part of the genesis block's hash, so it may change later.

use super::{
    json::Members,
    members::{Faults, Section},
    schedule::Period,
    transitions::{self, Transition},
};

/// Fork blocks, in the order that `geth init` requires, and whether the fork is optional: later forks may be present
/// without an optional one.
const FORKS: [(&str, bool); 11] = [
    ("homesteadBlock", false),
    ("daoForkBlock", true),
    ("eip150Block", false),
    ("eip155Block", false),
    ("eip158Block", false),
    ("byzantiumBlock", false),
    ("constantinopleBlock", false),
    ("petersburgBlock", false),
    ("istanbulBlock", false),
    ("muirGlacierBlock", true),
    ("berlinBlock", false),
];

/// Other members that are block numbers.
const BLOCKS: [&str; 7] = [
    "yoloV3Block",
    "ewasmBlock",
    "catalystBlock",
    "qip714Block",
    "privacyEnhancementsBlock",
    "privacyPrecompileBlock",
    "enableGasPriceBlock",
];

/// Members common to QBFT and IBFT. geth crashes where a section has none of them.
const BFT: [&str; 7] = [
    "epochlength",
    "blockperiodseconds",
    "emptyblockperiodseconds",
    "requesttimeoutseconds",
    "policy",
    "ceil2Nby3Block",
    "validatorcontractaddress",
];

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

/// The members of `config` that the operator uses.
#[derive(Clone, Debug)]
pub(super) struct Config {
    /// 0 where it could not be read.
    pub(super) chain_id: u64,
    pub(super) engine: Engine,
    /// Whether geth runs its Quorum checks: true unless `isQuorum` is false.
    pub(super) is_quorum: bool,
    /// The section from which the client reads the engine's parameters, such as `config.qbft`.
    pub(super) source: Option<&'static str>,
    /// `config.qbft`.
    pub(super) qbft: Bft,
    /// `config.ibft`.
    pub(super) ibft: Bft,
    pub(super) transitions: Vec<Transition>,
}

/// Validators and periods of `config.qbft` or `config.ibft`.
#[derive(Clone, Debug, Default)]
pub(super) struct Bft {
    pub(super) contract: Option<[u8; 20]>,
    pub(super) from_contract: bool,
    pub(super) validators: Vec<[u8; 20]>,
    pub(super) period: Period,
}

impl Config {
    /// The section from which the client reads the engine's parameters; `None` for the old `config.istanbul`.
    pub(super) fn section(&self) -> Option<&Bft> {
        match self.source {
            Some("config.qbft") => Some(&self.qbft),
            Some("config.ibft") => Some(&self.ibft),
            _ => None,
        }
    }
}

/// Reads `config`.
pub(super) fn read(members: &Members, faults: &mut Faults) -> Config {
    let config = Section::new("config", members);
    let chain_id = chain_id(config, faults);
    forks(config, faults);
    for name in BLOCKS {
        config.whole(name, faults);
    }
    config.flag("daoForkSupport", faults);
    config.flag("isMPS", faults);
    config.not_null("eip150Hash", faults);
    config.hash("eip150Hash", faults);
    sizes(config, faults);
    let is_quorum = config.flag("isQuorum", faults).unwrap_or(true);
    config.section("ethash", faults);
    let clique = config.section("clique", faults);
    if let Some(clique) = clique.map(|clique| Section::new("config.clique", clique)) {
        for name in ["period", "epoch", "allowedFutureBlockTime"] {
            clique.whole(name, faults);
        }
    }
    let istanbul = config.section("istanbul", faults).map(|istanbul| {
        let istanbul = Section::new("config.istanbul", istanbul);
        for name in ["epoch", "policy", "ceil2Nby3Block"] {
            istanbul.whole(name, faults);
        }
        istanbul.whole("testQBFTBlock", faults)
    });
    let ibft = config.section("ibft", faults).map(|ibft| bft(Section::new("config.ibft", ibft), faults));
    let qbft = config.section("qbft", faults).map(|qbft| {
        let qbft = Section::new("config.qbft", qbft);
        qbft.quantity_256("blockReward", faults);
        qbft.text("beneficiaryMode", faults);
        qbft.address("miningBeneficiary", faults);
        qbft.whole("maxRequestTimeoutSeconds", faults);
        Bft {
            validators: qbft.addresses("validators", faults),
            from_contract: qbft.text("validatorselectionmode", faults) == Some(transitions::CONTRACT),
            ..bft(qbft, faults)
        }
    });
    let transitions = transitions::read(
        config,
        transitions::Context { qbft: qbft.is_some(), tests_qbft: istanbul.flatten().is_some() },
        faults,
    );
    let (engine, source) = if clique.is_some() {
        (Engine::Unspecified, None)
    } else {
        engine(istanbul, (ibft.is_some(), qbft.is_some()), &transitions)
    };
    let (qbft, ibft) = (qbft.unwrap_or_default(), ibft.unwrap_or_default());
    Config { chain_id, engine, is_quorum, source, qbft, ibft, transitions }
}

/// geth decodes the chain id as a big integer, which rejects strings, fractions and exponents.
fn chain_id(config: Section<'_>, faults: &mut Faults) -> u64 {
    let id = config.whole("chainId", faults);
    match id {
        Some(0) => faults.wrong("config.chainId", 0, "write the chain id of the network, 1 or more"),
        None if config.is_absent("chainId") => {
            faults.say("`config.chainId` is missing: add the chain id of the network, 1 or more");
        }
        _ => {}
    }
    id.unwrap_or_default()
}

/// Each fork requires all earlier forks, at the same block or before.
fn forks(config: Section<'_>, faults: &mut Faults) {
    let mut last: Option<(&str, Option<u64>)> = None;
    for (name, optional) in FORKS {
        let block = config.whole(name, faults);
        match (last, block) {
            (Some((before, None)), Some(block)) => faults.wrong(
                &config.path(name),
                block,
                format!("add `config.{before}` at block {block} or before, or remove this fork, because geth init requires the earlier forks"),
            ),
            (Some((before, Some(earlier))), Some(block)) if earlier > block => faults.wrong(
                &config.path(name),
                block,
                format!("write {earlier} (the value of `config.{before}`) or more, because geth init requires the forks in order"),
            ),
            _ => {}
        }
        if !optional || block.is_some() {
            last = Some((name, block));
        }
    }
}

/// Sizes in KiB.
fn sizes(config: Section<'_>, faults: &mut Faults) {
    if let Some(limit) = config.whole("txnSizeLimit", faults)
        && limit != 0
        && !(32..=128).contains(&limit)
    {
        faults.wrong(
            "config.txnSizeLimit",
            limit,
            "write a number from 32 to 128, or remove the member to get 64",
        );
    }
    let given = config.list("maxCodeSizeConfig", &mut Faults::default()).is_some_and(|list| !list.is_empty());
    let instead = if given {
        "remove this member, because geth init rejects it together with `config.maxCodeSizeConfig`"
    } else {
        "remove this member, because geth init rejects it, and add `config.maxCodeSizeConfig`, such as [{\"block\": 0, \"size\": 64}]"
    };
    if let Some(size) = config.whole("maxCodeSize", faults).filter(|size| *size != 0) {
        faults.wrong("config.maxCodeSize", size, instead);
    }
    if let Some(block) = config.whole("maxCodeSizeChangeBlock", faults) {
        faults.wrong("config.maxCodeSizeChangeBlock", block, instead);
    }
    let mut last = 0;
    for (path, entry) in config.sections("maxCodeSizeConfig", faults) {
        let entry = Section::new(&path, entry);
        let size = entry.whole("size", faults);
        if !size.is_some_and(|size| (24..=128).contains(&size)) {
            let size = size.map_or("missing".to_owned(), |size| size.to_string());
            faults.wrong(&entry.path("size"), size, "write a number from 24 to 128");
        }
        last = transitions::block(entry, last, faults).unwrap_or(last);
    }
}

fn bft(section: Section<'_>, faults: &mut Faults) -> Bft {
    if !BFT.iter().any(|name| section.has(name)) {
        faults.say(format!(
            "`{}` has none of the members {}, and geth crashes if all of these are missing: add `policy`, such as 0",
            section.path("").trim_end_matches('.'),
            BFT.join(", ")
        ));
    }
    let read = ["blockperiodseconds", "emptyblockperiodseconds", "validatorcontractaddress"];
    for name in BFT.into_iter().filter(|name| !read.contains(name)) {
        section.whole(name, faults);
    }
    let period = Period::default()
        .next(section.whole("blockperiodseconds", faults), section.whole("emptyblockperiodseconds", faults));
    section.not_null("validatorcontractaddress", faults);
    let contract = section.address("validatorcontractaddress", faults);
    Bft { contract: contract.filter(|address| *address != [0; 20]), period, ..Bft::default() }
}

/// The engine at block 0 and the section with its parameters. geth uses the first of clique, istanbul, ibft and qbft
/// that is present; a transition at block 0 then applies.
fn engine(
    istanbul: Option<Option<u64>>,
    (ibft, qbft): (bool, bool),
    transitions: &[Transition],
) -> (Engine, Option<&'static str>) {
    let (mut engine, source) = match istanbul {
        Some(Some(0)) => (Engine::Qbft, Some("config.istanbul")),
        Some(_) => (Engine::Ibft, Some("config.istanbul")),
        None if ibft => (Engine::Ibft, Some("config.ibft")),
        None if qbft => (Engine::Qbft, Some("config.qbft")),
        None => (Engine::Unspecified, None),
    };
    for to in transitions.iter().filter(|transition| transition.block == 0).filter_map(|first| first.engine) {
        // a chain on QBFT never goes back
        if engine != Engine::Qbft {
            engine = to;
        }
    }
    (engine, source)
}
