//! The identity that a node claims in its status. Pure.

use super::fault::Reason;
use crate::api::{QuorumNode, status::QuorumNodeStatus};

/// The public key that a node has pinned in its status.
#[must_use]
pub fn claimed(node: &QuorumNode) -> Option<&str> {
    Some(node.status.as_ref()?.identity.as_ref()?.public_key.as_str())
}

fn says<'a>(of: &'a QuorumNodeStatus, kind: &str, status: &str) -> Option<&'a str> {
    let found = of.conditions.iter().find(|found| found.type_ == kind && found.status == status)?;
    Some(&found.reason)
}

/// Whether a node reports that another node has its identity. It then counts neither as a peer nor as a validator.
#[must_use]
pub fn is_held(status: &QuorumNodeStatus) -> bool {
    says(status, "IdentityReady", "False")
        .is_some_and(|reason| reason == Reason::DuplicateIdentity.to_string())
}

/// Whether a node reports that it starts no client: it is being deleted, duplicates an identity, or has an invalid
/// spec. Before it starts one, it checks again which nodes claim its identity.
#[must_use]
pub fn stands_back(node: &QuorumNode) -> bool {
    let says_so =
        |status: &QuorumNodeStatus| is_held(status) || says(status, "ConfigValid", "False").is_some();
    node.metadata.deletion_timestamp.is_some() || node.status.as_ref().is_some_and(says_so)
}
