//! One watch: a streamed list where the server can, a plain one where it cannot, and no silence for long.

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

/// How long a watch lasts before it is opened anew, in seconds. The runtime gives up one that has told nothing
/// for five seconds longer, whether it was ended or forgotten.
const WATCH: u32 = 85;

/// How long a streamed list may stand still before a plain one is asked for. A server that does not know such
/// lists may take the request for a watch without one.
const STREAMED: Duration = Duration::from_secs(10);

/// All objects of a kind.
pub(super) fn everything() -> watcher::Config {
    watcher::Config::default().timeout(WATCH)
}

/// Events of a kind, for ever.
pub(super) fn watch<K>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = Result<Event<K>, Error>>
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
                    self.list_plainly("nothing more of it came");
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
                    self.list_plainly("it was refused");
                }
                Some(Ok(Event::Init)) if self.streams && self.list == List::Begun => {
                    self.list_plainly("it ended before its end");
                }
                // a list is due again: the server may have learned to stream
                Some(Ok(Event::Init)) if !self.streams && self.list == List::Read => {
                    *self = Self::new(self.api.clone(), self.config.clone());
                }
                Some(event) => {
                    match &event {
                        Ok(Event::Init) => self.list = List::Begun,
                        Ok(Event::InitDone) => self.list = List::Read,
                        // a watch that goes on says nothing of it; a list is heard of when it is allowed again
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
        tracing::info!(resource = self.api.resource_url(), why, "no streamed list: a plain one is asked for");
        self.events = watcher::watcher(self.api.clone(), self.config.clone()).boxed();
        (self.streams, self.list) = (false, List::Due);
    }
}
