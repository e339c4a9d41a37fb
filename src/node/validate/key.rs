//! Validates the node key, and decides whether the operator may generate one.

use super::names_of;
use crate::{
    api::QuorumNodeSpec,
    model::{
        fault::{Fault, Reason},
        lookup::Found,
        names::{Component, Names},
        secrets::keys::NodeIdentity,
    },
    node::observed::Observed,
    protocol::node_key::Expected,
};

/// Secret and key in its data that hold the node key: the adopted one, or the generated one.
#[must_use]
pub fn node_key_at(names: &Names, spec: &QuorumNodeSpec) -> (String, String) {
    match spec.adopted_key() {
        Some(adopted) => (adopted.name.clone(), adopted.key.clone()),
        None => (names.node_key(), "nodekey".into()),
    }
}

/// The node's identity; `None` where its key is to be generated, or where there is a fault. A key is generated only
/// where neither the status nor the spec names an identity and no claim with chain data exists.
pub(super) fn identity(observed: &Observed, faults: &mut Vec<Fault>) -> Option<NodeIdentity> {
    let expected = expected(observed, faults);
    let recorded = observed.node.status.as_ref().and_then(|status| status.identity.as_ref());
    let (reason, remedy) = match (&observed.node_key, recorded) {
        (Found::Present(identity), Some(recorded)) if identity.public_key != recorded.public_key => (
            Reason::NodeKeyChanged,
            format!(
                "the Secret has the key of address {}, but this node has address {}: restore the original Secret, or create a new QuorumNode for the new key",
                identity.address, recorded.address
            ),
        ),
        (Found::Present(identity), _) => {
            let Some(other) = expected.filter(|expected| !expected.is(identity)) else {
                return Some(identity.clone());
            };
            faults.push(unexpected(observed, identity, &other, recorded.is_some()));
            return None;
        }
        (Found::Invalid(why), _) => (Reason::NodeKeyInvalid, why.clone()),
        (Found::Missing, Some(recorded)) => (
            Reason::NodeKeyMissing,
            format!(
                "the key of this node, with address {}, is missing and cannot be generated again: restore the Secret from a backup",
                recorded.address
            ),
        ),
        (Found::Missing, None) => (Reason::NodeKeyMissing, missing(observed, expected.as_ref())?),
    };
    let (field, value) = place(observed);
    faults.push(Fault::new(reason, field, value, remedy));
    None
}

/// Whether a key is the one that the spec expects; true where it expects none.
#[must_use]
pub fn is_expected(spec: &QuorumNodeSpec, identity: &NodeIdentity) -> bool {
    spec.expected_key().is_none_or(|text| text.parse().is_ok_and(|expected: Expected| expected.is(identity)))
}

/// Field and Secret of the node key, for a fault.
fn place(observed: &Observed) -> (&'static str, String) {
    let spec = &observed.node.spec;
    let (name, key) = node_key_at(&names_of(observed), spec);
    match (spec.adopted_key(), spec.expected_key()) {
        (Some(_), _) => ("spec.nodeKey.secretRef", format!("Secret {name}, key {key}")),
        (None, Some(_)) => ("spec.nodeKey.expect", format!("Secret {name}, key {key}")),
        (None, None) => ("metadata.name", format!("Secret {name}")),
    }
}

/// The expected identity. An invalid value is not quoted in the fault, since it may be the private key.
fn expected(observed: &Observed, faults: &mut Vec<Fault>) -> Option<Expected> {
    match observed.node.spec.expected_key()?.parse() {
        Ok(expected) => Some(expected),
        Err(why) => {
            faults.push(Fault::new(Reason::InvalidField, "spec.nodeKey.expect", "not an identity", why));
            None
        }
    }
}

/// Why a missing key must not be generated; `None` where it may be.
fn missing(observed: &Observed, expected: Option<&Expected>) -> Option<String> {
    if let Some(expected) = expected {
        return Some(format!(
            "spec.nodeKey.expect is {expected}, so the operator generates no key: restore the Secret with the key of this identity from a backup. Without a backup, the identity is lost: create a new QuorumNode without spec.nodeKey, for which the operator generates a new key"
        ));
    }
    if observed.node.spec.adopted_key().is_some() {
        return Some("the Secret does not exist: create it, or create a new QuorumNode without spec.nodeKey, for which the operator generates a key".into());
    }
    (observed.chain_data_exists != Some(false)).then(|| {
        format!(
            "chain data of an earlier node with this name exists, but the key of that node does not: restore the Secret, or delete PersistentVolumeClaim {} to start from scratch",
            names_of(observed).claim(Component::Client)
        )
    })
}

/// The fault of a key that the spec does not expect. Where the status has the same key, the spec is wrong.
fn unexpected(observed: &Observed, found: &NodeIdentity, expected: &Expected, is_pinned: bool) -> Fault {
    let (secret, _) = node_key_at(&names_of(observed), &observed.node.spec);
    let found = match expected {
        Expected::Address(_) => &found.address,
        Expected::PublicKey(_) => &found.public_key,
    };
    let remedy = if is_pinned {
        format!(
            "this node's identity is {found}, and Secret {secret} has the key of this identity: correct spec.nodeKey.expect, or remove it"
        )
    } else {
        format!(
            "Secret {secret} has the key of {found}: restore the original Secret, or set spec.nodeKey.expect to {found}"
        )
    };
    Fault::new(Reason::NodeKeyChanged, "spec.nodeKey.expect", expected.to_string(), remedy)
}
