//! Observes irreplaceable Secrets.

use kube::api::ObjectMeta;

use crate::{api::QuorumNode, cluster::Caches, model::names::Names};

/// Metadata of the generated node key, and of all CAs of the node and its network.
pub(super) fn irreplaceable_secrets(caches: &Caches, names: &Names, node: &QuorumNode) -> Vec<ObjectMeta> {
    let key = node.spec.adopted_key().is_none().then(|| names.node_key());
    let authorities = [names.node_authority(), names.network_authority()];
    let authorities = authorities.iter().flat_map(|authority| generations(caches, names, authority));
    let found = |name: String| caches.secret(&names.namespace, &name);
    key.into_iter().chain(authorities).filter_map(found).collect()
}

/// Secret names of a CA's generations: the first, which may be gone, and the later ones that exist.
pub(in crate::node) fn generations(caches: &Caches, names: &Names, authority: &str) -> Vec<String> {
    let is_there = |name: &String| caches.secret(&names.namespace, name).is_some();
    let later = (2..).map(|number| Names::generation(authority, number)).take_while(is_there);
    [authority.to_owned()].into_iter().chain(later).collect()
}
