//! The node key: whose it is, and what is wrong with it.

use super::names_of;
use crate::node::{
    fault::{Fault, Reason},
    observed::{Found, Observed},
    secrets::keys::NodeIdentity,
};

/// A key is minted only where neither status nor a claim with chain data names an identity.
pub(super) fn identity(observed: &Observed, faults: &mut Vec<Fault>) -> Option<NodeIdentity> {
    let adopted = observed.node.spec.node_key.as_ref();
    let name = adopted.map_or_else(|| names_of(observed).node_key(), |key| key.secret_ref.name.clone());
    let (field, value) = match adopted {
        Some(key) => ("spec.nodeKey.secretRef", format!("Secret {name}, key {}", key.secret_ref.key)),
        None => ("metadata.name", format!("Secret {name}")),
    };
    let recorded = observed.node.status.as_ref().and_then(|status| status.identity.as_ref());
    match (&observed.node_key, recorded) {
        (Found::Is(identity), Some(recorded)) if identity.public_key != recorded.public_key => {
            faults.push(Fault::new(
                Reason::NodeKeyChanged,
                field,
                value,
                format!("it holds the key of {}, the node is {}: restore the original Secret, or make a new QuorumNode", identity.address, recorded.address),
            ));
            None
        }
        (Found::Is(identity), _) => Some(identity.clone()),
        (Found::Unusable(why), _) => {
            faults.push(Fault::new(Reason::NodeKeyUnusable, field, value, why));
            None
        }
        (Found::Missing, Some(recorded)) => {
            faults.push(Fault::new(
                Reason::NodeKeyMissing,
                field,
                value,
                format!(
                    "the key of {} is gone and cannot be made again: restore the Secret from a backup",
                    recorded.address
                ),
            ));
            None
        }
        (Found::Missing, None) if adopted.is_some() => {
            faults.push(Fault::new(
                Reason::NodeKeyMissing,
                field,
                value,
                "there is no such Secret: create it, or leave nodeKey out to have a key made",
            ));
            None
        }
        (Found::Missing, None) if observed.chain_data_exists != Some(false) => {
            faults.push(Fault::new(
                Reason::NodeKeyMissing,
                field,
                value,
                "chain data of an earlier node of this name is there and its key is not: restore the Secret, or delete the claim to begin anew",
            ));
            None
        }
        (Found::Missing, None) => None,
    }
}
