//! Where a node's key is, and whose it must be.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{node::QuorumNodeSpec, parts::SecretKey};

/// Where the node key is, and whose it must be.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretRef) || has(self.expect)")
        .message("nodeKey names a secretRef, an identity to expect, or both: leave it out to have a key made")
)]
pub struct NodeKey {
    /// Secret of this namespace whose key holds the secp256k1 private key as 64 hex characters. It is
    /// mounted and never written. Left out, the key is in the Secret `qn-NAME-nodekey`. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKey>,

    /// Whose key it must be: its public key (128 hex characters, with or without 0x) or its address (0x and
    /// 40 hex characters), never the private key. No key is made then: the node waits for the Secret, as
    /// after a restore, and stalls with another one. Default: the identity of the key that is first seen,
    /// kept in status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 130), regex(pattern = r"^((0x)?[0-9a-fA-F]{128}|0x[0-9a-fA-F]{40})$"))]
    pub expect: Option<String>,
}

impl QuorumNodeSpec {
    /// The Secret with a key that the operator has not made and never writes.
    #[must_use]
    pub fn adopted_key(&self) -> Option<&SecretKey> {
        self.node_key.as_ref()?.secret_ref.as_ref()
    }

    /// Whose key it must be, as the spec says it.
    #[must_use]
    pub fn expected_key(&self) -> Option<&str> {
        self.node_key.as_ref()?.expect.as_deref()
    }
}
