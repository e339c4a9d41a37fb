//! Debounces status updates that change only messages. Held in memory: it affects when a status is written, not what.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::model::names::NamespacedName;

/// How long a status update that changes only messages waits, for a node without other writes.
const WORDS: Duration = Duration::from_secs(2);

/// Start times of the waits of status updates, by namespace and name of the node.
#[derive(Debug, Default)]
pub struct StatusDebounce {
    since: Mutex<HashMap<NamespacedName, Instant>>,
}

impl StatusDebounce {
    /// Remaining wait of a status update; `None` if it must be written now.
    #[must_use]
    pub fn wait(&self, which: NamespacedName, now: Instant) -> Option<Duration> {
        let mut since = self.lock();
        let until = *since.entry(which).or_insert(now) + WORDS;
        Some(until.duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Ends the wait of a node.
    pub fn said(&self, which: &NamespacedName) {
        self.lock().remove(which);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NamespacedName, Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_wait_from_the_first_of_them_on_until_they_are_said() {
        let (status_debounce, now) = (StatusDebounce::default(), Instant::now());
        let alice = || ("ledger".to_owned(), "alice".to_owned());
        assert_eq!(status_debounce.wait(alice(), now), Some(WORDS));
        assert_eq!(status_debounce.wait(alice(), now + WORDS / 5), Some(WORDS * 4 / 5));
        assert_eq!(status_debounce.wait(alice(), now + WORDS), None);
        status_debounce.said(&alice());
        assert_eq!(status_debounce.wait(alice(), now + WORDS), Some(WORDS));
    }
}
