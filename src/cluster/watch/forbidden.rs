//! Watches that the API server forbids.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use kube::runtime::watcher;
use tokio::sync::watch;

/// Forbidden watches with the server's message, by resource.
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
    /// Records the result of a watch. A rejection lasts until the next complete list. Returns whether the state
    /// changed.
    pub(crate) fn hear<T>(&self, resource: &str, event: &Result<watcher::Event<T>, watcher::Error>) -> bool {
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

    /// Removes a kind that is no longer watched.
    pub(crate) fn forget(&self, resource: &str) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).remove(resource);
    }

    /// Waits until a watch has been forbidden.
    pub async fn heard(&self) {
        // cannot fail: `self` holds the sender
        let _ = self.ever.subscribe().wait_for(|ever| *ever).await;
    }

    /// Messages of the watches that are forbidden now.
    #[must_use]
    pub fn now(&self) -> Vec<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// Server message of an error with status 403.
pub(crate) fn refusal(error: &watcher::Error) -> Option<&str> {
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
