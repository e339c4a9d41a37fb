//! JSON merge patches.

use serde_json::{Value, json};

/// Applies a JSON merge patch (RFC 7396).
pub fn merge_patch(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            object.as_object_mut().and_then(|object| object.remove(name));
        } else {
            merge_patch(&mut object[name], value);
        }
    }
}
