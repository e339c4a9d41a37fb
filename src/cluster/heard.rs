//! When the server was last heard of each kind that is watched.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What is watched, by the path that it is asked for at. In memory, for people alone: nothing is decided from it.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<Mutex<HashMap<String, Watched>>>);

#[derive(Debug)]
struct Watched {
    kind: String,
    last: Instant,
    /// How many watches there are: every scope watches hosts.
    times: usize,
}

/// A watch, until it is dropped.
#[derive(Debug)]
pub struct Listening {
    heard: Heard,
    path: String,
}

impl Heard {
    /// A watch begins.
    #[must_use]
    pub fn listen(&self, path: &str, kind: &str) -> Listening {
        let new = || Watched { kind: kind.to_owned(), last: Instant::now(), times: 0 };
        self.lock().entry(path.to_owned()).or_insert_with(new).times += 1;
        Listening { heard: self.clone(), path: path.to_owned() }
    }

    /// The server has answered at this path; of what is not watched nothing is kept.
    pub fn hear(&self, path: &str) {
        if let Some(watched) = self.lock().get_mut(path) {
            watched.last = Instant::now();
        }
    }

    /// For how long each kind has not been heard of, where that is longest.
    #[must_use]
    pub fn silences(&self) -> BTreeMap<String, Duration> {
        let (mut silences, now) = (BTreeMap::<_, Duration>::new(), Instant::now());
        for watched in self.lock().values() {
            let longest = silences.entry(watched.kind.clone()).or_default();
            *longest = (*longest).max(now.duration_since(watched.last));
        }
        silences
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listening {
    /// The server has told something.
    pub fn hear(&self) {
        self.heard.hear(&self.path);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut all = self.heard.lock();
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
        let heard = Heard::default();
        let first = heard.listen("/api/v1/namespaces/a/pods", "Pod");
        let second = heard.listen("/api/v1/namespaces/b/pods", "Pod");
        let again = heard.listen("/api/v1/namespaces/b/pods", "Pod");
        tokio::time::advance(Duration::from_secs(60)).await;
        first.hear();
        heard.hear("/api/v1/namespaces/c/pods");
        let silence = || heard.silences().into_iter().collect::<Vec<_>>();
        assert_eq!(silence(), [("Pod".to_owned(), Duration::from_secs(60))]);
        drop(again);
        assert_eq!(silence(), [("Pod".to_owned(), Duration::from_secs(60))]);
        drop(second);
        assert_eq!(silence(), [("Pod".to_owned(), Duration::ZERO)]);
        drop(first);
        assert_eq!(silence(), []);
    }
}
