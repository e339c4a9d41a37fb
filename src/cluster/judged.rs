//! An object of a kind that the operator writes, as a cache keeps it: what is read of it, and what its content is.

use std::{borrow::Cow, ops::Deref};

use kube::{
    Resource,
    api::ObjectMeta,
    runtime::reflector::{ObjectRef, Store},
};
use serde::{Deserializer, de::DeserializeOwned};
use serde_json::Value;

use super::{drift::Content, guard::FromWhole, whole, write::Seen};
use crate::node::names;

/// An object, and its content.
#[derive(Clone, Debug, Default)]
pub struct Judged<K> {
    /// What is read of it.
    pub object: K,
    /// What it is compared by.
    pub content: Content,
}

impl<K> Deref for Judged<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.object
    }
}

/// What a cache shows of an object that the operator writes.
#[must_use]
pub fn seen<K>(store: &Store<Judged<K>>, namespace: &str, name: &str) -> Option<Seen>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let judged = store.get(&ObjectRef::new(name).within(namespace))?;
    Some(Seen { meta: judged.meta().clone(), content: Some(judged.content.clone()), due: false })
}

/// The whole object is compared here, and most of it is dropped.
impl<K: Resource<DynamicType = ()> + DeserializeOwned> FromWhole for Judged<K> {
    fn from_whole(whole: &mut Value) -> serde_json::Result<Self> {
        // what is read of it needs no fields of writers: its content knows what they say
        let fields = whole["metadata"]["managedFields"].take();
        let read = K::deserialize(&*whole);
        whole["metadata"]["managedFields"] = fields;
        let mut object = read?;
        let content = Content::of(&K::kind(&()), whole.take());
        object.meta_mut().annotations.iter_mut().for_each(|notes| drop(notes.remove(names::DIGEST)));
        Ok(Self { object, content })
    }

    fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        whole::read(deserializer)
    }
}

impl<K: Resource> Resource for Judged<K> {
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
