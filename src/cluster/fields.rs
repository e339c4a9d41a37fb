//! Drift, from the server's own bookkeeping: a field that someone else changed is no longer ours.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::FieldsV1;
use serde_json::Value;

/// What the text of a tree mostly consists of, and characters for it that no text of JSON has.
const OFTEN: [(&str, &str); 2] = [("\":{},\"f:", "\u{1}"), ("\":{\"f:", "\u{2}")];

/// Kept as short text: as a tree they take ten times as much and more, and most are never looked at again.
pub fn fold(fields: &mut FieldsV1) {
    if !fields.0.is_string() {
        let text = OFTEN.iter().fold(fields.0.to_string(), |text, (often, short)| text.replace(often, short));
        fields.0 = Value::String(text.into_boxed_str().into_string());
    }
}

/// The tree, kept as text or not. What is no tree holds no field.
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

/// Whether every field of `object` is listed among the fields that belong to its writer, in the form of
/// `managedFields[].fieldsV1`. Which lists are keyed and which are whole follows from the entry itself.
#[must_use]
pub fn covers(fields: &Value, object: &Value) -> bool {
    let metadata = fields.get("f:metadata").unwrap_or(&Value::Null);
    // an object's identity is nobody's field; deeper down a `name` is a field like any other
    members(object).all(|(name, value)| match name.as_str() {
        "apiVersion" | "kind" => true,
        "metadata" => members(value)
            .filter(|(name, _)| !matches!(name.as_str(), "name" | "namespace"))
            .all(|(name, value)| covers_member(metadata, name, value)),
        _ => covers_member(fields, name, value),
    })
}

/// The fields of `object` that no longer belong to its writer, as far as its second level.
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

/// Whether a writer's fields include the one that a path such as `spec.template.spec.containers[1].env` leads to, a part
/// of it, or all around it.
#[must_use]
pub fn leads(fields: &Value, path: &str) -> bool {
    // a key of a map may have dots
    if fields.get(format!("f:{path}")).is_some() {
        return true;
    }
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    let name = step.split('[').next().unwrap_or_default();
    let Some(below) = fields.get(format!("f:{name}")) else { return false };
    if rest.is_empty() || is_whole(below) || leads(below, rest) {
        return true;
    }
    // which item of a keyed list it is cannot be told from its place
    let items = below.as_object().into_iter().flatten().filter(|(key, _)| key.starts_with("k:"));
    items.into_iter().any(|(_, item)| leads(item, rest))
}

fn members(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten()
}

fn covers_member(fields: &Value, name: &str, value: &Value) -> bool {
    // nothing to own in an empty value
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

/// A value whose parts have no owners of their own.
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

/// An item of a keyed list, or of a set.
fn covers_item(owned: &Value, item: &Value) -> bool {
    let Some(entries) = owned.as_object() else { return true };
    entries.iter().any(|(entry, inner)| {
        if let Some(key) = entry.strip_prefix("k:") {
            let Ok(Value::Object(key)) = serde_json::from_str(key) else { return false };
            // a key that the item leaves out has been filled in by the server
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
