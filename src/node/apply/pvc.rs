//! Growth of volumes, and withdrawal of growth that was not provided: changes the claim first, then recreates the
//! workload while its pod keeps running.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::ResourceExt as _;

use super::{Applier, Left};
use crate::{
    cluster::{Evicted, Resized, watch::caches::find},
    model::{fault, names::Component},
    node::{
        decide::volume_growth::{self, Step},
        desired::Desired,
        observed::Observed,
        validate::Validated,
    },
};

impl Applier<'_> {
    /// Takes the next step for each volume, and evicts pods whose workload was deleted and is no longer wanted.
    ///
    /// # Errors
    /// Fails if a request fails. A rejected size is no error; the status reports it.
    pub async fn volumes(
        &mut self,
        node: &Validated,
        observed: &Observed,
        desired: &Desired,
    ) -> anyhow::Result<()> {
        if !self.applied.refused.is_empty() {
            return Ok(());
        }
        for part in [Component::Client, Component::Database] {
            let step = volume_growth::next(observed, node, part);
            if self.frozen {
                if !matches!(step, Step::Rest) {
                    self.applied.left.push(Left {
                        kind: "PersistentVolumeClaim".into(),
                        name: node.names.claim(part),
                        ..Left::default()
                    });
                }
                continue;
            }
            match step {
                Step::Rest => {}
                Step::Stuck(fault) => self.applied.volumes_not_grown.push(fault),
                Step::Renew => self.renew(node, part, desired).await?,
                Step::Resize(volume, size) => match self.writer.resize(&volume.claim, &size).await? {
                    // its event triggers the next step
                    Resized::Taken => self.applied.writes += 1,
                    Resized::Gone => {}
                    Resized::Refused(why) => {
                        self.applied
                            .volumes_not_grown
                            .push(volume_growth::refused(part, &volume, &size, &why));
                    }
                },
            }
        }
        if self.frozen {
            return Ok(());
        }
        for part in volume_growth::left_behind(observed, node) {
            let Some(pod) = observed.pods.get(&part) else { continue };
            let name = node.names.pod(part);
            match self.writer.evict(&node.names.namespace, &name, &pod.uid).await? {
                Evicted::Done => self.applied.writes += 1,
                Evicted::Refused | Evicted::Gone => {}
                Evicted::MultipleDisruptionBudgets => self.applied.refused.push(fault::two_budgets(&name)),
            }
        }
        Ok(())
    }

    /// Deletes a workload without its pod. The deletion triggers the reconcile that recreates it. A workload that is to
    /// have no pod stays: it would be recreated with one.
    async fn renew(&mut self, node: &Validated, part: Component, desired: &Desired) -> anyhow::Result<()> {
        let name = node.names.workload(part);
        let runs = |workload: &&StatefulSet| {
            workload.name_any() == name && workload.spec.as_ref().is_some_and(|spec| spec.replicas == Some(1))
        };
        let Some(live) = find(&self.caches.workloads, &node.names.namespace, &name) else { return Ok(()) };
        if live.deletion_timestamp.is_none() && desired.workloads.iter().any(|workload| runs(&workload)) {
            self.applied.writes += 1;
            self.applied.settled.remove(&name);
            self.writer.orphan(&live).await?;
        }
        Ok(())
    }
}
