//! Writes and deletions by this process that its caches do not show yet.

use k8s_openapi::api::core::v1::{Secret, Service};
use kube::{Resource as _, ResourceExt as _, api::ObjectMeta};
use serde_json::Value;
use tokio::time::Instant;

use super::{Kind, Object, Seen, Writer, place};
use crate::cluster::{drift::Content, watch::trim, write::pending_writes::PendingWrites};

impl Writer {
    /// Latest known state of an object: from its cache, or from a later write of this process.
    #[must_use]
    pub fn newest<K: Kind>(&self, live: Option<Seen>, object: &K) -> Option<Seen> {
        let namespace = object.namespace().unwrap_or_default();
        self.pending_writes.newest((&K::kind(&()), &namespace, &object.name_any()), live, Instant::now())
    }

    /// Server response to the last write of an object, if it was stored and the event has not arrived.
    #[must_use]
    pub fn answer<K: Kind>(&self, object: &K) -> Option<Value> {
        self.pending_writes.answer(&place(object), Instant::now())
    }

    /// Whether another client has deleted an object that should exist.
    #[must_use]
    pub fn was_deleted<K: Kind>(&self, object: &K) -> bool {
        self.pending_writes.was_deleted(&place(object), Instant::now())
    }

    /// Whether this process has deleted the object.
    #[must_use]
    pub fn has_ended(&self, seen: &ObjectMeta) -> bool {
        self.pending_writes.has_ended(seen.uid.as_deref().unwrap_or_default(), Instant::now())
    }

    /// Records a successful write, and completes a repair if it was one.
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
        self.pending_writes.wrote(place.clone(), (seen, kept), now);
        self.repair_limit.done(place, now);
    }

    /// Records a successful write of a Secret by the metadata in the response, and completes a repair if it was one.
    pub(in crate::cluster) fn wrote_secret(&self, held: &ObjectMeta) {
        let mut meta = held.clone();
        trim::metadata(&mut meta);
        let place = place(&Secret { metadata: held.clone(), ..Secret::default() });
        let now = Instant::now();
        self.pending_writes.wrote(place.clone(), (meta.into(), None), now);
        self.repair_limit.done(&place, now);
    }

    /// Announces a deletion, so that its event is not attributed to another client. `None` if this process has deleted
    /// the object already and no event has shown it.
    pub(in crate::cluster) fn ending(&self, seen: &ObjectMeta) -> Option<DeletingNode<'_>> {
        (!self.has_ended(seen)).then(|| self.letting_go(seen))
    }

    /// Announces the removal of the last finalizer of an object.
    pub(super) fn letting_go(&self, seen: &ObjectMeta) -> DeletingNode<'_> {
        let uid = seen.uid.clone().unwrap_or_default();
        let was_ending = self.has_ended(seen);
        self.pending_writes.ends(&uid, Instant::now());
        DeletingNode { pending_writes: &self.pending_writes, uid, is_done: was_ending }
    }
}

/// Announced deletion. Dropping it without a call of `done` withdraws the announcement.
#[must_use]
pub(in crate::cluster) struct DeletingNode<'a> {
    pending_writes: &'a PendingWrites,
    uid: String,
    is_done: bool,
}

impl DeletingNode<'_> {
    /// Confirms that the server accepted the deletion.
    pub(in crate::cluster) fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for DeletingNode<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.pending_writes.lives(&self.uid);
        }
    }
}
