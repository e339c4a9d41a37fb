//! One object: written where it differs, left where the node is paused, made again where somebody deletes it.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{Resource, ResourceExt as _, runtime::reflector::Store};
use serde_json::Value;

use super::{Applier, Left, Why};
use crate::{
    cluster::{
        caches::seen,
        drift::Drift,
        judged::Judged,
        write::{Kind, Outcome, Seen},
    },
    node::{
        ending,
        names::{self, Names},
    },
};

impl Applier<'_> {
    /// `L` is what the cache keeps of a `K`: the object itself, trimmed, or its metadata.
    pub(super) async fn kind<K, L>(&mut self, store: &Store<Judged<L>>, desired: &[K]) -> anyhow::Result<()>
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

    /// What the server finds wrong with one object keeps nothing from the others but the workloads, which need them all.
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

    /// Makes sure of one object. With the object as the server holds it, where it was written and is not shown yet.
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
            // it is made again when it is seen to be gone
            Some(live) if self.writer.has_ended(&live.meta) => {
                self.applied.changed = true;
                Ok(None)
            }
            None if self.writer.was_deleted(object) && !self.writer.may_repair(object, Drift::default()) => {
                self.count(object, Outcome::Held);
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
                // what its pods are made from is read of the cache
                Outcome::Unchanged if !due => {
                    self.applied.settled.insert(object.name_any());
                }
                // of a write that changes nothing no event comes back
                Outcome::Written => self.applied.changed = true,
                _ => {}
            }
        }
        self.count(object, outcome);
        Ok(held.or_else(|| self.writer.answer(object).filter(|_| due)))
    }

    /// Somebody deletes an object that is needed. What it says is put right first, for as long as a finalizer holds it;
    /// then ours lets it go, and it is made again with the next request.
    async fn deleted<K: Kind>(&mut self, live: Seen, object: &K) -> anyhow::Result<Option<Value>> {
        let holds = ending::waits(&live.meta);
        let mut object = object.clone();
        if !holds {
            // the server takes no new finalizer while an object is being deleted
            object.meta_mut().finalizers = None;
        }
        if !self.writer.is_settled(Some(&live), &object)? && !self.writer.is_fixed(&live, &object)? {
            return self.ensure(Some(&live), &object).await;
        }
        let listed = live.meta.finalizers.iter().flatten();
        let others: Vec<_> = listed.filter(|name| *name != names::CLEANUP).cloned().collect();
        // what cannot be changed is gone when it goes
        if holds && others.is_empty() {
            let by_us = self.writer.has_ended(&live.meta);
            if !by_us && !self.writer.may_repair(&object, Drift::default()) {
                self.count(&object, Outcome::Held);
                return Ok(None);
            }
            self.writer.release::<K>(&live.meta).await?;
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

    /// Says so where an object differs, and leaves it.
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
        self.applied.contested.extend(self.writer.contest(object));
        self.applied.imposed.extend(self.writer.imposed(object));
        match outcome {
            Outcome::Unchanged | Outcome::Held => {}
            Outcome::Written => self.applied.writes += 1,
            Outcome::Again => {
                self.applied.writes += 1;
                self.applied.changed = true;
            }
            Outcome::Refused(fault) => self.applied.refused.push(fault),
        }
    }

    /// Names the objects of a node that stalls which somebody has changed since the operator wrote them. What they should say
    /// is not known while its spec does not hold, so nothing is repaired.
    pub fn changed_by_others(&mut self, of: &Names) {
        let caches = self.caches;
        self.changed(&caches.accounts, of);
        self.changed(&caches.policies, of);
        self.changed(&caches.services, of);
        self.changed(&caches.config_maps, of);
        self.changed(&caches.workloads, of);
    }

    fn changed<L>(&mut self, store: &Store<Judged<L>>, of: &Names)
    where
        L: Resource<DynamicType = ()> + Clone + 'static,
    {
        let is_ours = |object: &Judged<L>| {
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
