//! What is wrong with a node that only a person can mend. Faults are listed all at once, never one by one.

use std::fmt;

/// Reasons that stall a node: a closed list, documented in `docs/conditions.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A field holds something that cannot be used.
    InvalidField,
    /// The genesis ConfigMap is not there.
    GenesisMissing,
    /// The genesis cannot be used.
    GenesisInvalid,
    /// The genesis is not the one that was pinned.
    GenesisChanged,
    /// The genesis names another consensus than the spec.
    ConsensusMismatch,
    /// The node key was there once and is gone, or the Secret to adopt is not there.
    NodeKeyMissing,
    /// The node key cannot be used.
    NodeKeyUnusable,
    /// The Secret holds another key than the node has.
    NodeKeyChanged,
    /// Another node has the same key.
    DuplicateIdentity,
    /// A Secret or ConfigMap that the spec names is not there.
    ReferenceMissing,
    /// A Secret or ConfigMap that the spec names cannot be used.
    ReferenceUnusable,
    /// The built-in authority's Secret cannot be used.
    AuthorityUnusable,
    /// An object with a name that the node needs belongs to someone else.
    NameConflict,
    /// A volume may not grow to the size that the spec names.
    GrowthRefused,
    /// A volume is to be smaller than it is.
    ShrinkRefused,
    /// Another database is in the place of the one that the node's private state is in.
    DatabaseReplaced,
    /// Another major version of PostgreSQL made the database than the spec, or the image, names.
    DatabaseMajorChanged,
    /// More than one disruption budget selects a pod, so nobody may evict it.
    TwoBudgets,
    /// No host is left for a part that must have one of its own.
    NoHostLeft,
    /// Parts that must not share a host do.
    SharedHost,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// One thing that is wrong: where, what, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which of the documented reasons.
    pub reason: Reason,
    /// Field of the spec.
    pub field: String,
    /// What was found there; never a secret.
    pub value: String,
    /// What is wrong with it and what to do.
    pub way_out: String,
}

impl Fault {
    /// A fault of `field`, which holds `value`.
    pub fn new(
        reason: Reason,
        field: impl Into<String>,
        value: impl Into<String>,
        way_out: impl Into<String>,
    ) -> Self {
        Self { reason, field: field.into(), value: value.into(), way_out: way_out.into() }
    }
}

/// The server evicts a pod for nobody that more than one disruption budget selects.
#[must_use]
pub fn two_budgets(pod: &str) -> Fault {
    let way_out = "more than one PodDisruptionBudget selects this pod, so the server lets nobody evict it, neither the operator for a newer revision nor a drain: delete the budgets that are not the operator's, or have them select other pods";
    Fault::new(Reason::TwoBudgets, "metadata.name", format!("Pod {pod}"), way_out)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.field, self.value, self.way_out)
    }
}

/// All faults in one message.
#[must_use]
pub fn list(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
