//! Validates the genesis against the spec and against the pinned genesis.

use crate::{
    api::node::Engine,
    model::{
        fault::{Fault, Reason},
        genesis::{self, GenesisFacts, Pinned},
        lookup::Found,
    },
    node::observed::Observed,
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
                "the ConfigMap does not exist: create it with the network's genesis.json under the key that the field names",
            ));
            return None;
        }
        Found::Invalid(why) => {
            faults.push(Fault::new(Reason::GenesisInvalid, FIELD, place, why));
            return None;
        }
        Found::Present(facts) => facts,
    };
    if let Some(remedy) = changed(observed, facts) {
        let value = format!("sha256 {}", facts.sha256);
        faults.push(Fault::new(Reason::GenesisChanged, FIELD, value, remedy));
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

/// The message where the genesis must not replace the pinned one.
fn changed(observed: &Observed, facts: &GenesisFacts) -> Option<String> {
    const RESTORE: &str = "restore the original genesis";
    const OR_NEW_NODE: &str = "or create a new QuorumNode for another chain";
    if let Some(pinned) = observed.node.spec.genesis.sha256.as_ref().filter(|pinned| **pinned != facts.sha256)
    {
        return Some(format!("spec.genesis.sha256 pins {pinned}: {RESTORE}, byte for byte, {OR_NEW_NODE}"));
    }
    let pinned = observed.node.status.as_ref()?.genesis.as_ref()?;
    match genesis::against(pinned, facts) {
        Pinned::Same | Pinned::OtherConfig => None,
        Pinned::OtherChain(differs) if differs.is_empty() => Some(format!(
            "status.genesis.sha256 pins {}: {RESTORE}, byte for byte, {OR_NEW_NODE}. Once the original genesis is restored, you may change `config` of the genesis",
            pinned.sha256
        )),
        Pinned::OtherChain(differs) => Some(format!(
            "this genesis is of a different chain from the one that the node's client has, because {}: {RESTORE}, {OR_NEW_NODE}. In the original genesis, only `config` may change, and `config.chainId` must stay",
            differs.join(", ")
        )),
    }
}

fn mismatch(place: &str, wanted: genesis::Engine, found: genesis::Engine) -> String {
    let names = format!("the genesis in {place} names {}", spoken(found));
    let correct = format!("write a genesis that names {} into the ConfigMap", spoken(wanted));
    match found {
        genesis::Engine::Unspecified => format!("{names}: {correct}"),
        found => format!(
            "{names}: {correct}, or recreate the QuorumNode with spec.consensus.type {}, because this field cannot be changed",
            spoken(found)
        ),
    }
}

/// The engine in the spelling of the spec.
fn spoken(engine: genesis::Engine) -> &'static str {
    match engine {
        genesis::Engine::Qbft => "QBFT",
        genesis::Engine::Ibft => "IBFT",
        genesis::Engine::Unspecified => "neither QBFT nor IBFT",
    }
}
