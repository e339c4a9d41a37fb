//! Generates one invalid node for each bound in the CRD schema, so that tests cover every bound.

use serde_json::{Value, json};

/// A node that violates one bound of one field.
#[derive(Clone, Debug)]
pub struct Breach {
    /// Field path as in API server errors, such as `spec.peering.from[0].cidr`.
    pub field: String,
    /// Violated keyword of the schema, such as `maxLength`.
    pub bound: &'static str,
    /// The invalid node.
    pub node: Value,
}

/// Violates each bound of `schema` (the schema of the whole object) on a field that `node` sets, one at a time.
#[must_use]
pub fn breaches(schema: &Value, node: &Value) -> Vec<Breach> {
    let mut walk = Walk { node, found: Vec::new() };
    walk.value(&schema["properties"]["spec"], &Place::of("spec"));
    walk.found
}

/// Path of a value, as errors write it and as a JSON pointer.
#[derive(Clone)]
struct Place {
    field: String,
    pointer: String,
}

impl Place {
    fn of(root: &str) -> Self {
        Self { field: root.into(), pointer: format!("/{root}") }
    }

    fn property(&self, name: &str) -> Self {
        let pointer = format!("{}/{}", self.pointer, name.replace('/', "~1"));
        Self { field: format!("{}.{name}", self.field), pointer }
    }

    fn item(&self, index: usize) -> Self {
        Self { field: format!("{}[{index}]", self.field), pointer: format!("{}/{index}", self.pointer) }
    }
}

struct Walk<'a> {
    node: &'a Value,
    found: Vec<Breach>,
}

impl Walk<'_> {
    fn breach(&mut self, place: &Place, bound: &'static str, value: Value) {
        let mut node = self.node.clone();
        if let Some(at) = node.pointer_mut(&place.pointer) {
            *at = value;
        }
        self.found.push(Breach { field: place.field.clone(), bound, node });
    }

    fn value(&mut self, schema: &Value, place: &Place) {
        let node = self.node;
        let Some(value) = node.pointer(&place.pointer) else { return };
        self.scalar(schema, place);
        self.list(schema, value, place);
        self.object(schema, value, place);
    }

    fn scalar(&mut self, schema: &Value, place: &Place) {
        if schema["enum"].is_array() {
            self.breach(place, "enum", json!("Nonsense"));
        }
        if let Some(most) = schema["maximum"].as_f64() {
            self.breach(place, "maximum", json!(most as i64 + 1));
        }
        if let Some(least) = schema["minimum"].as_f64() {
            self.breach(place, "minimum", json!(least as i64 - 1));
        }
        if let Some(most) = schema["maxLength"].as_u64() {
            self.breach(place, "maxLength", json!("a".repeat(most as usize + 1)));
        }
        if schema["minLength"].as_u64().is_some_and(|least| least > 0) {
            self.breach(place, "minLength", json!(""));
        }
        if schema["pattern"].is_string() {
            self.breach(place, "pattern", json!("!"));
        }
    }

    fn list(&mut self, schema: &Value, value: &Value, place: &Place) {
        let Some(items) = value.as_array() else { return };
        if let (Some(most), Some(first)) = (schema["maxItems"].as_u64(), items.first()) {
            let many = (0..=most as usize).map(|i| distinct(first, i)).collect();
            self.breach(place, "maxItems", Value::Array(many));
        }
        if schema["minItems"].as_u64().is_some_and(|least| least > 0) {
            self.breach(place, "minItems", json!([]));
        }
        for i in 0..items.len() {
            self.value(&schema["items"], &place.item(i));
        }
    }

    fn object(&mut self, schema: &Value, value: &Value, place: &Place) {
        let Some(fields) = value.as_object() else { return };
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let mut without = fields.clone();
            without.remove(name);
            self.breach(place, "required", Value::Object(without));
            if let Some(last) = self.found.last_mut() {
                last.field = place.property(name).field;
            }
        }
        if let Some(most) = schema["maxProperties"].as_u64() {
            let many = (0..=most).map(|i| (format!("k{i}"), json!("v"))).collect();
            self.breach(place, "maxProperties", Value::Object(many));
        }
        for name in fields.keys() {
            let inner = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
            self.value(inner, &place.property(name));
        }
    }
}

/// The `i`th of many distinct variants of `item`, for lists that refuse duplicates.
fn distinct(item: &Value, i: usize) -> Value {
    match item {
        Value::String(text) => json!(text.replacen("ac6b", &format!("{i:04x}"), 1)),
        Value::Object(fields) if fields.contains_key("name") => {
            let mut fields = fields.clone();
            fields.insert("name".into(), json!(format!("n{i}")));
            Value::Object(fields)
        }
        other => other.clone(),
    }
}

/// Every bound of `schema`, as pairs of field path and keyword. List items and map values appear as `[]`.
#[must_use]
pub fn of_schema(schema: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(&schema["properties"]["spec"], "spec", &mut found);
    found
}

fn collect(schema: &Value, field: &str, found: &mut Vec<(String, String)>) {
    for bound in ["enum", "maximum", "minimum", "maxLength", "pattern", "maxItems", "maxProperties"] {
        if !schema[bound].is_null() {
            found.push((field.to_owned(), bound.to_owned()));
        }
    }
    for bound in ["minLength", "minItems"] {
        if schema[bound].as_u64().is_some_and(|least| least > 0) {
            found.push((field.to_owned(), bound.to_owned()));
        }
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        found.push((format!("{field}.{name}"), "required".to_owned()));
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        collect(inner, &format!("{field}.{name}"), found);
    }
    for inner in [&schema["items"], &schema["additionalProperties"]] {
        if inner.is_object() {
            collect(inner, &format!("{field}[]"), found);
        }
    }
}
