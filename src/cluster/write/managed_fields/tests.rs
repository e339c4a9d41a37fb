use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "a", "namespace": "b", "labels": {"x": "1"}},
        "spec": {"ports": [{"name": "p2p", "port": 30303}], "selector": {"n": "a"}}})
}

fn owned() -> Value {
    json!({"f:metadata": {"f:labels": {"f:x": {}}},
        "f:spec": {"f:ports": {"k:{\"port\":30303,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:port": {}}},
            "f:selector": {}}})
}

/// A workload, with the fields that the server lists for it.
fn workload() -> (Value, Value) {
    let object = json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "a-client", "namespace": "b"},
        "spec": {"replicas": 1, "template": {"spec": {
            "containers": [{"name": "client", "args": ["--datadir", "/data"],
                "env": [{"name": "TZ", "value": "UTC"}]}],
            "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "peers", "configMap": {"name": "qn-a-peers"}}]}}}});
    let fields = json!({"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {
        "f:containers": {"k:{\"name\":\"client\"}": {".": {}, "f:name": {}, "f:args": {},
            "f:env": {"k:{\"name\":\"TZ\"}": {".": {}, "f:name": {}, "f:value": {}}}}},
        "f:volumes": {
            "k:{\"name\":\"tmp\"}": {".": {}, "f:name": {}, "f:emptyDir": {}},
            "k:{\"name\":\"peers\"}": {".": {}, "f:name": {}, "f:configMap": {".": {}, "f:name": {}}}}}}}});
    (object, fields)
}

/// The fields without one, which another writer has taken over by changing or removing it.
fn without(fields: &Value, pointer: &str) -> Value {
    let mut fields = fields.clone();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = fields.pointer_mut(parent).and_then(Value::as_object_mut).expect("the field is there");
    assert!(parent.remove(key).is_some(), "{pointer} is there");
    fields
}

#[test]
fn a_field_that_is_still_ours_is_covered() {
    assert!(covers(&owned(), &service()));
    let (object, fields) = workload();
    assert!(covers(&fields, &object));
}

#[test]
fn a_changed_scalar_is_noticed() {
    let (object, fields) = workload();
    let container = "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"client\"}";
    for taken in [
        "/f:spec/f:replicas".to_owned(),
        format!("{container}/f:args"),
        format!("{container}/f:env/k:{{\"name\":\"TZ\"}}/f:value"),
    ] {
        assert!(!covers(&without(&fields, &taken), &object), "{taken}");
    }
}

#[test]
fn a_reference_led_elsewhere_is_noticed_though_its_field_is_called_name() {
    let (object, fields) = workload();
    let volume = "/f:spec/f:template/f:spec/f:volumes/k:{\"name\":\"peers\"}/f:configMap/f:name";
    assert!(!covers(&without(&fields, volume), &object));
}

#[test]
fn only_the_identity_of_the_object_itself_is_nobodys_field() {
    for (name, value) in [("name", "a"), ("namespace", "b"), ("kind", "Pod"), ("apiVersion", "v1")] {
        let labels = json!({"metadata": {"labels": {name: value, "x": "1"}}});
        let data = json!({"data": {name: value, "x": "1"}});
        assert!(!covers(&json!({"f:metadata": {"f:labels": {"f:x": {}}}}), &labels), "label {name}");
        assert!(!covers(&json!({"f:data": {"f:x": {}}}), &data), "key {name}");
    }
    let named = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}});
    assert!(covers(&json!({}), &named));
}

#[test]
fn a_label_taken_over_is_noticed() {
    let mut fields = owned();
    fields["f:metadata"]["f:labels"] = json!({"f:y": {}});
    assert!(!covers(&fields, &service()));
}

