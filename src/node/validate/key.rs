//! The node key: whose it is, and what is wrong with it.

use super::names_of;
use crate::{
    api::QuorumNodeSpec,
    node::{
        fault::{Fault, Reason},
        names::Names,
        observed::{Found, Observed},
        secrets::keys::NodeIdentity,
    },
    nodekey::Expected,
};

/// The Secret, and the key inside, that hold a node's key: the adopted one, or the one that is made.
#[must_use]
pub fn node_key_at(names: &Names, spec: &QuorumNodeSpec) -> (String, String) {
    match spec.adopted_key() {
        Some(adopted) => (adopted.name.clone(), adopted.key.clone()),
        None => (names.node_key(), "nodekey".into()),
    }
}

/// A key is minted only where neither status, spec nor a claim with chain data names an identity.
pub(super) fn identity(observed: &Observed, faults: &mut Vec<Fault>) -> Option<NodeIdentity> {
    let expected = expected(observed, faults);
    let recorded = observed.node.status.as_ref().and_then(|status| status.identity.as_ref());
    let (reason, way_out) = match (&observed.node_key, recorded) {
        (Found::Is(identity), Some(recorded)) if identity.public_key != recorded.public_key => (
            Reason::NodeKeyChanged,
            format!(
                "it holds the key of {}, the node is {}: restore the original Secret, or make a new QuorumNode",
                identity.address, recorded.address
            ),
        ),
        (Found::Is(identity), _) => {
            let Some(other) = expected.filter(|expected| !expected.is(identity)) else {
                return Some(identity.clone());
            };
            faults.push(unexpected(observed, identity, &other, recorded.is_some()));
            return None;
        }
        (Found::Unusable(why), _) => (Reason::NodeKeyUnusable, why.clone()),
        (Found::Missing, Some(recorded)) => (
            Reason::NodeKeyMissing,
            format!(
                "the key of {} is gone and cannot be made again: restore the Secret from a backup",
                recorded.address
            ),
        ),
        (Found::Missing, None) => (Reason::NodeKeyMissing, missing(observed, expected.as_ref())?),
    };
    let (field, value) = place(observed);
    faults.push(Fault::new(reason, field, value, way_out));
    None
}

/// Whether a key is the one that the spec expects, if it expects one.
#[must_use]
pub fn is_expected(spec: &QuorumNodeSpec, identity: &NodeIdentity) -> bool {
    spec.expected_key().is_none_or(|text| text.parse().is_ok_and(|expected: Expected| expected.is(identity)))
}

/// Where the key is: which field says so, and which Secret it is.
fn place(observed: &Observed) -> (&'static str, String) {
    let spec = &observed.node.spec;
    let (name, key) = node_key_at(&names_of(observed), spec);
    match (spec.adopted_key(), spec.expected_key()) {
        (Some(_), _) => ("spec.nodeKey.secretRef", format!("Secret {name}, key {key}")),
        (None, Some(_)) => ("spec.nodeKey.expect", format!("Secret {name}, key {key}")),
        (None, None) => ("metadata.name", format!("Secret {name}")),
    }
}

/// What is no identity is not quoted: it may be the private key.
fn expected(observed: &Observed, faults: &mut Vec<Fault>) -> Option<Expected> {
    match observed.node.spec.expected_key()?.parse() {
        Ok(expected) => Some(expected),
        Err(why) => {
            faults.push(Fault::new(Reason::InvalidField, "spec.nodeKey.expect", "no identity", why));
            None
        }
    }
}

/// Why a key that is not there is not made; `None` where it may be.
fn missing(observed: &Observed, expected: Option<&Expected>) -> Option<String> {
    if let Some(expected) = expected {
        return Some(format!(
            "no key is made, since the one of {expected} is expected: restore the Secret with that key from a backup; without a backup that identity is lost, and a node that is made without expect gets another one"
        ));
    }
    if observed.node.spec.adopted_key().is_some() {
        return Some("there is no such Secret: create it, or leave nodeKey out to have a key made".into());
    }
    (observed.chain_data_exists != Some(false)).then(|| {
        "chain data of an earlier node of this name is there and its key is not: restore the Secret, or delete the claim to begin anew".into()
    })
}

/// A key that is not the one that the spec expects. Where the status has it, it is the spec that is wrong.
fn unexpected(observed: &Observed, found: &NodeIdentity, expected: &Expected, is_pinned: bool) -> Fault {
    let (secret, _) = node_key_at(&names_of(observed), &observed.node.spec);
    let found = match expected {
        Expected::Address(_) => &found.address,
        Expected::PublicKey(_) => &found.public_key,
    };
    let way_out = if is_pinned {
        format!("this node is {found}, and Secret {secret} holds its key: correct expect, or leave it out")
    } else {
        format!(
            "Secret {secret} holds the key of {found}: restore the original Secret, or expect the identity that it holds"
        )
    };
    Fault::new(Reason::NodeKeyChanged, "spec.nodeKey.expect", expected.to_string(), way_out)
}
