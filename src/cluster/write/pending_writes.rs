//! Writes of this process that the watches have not shown yet, and deletions by others, so that a reconcile reads its
//! own writes. A reconcile does not repeat a write whose event is late, and does not take the object for deleted. Held
//! in memory: it affects when something is written, not what.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::{Resource, runtime::watcher::Event};
use serde_json::Value;
use tokio::time::Instant;

use super::Seen;
use crate::{cluster::write::repair_limit::Object, model::names};

/// Time after which a write without an event is forgotten. Longer than the 90 s that a watch may be stale.
const SILENCE: Duration = Duration::from_secs(120);

/// Last writes, deletions and watch events.
#[derive(Debug, Default)]
pub struct PendingWrites(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    objects: HashMap<Object, Last>,
    /// Objects that this process deletes, by uid.
    ended: HashMap<String, Instant>,
    /// Newest resource version that the watch of a kind has shown. A watch shows versions in order.
    shown: HashMap<String, u64>,
    /// Time of the last cleanup.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Last {
    at: Instant,
    what: What,
}

#[derive(Debug)]
enum What {
    /// This process wrote the object, and no event has shown that.
    Written(Box<Written>),
    /// Another client deleted the object.
    Deleted,
}

#[derive(Debug)]
struct Written {
    seen: Seen,
    /// Server response, if the operator reads something from it.
    answer: Option<Value>,
    /// Whether its kind was relisted since: an object that the list lacks is gone.
    listed: bool,
}

impl State {
    fn last(&self, object: &Object, now: Instant) -> Option<&What> {
        let last = self.objects.get(object)?;
        (now.duration_since(last.at) < SILENCE).then_some(&last.what)
    }

    /// Records that the watch of a kind has shown this version and all earlier ones.
    fn show(&mut self, kind: &str, version: Option<u64>) {
        let Some(version) = version else { return };
        match self.shown.get_mut(kind) {
            Some(newest) => *newest = version.max(*newest),
            None => drop(self.shown.insert(kind.to_owned(), version)),
        }
    }

    fn note(&mut self, object: Object, what: What, now: Instant) {
        if self.swept.is_none_or(|swept| now.duration_since(swept) >= SILENCE) {
            self.swept = Some(now);
            self.objects.retain(|_, last| now.duration_since(last.at) < SILENCE);
            self.ended.retain(|_, at| now.duration_since(*at) < SILENCE);
            self.objects.shrink_to_fit();
            self.ended.shrink_to_fit();
        }
        self.objects.insert(object, Last { at: now, what });
    }
}

impl PendingWrites {
    /// Records a write of this process, with the server response if the operator reads something from it. The event
    /// often arrives before the response; then nothing is pending.
    pub fn wrote(&self, object: Object, (seen, answer): (Seen, Option<Value>), now: Instant) {
        let mut state = self.lock();
        let shown = state.shown.get(&object.0).zip(version(&seen));
        if shown.is_some_and(|(newest, version)| version <= *newest) {
            state.objects.remove(&object);
            return;
        }
        let written = Written { seen: Seen { due: true, ..seen }, answer, listed: false };
        state.note(object, What::Written(Box::new(written)), now);
    }

    /// Latest known state of an object: from its cache, or from a later write of this process.
    #[must_use]
    pub fn newest(
        &self,
        (kind, namespace, name): (&str, &str, &str),
        live: Option<Seen>,
        now: Instant,
    ) -> Option<Seen> {
        let state = self.lock();
        if state.objects.is_empty() {
            return live;
        }
        let object = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        let Some(What::Written(written)) = state.last(&object, now) else { return live };
        let is_newer = match &live {
            Some(live) => version(live) < version(&written.seen),
            None => !written.listed,
        };
        if is_newer { Some(written.seen.clone()) } else { live }
    }

    /// Server response to the last write of an object, if it was stored and the event has not arrived.
    #[must_use]
    pub fn answer(&self, object: &Object, now: Instant) -> Option<Value> {
        match self.lock().last(object, now) {
            Some(What::Written(written)) => written.answer.clone(),
            _ => None,
        }
    }