#[test]
fn a_key_of_a_map_that_is_missing_is_noticed() {
    let object = json!({"data": {"genesis.json": "{}", "peers.json": "[]"}});
    assert!(covers(&json!({"f:data": {".": {}, "f:genesis.json": {}, "f:peers.json": {}}}), &object));
    assert!(!covers(&json!({"f:data": {".": {}, "f:genesis.json": {}}}), &object));
    assert!(!covers(&json!({"f:data": {".": {}}}), &object), "the map alone is not its keys");
}

#[test]
fn keys_that_others_add_are_theirs() {
    // fields that the operator does not render do not matter, whether it still owns them or never did
    let mut fields = owned();
    fields["f:metadata"]["f:labels"]["f:once-ours"] = json!({});
    fields["f:spec"]["f:sessionAffinity"] = json!({});
    assert!(covers(&fields, &service()));
}

#[test]
fn a_value_inside_a_keyed_list_taken_over_is_noticed() {
    let port = "/f:spec/f:ports/k:{\"port\":30303,\"protocol\":\"TCP\"}/f:name";
    assert!(!covers(&without(&owned(), port), &service()));
}

#[test]
fn an_item_removed_from_a_keyed_list_is_noticed() {
    let mut fields = owned();
    fields["f:spec"]["f:ports"] =
        json!({"k:{\"port\":1,\"protocol\":\"TCP\"}": {"f:name": {}, "f:port": {}}});
    assert!(!covers(&fields, &service()));
    let (object, fields) = workload();
    let volume = "/f:spec/f:template/f:spec/f:volumes/k:{\"name\":\"tmp\"}";
    assert!(!covers(&without(&fields, volume), &object));
}

#[test]
fn every_part_of_a_key_counts() {
    let dns = json!({"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]});
    let entry = |protocol| format!("k:{{\"port\":53,\"protocol\":\"{protocol}\"}}");
    let port = json!({".": {}, "f:port": {}, "f:protocol": {}});
    assert!(covers(&json!({"f:ports": {entry("UDP"): port, entry("TCP"): port}}), &dns));
    assert!(!covers(&json!({"f:ports": {entry("UDP"): port}}), &dns));
}

#[test]
fn a_whole_field_gone_is_noticed() {
    assert!(!covers(&without(&owned(), "/f:spec/f:ports"), &service()));
    assert!(!covers(&without(&owned(), "/f:spec"), &service()));
    assert!(!covers(&json!({}), &service()));
}

#[test]
fn an_item_that_is_owned_as_a_whole_is_covered() {
    let object = json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "A", "name": "a", "uid": "u"}]}});
    let fields =
        |uid: &str| json!({"f:metadata": {"f:ownerReferences": {format!("k:{{\"uid\":\"{uid}\"}}"): {}}}});
    assert!(covers(&fields("u"), &object));
    assert!(!covers(&fields("v"), &object));
}

#[test]
fn what_is_owned_as_a_whole_is_not_looked_into() {
    let object = json!({"selector": {"n": "a"}, "args": ["--datadir", "/data"], "rules": [{"a": {"b": 1}}]});
    assert!(covers(&json!({"f:selector": {}, "f:args": {}, "f:rules": {}}), &object));
    for gone in ["/f:selector", "/f:args", "/f:rules"] {
        let fields = json!({"f:selector": {}, "f:args": {}, "f:rules": {}});
        assert!(!covers(&without(&fields, gone), &object), "{gone}");
    }
}

#[test]
fn an_item_of_a_set_is_compared_by_value() {
    let object = json!({"finalizers": ["a", "b"], "ports": [1, 2]});
    let fields =
        json!({"f:finalizers": {".": {}, "v:\"a\"": {}, "v:\"b\"": {}}, "f:ports": {"v:1": {}, "v:2": {}}});
    assert!(covers(&fields, &object));
    assert!(!covers(&without(&fields, "/f:finalizers/v:\"b\""), &object));
    assert!(!covers(
        &json!({"f:finalizers": {"v:\"a\"": {}, "v:\"b\"": {}}, "f:ports": {"v:\"1\"": {}, "v:2": {}}}),
        &object
    ));
}

