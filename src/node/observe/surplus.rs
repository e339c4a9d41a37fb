//! Pods beyond the one that a part has, and the claims they have left.

use kube::{Resource, ResourceExt as _, runtime::reflector::Store};

use crate::{
    cluster::Caches,
    node::{
        names::{self, Names},
        observed::Surplus,
        volumes,
    },
};

/// By their names, which a StatefulSet counts up.
pub(super) fn surplus(caches: &Caches, names: &Names) -> Surplus {
    Surplus {
        pods: named(&caches.pods, names, |name| volumes::is_beyond(names, name)),
        claims: named(&caches.claims, names, |name| {
            name.strip_prefix("data-").is_some_and(|pod| volumes::is_beyond(names, pod))
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
