//! Has a change of the callers' policy brought into a pod that runs. A kubelet looks at what it has mounted when a
//! pod changes, and else within a minute or two.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;

use super::{apply::Applier, desired::Desired, names::Component, observed::Observed, validate::Validated};
use crate::cluster::{caches::find, write};

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
        let live = find(&self.caches.config_maps, &node.names.namespace, &name);
        let (Some(wanted), Some(pod), Some(live), false) = (wanted, pod, live, self.frozen) else {
            return Ok(());
        };
        if pod.policy != live.resource_version && write::is_settled(Some(&live), wanted)? {
            let pod_name = node.names.pod(Component::Client);
            let version = live.resource_version.unwrap_or_default();
            self.writer.tell_policy((&node.names.namespace, &pod_name, &pod.uid), &version).await?;
            self.applied.writes += 1;
        }
        Ok(())
    }
}
