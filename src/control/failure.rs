//! A reconcile that failed: at which stage, and why.

use std::fmt;

use super::error_message;
use crate::node::Stage;

/// A failed reconcile.
#[derive(Debug)]
pub(super) struct Failure(pub(super) anyhow::Error);

impl Failure {
    /// The stage, as the metric's label has it.
    pub(super) fn stage(&self) -> &'static str {
        self.0.downcast_ref::<Stage>().copied().unwrap_or(Stage::Timeout).as_str()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&error_message::words(&self.0))
    }
}
