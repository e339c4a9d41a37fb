//! Reads an object as JSON, without most of the operator's own entries in `metadata.managedFields`. They are half of an
//! object's text, and only their part about metadata is used. Pure.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use crate::model::names;

/// Position of a value in an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Object,
    Metadata,
    ManagedFields,
    /// An entry of the managed fields; `ours` if it is known to be the operator's.
    Entry {
        ours: bool,
    },
    /// The `fieldsV1` of an entry of the operator.
    OurFields,
    /// Anywhere else: everything is read.
    Other,
}

/// Deserializes an object like [`Value`]. From the operator's own managed fields it reads only those of the metadata.
///
/// # Errors
/// Fails if the input is not JSON.
pub fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Place::Object.deserialize(deserializer)
}

impl Place {
    fn below(self, name: &str) -> Self {
        match (self, name) {
            (Self::Object, "metadata") => Self::Metadata,
            (Self::Metadata, "managedFields") => Self::ManagedFields,
            (Self::Entry { ours: true }, "fieldsV1") => Self::OurFields,
            _ => Self::Other,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Place {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let item = if self == Self::ManagedFields { Self::Entry { ours: false } } else { Self::Other };
        let mut all = vec![];
        while let Some(item) = items.next_element_seed(item)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if self == Self::OurFields && name != "f:metadata" {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = members.next_value_seed(self.below(&name))?;
            // the server sends `manager` before `fieldsV1`
            if let Self::Entry { ours } = &mut self
                && name == "manager"
            {
                *ours = value == names::MANAGER;
            }
            all.insert(name, value);
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read_text(text: &str) -> Value {
        read(&mut serde_json::Deserializer::from_str(text)).expect("it is JSON")
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let name = prop_oneof![
            Just("metadata".to_owned()),
            Just("managedFields".to_owned()),
            Just("fieldsV1".to_owned()),
            Just("manager".to_owned()),
            "[a-z\"\\\\é]{0,4}",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 60, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((name.clone(), inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_the_operator_has_not_written_is_read_as_it_stands(object in any_json()) {
            let text = object.to_string();
            let whole: Value = serde_json::from_str(&text).expect("it is JSON");
            prop_assert_eq!(read_text(&text), whole);
        }
    }

    #[test]
    fn of_the_operators_own_fields_those_of_the_metadata_are_left() {
        let entry = |manager: &str, fields: &Value| {
            format!(r#"{{"manager":"{manager}","operation":"Apply","fieldsV1":{fields}}}"#)
        };
        let metadata = json!({"f:annotations": {"f:quorum.security/digest": {}}, "f:labels": {"f:a": {}}});
        let fields = json!({"f:metadata": metadata, "f:spec": {"f:replicas": {}}, "f:data": {}});
        let ours = entry(names::MANAGER, &fields);
        let theirs = entry("kubectl-edit", &fields);
        let object = |entries: &str| {
            format!(
                r#"{{"metadata":{{"name":"a","managedFields":[{entries}]}},"spec":{{"fieldsV1":{fields}}}}}"#
            )
        };
        let left = |entries: &str| read_text(&object(entries))["metadata"]["managedFields"].clone();
        let whole = |entries: &str| -> Value { serde_json::from_str(&format!("[{entries}]")).expect("JSON") };
        assert_eq!(left(&theirs), whole(&theirs));
        assert_eq!(left(&ours)[0]["fieldsV1"], json!({"f:metadata": metadata}));
        assert_eq!(left(&ours)[0]["operation"], "Apply");
        let both = left(&format!("{ours},{theirs},{ours}"));
        assert_eq!(both[0], left(&ours)[0]);
        assert_eq!(both[1], whole(&theirs)[0], "a writer after the operator is read in full");
        assert_eq!(both[2], left(&ours)[0]);
        assert_eq!(read_text(&object(&ours))["spec"]["fieldsV1"], fields);
        // an entry whose `manager` comes late is read in full
        let late = format!(r#"{{"fieldsV1":{fields},"manager":"{}"}}"#, names::MANAGER);
        assert_eq!(left(&late), whole(&late));
    }
}
