//! Watches of third-party kinds that may not be installed. The operator looks for a kind while a node uses it, and
//! watches it while the API server serves it. No reconcile waits for such a watch.

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
    caches::{DecodedNode, Notices, Trigger, Watched, known},
    stream::everything,
    triggers::woken_by,
    trim,
};
use crate::{api::QuorumNode, cluster::write::timely, model::decode::Decoded};

/// Interval of checks whether a kind is used and served.
const LOOK: Duration = Duration::from_secs(60);

/// State of an optional kind.
#[derive(Clone, Default)]
pub enum Known<K: Resource<DynamicType = ()> + Clone + 'static> {
    /// Not known whether the server serves it, or its objects are not listed yet.
    #[default]
    NotYet,
    /// The server does not serve it.
    Missing,
    /// The server serves it; the store has all objects.
    There(Store<K>),
}

/// A kind that may not be installed.
#[derive(Clone)]
pub struct Optional<K: Resource<DynamicType = ()> + Clone + 'static> {
    known: Arc<Mutex<Known<K>>>,
    asked: Arc<Notify>,
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Optional<K> {
    /// Current state of the kind.
    #[must_use]
    pub fn known(&self) -> Known<K> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Store of its objects, if the server serves it.
    #[must_use]
    pub fn store(&self) -> Option<Store<K>> {
        match self.known() {
            Known::There(store) => Some(store),
            Known::NotYet | Known::Missing => None,
        }
    }

    /// Requests the kind for a node. If it was not requested before, the operator looks for it at once.
    pub fn ask(&self) {
        self.asked.notify_one();
    }
}

/// A kind, and the nodes that may use it.
pub(crate) struct Asked<K> {
    pub(crate) api: Api<Decoded<K>>,
    pub(crate) nodes: Store<DecodedNode>,
    pub(crate) asks: fn(&QuorumNode) -> bool,
}

/// Watches a kind while a node uses it.
pub(crate) fn optional<K: Watched + Default>(
    client: &Client,
    asked: Asked<K>,
    notices: &Notices,
    trim: fn(&mut K),
) -> (Optional<K>, stream::BoxStream<'static, Result<Trigger, watcher::Error>>) {
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
    tell: UnboundedSender<Result<Trigger, watcher::Error>>,
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
                    tracing::info!(kind = %K::kind(&()), "the API is served, watching it");
                    if self.watch().await {
                        continue;
                    }
                    tracing::info!(kind = %K::kind(&()), "the API is no longer served");
                    self.becomes(Known::Missing);
                }
                Ok(false) => self.becomes(Known::Missing),
                Err(error) => {
                    tracing::debug!(kind = %K::kind(&()), %error, "not known whether the API is served")
                }
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

    /// Watches until no node uses the kind (returns `true`), or until the server no longer serves it (`false`).
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

    /// Stores a new state. If it changed, triggers the nodes that use the kind.
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
            self.tell(Ok(Trigger::Optional));
        }
    }

    fn tell(&self, woken: Result<Trigger, watcher::Error>) {
        // fails only if the receiver is gone, and then this task ends too
        let _ = self.tell.unbounded_send(woken);
    }
}

/// Whether a watch could not begin because the kind does not exist. The server answers in plain text without a reason,
/// so only the code tells.
fn is_gone(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(kube::Error::Api(status))
    | watcher::Error::WatchStartFailed(kube::Error::Api(status))) = error
    else {
        return false;
    };
    status.code == 404
}
