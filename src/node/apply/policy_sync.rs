//! Brings changes of the caller policy into a running pod, and updates the issuer keys in the policy while nothing else
//! of the node is written. A kubelet refreshes mounted files when their pod changes, and otherwise within a minute or
//! two.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Resource as _, ResourceExt as _};

use super::Applier;
use crate::{
    cluster::watch::caches::seen,
    model::names::Component,
    node::{
        desired::{Desired, rpc},
        observe::callers,
        observed::Observed,
        validate::{Validated, names_of},
    },
};

impl Applier<'_> {
    /// Annotates the client's pod with the version of its policy, so that the kubelet refreshes it. Waits until the
    /// cache shows the policy as rendered.
    ///
    /// # Errors
    /// Fails if the server rejects a request.
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

    /// Updates only the issuer keys in the policy of a stalled or paused node, so that its guard can still verify
    /// tokens.
    ///
    /// # Errors
    /// Fails if the server rejects a request.
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
