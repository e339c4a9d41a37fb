//! Watch of one kind: a streamed list if the server supports it, else a plain list. Limits how long it can be silent.

use std::{fmt::Debug, time::Duration};

use futures::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Error, Event},
    },
};
use serde::de::DeserializeOwned;

use super::forbidden::refusal;

/// Duration of a watch in seconds before it is reopened. The runtime gives up a silent watch five seconds later, even
/// if the server never ends it.
const WATCH: u32 = 85;

/// How long a streamed list may stall before the watch falls back to a plain list. A server without streamed lists may
/// treat the request as a watch without a list.
const STREAMED: Duration = Duration::from_secs(10);

/// Watch configuration for all objects of a kind.
pub(crate) fn everything() -> watcher::Config {
    watcher::Config::default().timeout(WATCH)
}

/// Endless stream of the events of a kind.
pub(crate) fn watch<K>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = Result<Event<K>, Error>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let watching = Watching::new(api, config);
    let events = stream::unfold(watching, |mut watching| async { Some((watching.next().await, watching)) });
    events.backoff(watcher::DefaultBackoff::default())
}

struct Watching<K> {
    api: Api<K>,
    config: watcher::Config,
    events: BoxStream<'static, Result<Event<K>, Error>>,
    streams: bool,
    list: List,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Due,
    Begun,
    Read,
}

impl<K> Watching<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    fn new(api: Api<K>, config: watcher::Config) -> Self {
        let events = watcher::watcher(api.clone(), config.clone().streaming_lists()).boxed();
        Self { api, config, events, streams: true, list: List::Due }
    }

    async fn next(&mut self) -> Result<Event<K>, Error> {
        loop {
            let next = self.events.next();
            let next = if self.streams && self.list == List::Begun {
                let Ok(next) = tokio::time::timeout(STREAMED, next).await else {
                    self.list_plainly("the streamed list stalled");
                    continue;
                };
                next
            } else {
                next.await
            };
            match next {
                Some(Err(Error::WatchStartFailed(kube::Error::Api(status))))
                    if self.streams && matches!(status.code, 400 | 422) =>
                {
                    self.list_plainly("the server rejected the streamed list");
                }
                Some(Ok(Event::Init)) if self.streams && self.list == List::Begun => {
                    self.list_plainly("the streamed list was incomplete");
                }
                // relist: the server may support streamed lists by now
                Some(Ok(Event::Init)) if !self.streams && self.list == List::Read => {
                    *self = Self::new(self.api.clone(), self.config.clone());
                }
                Some(event) => {
                    match &event {
                        Ok(Event::Init) => self.list = List::Begun,
                        Ok(Event::InitDone) => self.list = List::Read,
                        // start over with a list: its success shows that the watch is allowed again
                        Err(error) if self.list == List::Read && refusal(error).is_some() => {
                            *self = Self::new(self.api.clone(), self.config.clone());
                        }
                        _ => {}
                    }
                    return event;
                }
                None => *self = Self::new(self.api.clone(), self.config.clone()),
            }
        }
    }

    fn list_plainly(&mut self, why: &str) {
        tracing::info!(resource = self.api.resource_url(), why, "falling back to a plain list");
        self.events = watcher::watcher(self.api.clone(), self.config.clone()).boxed();
        (self.streams, self.list) = (false, List::Due);
    }
}
