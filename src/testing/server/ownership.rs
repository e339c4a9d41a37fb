//! Server-side apply: ownership of fields, and merging of applied configurations.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Path of a field, as elements of `fieldsV1`.
pub(super) type Path = Vec<String>;

enum List {
    Keyed(&'static [&'static str]),
    Set,
    Atomic,
}

/// Merge strategy of a list, by name of the field. It covers the kinds that the operator writes.
fn list(field: &str, items: &[Value]) -> List {
    match field {
        "f:ownerReferences" => List::Keyed(&["uid"]),
        "f:containers" | "f:initContainers" | "f:volumes" | "f:env" | "f:scrapers" => List::Keyed(&["name"]),
        "f:volumeMounts" => List::Keyed(&["mountPath"]),
        "f:conditions" => List::Keyed(&["type"]),
        "f:certificates" => List::Keyed(&["purpose"]),
        "f:ports" if items.iter().any(|item| item.get("containerPort").is_some()) => {
            List::Keyed(&["containerPort", "protocol"])
        }
        "f:ports" if items.iter().any(|item| item.get("targetPort").is_some()) => {
            List::Keyed(&["port", "protocol"])
        }
        "f:finalizers" => List::Set,
        _ => List::Atomic,
    }
}

fn is_atomic(field: &str) -> bool {
    matches!(
        field,
        "f:nodeSelector"
            | "f:selector"
            | "f:podSelector"
            | "f:resourceFieldRef"
            | "f:fieldRef"
            | "f:secretKeyRef"
    )
}

fn key_of(item: &Value, keys: &[&str]) -> Value {
    let part = |key: &&str| {
        let value = item.get(*key).cloned().unwrap_or_else(|| json!("TCP"));
        ((*key).to_owned(), value)
    };
    Value::Object(keys.iter().map(part).collect())
}

fn element(key: &Value) -> String {
    format!("k:{key}")
}

/// Paths of all fields that an applied configuration sets.
pub(super) fn fields(config: &Value) -> BTreeSet<Path> {
    let mut found = BTreeSet::new();
    for (name, value) in config.as_object().into_iter().flatten() {
        if !matches!(name.as_str(), "apiVersion" | "kind") {
            walk(value, vec![format!("f:{name}")], &mut found);
        }
    }
    for identity in ["f:name", "f:namespace", "f:managedFields", "f:uid", "f:resourceVersion"] {
        found.retain(|path| path.len() < 2 || path[0] != "f:metadata" || path[1] != identity);
    }
    found
}

fn walk(value: &Value, path: Path, found: &mut BTreeSet<Path>) {
    let field = path.last().cloned().unwrap_or_default();
    let extended = |element: String| [path.clone(), vec![element]].concat();
    match value {
        Value::Null => {}
        Value::Object(members) if !members.is_empty() && !is_atomic(&field) => {
            for (name, inner) in members {
                walk(inner, extended(format!("f:{name}")), found);
            }
        }
        Value::Array(items) => match list(&field, items) {
            List::Keyed(keys) => {
                for item in items {
                    let at = extended(element(&key_of(item, keys)));
                    if field == "f:ownerReferences" {
                        found.insert(at);
                        continue;
                    }
                    found.insert([at.clone(), vec![".".into()]].concat());
                    for (name, inner) in item.as_object().into_iter().flatten() {
                        walk(inner, [at.clone(), vec![format!("f:{name}")]].concat(), found);
                    }
                }
            }
            List::Set => found.extend(items.iter().map(|item| extended(format!("v:{item}")))),
            List::Atomic => drop(found.insert(path)),
        },
        _ => drop(found.insert(path)),
    }
}

/// Encodes field paths as `fieldsV1`.
pub(super) fn encode(fields: &BTreeSet<Path>) -> Value {
    let mut root = Map::new();
    for path in fields {
        let mut at = &mut root;
        for element in path {
            let next = at.entry(element.clone()).or_insert_with(|| json!({}));
            let Value::Object(next) = next else { break };
            at = next;
        }
    }
    Value::Object(root)
}