    /// Records that this process deletes an object, or removes the last finalizer of one that is being deleted.
    pub fn ends(&self, uid: &str, now: Instant) {
        self.lock().ended.insert(uid.to_owned(), now);
    }

    /// Withdraws [`Self::ends`] after the server rejected the request.
    pub fn lives(&self, uid: &str) {
        self.lock().ended.remove(uid);
    }

    /// Whether this process has deleted an object.
    #[must_use]
    pub fn has_ended(&self, uid: &str, now: Instant) -> bool {
        self.lock().ended.get(uid).is_some_and(|at| now.duration_since(*at) < SILENCE)
    }

    /// Whether another client has deleted an object that does not exist again yet.
    #[must_use]
    pub fn was_deleted(&self, object: &Object, now: Instant) -> bool {
        matches!(self.lock().last(object, now), Some(What::Deleted))
    }

    /// Processes a watch event before its cache does. `listing` is the start time of the current relist.
    pub(crate) fn hear<K>(&self, event: &Event<K>, listing: &mut Option<Instant>, now: Instant)
    where
        K: Resource<DynamicType = ()>,
    {
        match event {
            Event::Init => {
                // versions may restart after a restore of the server
                self.lock().shown.remove(&*K::kind(&()));
                *listing = Some(now);
            }
            Event::InitDone => {
                if let Some(began) = listing.take() {
                    self.listed(&K::kind(&()), began);
                }
            }
            Event::InitApply(_) => {}
            Event::Apply(shown) => self.shown(shown),
            Event::Delete(gone) => self.gone(gone, now),
        }
    }

    fn listed(&self, kind: &str, began: Instant) {
        let mut state = self.lock();
        for (_, last) in state.objects.iter_mut().filter(|((of, ..), last)| of == kind && last.at < began) {
            if let What::Written(written) = &mut last.what {
                written.listed = true;
            }
        }
    }

    fn shown<K: Resource<DynamicType = ()>>(&self, shown: &K) {
        let mut state = self.lock();
        state.show(&K::kind(&()), number(shown.meta().resource_version.as_ref()));
        if state.objects.is_empty() {
            return;
        }
        let object = place(shown);
        let is_over = |last: &Last| match &last.what {
            What::Written(written) => {
                number(shown.meta().resource_version.as_ref()) >= version(&written.seen)
            }
            What::Deleted => true,
        };
        if state.objects.get(&object).is_some_and(is_over) {
            state.objects.remove(&object);
        }
    }

    fn gone<K: Resource<DynamicType = ()>>(&self, gone: &K, now: Instant) {
        let meta = gone.meta();
        let uid = meta.uid.as_deref().unwrap_or_default();
        let is_ours = meta.labels.as_ref().and_then(|labels| labels.get(names::MANAGED_BY));
        let mut state = self.lock();
        state.show(&K::kind(&()), number(meta.resource_version.as_ref()));
        let object = place(gone);
        let written = match state.objects.get(&object).map(|last| &last.what) {
            Some(What::Written(written)) => Some(written.seen.meta.uid.as_deref() == Some(uid)),
            _ => None,
        };
        match written {
            // an earlier object of this name, not the one written since
            Some(false) => {}
            _ if state.ended.contains_key(uid) => drop(state.objects.remove(&object)),
            None if is_ours.is_none_or(|manager| manager != names::MANAGER) => {}
            _ => state.note(object, What::Deleted, now),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place<K: Resource<DynamicType = ()>>(object: &K) -> Object {
    let meta = object.meta();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    (K::kind(&()).into_owned(), text(&meta.namespace), text(&meta.name))
}

fn version(seen: &Seen) -> Option<u64> {
    number(seen.meta.resource_version.as_ref())
}

/// Parses a resource version. Versions of one kind are increasing numbers, guaranteed since Kubernetes 1.35.
fn number(version: Option<&String>) -> Option<u64> {
    version?.parse().ok()
}

#[cfg(test)]
mod tests;
