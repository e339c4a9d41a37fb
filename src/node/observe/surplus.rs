//! Observes pods beyond the one of each part, and their volume claims.

use kube::{Resource, ResourceExt as _, runtime::reflector::Store};

use crate::{
    cluster::Caches,
    model::names::{self, Names},
    node::{decide::volume_growth, observed::Surplus},
};

/// Surplus pods and claims, by the ordinal in their names.
pub(super) fn surplus(caches: &Caches, names: &Names) -> Surplus {
    Surplus {
        pods: named(&caches.pods, names, |name| volume_growth::is_beyond(names, name)),
        claims: named(&caches.claims, names, |name| {
            name.strip_prefix("data-").is_some_and(|pod| volume_growth::is_beyond(names, pod))
        }),
    }
}

fn named<K>(store: &Store<K>, names: &Names, is_beyond: impl Fn(&str) -> bool) -> Vec<String>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let is_surplus = |object: &K| {
        object.meta().name.as_deref().is_some_and(&is_beyond)
            && object.meta().namespace.as_ref() == Some(&names.namespace)
            && object.labels().get(names::NODE) == Some(&names.node)
    };
    let mut found: Vec<_> = store.state_filter(is_surplus).iter().map(|object| object.name_any()).collect();
    found.sort();
    found
}
