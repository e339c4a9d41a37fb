//! Reference to an existing node key, and the identity that the key must have.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{node::QuorumNodeSpec, parts::SecretKey};

/// An existing node key, and the identity that the key must have.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretRef) || has(self.expect)")
        .message("nodeKey must have secretRef, expect or both. If the operator is to generate a key, leave nodeKey out")
)]
pub struct NodeKey {
    /// Key of a Secret of this namespace with the secp256k1 private key as 64 hex characters. The operator mounts the
    /// Secret and never writes it. If this field is not set, the node key is in the Secret `qn-NAME-nodekey`.
    /// Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKey>,

    /// Identity that the node key must have: its public key (128 hex characters, with or without 0x) or its address (0x
    /// and 40 hex characters), never the private key. If this field is set, the operator generates no key. The node is
    /// stalled while the Secret does not exist (for example, before a restore) or has a key with a different identity.
    /// Default: the identity of the first key that the operator finds and then stores in `status.identity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 130), regex(pattern = r"^((0x)?[0-9a-fA-F]{128}|0x[0-9a-fA-F]{40})$"))]
    pub expect: Option<String>,
}

impl QuorumNodeSpec {
    /// Secret with the adopted key, which the operator never writes.
    #[must_use]
    pub fn adopted_key(&self) -> Option<&SecretKey> {
        self.node_key.as_ref()?.secret_ref.as_ref()
    }

    /// Identity that the key must have, as written in the spec.
    #[must_use]
    pub fn expected_key(&self) -> Option<&str> {
        self.node_key.as_ref()?.expect.as_deref()
    }
}
