//! The genesis against the spec, and against the one that the node's client has taken.

use crate::{
    api::node::Engine,
    node::{
        fault::{Fault, Reason},
        genesis::{self, GenesisFacts, Pinned},
        observed::{Found, Observed},
    },
};

const FIELD: &str = "spec.genesis.configMapRef";

pub(super) fn check(observed: &Observed, faults: &mut Vec<Fault>) -> Option<GenesisFacts> {
    let spec = &observed.node.spec;
    let reference = &spec.genesis.config_map_ref;
    let place = format!("ConfigMap {}, key {}", reference.name, reference.key);
    let facts = match &observed.genesis {
        Found::Missing => {
            faults.push(Fault::new(
                Reason::GenesisMissing,
                FIELD,
                place,
                "there is no such ConfigMap: create it with the network's genesis.json under that key",
            ));
            return None;
        }
        Found::Unusable(why) => {
            faults.push(Fault::new(Reason::GenesisInvalid, FIELD, place, why));
            return None;
        }
        Found::Is(facts) => facts,
    };
    if let Some(way_out) = changed(observed, facts) {
        let value = format!("sha256 {}", facts.sha256);
        faults.push(Fault::new(Reason::GenesisChanged, FIELD, value, way_out));
    }
    let wanted = match spec.consensus.engine {
        Engine::Qbft => genesis::Engine::Qbft,
        Engine::Ibft => genesis::Engine::Ibft,
    };
    if facts.engine != wanted {
        faults.push(Fault::new(
            Reason::ConsensusMismatch,
            "spec.consensus.type",
            spoken(wanted),
            mismatch(&place, wanted, facts.engine),
        ));
    }
    if i64::try_from(facts.chain_id).is_err() {
        faults.push(Fault::new(
            Reason::GenesisInvalid,
            FIELD,
            place,
            format!("`config.chainId` is {}: write 9223372036854775807 or less", facts.chain_id),
        ));
    }
    Some(facts.clone())
}

/// What is told of a genesis that may not take the place of the one before.
fn changed(observed: &Observed, facts: &GenesisFacts) -> Option<String> {
    const BACK: &str = "put the original genesis back";
    const ANEW: &str = "or make a new QuorumNode for another chain";
    if let Some(pinned) = observed.node.spec.genesis.sha256.as_ref().filter(|pinned| **pinned != facts.sha256)
    {
        return Some(format!("{pinned} is pinned by spec.genesis.sha256: {BACK}, byte for byte, {ANEW}"));
    }
    let pinned = observed.node.status.as_ref()?.genesis.as_ref()?;
    match genesis::against(pinned, facts) {
        Pinned::Same | Pinned::OtherConfig => None,
        Pinned::OtherChain(differs) if differs.is_empty() => Some(format!(
            "{} is pinned by status.genesis.sha256: {BACK}, byte for byte, after which its `config` may be changed, {ANEW}",
            pinned.sha256
        )),
        Pinned::OtherChain(differs) => Some(format!(
            "this is another chain than the node's client has taken, since {}: {BACK}, of which `config` alone may be changed, without its chainId, {ANEW}",
            differs.join(", ")
        )),
    }
}

fn mismatch(place: &str, wanted: genesis::Engine, found: genesis::Engine) -> String {
    let names = format!("the genesis in {place} names {}", spoken(found));
    let correct = format!("put a genesis there that names {}", spoken(wanted));
    match found {
        genesis::Engine::Unspecified => format!("{names}: {correct}"),
        found => format!(
            "{names}: {correct}, or make the QuorumNode anew with spec.consensus.type {}, which cannot be changed",
            spoken(found)
        ),
    }
}

/// As the spec spells it.
fn spoken(engine: genesis::Engine) -> &'static str {
    match engine {
        genesis::Engine::Qbft => "QBFT",
        genesis::Engine::Ibft => "IBFT",
        genesis::Engine::Unspecified => "neither QBFT nor IBFT",
    }
}