/// Decodes `fieldsV1` to field paths.
pub(super) fn decode(encoded: &Value) -> BTreeSet<Path> {
    let mut found = BTreeSet::new();
    collect(encoded, Vec::new(), &mut found);
    found
}

fn collect(encoded: &Value, path: Path, found: &mut BTreeSet<Path>) {
    match encoded.as_object() {
        Some(members) if !members.is_empty() => {
            for (element, inner) in members {
                collect(inner, [path.clone(), vec![element.clone()]].concat(), found);
            }
        }
        _ => drop(found.insert(path)),
    }
}

fn matches_key(item: &Value, element: &str) -> bool {
    let Some(Ok(Value::Object(key))) = element.strip_prefix("k:").map(serde_json::from_str) else {
        return false;
    };
    key.iter().all(|(name, value)| item.get(name).unwrap_or(&json!("TCP")) == value)
}

/// Whether an item of a set equals the JSON value `named`.
fn is_value(item: &Value, named: &str) -> bool {
    serde_json::from_str::<Value>(named).is_ok_and(|named| named == *item)
}

/// Value of the field at `path`.
pub(super) fn get<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    let Some((first, rest)) = path.split_first() else { return Some(object) };
    let inner = match (first.split_once(':'), object) {
        (Some(("f", name)), _) => object.get(name)?,
        (Some(("k", _)), Value::Array(items)) => items.iter().find(|item| matches_key(item, first))?,
        (Some(("v", value)), Value::Array(items)) => items.iter().find(|item| is_value(item, value))?,
        _ => return Some(object),
    };
    get(inner, rest)
}

/// Removes the field or list item at `path`.
pub(super) fn remove(object: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else { return };
    match (first.split_once(':'), object) {
        (Some(("f", name)), Value::Object(members)) => {
            if rest.is_empty() {
                members.remove(name);
            } else if let Some(inner) = members.get_mut(name) {
                remove(inner, rest);
            }
        }
        (Some(("k", _)), Value::Array(items)) => {
            if rest.is_empty() || rest == ["."] {
                items.retain(|item| !matches_key(item, first));
            } else if let Some(item) = items.iter_mut().find(|item| matches_key(item, first)) {
                remove(item, rest);
            }
        }
        (Some(("v", value)), Value::Array(items)) => items.retain(|item| !is_value(item, value)),
        _ => {}
    }
}

/// Merges an applied configuration into the live object.
pub(super) fn merge(live: &mut Value, config: &Value, field: &str) {
    match (live, config) {
        (Value::Object(live), Value::Object(config)) if !is_atomic(field) => {
            for (name, value) in config.iter().filter(|(_, value)| !value.is_null()) {
                merge(live.entry(name.clone()).or_insert(Value::Null), value, &format!("f:{name}"));
            }
        }
        (live @ Value::Array(_), Value::Array(config)) => merge_list(live, config, field),
        (live, config) => *live = config.clone(),
    }
}

fn merge_list(live: &mut Value, config: &[Value], field: &str) {
    let Value::Array(items) = live else { return };
    match list(field, config) {
        List::Atomic => *items = config.to_vec(),
        List::Set => {
            let new: Vec<_> = config.iter().filter(|item| !items.contains(item)).cloned().collect();
            items.extend(new);
        }
        List::Keyed(keys) => {
            for wanted in config {
                let element = element(&key_of(wanted, keys));
                match items.iter_mut().find(|item| matches_key(item, &element)) {
                    Some(item) => merge(item, wanted, "f:item"),
                    None => items.push(wanted.clone()),
                }
            }
            // items take the order of the applied configuration
            items.sort_by_key(|item| {
                config.iter().position(|wanted| key_of(wanted, keys) == key_of(item, keys))
            });
        }
    }
}
