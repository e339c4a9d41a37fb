//! Watches that are not allowed: what the caches do not see.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use kube::runtime::watcher;
use tokio::sync::watch;

/// Watches that are not allowed: each, and what the server said of it.
#[derive(Clone, Debug)]
pub struct Forbidden {
    said: Arc<Mutex<BTreeMap<String, String>>>,
    ever: watch::Sender<bool>,
}

impl Default for Forbidden {
    fn default() -> Self {
        Self { said: Arc::default(), ever: watch::Sender::new(false) }
    }
}

impl Forbidden {
    /// Takes note of what a watch has come to: a refusal lasts until everything has been read. Says whether it is
    /// news.
    pub(super) fn hear<T>(&self, resource: &str, event: &Result<watcher::Event<T>, watcher::Error>) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(watcher::Event::InitDone) => said.remove(resource).is_some(),
            Ok(_) => false,
            Err(error) => {
                let Some(refusal) = refusal(error) else { return false };
                self.ever.send_replace(true);
                said.insert(resource.to_owned(), refusal.to_owned()).is_none()
            }
        }
    }

    /// A kind that nobody watches any more.
    pub(super) fn forget(&self, resource: &str) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).remove(resource);
    }

    /// Waits until a watch has been refused.
    pub async fn heard(&self) {
        // the sender is ours
        let _ = self.ever.subscribe().wait_for(|ever| *ever).await;
    }

    /// What is not allowed now.
    #[must_use]
    pub fn now(&self) -> Vec<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// What the server said, where it does not allow a watch.
pub(super) fn refusal(error: &watcher::Error) -> Option<&str> {
    let status = match error {
        watcher::Error::WatchError(status) => status,
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status,
        _ => return None,
    };
    (status.code == 403).then_some(status.message.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::{core::Status, runtime::watcher::Event};

    fn refused(code: u16) -> Result<Event<()>, watcher::Error> {
        let status = Status::failure("cannot watch pods", "").with_code(code);
        Err(watcher::Error::WatchStartFailed(kube::Error::Api(status.boxed())))
    }

    #[test]
    fn a_refusal_is_news_once_and_lasts_until_its_kind_has_been_read() {
        let forbidden = Forbidden::default();
        assert!(forbidden.hear("/pods", &refused(403)));
        assert!(!forbidden.hear("/pods", &refused(403)));
        assert!(!forbidden.hear("/pods", &refused(500)), "only refusals");
        assert!(!forbidden.hear("/pods", &Ok(Event::<()>::Init)));
        assert!(!forbidden.hear("/nodes", &Ok(Event::<()>::InitDone)));
        assert_eq!(forbidden.now(), ["cannot watch pods"]);
        assert!(forbidden.hear("/pods", &Ok(Event::<()>::InitDone)));
        assert_eq!(forbidden.now(), [""; 0]);
        assert!(forbidden.hear("/pods", &refused(403)), "news again");
    }
}
