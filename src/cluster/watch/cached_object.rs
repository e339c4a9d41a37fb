//! Cached form of an object that the operator writes: the fields that are read, and the comparable content.

use std::{borrow::Cow, ops::Deref};

use kube::{
    Resource,
    api::ObjectMeta,
    runtime::reflector::{ObjectRef, Store},
};
use serde::{Deserializer, de::DeserializeOwned};
use serde_json::Value;

use super::full_object;
use crate::{
    cluster::{drift::Content, write::Seen},
    model::{decode::FromWhole, names},
};

/// Trimmed object with its comparable content.
#[derive(Clone, Debug, Default)]
pub struct CachedObject<K> {
    /// The fields that are read.
    pub object: K,
    /// Content for drift detection.
    pub content: Content,
}

impl<K> Deref for CachedObject<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.object
    }
}

/// Looks up an object that the operator writes in its cache.
#[must_use]
pub fn seen<K>(store: &Store<CachedObject<K>>, namespace: &str, name: &str) -> Option<Seen>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let judged = store.get(&ObjectRef::new(name).within(namespace))?;
    Some(Seen { meta: judged.meta().clone(), content: Some(judged.content.clone()), due: false })
}

/// Compares the whole object on arrival, and drops most of it.
impl<K: Resource<DynamicType = ()> + DeserializeOwned> FromWhole for CachedObject<K> {
    fn from_whole(whole: &mut Value) -> serde_json::Result<Self> {
        // the object is read without its managed fields: only its content needs them
        let fields = whole["metadata"]["managedFields"].take();
        let read = K::deserialize(&*whole);
        whole["metadata"]["managedFields"] = fields;
        let mut object = read?;
        let content = Content::of(&K::kind(&()), whole.take());
        object.meta_mut().annotations.iter_mut().for_each(|notes| drop(notes.remove(names::DIGEST)));
        Ok(Self { object, content })
    }

    fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        full_object::read(deserializer)
    }
}

impl<K: Resource> Resource for CachedObject<K> {
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
        self.object.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.object.meta_mut()
    }
}
