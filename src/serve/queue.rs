//! Nodes that wait for a pass, and passes that go on, over all scopes.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::time::Instant;

/// How it stands with the nodes of one scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Nodes whose turn has come, and for which there is no place yet.
    pub waiting: usize,
    /// Since when the one of them waits that has waited longest.
    pub since: Option<Instant>,
    /// Passes that go on.
    pub running: usize,
}

/// How it stands with one scope, for as long as it is worked on.
pub type Standing = Arc<Mutex<Queue>>;

/// All scopes.
#[derive(Debug, Default)]
pub(super) struct Queues(Mutex<Vec<Weak<Mutex<Queue>>>>);

impl Queues {
    /// Another scope.
    pub(super) fn open(&self) -> Standing {
        let standing = Standing::default();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&standing));
        standing
    }

    /// How many wait, for how long the one that has waited longest, and how many passes go on.
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
