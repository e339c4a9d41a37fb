//! Kinds of others that may not be there: looked for while a node asks for them, and watched while the server
//! serves them. Nobody waits for one.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{
    StreamExt as _,
    channel::mpsc::{self, UnboundedSender},
    future, stream,
};
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store},
        watcher::{self, Event},
    },
};
use tokio::{sync::Notify, time};

use super::{
    caches::{Guarded, Notices, Watched, Woken, known},
    guard::Guard,
    trim,
    wakes::woken_by,
    watch::everything,
    write::timely,
};
use crate::api::QuorumNode;

/// How often a kind is looked for that is asked for and not there.
const LOOK: Duration = Duration::from_secs(60);

/// What is known of a kind.
#[derive(Clone, Default)]
pub enum Known<K: Resource<DynamicType = ()> + Clone + 'static> {
    /// Not whether it is there, or not yet what there is of it.
    #[default]
    NotYet,
    /// The server does not serve it.
    Missing,
    /// Every object.
    There(Store<K>),
}

/// A kind that may not be there.
#[derive(Clone)]
pub struct Optional<K: Resource<DynamicType = ()> + Clone + 'static> {
    known: Arc<Mutex<Known<K>>>,
    asked: Arc<Notify>,
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Optional<K> {
    /// What is known of it now.
    #[must_use]
    pub fn known(&self) -> Known<K> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every object of it, where that is known.
    #[must_use]
    pub fn store(&self) -> Option<Store<K>> {
        match self.known() {
            Known::There(store) => Some(store),
            Known::NotYet | Known::Missing => None,
        }
    }

    /// A node asks for it: it is looked for at once, if it was not before.
    pub fn ask(&self) {
        self.asked.notify_one();
    }
}

/// A kind, and who asks for it.
pub(super) struct Asked<K> {
    pub(super) api: Api<Guard<K>>,
    pub(super) nodes: Store<Guarded>,
    pub(super) asks: fn(&QuorumNode) -> bool,
}

/// Follows a kind for as long as a node asks for it.
pub(super) fn optional<K: Watched + Default>(
    client: &Client,
    asked: Asked<K>,
    notices: &Notices,
    trim: fn(&mut K),
) -> (Optional<K>, stream::BoxStream<'static, Result<Woken, watcher::Error>>) {
    let optional = Optional { known: Arc::default(), asked: Arc::default() };
    let (tell, told) = mpsc::unbounded();
    let follow = Follow {
        client: client.clone(),
        asked,
        notices: notices.clone(),
        trim,
        optional: optional.clone(),
        tell,
    };
    let work = stream::once(follow.on()).filter_map(|()| future::ready(None));
    (optional, stream::select(told, work).boxed())
}

struct Follow<K: Resource<DynamicType = ()> + Clone + 'static> {
    client: Client,
    asked: Asked<K>,
    notices: Notices,
    trim: fn(&mut K),
    optional: Optional<K>,
    tell: UnboundedSender<Result<Woken, watcher::Error>>,
}

impl<K: Watched + Default> Follow<K> {
    async fn on(self) {
        loop {
            while !self.is_asked_for() {
                self.becomes(Known::NotYet);
                let _ = time::timeout(LOOK, self.optional.asked.notified()).await;
            }
            match self.is_served().await {
                Ok(true) => {
                    tracing::info!(kind = %K::kind(&()), "the API is there: it is watched");
                    if self.watch().await {
                        continue;
                    }
                    tracing::info!(kind = %K::kind(&()), "the API is gone");
                    self.becomes(Known::Missing);
                }
                Ok(false) => self.becomes(Known::Missing),
                Err(error) => tracing::debug!(kind = %K::kind(&()), %error, "not known whether it is there"),
            }
            time::sleep(LOOK).await;
        }
    }

    fn is_asked_for(&self) -> bool {
        self.asked.nodes.state().iter().any(|node| node.0.as_ref().is_ok_and(self.asked.asks))
    }

    async fn is_served(&self) -> anyhow::Result<bool> {
        match timely(self.client.list_api_group_resources(&K::api_version(&()))).await? {
            Ok(list) => Ok(list.resources.iter().any(|resource| resource.kind == K::kind(&()))),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Until nobody asks for it any more (`true`), or it is gone.
    async fn watch(&self) -> bool {
        let (store, writer) = reflector::store();
        let trim = self.trim;
        let events = known(self.asked.api.clone(), everything(), &self.notices, move |object: &mut K| {
            trim::metadata(object.meta_mut());
            trim(object);
        });
        let mut events = pin!(events.reflect(writer));
        let mut look = time::interval(LOOK);
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = look.tick() => {
                    if self.is_asked_for() { continue }
                    return true;
                }
            };
            match event {
                Some(Ok(Event::InitDone)) => self.becomes(Known::There(store.clone())),
                Some(Ok(Event::Apply(object) | Event::Delete(object))) => {
                    self.tell(Ok(woken_by(object.meta())));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) if is_gone(&error) => return false,
                Some(Err(error)) => self.tell(Err(error)),
                None => return false,
            }
        }
    }

    /// Notes what is known, and wakes whoever asks where that is news.
    fn becomes(&self, known: Known<K>) {
        let mut held = self.optional.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news =
            !matches!((&*held, &known), (Known::NotYet, Known::NotYet) | (Known::Missing, Known::Missing));
        if !matches!(known, Known::There(_)) {
            self.notices.forbidden.forget(self.asked.api.resource_url());
        }
        *held = known;
        drop(held);
        if is_news {
            self.tell(Ok(Woken::Optional));
        }
    }

    fn tell(&self, woken: Result<Woken, watcher::Error>) {
        // a receiver that is gone takes this with it
        let _ = self.tell.unbounded_send(woken);
    }
}

/// Whether a watch could not begin since there is no such kind: the server says so in plain text, without a reason.
fn is_gone(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(kube::Error::Api(status))
    | watcher::Error::WatchStartFailed(kube::Error::Api(status))) = error
    else {
        return false;
    };
    status.code == 404
}
