//! State of the work queues of all scopes, for metrics.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::time::Instant;

/// State of the work queue of one scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Nodes whose reconcile is due and waits to start.
    pub waiting: usize,
    /// Since when the node that has waited longest has waited.
    pub since: Option<Instant>,
    /// Reconciles in progress.
    pub running: usize,
}

/// Handle of a scope's queue; the scope counts until the handle is dropped.
pub type Standing = Arc<Mutex<Queue>>;

/// The queues of all scopes.
#[derive(Debug, Default)]
pub(super) struct Queues(Mutex<Vec<Weak<Mutex<Queue>>>>);

impl Queues {
    /// Adds a scope.
    pub(super) fn open(&self) -> Standing {
        let standing = Standing::default();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&standing));
        standing
    }

    /// Number of waiting nodes, longest wait, and number of reconciles in progress.
    pub(super) fn sum(&self) -> (usize, Duration, usize) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let mut sum = (0, Duration::ZERO, 0);
        for one in all.iter().filter_map(Weak::upgrade) {
            let one = *one.lock().unwrap_or_else(PoisonError::into_inner);
            let waits = one.since.map_or(Duration::ZERO, |since| now.duration_since(since));
            sum = (sum.0 + one.waiting, sum.1.max(waits), sum.2 + one.running);
        }
        sum
    }
}
