//! Faults of a node that only a user can correct. The operator reports all faults of a node at once.

use std::fmt;

/// Reasons of faults, a closed list documented in `docs/conditions.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A field has an invalid value.
    InvalidField,
    /// The genesis ConfigMap does not exist.
    GenesisMissing,
    /// The genesis is invalid.
    GenesisInvalid,
    /// The genesis differs from the pinned one.
    GenesisChanged,
    /// The genesis names another consensus engine than the spec.
    ConsensusMismatch,
    /// The Secret with the node key does not exist and the operator must not generate a new key.
    NodeKeyMissing,
    /// The node key is invalid.
    NodeKeyInvalid,
    /// The Secret holds another key than the node's.
    NodeKeyChanged,
    /// Another node has the same key.
    DuplicateIdentity,
    /// A Secret or ConfigMap that the spec references does not exist.
    ReferenceMissing,
    /// A Secret or ConfigMap that the spec references has invalid content.
    ReferenceInvalid,
    /// The Secret of the built-in certificate authority is invalid.
    CertificateAuthorityInvalid,
    /// An object with a name that the node needs is not the node's.
    NameConflict,
    /// The server refuses to grow a volume to the size in the spec.
    GrowthRefused,
    /// The spec asks for a smaller volume than exists.
    ShrinkRefused,
    /// The database is not the one that holds the node's private state.
    DatabaseReplaced,
    /// The spec or the image names another major version of PostgreSQL than the one that created the database.
    DatabaseMajorChanged,
    /// More than one disruption budget selects a pod, so the server rejects its eviction.
    MultipleDisruptionBudgets,
    /// No host is available for a part that needs a host of its own.
    InsufficientHosts,
    /// Parts that must not share a host share one.
    SharedHost,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A fault: where it is, what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Reason of the fault.
    pub reason: Reason,
    /// Field of the spec.
    pub field: String,
    /// Value of the field or name of the object; never a secret.
    pub value: String,
    /// What is wrong and what to do.
    pub remedy: String,
}

impl Fault {
    /// A fault of `field`, which has the value `value`.
    pub fn new(
        reason: Reason,
        field: impl Into<String>,
        value: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { reason, field: field.into(), value: value.into(), remedy: remedy.into() }
    }
}

/// The fault of a pod that more than one disruption budget selects. The server rejects every eviction of such a pod.
#[must_use]
pub fn two_budgets(pod: &str) -> Fault {
    let remedy = "more than one PodDisruptionBudget selects this pod, so the API server rejects every eviction of the pod, by a rollout or a drain: delete the PodDisruptionBudgets that are not the operator's, or change their selectors";
    Fault::new(Reason::MultipleDisruptionBudgets, "metadata.name", format!("Pod {pod}"), remedy)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.field, self.value, self.remedy)
    }
}

/// All faults, joined into one message.
#[must_use]
pub fn list(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
