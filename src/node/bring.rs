//! Has a change of the callers' policy brought into a pod that runs, and keeps the keys in it while nothing else of a
//! node is written. A kubelet looks at what it has mounted when a pod changes, and else within a minute or two.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Resource as _, ResourceExt as _};

use super::{
    apply::Applier,
    desired::{Desired, rpc},
    names::Component,
    observe::callers,
    observed::Observed,
    validate::{Validated, names_of},
};
use crate::cluster::caches::seen;

impl Applier<'_> {
    /// Tells the kubelet of the guard which version of the policy there is, once it is seen to be there: what was
    /// just written comes back as an event.
    ///
    /// # Errors
    /// Where the server refuses.
    pub async fn policy(
        &mut self,
        node: &Validated,
        observed: &Observed,
        desired: &Desired,
    ) -> anyhow::Result<()> {
        let name = node.names.guard_config();
        let wanted: Option<&ConfigMap> = desired.config_maps.iter().find(|map| map.name_any() == name);
        let pod = observed.pods.get(&Component::Client).filter(|pod| pod.guarded);
        let live = seen(&self.caches.config_maps, &node.names.namespace, &name);
        let (Some(wanted), Some(pod), Some(live)) = (wanted, pod, live) else { return Ok(()) };
        if pod.policy != live.meta.resource_version && self.writer.is_settled(Some(&live), wanted)? {
            let pod_name = node.names.pod(Component::Client);
            let version = live.meta.resource_version.unwrap_or_default();
            self.writer.tell_policy((&node.names.namespace, &pod_name, &pod.uid), &version).await?;
            self.applied.writes += 1;
        }
        Ok(())
    }

    /// Of a node that stalls or is paused: its policy stays as it is, with the keys that issuers sign with now. Who
    /// may call is to be told by them meanwhile.
    ///
    /// # Errors
    /// Where the server refuses.
    pub async fn keys(&mut self, observed: &Observed) -> anyhow::Result<()> {
        let (names, node) = (names_of(observed), &observed.node);
        if node.spec.rpc.callers.is_empty() {
            return Ok(());
        }
        let policy = callers::policy(self.client, self.caches, self.facts, (&names, node)).await?;
        let (Some(policy), Some(owner)) = (policy, node.controller_owner_ref(&())) else { return Ok(()) };
        let rekeyed = rpc::rekeyed(&policy, &observed.callers);
        if rekeyed != *policy {
            let map = rpc::map_of(&names, &owner, &rekeyed);
            let live = seen(&self.caches.config_maps, &names.namespace, &names.guard_config());
            let (outcome, _) = self.writer.ensure(live.as_ref(), &map).await?;
            self.count(&map, outcome);
        }
        Ok(())
    }
}
