//! Since when words of a status wait. In memory, since it decides when something is said and never what.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long words may wait of a node that nothing is written for: it waits for others.
const WORDS: Duration = Duration::from_secs(2);

/// Namespace and name.
pub type Which = (String, String);

/// Since when words of nodes have waited, by namespace and name. It decides when something is said, never what.
#[derive(Debug, Default)]
pub struct Unsaid {
    since: Mutex<HashMap<Which, Instant>>,
}

impl Unsaid {
    /// How long words may still wait; `None`: they are to be said now.
    #[must_use]
    pub fn wait(&self, which: Which, now: Instant) -> Option<Duration> {
        let mut since = self.lock();
        let until = *since.entry(which).or_insert(now) + WORDS;
        Some(until.duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Nothing waits any more.
    pub fn said(&self, which: &Which) {
        self.lock().remove(which);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Which, Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_wait_from_the_first_of_them_on_until_they_are_said() {
        let (unsaid, now) = (Unsaid::default(), Instant::now());
        let alice = || ("ledger".to_owned(), "alice".to_owned());
        assert_eq!(unsaid.wait(alice(), now), Some(WORDS));
        assert_eq!(unsaid.wait(alice(), now + WORDS / 5), Some(WORDS * 4 / 5));
        assert_eq!(unsaid.wait(alice(), now + WORDS), None);
        unsaid.said(&alice());
        assert_eq!(unsaid.wait(alice(), now + WORDS), Some(WORDS));
    }
}
