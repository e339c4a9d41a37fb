//! Drift detection by managed fields: the operator no longer owns a field that another writer has changed.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::FieldsV1;
use serde_json::Value;

/// Frequent substrings of a tree's text, and replacement characters that JSON text never contains.
const OFTEN: [(&str, &str); 2] = [("\":{},\"f:", "\u{1}"), ("\":{\"f:", "\u{2}")];

/// Compresses managed fields to short text. As a tree they take at least ten times as much memory, and most are never
/// read.
pub fn fold(fields: &mut FieldsV1) {
    if !fields.0.is_string() {
        let text = OFTEN.iter().fold(fields.0.to_string(), |text, (often, short)| text.replace(often, short));
        fields.0 = Value::String(text.into_boxed_str().into_string());
    }
}

/// The tree of managed fields, compressed or not. Invalid text has no fields.
#[must_use]
pub fn unfold(fields: &FieldsV1) -> Cow<'_, Value> {
    match &fields.0 {
        Value::String(text) => {
            let text = OFTEN.iter().fold(Cow::Borrowed(text.as_str()), |text, (often, short)| {
                Cow::Owned(text.replace(short, often))
            });
            Cow::Owned(serde_json::from_str(&text).unwrap_or_default())
        }
        tree => Cow::Borrowed(tree),
    }
}

/// Whether `fields`, in the form of `managedFields[].fieldsV1`, includes every field of `object`. The entries
/// themselves show which lists are keyed and which are atomic.
#[must_use]
pub fn covers(fields: &Value, object: &Value) -> bool {
    let metadata = fields.get("f:metadata").unwrap_or(&Value::Null);
    // no field manager owns an object's kind, name and namespace; deeper down, a `name` is a normal field
    members(object).all(|(name, value)| match name.as_str() {
        "apiVersion" | "kind" => true,
        "metadata" => members(value)
            .filter(|(name, _)| !matches!(name.as_str(), "name" | "namespace"))
            .all(|(name, value)| covers_member(metadata, name, value)),
        _ => covers_member(fields, name, value),
    })
}

/// Fields of `object` that are not in `fields`, as paths of at most two levels.
#[must_use]
pub fn lost(fields: &Value, object: &Value) -> Vec<String> {
    let mut lost = Vec::new();
    let skipped = ["apiVersion", "kind"];
    for (name, value) in members(object).filter(|(name, _)| !skipped.contains(&name.as_str())) {
        let owned = fields.get(format!("f:{name}"));
        let below = owned.unwrap_or(&Value::Null);
        let is_identity = |inner: &str| name == "metadata" && matches!(inner, "name" | "namespace");
        if value.is_object() && (name == "metadata" || !owned.is_some_and(is_whole)) {
            let inner = members(value).filter(|(inner, _)| !is_identity(inner));
            let inner = inner.filter(|(inner, value)| !covers_member(below, inner, value));
            lost.extend(inner.map(|(inner, _)| format!("{name}.{inner}")));
        } else if !covers_member(fields, name, value) {
            lost.push(name.clone());
        }
    }
    lost
}

/// Whether `fields` includes the field at a path such as `spec.template.spec.containers[1].env`, a part of it, or an
/// atomic value around it.
#[must_use]
pub fn leads(fields: &Value, path: &str) -> bool {
    // the key of a map may contain dots
    if fields.get(format!("f:{path}")).is_some() {
        return true;
    }
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    let name = step.split('[').next().unwrap_or_default();
    let Some(below) = fields.get(format!("f:{name}")) else { return false };
    if rest.is_empty() || is_whole(below) || leads(below, rest) {
        return true;
    }
    // the index does not show which item of a keyed list it is
    let items = below.as_object().into_iter().flatten().filter(|(key, _)| key.starts_with("k:"));
    items.into_iter().any(|(_, item)| leads(item, rest))
}

fn members(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten()
}

fn covers_member(fields: &Value, name: &str, value: &Value) -> bool {
    // an empty value has no owner
    let Some(owned) = fields.get(format!("f:{name}")) else { return is_empty(value) };
    match value {
        Value::Object(_) => is_whole(owned) || covers_members(owned, value),
        Value::Array(items) => is_whole(owned) || items.iter().all(|item| covers_item(owned, item)),
        _ => true,
    }
}

fn covers_members(fields: &Value, object: &Value) -> bool {
    members(object).all(|(name, value)| covers_member(fields, name, value))
}

/// Whether a value is atomic: its parts have no owners of their own.
fn is_whole(owned: &Value) -> bool {
    owned.as_object().is_none_or(serde_json::Map::is_empty)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// Whether `owned` includes an item of a keyed list or of a set.
fn covers_item(owned: &Value, item: &Value) -> bool {
    let Some(entries) = owned.as_object() else { return true };
    entries.iter().any(|(entry, inner)| {
        if let Some(key) = entry.strip_prefix("k:") {
            let Ok(Value::Object(key)) = serde_json::from_str(key) else { return false };
            // the server filled in a key that the item leaves out
            let same = key.iter().all(|(name, value)| item.get(name).is_none_or(|own| own == value));
            same && (is_whole(inner) || covers_members(inner, item))
        } else if let Some(value) = entry.strip_prefix("v:") {
            serde_json::from_str::<Value>(value).is_ok_and(|value| value == *item)
        } else {
            false
        }
    })
}

#[cfg(test)]
mod tests;
