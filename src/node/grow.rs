//! Lets volumes grow, and takes back what they have not got: the claim first, then the workload, whose pod runs on meanwhile.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::ResourceExt as _;

use super::{
    apply::{Applier, Left},
    desired::Desired,
    fault,
    names::Component,
    observed::Observed,
    validate::Validated,
    volumes::{self, Step},
};
use crate::cluster::{Evicted, Resized, caches::find};

impl Applier<'_> {
    /// The next step of each volume, and the end of pods whose workload was taken away and is no longer wanted.
    ///
    /// # Errors
    /// Where the server cannot be asked; that it refuses a size is told, and no error.
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
            let step = volumes::next(observed, node, part);
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
                Step::Stuck(fault) => self.applied.ungrown.push(fault),
                Step::Renew => self.renew(node, part, desired).await?,
                Step::Resize(volume, size) => match self.writer.resize(&volume.claim, &size).await? {
                    // its event brings the next step
                    Resized::Taken => self.applied.writes += 1,
                    Resized::Gone => {}
                    Resized::Refused(why) => {
                        self.applied.ungrown.push(volumes::refused(part, &volume, &size, &why));
                    }
                },
            }
        }
        if self.frozen {
            return Ok(());
        }
        for part in volumes::left_behind(observed, node) {
            let Some(pod) = observed.pods.get(&part) else { continue };
            let name = node.names.pod(part);
            match self.writer.evict(&node.names.namespace, &name, &pod.uid).await? {
                Evicted::Done => self.applied.writes += 1,
                Evicted::Refused | Evicted::Gone => {}
                Evicted::TwoBudgets => self.applied.refused.push(fault::two_budgets(&name)),
            }
        }
        Ok(())
    }

    /// Takes a workload away from around its pod; its end brings the pass that writes it again. One that is to
    /// have no pod stays: it would be written again as one that has.
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
