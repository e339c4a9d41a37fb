//! Watches that are not allowed: what the caches do not see.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::runtime::watcher;
use tokio::{sync::watch, time::Instant};

/// How long a refusal of a watch is taken to last that is not heard again: longer than the pause between two
/// attempts to open one.
const LASTS: Duration = Duration::from_secs(90);

/// Watches that are not allowed, by what the server said of each.
#[derive(Clone, Debug)]
pub struct Forbidden {
    said: Arc<Mutex<BTreeMap<String, Instant>>>,
    ever: watch::Sender<bool>,
}

impl Default for Forbidden {
    fn default() -> Self {
        Self { said: Arc::default(), ever: watch::Sender::new(false) }
    }
}

impl Forbidden {
    /// Takes note of a watch's error, and says whether that is news.
    pub fn hear(&self, error: &watcher::Error, now: Instant) -> bool {
        let Some(refusal) = refusal(error) else { return false };
        self.ever.send_replace(true);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.insert(refusal, now).is_none_or(|before| now.duration_since(before) > LASTS)
    }

    /// Waits until a watch has been refused.
    pub async fn heard(&self) {
        // the sender is ours
        let _ = self.ever.subscribe().wait_for(|ever| *ever).await;
    }

    /// What is not allowed now.
    #[must_use]
    pub fn now(&self, now: Instant) -> Vec<String> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, heard| now.duration_since(*heard) <= LASTS);
        said.keys().cloned().collect()
    }
}

fn refusal(error: &watcher::Error) -> Option<String> {
    let status = match error {
        watcher::Error::WatchError(status) => status,
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status,
        _ => return None,
    };
    (status.code == 403).then(|| status.message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn refused(code: u16) -> watcher::Error {
        let status = Status::failure("cannot watch pods", "").with_code(code);
        watcher::Error::WatchStartFailed(kube::Error::Api(status.boxed()))
    }

    #[test]
    fn a_refusal_is_news_once_and_is_forgotten_when_it_is_not_heard_again() {
        let (forbidden, now) = (Forbidden::default(), Instant::now());
        assert!(forbidden.hear(&refused(403), now));
        assert!(!forbidden.hear(&refused(403), now + LASTS));
        assert_eq!(forbidden.now(now + LASTS * 2), ["cannot watch pods"]);
        assert_eq!(forbidden.now(now + LASTS * 2 + Duration::from_millis(1)), [""; 0]);
        assert!(forbidden.hear(&refused(403), now + LASTS * 3));
        assert!(!forbidden.hear(&refused(500), now), "only refusals");
    }
}
