//! The only writes to children, in an order that leaves nothing open: accounts, policies, Services,
//! configuration, workloads last.

mod object;
mod sealed;

use std::collections::BTreeSet;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
};
use k8s_openapi::jiff::Timestamp;
use kube::{Client, Resource, ResourceExt as _, runtime::reflector::Store};

use super::{
    desired::{Desired, Issued, certificates},
    ending,
    fault::Fault,
    foreign::{Certificate, PodMonitor},
    names,
    rollout::plan::Wait,
    validate::Validated,
};
use crate::cluster::{
    Caches, Facts, Writer,
    caches::seen,
    contests::Contest,
    drift::Drift,
    facts::{Fact, Question},
    write::{self, Imposed, Kind, Outcome, Seen},
};

/// Writes the children of one node.
pub struct Applier<'a> {
    /// For what must be read before it can be written.
    pub client: &'a Client,
    /// What is there.
    pub caches: &'a Caches,
    /// What is known of contents: what is in a Secret that was just written, too.
    pub facts: &'a Facts,
    /// The way to write.
    pub writer: &'a Writer,
    /// Whether everything but certificates is left as it is.
    pub frozen: bool,
    /// Whether workloads are left as they are: a certificate that they mount is waited for.
    pub waits: bool,
    /// Whether everything was there once.
    pub established: bool,
    /// What was done.
    pub applied: Applied,
    /// What the server found wrong with an object, first of all.
    pub unwritten: Option<anyhow::Error>,
}

/// What a pass has written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// Requests that changed something.
    pub writes: usize,
    /// Services that were written, as the server holds them.
    pub services: Vec<Service>,
    /// Objects that belong to someone else.
    pub refused: Vec<Fault>,
    /// Whether every policy is as it should be.
    pub policies: bool,
    /// Objects that someone else changes again and again.
    pub contested: Vec<Contest>,
    /// Volumes that may not grow.
    pub ungrown: Vec<Fault>,
    /// Objects that are not as they are wanted, and were left so.
    pub left: Vec<Left>,
    /// Objects that an admission webhook changes at every write.
    pub imposed: Vec<Imposed>,
    /// Workloads that are as they are wanted, by name.
    pub settled: BTreeSet<String>,
    /// What the replacement of an outdated pod waits for.
    pub rollout: Option<Wait>,
    /// When the node will have run what was written for long enough to prove it.
    pub proves: Option<Timestamp>,
    /// Whether something was no longer as it had been seen, and is to be looked at again.
    pub changed: bool,
}

/// An object that is not as it is wanted, and was left so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What differs, and who wrote it.
    pub drift: Drift,
    /// What it waits for.
    pub why: Why,
}

/// Why an object is left as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Why {
    /// The node is paused, and the object is not there or differs.
    #[default]
    Paused,
    /// Somebody deleted it, and these finalizers of others hold it.
    Deleted(Vec<String>),
    /// The node stalls, so it is not known what the object should say.
    Stalled,
}

impl Applier<'_> {
    /// Creates a Secret that is never written again, and answers a question about what the server holds then.
    /// `None` where someone was first.
    ///
    /// # Errors
    /// Where the server refuses.
    pub async fn create_once(&mut self, secret: &Secret, question: Question) -> anyhow::Result<Option<Fact>> {
        self.applied.writes += 1;
        let held = self.writer.create_once(secret).await?;
        Ok(held.map(|held| self.facts.of(&held, question)))
    }

    /// Writes a Secret whose certificate has just been made, and says what the server holds then. `None` where it
    /// was not written.
    ///
    /// # Errors
    /// Where the server refuses.
    pub async fn certificate(&mut self, secret: &Secret) -> anyhow::Result<Option<Fact>> {
        let live = self.caches.secret(&secret.namespace().unwrap_or_default(), &secret.name_any());
        let (outcome, held) = self.writer.ensure(live.map(Seen::from).as_ref(), secret).await?;
        self.count(secret, outcome);
        let Some(held) = held else { return Ok(None) };
        let held = serde_json::from_value(held).map_err(|_| anyhow::anyhow!("the Secret does not decode"))?;
        Ok(Some(self.facts.of(&held, Question::Certificate)))
    }

    /// Takes out of the Secrets with the node's own certificates what others have put there.
    ///
    /// # Errors
    /// Where the server refuses.
    pub async fn strip(&mut self, node: &Validated, issued: &Issued) -> anyhow::Result<()> {
        for (purpose, facts) in issued.certificates.iter().filter(|(_, facts)| !facts.others.is_empty()) {
            let name = node.names.certificate(*purpose);
            if certificates::secret_name(&node.names, &node.spec.tls, *purpose) != name {
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
                false => Outcome::Held,
                true if self.writer.drop_keys(&live, &facts.others).await? => Outcome::Written,
                true => Outcome::Again,
            };
            self.count(&secret, outcome);
        }
        Ok(())
    }

    /// Whether a Secret's content may be made anew now. A fight over one is limited before anything is signed.
    pub fn may_remake(&mut self, secret: &Secret) -> bool {
        let live = self.caches.secret(&secret.namespace().unwrap_or_default(), &secret.name_any());
        if live.is_none() && !self.writer.was_deleted(secret) {
            return true;
        }
        let managers = live.map(|live| write::writers(&live, &["data".into()])).unwrap_or_default();
        let may = self.writer.may_repair(secret, Drift { fields: vec!["data".into()], managers });
        if !may {
            self.count(secret, Outcome::Held);
        }
        may
    }

    /// Writes everything that differs, and deletes what is ours and no longer wanted.
    ///
    /// # Errors
    /// Where the server refuses; what follows is then left for the next pass.
    pub async fn all(&mut self, node: &Validated, desired: &Desired) -> anyhow::Result<()> {
        let Desired {
            accounts,
            policies,
            budgets,
            services,
            certificates,
            monitors,
            config_maps,
            sealed,
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
        for sealed in sealed {
            let done = self.sealed(sealed).await;
            self.heed(done)?;
        }
        if let Some(error) = self.unwritten.take() {
            return Err(error);
        }
        if !self.applied.refused.is_empty() {
            // a workload would mount, or be closed by, something that is not ours
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

    /// What the server adds to them is in its answers: an address.
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
        self.applied.contested.iter().filter(|contest| contest.holds).count()
    }

    /// Kinds that may be deleted: claims and Secrets are not among them.
    async fn prune(&mut self, node: &Validated, desired: &Desired) -> anyhow::Result<()> {
        let Desired { accounts, policies, services, certificates, monitors, config_maps, workloads, .. } =
            desired;
        let caches = self.caches;
        // first what runs, last what closes it
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
        // the owner first: the cache holds the objects of every node, and an owner's uid tells most of them apart
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
            } else if ending::waits(meta) {
                self.applied.writes += 1;
                self.writer.release::<K>(meta).await?;
            }
        }
        Ok(())
    }
}
