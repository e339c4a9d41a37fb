//! Apply stage: all writes to owned objects, in an order that never leaves a pod without its policies: accounts,
//! policies, Services, configuration, workloads last.

pub mod finalizer;
mod generated_secret;
mod object;
pub mod policy_sync;
pub mod pvc;
pub mod replace_pods;
pub mod rollout_limits;

use std::collections::BTreeSet;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
};
use k8s_openapi::jiff::Timestamp;
use kube::{Client, Resource, ResourceExt as _, runtime::reflector::Store};

use super::{
    decide::rollout::plan::Wait,
    desired::{Desired, Issued},
    validate::Validated,
};
use crate::model::irreplaceable;
use crate::{
    cluster::{
        Caches, SecretFacts, Writer,
        drift::Drift,
        secret_facts::{Fact, Question},
        watch::caches::seen,
        write::{self, AdmissionChanges, Kind, Outcome, Seen, repair_limit::FieldConflict},
    },
    model::{
        fault::Fault,
        names,
        third_party::{Certificate, PodMonitor},
    },
};

/// Writes the owned objects of one node.
pub struct Applier<'a> {
    /// Client for reads that a write depends on.
    pub client: &'a Client,
    /// Watch caches.
    pub caches: &'a Caches,
    /// Known facts about Secrets and ConfigMaps, including Secrets that were just written.
    pub facts: &'a SecretFacts,
    /// Writer for the cluster.
    pub writer: &'a Writer,
    /// Whether only certificates and issuer keys are written.
    pub frozen: bool,
    /// Whether workloads are not written because a certificate that they mount is not ready.
    pub waits: bool,
    /// Whether all objects of the node existed once.
    pub established: bool,
    /// Results so far.
    pub applied: Applied,
    /// First error of an object that the server rejected as invalid.
    pub unwritten: Option<anyhow::Error>,
}

/// Results of the apply stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// Requests that changed something.
    pub writes: usize,
    /// Services that were written, as the server stored them.
    pub services: Vec<Service>,
    /// Faults of objects that belong to another owner.
    pub refused: Vec<Fault>,
    /// Whether every network policy is as rendered.
    pub policies: bool,
    /// Field conflicts: objects that another writer changes repeatedly.
    pub field_conflicts: Vec<FieldConflict>,
    /// Volumes that cannot grow.
    pub volumes_not_grown: Vec<Fault>,
    /// Objects that differ and were not written.
    pub left: Vec<Left>,
    /// Objects that an admission webhook changes at every write.
    pub admission_changes: Vec<AdmissionChanges>,
    /// Names of the workloads that are as rendered.
    pub settled: BTreeSet<String>,
    /// What the replacement of an outdated pod waits for.
    pub rollout: Option<Wait>,
    /// When the node, as canary, will have been available for long enough.
    pub proves: Option<Timestamp>,
    /// Whether an object has changed since it was read, so that the node must be reconciled again.
    pub changed: bool,
}

/// An object that differs and was not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What differs, and who wrote it.
    pub drift: Drift,
    /// Why it was not written.
    pub why: Why,
}

/// Why an object was not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Why {
    /// The node is paused, and the object is missing or differs.
    #[default]
    Paused,
    /// The object is being deleted, and these third-party finalizers block its deletion.
    Deleted(Vec<String>),
    /// The node is stalled, so the desired content is not known.
    Stalled,
}

