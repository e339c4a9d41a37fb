//! Objects as they arrive: one that does not decode must not stop the watch for everybody else.

use std::borrow::Cow;

use kube::{Resource, ResourceExt as _, api::ObjectMeta, runtime::watcher::Event};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::Value;

use super::listed::Listed;

/// An object, or what can be known of one that does not decode.
#[derive(Clone, Debug)]
pub struct Guard<K>(pub Result<K, Box<Unreadable>>);

/// An object that does not decode.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Why. It may show a value of the object.
    pub error: String,
    /// Its metadata, which does.
    pub metadata: ObjectMeta,
    /// Its spec as it came: what others go by of it may still be told from it.
    pub spec: Value,
    /// Its status as it came, which must survive until the object can be read again.
    pub status: Value,
}

/// What is made of an object as it came.
pub trait FromWhole: Sized {
    /// Reads it, and takes what is kept of it.
    ///
    /// # Errors
    /// Where it does not decode. It is as it was then.
    fn from_whole(whole: &mut Value) -> serde_json::Result<Self>;

    /// The object as far as it is needed for that.
    ///
    /// # Errors
    /// Where it is no JSON.
    fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }
}

impl<K: DeserializeOwned> FromWhole for K {
    fn from_whole(whole: &mut Value) -> serde_json::Result<Self> {
        K::deserialize(&*whole)
    }
}

/// As `kube::core::DeserializeGuard`, which keeps no status and copies every object that it reads.
impl<'de, K: Resource + FromWhole> Deserialize<'de> for Guard<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = K::whole(deserializer)?;
        let unreadable = match K::from_whole(&mut object) {
            Ok(read) => return Ok(Self(Ok(read))),
            Err(error) => error.to_string(),
        };
        let metadata = serde_json::from_value(object["metadata"].take())
            .map_err(|_| D::Error::custom("an object without readable metadata"))?;
        let (spec, status) = (object["spec"].take(), object["status"].take());
        Ok(Self(Err(Box::new(Unreadable { error: unreadable, metadata, spec, status }))))
    }
}

impl<K: Resource> Resource for Guard<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &K::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &K::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &K::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &K::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|unreadable| &unreadable.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|unreadable| &mut unreadable.metadata, K::meta_mut)
    }
}

impl<K: Resource + Default> Guard<K> {
    /// The object. Of one that does not decode the metadata alone, so that it counts as being there, and as
    /// neither running nor ready.
    pub(super) fn known(self) -> K {
        self.0.unwrap_or_else(|unreadable| {
            let mut bare = K::default();
            *bare.meta_mut() = unreadable.metadata;
            bare
        })
    }
}

/// `event` with its object turned into another.
pub(super) fn map<A, B>(event: Event<A>, turned: impl FnOnce(A) -> B) -> Event<B> {
    match event {
        Event::Apply(object) => Event::Apply(turned(object)),
        Event::Delete(object) => Event::Delete(turned(object)),
        Event::InitApply(object) => Event::InitApply(turned(object)),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    }
}

/// Namespace and name.
type Which = (String, String);

/// The objects of one kind that do not decode at present.
#[derive(Debug, Default)]
pub(super) struct Unread(Listed<Which, ()>);

impl Unread {
    /// Which objects cannot be read from now on (`true`), and which no longer count as such.
    pub(super) fn changes<K: Resource>(&mut self, event: &Event<Guard<K>>) -> Vec<(Which, bool)> {
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

fn which<K: Resource>(object: &Guard<K>) -> Which {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    fn pod(name: &str, containers: Value) -> Guard<Pod> {
        let object = json!({"metadata": {"name": name, "namespace": "ledger"},
            "spec": {"nodeName": "host-1", "containers": containers}, "status": {"podIP": "10.0.0.1"}});
        serde_json::from_value(object).expect("guarded")
    }

    #[test]
    fn what_does_not_decode_is_known_by_its_metadata_and_counts_as_not_running() {
        let poison = pod("poison", json!("none"));
        assert_eq!(poison.0.as_ref().expect_err("unreadable").status, json!({"podIP": "10.0.0.1"}));
        let known = poison.known();
        assert_eq!(known.metadata.name.as_deref(), Some("poison"));
        assert_eq!((known.spec, known.status), (None, None));
        assert_eq!(
            pod("good", json!([])).known().status.and_then(|status| status.pod_ip).as_deref(),
            Some("10.0.0.1")
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_once_and_so_is_its_end() {
        let mut unread = Unread::default();
        let at = |name: &str| ("ledger".to_owned(), name.to_owned());
        let poison = || pod("a", json!("none"));
        assert_eq!(unread.changes(&Event::Apply(poison())), [(at("a"), true)]);
        assert_eq!(unread.changes(&Event::Apply(poison())), []);
        // a list in which it still is, and one from which it has gone
        assert_eq!(unread.changes(&Event::<Guard<Pod>>::Init), []);
        assert_eq!(unread.changes(&Event::InitApply(poison())), []);
        assert_eq!(unread.changes(&Event::<Guard<Pod>>::InitDone), []);
        assert_eq!(unread.changes(&Event::<Guard<Pod>>::Init), []);
        assert_eq!(unread.changes(&Event::<Guard<Pod>>::InitDone), [(at("a"), false)]);
        assert_eq!(unread.changes(&Event::Apply(poison())), [(at("a"), true)]);
        assert_eq!(unread.changes(&Event::Apply(pod("a", json!([])))), [(at("a"), false)]);
        assert_eq!(unread.changes(&Event::Apply(pod("a", json!([])))), []);
    }
}
