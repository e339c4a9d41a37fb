//! Canonical form of an object, without the fields that may differ. A rendered object and the object that the server
//! stores for it have the same form.

use serde_json::{Map, Value};

use super::{
    allowed::{LABELS, Rule},
    quantity,
    tree::{self, ITEM, Tree},
};
use crate::model::names;

/// Member of the canonical form that records the operator's finalizer.
pub const FINALIZER: &str = "finalizer";

/// Content of the object, without its status and without the differences that [`super::allowed`] lists.
pub fn canonical(kind: &str, mut object: Value) -> Value {
    let Value::Object(members) = &mut object else { return Value::Null };
    for identity in ["apiVersion", "kind", "status"] {
        members.remove(identity);
    }
    let judged = members.remove("metadata").map(metadata).unwrap_or_default();
    reduce(&mut object, tree::of(kind));
    object["metadata"] = judged;
    object
}

fn metadata(mut meta: Value) -> Value {
    let mut judged = Map::new();
    let ours = |key: &str| key.starts_with(names::OURS) && key != names::DIGEST;
    for (notes, is_ours) in [
        ("labels", (&|key: &str| ours(key) || LABELS.contains(&key)) as &dyn Fn(&str) -> bool),
        ("annotations", &ours),
    ] {
        if let Value::Object(mut notes_of_all) = meta[notes].take() {
            notes_of_all.retain(|key, _| is_ours(key));
            if !notes_of_all.is_empty() {
                judged.insert(notes.into(), Value::Object(notes_of_all));
            }
        }
    }
    if let Value::Array(mut owners) = meta["ownerReferences"].take()
        && !owners.is_empty()
    {
        for owner in owners.iter_mut().filter_map(Value::as_object_mut) {
            owner.remove("apiVersion");
            owner.retain(|_, value| *value != Value::Bool(false));
        }
        owners.sort_by_key(|owner| owner["uid"].to_string());
        judged.insert("ownerReferences".into(), Value::Array(owners));
    }
    if meta["finalizers"].as_array().is_some_and(|listed| listed.contains(&names::CLEANUP.into())) {
        judged.insert(FINALIZER.into(), Value::Bool(true));
    }
    Value::Object(judged)
}

/// Removes allowed differences, nulls, and empty lists, which the server drops.
fn reduce(value: &mut Value, allowed: Option<&Tree>) {
    match value {
        Value::Object(members) => members.retain(|name, inner| {
            let allowed = allowed.and_then(|tree| tree.below(name));
            reduce(inner, allowed);
            if let Some(rule) = allowed.and_then(|tree| tree.rules.iter().find(|rule| applies(**rule, inner)))
            {
                let Rule::Quantity = rule else { return false };
                *inner = quantity::canonical(inner.as_str().unwrap_or_default()).into();
            }
            !inner.is_null() && inner.as_array().is_none_or(|items| !items.is_empty())
        }),
        Value::Array(items) => {
            let allowed = allowed.and_then(|tree| tree.below(ITEM));
            items.iter_mut().for_each(|item| reduce(item, allowed));
        }
        _ => {}
    }
}

fn applies(rule: Rule, value: &Value) -> bool {
    match rule {
        Rule::Any => true,
        Rule::AnyBut(text) => value != text,
        Rule::AtMostOne => value.as_array().is_some_and(|items| items.len() <= 1),
        Rule::Text(text) => value == text,
        Rule::Number(number) => value.as_i64() == Some(number),
        Rule::Json(json) => serde_json::from_str::<Value>(json).is_ok_and(|json| json == *value),
        Rule::Quantity => value.is_string(),
    }
}
