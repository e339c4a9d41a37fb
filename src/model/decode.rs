//! Decoding of watched objects one by one, so that one object that does not decode does not stop the watch.

use std::borrow::Cow;

use kube::{Resource, api::ObjectMeta};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::Value;

/// An object, or the readable rest of one that does not decode.
#[derive(Clone, Debug)]
pub struct Decoded<K>(pub Result<K, Box<Undecodable>>);

/// An object that does not decode.
#[derive(Clone, Debug)]
pub struct Undecodable {
    /// The decoding error. It may quote a value of the object.
    pub error: String,
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Its spec as received. Other nodes may still read some fields of it.
    pub spec: Value,
    /// Its status as received, preserved until the object decodes again.
    pub status: Value,
}

/// Conversion from the JSON of a whole object.
pub trait FromWhole: Sized {
    /// Decodes the object. It may move values out of `whole`.
    ///
    /// # Errors
    /// Where the object does not decode; `whole` is unchanged then.
    fn from_whole(whole: &mut Value) -> serde_json::Result<Self>;

    /// Reads the parts of the object that [`FromWhole::from_whole`] needs.
    ///
    /// # Errors
    /// Where the input is not JSON.
    fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }
}

impl<K: DeserializeOwned> FromWhole for K {
    fn from_whole(whole: &mut Value) -> serde_json::Result<Self> {
        K::deserialize(&*whole)
    }
}

/// Like `kube::core::DeserializeGuard`, but preserves the status and does not copy objects that decode.
impl<'de, K: Resource + FromWhole> Deserialize<'de> for Decoded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = K::whole(deserializer)?;
        let undecodable = match K::from_whole(&mut object) {
            Ok(read) => return Ok(Self(Ok(read))),
            Err(error) => error.to_string(),
        };
        let metadata = serde_json::from_value(object["metadata"].take())
            .map_err(|_| D::Error::custom("an object without readable metadata"))?;
        let (spec, status) = (object["spec"].take(), object["status"].take());
        Ok(Self(Err(Box::new(Undecodable { error: undecodable, metadata, spec, status }))))
    }
}

impl<K: Resource> Resource for Decoded<K> {
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
        self.0.as_ref().map_or_else(|undecodable| &undecodable.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|undecodable| &mut undecodable.metadata, K::meta_mut)
    }
}

impl<K: Resource + Default> Decoded<K> {
    /// The object; where it does not decode, its metadata alone, so that it counts as existing but neither running nor
    /// ready.
    pub(crate) fn known(self) -> K {
        self.0.unwrap_or_else(|undecodable| {
            let mut bare = K::default();
            *bare.meta_mut() = undecodable.metadata;
            bare
        })
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    fn pod(name: &str, containers: Value) -> Decoded<Pod> {
        let object = json!({"metadata": {"name": name, "namespace": "ledger"},
            "spec": {"nodeName": "host-1", "containers": containers}, "status": {"podIP": "10.0.0.1"}});
        serde_json::from_value(object).expect("guarded")
    }

    #[test]
    fn what_does_not_decode_is_known_by_its_metadata_and_counts_as_not_running() {
        let poison = pod("poison", json!("none"));
        assert_eq!(poison.0.as_ref().expect_err("undecodable").status, json!({"podIP": "10.0.0.1"}));
        let known = poison.known();
        assert_eq!(known.metadata.name.as_deref(), Some("poison"));
        assert_eq!((known.spec, known.status), (None, None));
        assert_eq!(
            pod("good", json!([])).known().status.and_then(|status| status.pod_ip).as_deref(),
            Some("10.0.0.1")
        );
    }
}
