//! Applies one object: writes it if it differs, leaves it while the node is paused, recreates it after a deletion.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{Resource, ResourceExt as _, runtime::reflector::Store};
use serde_json::Value;

use super::{Applier, Left, Why};
use crate::model::irreplaceable;
use crate::{
    cluster::{
        drift::Drift,
        watch::{cached_object::CachedObject, caches::seen},
        write::{Kind, Outcome, Seen},
    },
    model::names::{self, Names},
};

impl Applier<'_> {
    /// Applies all objects of a kind. `L` is the cached form of `K`: the trimmed object, or its metadata.
    pub(super) async fn kind<K, L>(
        &mut self,
        store: &Store<CachedObject<L>>,
        desired: &[K],
    ) -> anyhow::Result<()>
    where
        K: Kind,
        L: Resource<DynamicType = ()> + Clone + 'static,
    {
        for object in desired {
            let live = seen(store, &object.namespace().unwrap_or_default(), &object.name_any());
            let done = self.object(live, object).await;
            self.heed(done)?;
        }
        Ok(())
    }

    /// Stores the error of an object that the server rejects as invalid, so that the other objects are still written.
    /// Only workloads are not, since they need all other objects.
    pub(super) fn heed<T>(&mut self, done: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
        let is_refusal = |error: &anyhow::Error| matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if status.code == 422);
        match done {
            Err(error) if is_refusal(&error) => {
                self.unwritten.get_or_insert(error);
                Ok(None)
            }
            done => done.map(Some),
        }
    }

    /// Ensures one object. Returns it as the server stored it, if it was written and no event has shown it yet.
    pub(super) async fn object<K: Kind>(
        &mut self,
        live: Option<Seen>,
        object: &K,
    ) -> anyhow::Result<Option<Value>> {
        let live = self.writer.newest(live, object);
        if self.frozen {
            self.leave(live.as_ref(), object)?;
            return Ok(None);
        }
        match live {
            Some(live) if live.meta.deletion_timestamp.is_some() => self.deleted(live, object).await,
            // it is recreated when the cache shows that it is gone
            Some(live) if self.writer.has_ended(&live.meta) => {
                self.applied.changed = true;
                Ok(None)
            }
            None if self.writer.was_deleted(object) && !self.writer.may_repair(object, Drift::default()) => {
                self.count(object, Outcome::RateLimited);
                Ok(None)
            }
            live => self.ensure(live.as_ref(), object).await,
        }
    }

    async fn ensure<K: Kind>(&mut self, live: Option<&Seen>, object: &K) -> anyhow::Result<Option<Value>> {
        let (outcome, held) = self.writer.ensure(live, object).await?;
        let due = live.is_some_and(|live| live.due);
        if K::kind(&()) == StatefulSet::kind(&()) {
            match outcome {
                // the rollout reads the revision of the template from the cache
                Outcome::Unchanged if !due => {
                    self.applied.settled.insert(object.name_any());
                }
                // a write that changes nothing causes no event
                Outcome::Written => self.applied.changed = true,
                _ => {}
            }
        }
        self.count(object, outcome);
        Ok(held.or_else(|| self.writer.answer(object).filter(|_| due)))
    }

    /// Handles a needed object that is being deleted. While a finalizer blocks the deletion, the object is repaired
    /// first. Then the operator's finalizer is removed, and the next request recreates the object.
    async fn deleted<K: Kind>(&mut self, live: Seen, object: &K) -> anyhow::Result<Option<Value>> {
        let holds = irreplaceable::has_finalizer(&live.meta);
        let mut object = object.clone();
        if !holds {
            // the server rejects a new finalizer while an object is being deleted
            object.meta_mut().finalizers = None;
        }
        if !self.writer.is_settled(Some(&live), &object)? && !self.writer.is_fixed(&live, &object)? {
            return self.ensure(Some(&live), &object).await;
        }
        let listed = live.meta.finalizers.iter().flatten();
        let others: Vec<_> = listed.filter(|name| *name != names::CLEANUP).cloned().collect();
        // differences in immutable fields disappear with the object
        if holds && others.is_empty() {
            let by_us = self.writer.has_ended(&live.meta);
            if !by_us && !self.writer.may_repair(&object, Drift::default()) {
                self.count(&object, Outcome::RateLimited);
                return Ok(None);
            }
            self.writer.remove_finalizer::<K>(&live.meta).await?;
            return self.ensure(None, &object).await;
        }
        self.applied.left.push(Left {
            kind: K::kind(&()).into_owned(),
            name: object.name_any(),
            drift: Drift::default(),
            why: Why::Deleted(others),
        });
        Ok(None)
    }

    /// Records how an object differs, and does not write it.
    pub(super) fn leave<K: Kind>(&mut self, live: Option<&Seen>, desired: &K) -> anyhow::Result<()> {
        let (kind, name) = (K::kind(&()).into_owned(), desired.name_any());
        match self.writer.difference(live, desired)? {
            Some(drift) => self.applied.left.push(Left { kind, name, drift, why: Why::Paused }),
            None if kind == StatefulSet::kind(&()) => {
                self.applied.settled.insert(name);
            }
            None => {}
        }
        Ok(())
    }

    pub(in crate::node) fn count<K: Kind>(&mut self, object: &K, outcome: Outcome) {
        self.applied.field_conflicts.extend(self.writer.field_conflict(object));
        self.applied.admission_changes.extend(self.writer.admission_changes(object));
        match outcome {
            Outcome::Unchanged | Outcome::RateLimited => {}
            Outcome::Written => self.applied.writes += 1,
            Outcome::Requeue => {
                self.applied.writes += 1;
                self.applied.changed = true;
            }
            Outcome::NotOwned(fault) => self.applied.refused.push(fault),
        }
    }

    /// Records the objects of a stalled node that others have changed since the operator wrote them. Their desired
    /// content is not known while the spec is invalid, so nothing is repaired.
    pub fn changed_by_others(&mut self, of: &Names) {
        let caches = self.caches;
        self.changed(&caches.accounts, of);
        self.changed(&caches.policies, of);
        self.changed(&caches.services, of);
        self.changed(&caches.config_maps, of);
        self.changed(&caches.workloads, of);
    }

    fn changed<L>(&mut self, store: &Store<CachedObject<L>>, of: &Names)
    where
        L: Resource<DynamicType = ()> + Clone + 'static,
    {
        let is_ours = |object: &CachedObject<L>| {
            object.meta().namespace.as_ref() == Some(&of.namespace)
                && object.labels().get(names::NODE) == Some(&of.node)
                && object.labels().get(names::MANAGED_BY).map(String::as_str) == Some(names::MANAGER)
        };
        for object in store.state() {
            if let Some(managers) = object.content.changed_by().filter(|_| is_ours(&object)) {
                self.applied.left.push(Left {
                    kind: L::kind(&()).into_owned(),
                    name: object.name_any(),
                    drift: Drift { fields: vec![], managers },
                    why: Why::Stalled,
                });
            }
        }
    }
}
