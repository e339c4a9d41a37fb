//! Tracks which objects of a kind do not decode at present. Pure.

use kube::{Resource, ResourceExt as _, runtime::watcher::Event};

use super::relist::Relist;
use crate::model::{decode::Decoded, names::NamespacedName};

/// Converts the object of an event.
pub(crate) fn map<A, B>(event: Event<A>, turned: impl FnOnce(A) -> B) -> Event<B> {
    match event {
        Event::Apply(object) => Event::Apply(turned(object)),
        Event::Delete(object) => Event::Delete(turned(object)),
        Event::InitApply(object) => Event::InitApply(turned(object)),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    }
}

/// The objects of one kind that do not decode at present.
#[derive(Debug, Default)]
pub(crate) struct UndecodableObjects(Relist<NamespacedName, ()>);

impl UndecodableObjects {
    /// Objects that stop decoding with this event (`true`), and objects that decode again or are gone (`false`).
    pub(crate) fn changes<K: Resource>(&mut self, event: &Event<Decoded<K>>) -> Vec<(NamespacedName, bool)> {
        let ends = |which| (which, false);
        match event {
            Event::Init => {
                self.0.begin();
                vec![]
            }
            Event::InitDone => self.0.gone().into_iter().map(ends).collect(),
            Event::Apply(object) | Event::InitApply(object) if object.0.is_err() => {
                let known = self.0.replace(which(object), ()).is_some();
                (!known).then(|| (which(object), true)).into_iter().collect()
            }
            Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => {
                self.0.remove(&which(object)).map(|()| ends(which(object))).into_iter().collect()
            }
        }
    }
}

fn which<K: Resource>(object: &Decoded<K>) -> NamespacedName {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, containers: Value) -> Decoded<Pod> {
        let object = json!({"metadata": {"name": name, "namespace": "ledger"},
            "spec": {"nodeName": "host-1", "containers": containers}, "status": {"podIP": "10.0.0.1"}});
        serde_json::from_value(object).expect("guarded")
    }

    #[test]
    fn what_cannot_be_read_is_told_once_and_so_is_its_end() {
        let mut unread = UndecodableObjects::default();
        let at = |name: &str| ("ledger".to_owned(), name.to_owned());
        let poison = || pod("a", json!("none"));
        assert_eq!(unread.changes(&Event::Apply(poison())), [(at("a"), true)]);
        assert_eq!(unread.changes(&Event::Apply(poison())), []);
        // a list that still has the object, and one without it
        assert_eq!(unread.changes(&Event::<Decoded<Pod>>::Init), []);
        assert_eq!(unread.changes(&Event::InitApply(poison())), []);
        assert_eq!(unread.changes(&Event::<Decoded<Pod>>::InitDone), []);
        assert_eq!(unread.changes(&Event::<Decoded<Pod>>::Init), []);
        assert_eq!(unread.changes(&Event::<Decoded<Pod>>::InitDone), [(at("a"), false)]);
        assert_eq!(unread.changes(&Event::Apply(poison())), [(at("a"), true)]);
        assert_eq!(unread.changes(&Event::Apply(pod("a", json!([])))), [(at("a"), false)]);
        assert_eq!(unread.changes(&Event::Apply(pod("a", json!([])))), []);
    }
}