#[test]
fn an_entry_that_cannot_be_read_covers_nothing() {
    for entry in ["k:{", "k:[]", "v:{", "i:0", "x"] {
        assert!(!covers(&json!({"f:list": {entry: {}}}), &json!({"list": [{"name": "a"}]})), "{entry}");
    }
}

#[test]
fn an_empty_value_needs_no_owner() {
    let object = json!({"a": {}, "b": [], "c": null, "d": {"e": {}}});
    assert!(covers(&json!({"f:d": {}}), &object));
    assert!(!covers(&json!({}), &object), "what holds an empty value is not empty");
    assert!(
        !covers(&json!({}), &json!({"a": false})) && !covers(&json!({}), &json!({"a": ""})),
        "nor is false"
    );
}

/// Part of an object, with the way in which the server tracks its owners.
#[derive(Clone, Debug)]
enum Part {
    Scalar(Value),
    Whole(Value),
    Set(BTreeSet<String>),
    Struct(BTreeMap<String, Part>),
    Keyed(BTreeMap<String, BTreeMap<String, Part>>),
}

impl Part {
    fn object(&self) -> Value {
        match self {
            Self::Scalar(value) | Self::Whole(value) => value.clone(),
            Self::Set(items) => json!(items),
            Self::Struct(members) => members_of(members),
            Self::Keyed(items) => {
                let item = |(key, members): (&String, &BTreeMap<String, Self>)| {
                    let mut item = members_of(members);
                    item["name"] = json!(key);
                    item
                };
                items.iter().map(item).collect()
            }
        }
    }

    /// Its entries in `managedFields` if one manager owns all of it.
    fn fields(&self) -> Value {
        match self {
            Self::Scalar(_) | Self::Whole(_) => json!({}),
            Self::Set(items) => items.iter().map(|item| (format!("v:{}", json!(item)), json!({}))).collect(),
            Self::Struct(members) => fields_of(members),
            Self::Keyed(items) => {
                let entry = |(key, members): (&String, &BTreeMap<String, Self>)| {
                    let mut entry = fields_of(members);
                    entry["."] = json!({});
                    entry["f:name"] = json!({});
                    (format!("k:{}", json!({"name": key})), entry)
                };
                items.iter().map(entry).collect()
            }
        }
    }
}

fn members_of(members: &BTreeMap<String, Part>) -> Value {
    members.iter().map(|(name, part)| (name.clone(), part.object())).collect()
}

fn fields_of(members: &BTreeMap<String, Part>) -> Value {
    let fields = members.iter().map(|(name, part)| (format!("f:{name}"), part.fields()));
    Value::Object(fields.collect::<Map<_, _>>())
}

fn name() -> impl Strategy<Value = String> {
    const SPECIAL: &[&str] = &["name", "namespace", "kind", "apiVersion", "metadata", "f:x", "k:{}", "."];
    prop_oneof![3 => "[a-z]{1,4}", 1 => prop::sample::select(SPECIAL).prop_map(str::to_owned)]
}

fn part() -> impl Strategy<Value = Part> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(|number| Part::Scalar(json!(number))),
        "[a-z]{1,3}".prop_map(|text| Part::Scalar(json!(text))),
        any::<bool>().prop_map(|truth| Part::Scalar(json!(truth))),
        prop::collection::vec("[a-z]{0,3}", 1..4).prop_map(|items| Part::Whole(json!(items))),
        ("[a-z]{1,3}", "[a-z]{1,3}").prop_map(|(key, value)| Part::Whole(json!({key: {"in": value}}))),
        prop::collection::btree_set("[a-z\"]{1,3}", 1..4).prop_map(Part::Set),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        let members = prop::collection::btree_map(name(), inner.clone(), 1..4);
        let unnamed = prop::collection::btree_map(name(), inner, 1..4).prop_map(|mut members| {
            members.remove("name");
            members
        });
        prop_oneof![
            members.prop_map(Part::Struct),
            prop::collection::btree_map("[a-z]{1,3}", unnamed, 1..3).prop_map(Part::Keyed),
        ]
    })
}

