//! Exponential backoff with jitter for nodes whose reconcile failed; reset by the first success.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(300);

/// Consecutive failures, by namespace and name of the node.
#[derive(Default)]
pub(super) struct Backoff {
    failures: Mutex<HashMap<(String, String), u32>>,
    jitter: RandomState,
}

impl Backoff {
    /// Counts a failure, and returns how long to wait.
    pub(super) fn next(&self, namespace: &str, name: &str) -> Duration {
        let key = (namespace.to_owned(), name.to_owned());
        let attempt = {
            let mut failures = self.lock();
            let attempt = failures.entry(key.clone()).or_insert(0);
            *attempt += 1;
            *attempt
        };
        delay(attempt, self.jitter.hash_one((key, attempt)))
    }

    /// Number of consecutive failures of a node.
    pub(super) fn failures(&self, namespace: &str, name: &str) -> u32 {
        self.lock().get(&(namespace.to_owned(), name.to_owned())).copied().unwrap_or(0)
    }

    /// Resets a node after a success, or after its deletion.
    pub(super) fn forget(&self, namespace: &str, name: &str) {
        self.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Doubles the wait with each attempt, up to five minutes, and adds a random part of up to half of it.
fn delay(attempt: u32, random: u64) -> Duration {
    let base = FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LAST);
    base + base.mul_f64((random % 1000) as f64 / 2000.0)
}

#[cfg(test)]
mod tests;
