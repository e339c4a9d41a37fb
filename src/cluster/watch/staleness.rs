//! Staleness of watches: the time since the API server last answered, by watched kind.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Time of the last answer by request path. It is only reported; no decision depends on it.
#[derive(Clone, Debug, Default)]
pub struct Staleness(Arc<Mutex<HashMap<String, Watched>>>);

#[derive(Debug)]
struct Watched {
    kind: String,
    last: Instant,
    /// Number of watches of this path: every scope watches hosts.
    times: usize,
}

/// Registration of a watch until it is dropped.
#[derive(Debug)]
pub struct Listening {
    staleness: Staleness,
    path: String,
}

impl Staleness {
    /// Registers a watch.
    #[must_use]
    pub fn listen(&self, path: &str, kind: &str) -> Listening {
        let new = || Watched { kind: kind.to_owned(), last: Instant::now(), times: 0 };
        self.lock().entry(path.to_owned()).or_insert_with(new).times += 1;
        Listening { staleness: self.clone(), path: path.to_owned() }
    }

    /// Records an answer at this path. Ignores a path that is not watched.
    pub fn hear(&self, path: &str) {
        if let Some(watched) = self.lock().get_mut(path) {
            watched.last = Instant::now();
        }
    }

    /// Longest time since the last answer, by kind.
    #[must_use]
    pub fn staleness_by_kind(&self) -> BTreeMap<String, Duration> {
        let (mut staleness_by_kind, now) = (BTreeMap::<_, Duration>::new(), Instant::now());
        for watched in self.lock().values() {
            let longest = staleness_by_kind.entry(watched.kind.clone()).or_default();
            *longest = (*longest).max(now.duration_since(watched.last));
        }
        staleness_by_kind
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listening {
    /// Records an answer of the server.
    pub fn hear(&self) {
        self.staleness.hear(&self.path);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut all = self.staleness.lock();
        if let Some(watched) = all.get_mut(&self.path) {
            watched.times -= 1;
            if watched.times == 0 {
                all.remove(&self.path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_kind_is_silent_for_as_long_as_the_longest_of_its_watches_and_no_longer_than_it_is_watched() {
        let staleness = Staleness::default();
        let first = staleness.listen("/api/v1/namespaces/a/pods", "Pod");
        let second = staleness.listen("/api/v1/namespaces/b/pods", "Pod");
        let again = staleness.listen("/api/v1/namespaces/b/pods", "Pod");
        tokio::time::advance(Duration::from_secs(60)).await;
        first.hear();
        staleness.hear("/api/v1/namespaces/c/pods");
        let silence = || staleness.staleness_by_kind().into_iter().collect::<Vec<_>>();
        assert_eq!(silence(), [("Pod".to_owned(), Duration::from_secs(60))]);
        drop(again);
        assert_eq!(silence(), [("Pod".to_owned(), Duration::from_secs(60))]);
        drop(second);
        assert_eq!(silence(), [("Pod".to_owned(), Duration::ZERO)]);
        drop(first);
        assert_eq!(silence(), []);
    }
}
