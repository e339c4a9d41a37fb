//! How long a node whose pass failed waits: doubling, with jitter, forgotten on the first success.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(300);

/// Failures in a row, by namespace and name.
#[derive(Default)]
pub(super) struct Backoff {
    failures: Mutex<HashMap<(String, String), u32>>,
    jitter: RandomState,
}

impl Backoff {
    /// Counts a failure and says how long to wait.
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

    /// How often it failed in a row.
    pub(super) fn failures(&self, namespace: &str, name: &str) -> u32 {
        self.lock().get(&(namespace.to_owned(), name.to_owned())).copied().unwrap_or(0)
    }

    /// A success, or the end of the node.
    pub(super) fn forget(&self, namespace: &str, name: &str) {
        self.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between one and one and a half times the doubled wait, never more than five minutes and a half of that.
fn delay(attempt: u32, random: u64) -> Duration {
    let base = FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LAST);
    base + base.mul_f64((random % 1000) as f64 / 2000.0)
}

#[cfg(test)]
mod tests;