/// Root of an object with members such as `spec`, so that it contains no kind or name of the object.
fn root() -> impl Strategy<Value = BTreeMap<String, Part>> {
    prop::collection::btree_map("spec|data|status", part(), 1..3)
}

/// All ways to lose one field to another manager. An entry without fields disappears.
fn losses(fields: &Map<String, Value>) -> Vec<Map<String, Value>> {
    let mut ways = Vec::new();
    for (entry, inner) in fields.iter().filter(|(entry, _)| *entry != ".") {
        let inner = inner.as_object().expect("an entry holds entries");
        if inner.is_empty() {
            let mut left = fields.clone();
            left.remove(entry);
            ways.push(left);
        }
        for lost in losses(inner) {
            let mut left = fields.clone();
            if lost.is_empty() {
                left.remove(entry);
            } else {
                left.insert(entry.clone(), Value::Object(lost));
            }
            ways.push(left);
        }
    }
    ways
}

proptest! {
    #[test]
    fn an_object_covers_itself(members in root()) {
        prop_assert!(covers(&fields_of(&members), &members_of(&members)));
    }

    #[test]
    fn whichever_field_is_lost_is_noticed(members in root()) {
        let (fields, object) = (fields_of(&members), members_of(&members));
        let fields = fields.as_object().expect("a map");
        let ways = losses(fields);
        prop_assert!(!ways.is_empty());
        for left in ways {
            prop_assert!(!covers(&Value::Object(left.clone()), &object), "{object} with {}", Value::Object(left));
        }
    }

    #[test]
    fn fields_of_more_than_the_object_cover_it(members in root(), more in root()) {
        let mut fields = fields_of(&members);
        for (entry, inner) in fields_of(&more).as_object().expect("a map") {
            if fields.get(entry).is_none() {
                fields[entry] = inner.clone();
            }
        }
        prop_assert!(covers(&fields, &members_of(&members)));
    }
}

#[test]
fn what_is_lost_is_named_to_its_second_level_and_so_is_who_holds_it() {
    let object = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "a", "labels": {"x": "1"}, "annotations": {"quorum.security/digest": "0"}},
        "spec": {"selector": {"app": "a"}, "type": "ClusterIP"}, "data": {"tls.crt": "A"}, "immutable": true,
    });
    let ours = json!({
        "f:metadata": {"f:labels": {"f:x": {}}, "f:annotations": {"f:quorum.security/digest": {}}},
        "f:spec": {"f:selector": {}, "f:type": {}}, "f:data": {"f:tls.crt": {}}, "f:immutable": {},
    });
    assert_eq!(lost(&ours, &object), [""; 0]);
    assert_eq!(
        lost(&json!({}), &object),
        [
            "data.tls.crt",
            "immutable",
            "metadata.annotations",
            "metadata.labels",
            "spec.selector",
            "spec.type"
        ]
    );
    assert!(leads(&json!({"f:data": {"f:tls.crt": {}}}), "data.tls.crt"));
    assert!(leads(&json!({"f:spec": {"f:selector": {"f:app": {}}}}), "spec.selector"));
    assert!(!leads(&json!({"f:spec": {"f:type": {}}}), "spec.selector"));
}

/// Keys of ConfigMaps, labels and lists may have any name.
#[test]
fn a_tree_is_kept_as_short_text_and_read_as_it_was() {
    let odd = json!({"f:data": {"f:a\u{1}b": {}, "f:c\u{2}\\u0001\":{},\"f:": {}, "f:\":{\"f:": {}}});
    for tree in [owned(), workload().1, odd, json!({})] {
        let mut fields = FieldsV1(tree.clone());
        fold(&mut fields);
        assert!(fields.0.as_str().is_some_and(|text| text.len() <= tree.to_string().len()));
        assert_eq!(*unfold(&fields), tree);
    }
}
