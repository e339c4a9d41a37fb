//! Differences between two canonical objects, as paths and as a merge patch.

use serde_json::{Map, Value, json};

use super::canonical::FINALIZER;

/// Maximum number of paths in a list.
const NAMED: usize = 12;
/// Maps with user-defined keys: a path names the map, not the key.
const MAPS: [&str; 5] = ["annotations", "labels", "matchLabels", "nodeSelector", "selector"];

/// Paths of the fields that differ, such as `spec.template.spec.containers[1].env`.
pub fn paths(live: &Value, wanted: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", live, wanted, &mut found);
    found.truncate(NAMED);
    found
}

fn compare(path: &str, live: &Value, wanted: &Value, found: &mut Vec<String>) {
    if live == wanted {
        return;
    }
    let name = path.rsplit('.').next().unwrap_or_default();
    match (live, wanted) {
        (Value::Object(there), Value::Object(here)) if !MAPS.contains(&name) => {
            let names = there.keys().chain(here.keys().filter(|name| !there.contains_key(*name)));
            for name in names {
                let below = |object: &Map<String, Value>| object.get(name).cloned().unwrap_or_default();
                let shown = if name == FINALIZER { "finalizers" } else { name.as_str() };
                let path = if path.is_empty() { shown.to_owned() } else { format!("{path}.{shown}") };
                compare(&path, &below(there), &below(here), found);
            }
        }
        (Value::Array(there), Value::Array(here)) if there.len() == here.len() => {
            for (at, (live, wanted)) in there.iter().zip(here).enumerate() {
                compare(&format!("{path}[{at}]"), live, wanted, found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

/// Merge patch that removes what only `live` has, and restores what differs. Values come from `body`, the request body
/// of `wanted`. `listed` are the current finalizers.
pub fn patch(live: &Value, wanted: &Value, body: &Value, listed: &[String]) -> Value {
    let mut patch = merge(live, wanted, body).unwrap_or_else(|| json!({}));
    if let Some(metadata) = patch["metadata"].as_object_mut()
        && let Some(ours) = metadata.remove(FINALIZER)
    {
        let others = listed.iter().filter(|name| *name != crate::model::names::CLEANUP).cloned();
        let ours = (!ours.is_null()).then(|| crate::model::names::CLEANUP.to_owned());
        metadata.insert("finalizers".into(), others.chain(ours).collect());
    }
    if patch["metadata"].is_null() {
        patch.as_object_mut().and_then(|patch| patch.remove("metadata"));
    }
    patch
}

fn merge(live: &Value, wanted: &Value, body: &Value) -> Option<Value> {
    if live == wanted {
        return None;
    }
    let (Value::Object(there), Value::Object(here)) = (live, wanted) else {
        return Some(if body.is_null() { wanted.clone() } else { body.clone() });
    };
    let mut patch = Map::new();
    for (name, live) in there.iter().filter(|(name, _)| !here.contains_key(*name)) {
        // the body may contain a default of the server, which the canonical form leaves out
        let change = match &body[name] {
            Value::Null => Some(Value::Null),
            sent => merge(live, sent, sent),
        };
        patch.extend(change.map(|change| (name.clone(), change)));
    }
    for (name, wanted) in here {
        let change = match there.get(name) {
            Some(live) => merge(live, wanted, &body[name]),
            None => Some(if body[name].is_null() { wanted.clone() } else { body[name].clone() }),
        };
        patch.extend(change.map(|change| (name.clone(), change)));
    }
    Some(Value::Object(patch))
}