impl Applier<'_> {
    /// Creates a Secret that is never written again, and answers a question about what the server stored. Returns
    /// `None` if the Secret exists already.
    ///
    /// # Errors
    /// Fails if the server rejects a request.
    pub async fn create_once(&mut self, secret: &Secret, question: Question) -> anyhow::Result<Option<Fact>> {
        self.applied.writes += 1;
        let held = self.writer.create_once(secret).await?;
        Ok(held.map(|held| self.facts.of(&held, question)))
    }

    /// Writes the Secret of a new certificate, and returns the facts about what the server stored; `None` if it was not
    /// written.
    ///
    /// # Errors
    /// Fails if the server rejects a request.
    pub async fn certificate(&mut self, secret: &Secret) -> anyhow::Result<Option<Fact>> {
        let live = self.caches.secret(&secret.namespace().unwrap_or_default(), &secret.name_any());
        let (outcome, held) = self.writer.ensure(live.map(Seen::from).as_ref(), secret).await?;
        self.count(secret, outcome);
        let Some(held) = held else { return Ok(None) };
        let held = serde_json::from_value(held).map_err(|_| anyhow::anyhow!("the Secret does not decode"))?;
        Ok(Some(self.facts.of(&held, Question::Certificate)))
    }

    /// Removes what others added to the Secrets of the node's own certificates.
    ///
    /// # Errors
    /// Fails if the server rejects a request.
    pub async fn strip(&mut self, node: &Validated, issued: &Issued) -> anyhow::Result<()> {
        for (purpose, facts) in issued.certificates.iter().filter(|(_, facts)| !facts.others.is_empty()) {
            let name = node.names.certificate(*purpose);
            if names::secret_name(&node.names, &node.spec.tls, *purpose) != name {
                continue;
            }
            let Some(live) = self.caches.secret(&node.names.namespace, &name) else { continue };
            let secret = Secret { metadata: live.clone(), ..Secret::default() };
            let fields: Vec<_> = facts.others.iter().map(|key| format!("data.{key}")).collect();
            if self.frozen {
                let drift = Drift { managers: write::writers(&live, &fields), fields };
                self.applied.left.push(Left { kind: "Secret".into(), name, drift, why: Why::Paused });
                continue;
            }
            let managers = write::writers(&live, &fields);
            let outcome = match self.writer.may_repair(&secret, Drift { fields, managers }) {
                false => Outcome::RateLimited,
                true if self.writer.drop_keys(&live, &facts.others).await? => Outcome::Written,
                true => Outcome::Requeue,
            };
            self.count(&secret, outcome);
        }
        Ok(())
    }

    /// Whether a Secret's content may be generated again now. In a field conflict, the limit applies before anything is
    /// signed.
    pub fn may_remake(&mut self, secret: &Secret) -> bool {
        let live = self.caches.secret(&secret.namespace().unwrap_or_default(), &secret.name_any());
        if live.is_none() && !self.writer.was_deleted(secret) {
            return true;
        }
        let managers = live.map(|live| write::writers(&live, &["data".into()])).unwrap_or_default();
        let may = self.writer.may_repair(secret, Drift { fields: vec!["data".into()], managers });
        if !may {
            self.count(secret, Outcome::RateLimited);
        }
        may
    }

    /// Writes all objects that differ, and deletes owned objects that are no longer wanted.
    ///
    /// # Errors
    /// Fails if the server rejects a request. The remaining objects are left for the next reconcile.
    pub async fn all(&mut self, node: &Validated, desired: &Desired) -> anyhow::Result<()> {
        let Desired {
            accounts,
            policies,
            budgets,
            services,
            certificates,
            monitors,
            config_maps,
            secret_templates,
            workloads,
        } = desired;
        let caches = self.caches;
        self.kind(&caches.accounts, accounts).await?;
        let before = self.applied.left.len() + self.held();
        self.kind(&caches.policies, policies).await?;
        let after = self.applied.left.len() + self.held();
        self.applied.policies = self.applied.refused.is_empty() && after == before;
        self.kind(&caches.budgets, budgets).await?;
        self.services(services).await?;
        if let Some(there) = caches.certificates.store() {
            self.kind(&there, certificates).await?;
        }
        if let Some(there) = caches.monitors.store() {
            self.kind(&there, monitors).await?;
        }
        self.kind(&caches.config_maps, config_maps).await?;
        for secret_templates in secret_templates {
            let done = self.secret_templates(secret_templates).await;
            self.heed(done)?;
        }
        if let Some(error) = self.unwritten.take() {
            return Err(error);
        }
        if !self.applied.refused.is_empty() {
            // a workload would mount, or depend on, an object of another owner
            return Ok(());
        }
        if !self.waits {
            self.kind(&caches.workloads, workloads).await?;
            if let Some(error) = self.unwritten.take() {
                return Err(error);
            }
        }
        if self.frozen { Ok(()) } else { self.prune(node, desired).await }
    }

    /// Writes Services. Stores the server's responses, which contain their addresses.
    async fn services(&mut self, desired: &[Service]) -> anyhow::Result<()> {
        for service in desired {
            let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
            let live = seen(&self.caches.services, &namespace, &name);
            let done = self.object(live, service).await;
            let held = self.heed(done)?.flatten();
            self.applied.services.extend(held.and_then(|held| serde_json::from_value(held).ok()));
        }
        Ok(())
    }

    fn held(&self) -> usize {
        self.applied.field_conflicts.iter().filter(|field_conflict| field_conflict.holds).count()
    }

    /// Deletes objects that are no longer wanted, of the kinds that may be deleted: not volume claims, and not Secrets.
    async fn prune(&mut self, node: &Validated, desired: &Desired) -> anyhow::Result<()> {
        let Desired { accounts, policies, services, certificates, monitors, config_maps, workloads, .. } =
            desired;
        let caches = self.caches;
        // workloads first, network policies last
        self.prune_kind::<StatefulSet, _>(node, &caches.workloads, workloads).await?;
        self.prune_kind::<Service, _>(node, &caches.services, services).await?;
        if let Some(there) = caches.certificates.store() {
            self.prune_kind::<Certificate, _>(node, &there, certificates).await?;
        }
        if let Some(there) = caches.monitors.store() {
            self.prune_kind::<PodMonitor, _>(node, &there, monitors).await?;
        }
        self.prune_kind::<ConfigMap, _>(node, &caches.config_maps, config_maps).await?;
        self.prune_kind::<ServiceAccount, _>(node, &caches.accounts, accounts).await?;
        self.prune_kind::<NetworkPolicy, _>(node, &caches.policies, policies).await
    }

    async fn prune_kind<K, L>(
        &mut self,
        node: &Validated,
        store: &Store<L>,
        wanted: &[K],
    ) -> anyhow::Result<()>
    where
        K: Kind,
        L: Resource<DynamicType = ()> + Clone + 'static,
    {
        let wanted: BTreeSet<_> = wanted.iter().map(kube::ResourceExt::name_any).collect();
        // compare the owner first: the cache holds the objects of every node, and the owner's uid excludes most of them
        let is_left = |object: &L| {
            let meta = object.meta();
            meta.owner_references.iter().flatten().any(|owner| owner.uid == node.owner.uid)
                && meta.namespace.as_deref() == Some(&node.names.namespace)
                && meta.labels.as_ref().and_then(|labels| labels.get(names::NODE)) == Some(&node.names.node)
                && !wanted.contains(meta.name.as_deref().unwrap_or_default())
        };
        for object in store.state_filter(is_left) {
            let meta = object.meta();
            if meta.deletion_timestamp.is_none() {
                let ends = self.writer.delete::<K>(meta).await?;
                self.applied.writes += usize::from(ends);
                self.applied.changed |= !ends;
            } else if irreplaceable::has_finalizer(meta) {
                self.applied.writes += 1;
                self.writer.remove_finalizer::<K>(meta).await?;
            }
        }
        Ok(())
    }
}
