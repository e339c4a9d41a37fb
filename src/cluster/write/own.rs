//! What this process has written and ended itself, as far as its caches do not show it.

use k8s_openapi::api::core::v1::{Secret, Service};
use kube::{Resource as _, ResourceExt as _, api::ObjectMeta};
use serde_json::Value;
use tokio::time::Instant;

use super::{Kind, Object, Seen, Writer, place};
use crate::cluster::{drift::Content, echoes::Echoes, trim};

impl Writer {
    /// What there is of an object: what its cache shows, or what this process has written since.
    #[must_use]
    pub fn newest<K: Kind>(&self, live: Option<Seen>, object: &K) -> Option<Seen> {
        let namespace = object.namespace().unwrap_or_default();
        self.echoes.newest((&K::kind(&()), &namespace, &object.name_any()), live, Instant::now())
    }

    /// The server's answer to the last write of an object whose event is still due, where something is read from it.
    #[must_use]
    pub fn answer<K: Kind>(&self, object: &K) -> Option<Value> {
        self.echoes.answer(&place(object), Instant::now())
    }

    /// Whether somebody else has deleted an object that is to be there.
    #[must_use]
    pub fn was_deleted<K: Kind>(&self, object: &K) -> bool {
        self.echoes.was_deleted(&place(object), Instant::now())
    }

    /// Whether it is this process that ends an object.
    #[must_use]
    pub fn has_ended(&self, seen: &ObjectMeta) -> bool {
        self.echoes.has_ended(seen.uid.as_deref().unwrap_or_default(), Instant::now())
    }

    /// The server holds an object as it was written, and if that was a repair it is done.
    pub(super) fn wrote(&self, place: &Object, answer: &Value, stored: &Content) {
        let mut meta: ObjectMeta = serde_json::from_value(answer["metadata"].clone()).unwrap_or_default();
        trim::metadata(&mut meta);
        let is_secret = place.0 == Secret::kind(&());
        if !is_secret {
            meta.managed_fields = None;
        }
        let seen = Seen { content: (!is_secret).then(|| stored.clone()), ..Seen::from(meta) };
        let kept = (place.0 == Service::kind(&())).then(|| answer.clone());
        let now = Instant::now();
        self.echoes.wrote(place.clone(), (seen, kept), now);
        self.contests.done(place, now);
    }

    /// The server holds a Secret of which the answer shows this metadata, and if that was a repair it is done.
    pub(in crate::cluster) fn wrote_secret(&self, held: &ObjectMeta) {
        let mut meta = held.clone();
        trim::metadata(&mut meta);
        let place = place(&Secret { metadata: held.clone(), ..Secret::default() });
        let now = Instant::now();
        self.echoes.wrote(place.clone(), (meta.into(), None), now);
        self.contests.done(&place, now);
    }

    /// Before an object is deleted: its event must not look like somebody else's deed. `None` where it was deleted by this
    /// process already, and that is not shown yet.
    pub(in crate::cluster) fn ending(&self, seen: &ObjectMeta) -> Option<Ending<'_>> {
        (!self.has_ended(seen)).then(|| self.letting_go(seen))
    }

    /// Before the last finalizer of an object is taken off.
    pub(super) fn letting_go(&self, seen: &ObjectMeta) -> Ending<'_> {
        let uid = seen.uid.clone().unwrap_or_default();
        let was_ending = self.has_ended(seen);
        self.echoes.ends(&uid, Instant::now());
        Ending { echoes: &self.echoes, uid, is_done: was_ending }
    }
}

/// An end that was asked for; one that was not granted is none.
#[must_use]
pub(in crate::cluster) struct Ending<'a> {
    echoes: &'a Echoes,
    uid: String,
    is_done: bool,
}

impl Ending<'_> {
    /// The server has granted it.
    pub(in crate::cluster) fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.echoes.lives(&self.uid);
        }
    }
}
