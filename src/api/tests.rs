//! Tests of the custom resource definition. The e2e tests try the same rejections on a real API server.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{QuorumNode, definitions, yaml};
use crate::testing::{bounds, refusals, specs};

fn definition() -> Value {
    serde_json::to_value(&definitions()[0]).expect("a definition is JSON")
}

fn schema() -> Value {
    definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

fn typed(node: &Value) -> QuorumNode {
    serde_json::from_value(node.clone()).unwrap_or_else(|error| panic!("{error}: {node}"))
}

/// Fields that the bounds of the schema reject, in the notation of the API server.
fn refused_fields(schema: &Value, node: &Value) -> BTreeSet<String> {
    let validator = jsonschema::validator_for(schema).expect("a JSON schema");
    validator
        .iter_errors(node)
        .map(|error| {
            let mut field = String::new();
            for part in error.instance_path().to_string().split('/').skip(1) {
                match part.parse::<usize>() {
                    Ok(index) => field.push_str(&format!("[{index}]")),
                    Err(_) => field.push_str(&format!(".{part}")),
                }
            }
            if let jsonschema::error::ValidationErrorKind::Required { property } = error.kind() {
                field.push_str(&format!(".{}", property.as_str().unwrap_or_default()));
            }
            field.trim_start_matches('.').to_owned()
        })
        .collect()
}

/// Collects the messages of all rules of the definition.
fn rules(schema: &Value, found: &mut BTreeSet<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        found.insert(rule["message"].as_str().expect("a rule has a message").to_owned());
    }
    for inner in
        schema.as_object().into_iter().flat_map(|fields| fields.values()).filter(|inner| inner.is_object())
    {
        rules(inner, found);
    }
}

#[test]
fn the_committed_definition_is_that_of_the_types() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/quorumnodes.yaml");
    let committed = std::fs::read_to_string(path).expect("crds/quorumnodes.yaml");
    let types = yaml(&definitions()[0]).expect("YAML");
    assert_eq!(committed.trim(), format!("---\n{}", types.trim_end()), "run `make crds`");
}

/// Optional fields that another field may replace, so that they have no default.
const ONE_OF: [&str; 8] = [
    ".managed",
    ".external",
    ".namespace",
    ".podLabels",
    ".cidr",
    ".serviceAccount",
    ".clientCertificate",
    ".oidc",
];

#[test]
fn every_field_is_described_and_says_what_happens_without_it() {
    fn described(schema: &Value, field: &str, required: bool, seen: &mut usize) {
        *seen += 1;
        let text = schema["description"].as_str().unwrap_or_default();
        assert!(text.len() > 10 && text.ends_with('.'), "{field}: {text:?}");
        let says_default = text.to_lowercase().contains("default")
            || text.contains("Immutable")
            || text.contains("must be set");
        let one_of = field.ends_with("Ref") || ONE_OF.iter().any(|end| field.ends_with(end));
        assert!(
            required || says_default || one_of,
            "{field} is optional and does not say its default: {text:?}"
        );
        let names: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            described(inner, &format!("{field}.{name}"), names.contains(&name.as_str()), seen);
        }
        for (name, inner) in schema["items"]["properties"].as_object().into_iter().flatten() {
            let names = schema["items"]["required"].as_array();
            let required = names.is_some_and(|names| names.iter().any(|required| required == name));
            described(inner, &format!("{field}[].{name}"), required, seen);
        }
    }
    let mut seen = 0;
    described(&schema()["properties"]["spec"], "spec", true, &mut seen);
    assert!(seen > 60, "{seen} fields");
}

#[test]
fn every_text_list_map_and_number_has_a_bound() {
    fn bounded(schema: &Value, field: &str) {
        let has = |bound: &str| !schema[bound].is_null();
        match schema["type"].as_str() {
            Some("string") => assert!(has("maxLength") || has("enum"), "{field}"),
            Some("integer") => assert!(has("maximum") && has("minimum"), "{field}"),
            Some("array") => {
                assert!(has("maxItems"), "{field}");
                bounded(&schema["items"], &format!("{field}[]"));
            }
            Some("object") => {
                assert!(has("properties") || has("maxProperties"), "{field}");
                if schema["additionalProperties"].is_object() {
                    bounded(&schema["additionalProperties"], &format!("{field}[]"));
                }
                for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                    bounded(inner, &format!("{field}.{name}"));
                }
            }
            Some("boolean") => {}
            other => panic!("{field} is of type {other:?}"),
        }
    }
    bounded(&schema()["properties"]["spec"], "spec");
}

#[test]
fn the_smallest_node_has_at_most_twelve_lines() {
    let sample = include_str!("../../config/samples/smallest.yaml");
    assert!(sample.lines().count() <= 12);
    let node: QuorumNode = serde_saphyr::from_str(sample).expect("a QuorumNode");
    node.validate_cel().expect("no rule is broken");
}

#[test]
fn samples_are_admitted() {
    let schema = schema();
    for sample in [
        include_str!("../../config/samples/smallest.yaml"),
        include_str!("../../config/samples/member.yaml"),
        include_str!("../../config/samples/validator.yaml"),
        include_str!("../../config/samples/cert-manager.yaml"),
        include_str!("../../config/samples/callers.yaml"),
        include_str!("../../config/samples/partner.yaml"),
    ] {
        let node: Value = serde_saphyr::from_str(sample).expect("YAML");
        assert_eq!(refused_fields(&schema, &node), BTreeSet::new());
        typed(&node).validate_cel().expect("no rule is broken");
        assert_eq!(
            unknown_fields(&schema["properties"]["spec"], &node["spec"], "spec"),
            Vec::<String>::new()
        );
    }
}

fn unknown_fields(schema: &Value, value: &Value, field: &str) -> Vec<String> {
    let mut unknown = Vec::new();
    if let (Some(known), Some(fields)) = (schema["properties"].as_object(), value.as_object()) {
        for (name, inner) in fields {
            match known.get(name) {
                Some(schema) => unknown.extend(unknown_fields(schema, inner, &format!("{field}.{name}"))),
                None => unknown.push(format!("{field}.{name}")),
            }
        }
    }
    for item in value.as_array().into_iter().flatten() {
        unknown.extend(unknown_fields(&schema["items"], item, field));
    }
    unknown
}

#[test]
fn nodes_that_set_every_field_are_admitted() {
    let schema = schema();
    for node in [specs::with_managed_database(), specs::with_external_database(), specs::with_password()] {
        assert_eq!(refused_fields(&schema, &node), BTreeSet::new());
        assert_eq!(
            unknown_fields(&schema["properties"]["spec"], &node["spec"], "spec"),
            Vec::<String>::new()
        );
        typed(&node).validate_cel().expect("no rule is broken");
    }
}

#[test]
fn every_bound_refuses_what_breaks_it() {
    let schema = schema();
    let mut tried = BTreeSet::new();
    for node in [specs::with_managed_database(), specs::with_external_database(), specs::with_password()] {
        for breach in bounds::breaches(&schema, &node) {
            let refused = refused_fields(&schema, &breach.node);
            assert!(refused.contains(&breach.field), "{} {}: {refused:?}", breach.field, breach.bound);
            tried.insert((general(&breach.field), breach.bound.to_owned()));
        }
    }
    let all: BTreeSet<_> = bounds::of_schema(&schema).into_iter().collect();
    assert_eq!(all.difference(&tried).collect::<Vec<_>>(), Vec::<&(String, String)>::new());
    assert!(tried.len() > 100, "{}", tried.len());
}

/// `spec.peering.from[0].podLabels.app` as `spec.peering.from[].podLabels[]`.
fn general(field: &str) -> String {
    let mut general = String::new();
    for (i, part) in field.split(['.', '[']).enumerate() {
        let maps = [".podLabels", ".nodeSelector", ".labels", ".annotations"];
        let parent_is_map = maps.iter().any(|map| general.ends_with(map));
        match (i, part.ends_with(']') || parent_is_map) {
            (0, _) => general.push_str(part),
            (_, true) => general.push_str("[]"),
            (_, false) => general.push_str(&format!(".{part}")),
        }
    }
    general
}

#[test]
fn every_rule_refuses_what_breaks_it() {
    let schema = schema();
    let mut all = BTreeSet::new();
    rules(&schema, &mut all);
    let mut tried = BTreeSet::new();
    let mut note = |name: &str, says: &str, outcome: String| {
        assert!(outcome.contains(says), "{name}: {outcome}");
        let message = all
            .iter()
            .find(|message| message.starts_with(says))
            .unwrap_or_else(|| panic!("no rule says {says:?}"));
        tried.insert(message.clone());
    };
    for case in refusals::creations() {
        assert_eq!(
            refused_fields(&schema, &case.node),
            BTreeSet::new(),
            "{}: the rule alone must refuse",
            case.name
        );
        let refused = typed(&case.node).validate_cel().expect_err(case.name);
        note(case.name, case.says, format!("{refused:?}"));
    }
    for case in refusals::changes() {
        typed(&case.before).validate_cel().expect(case.name);
        let refused = typed(&case.after).validate_cel_update(&typed(&case.before)).expect_err(case.name);
        note(case.name, case.says, format!("{refused:?}"));
    }
    assert_eq!(all.difference(&tried).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn what_may_change_is_not_refused() {
    let before = specs::with_managed_database();
    let mut after = before.clone();
    for (pointer, value) in [
        ("/spec/profile", "Production"),
        ("/spec/role", "Member"),
        ("/spec/client/version", "24.4.2"),
        ("/spec/tls/renewBefore", "100h"),
        ("/spec/client/storage/size", "20481Mi"),
        ("/spec/transactionManager/database/managed/storage/size", "1Ti"),
    ] {
        *after.pointer_mut(pointer).expect("set") = Value::String(value.into());
    }
    typed(&after).validate_cel_update(&typed(&before)).expect("no rule is broken");
}

/// The schema has no pattern for enode URLs, so that the condition can explain what is wrong.
#[test]
fn an_outside_node_is_let_in_however_it_is_written() {
    let (schema, key) = (schema(), "5FA1".repeat(32));
    let forms = [
        format!("ENODE://{key}@192.0.2.7:30303"),
        format!("enode://{key}@192.0.2.7:30303?discport=30301"),
        format!("enode://{key}@192.0.2.7:30303?raftport=50400&discport=0"),
        format!("enode://{key}@peer.bank.example:30303"),
        "enr:-IS4QHCYrYZbAKWCBRlAy5zzaDZXJBGkcnh4MHcBFZntXNFrdvJjX04jRzjzCBOonrkTfj499SZuOh8R33Ls8RRcy5wBgmlkgnY0".to_owned(),
    ];
    for (field, form) in
        ["static", "permissioned"].iter().flat_map(|it| forms.iter().map(move |form| (it, form)))
    {
        let mut node = specs::smallest("bob");
        node["spec"]["peering"] = serde_json::json!({*field: [form]});
        assert_eq!(refused_fields(&schema, &node), BTreeSet::new(), "{form}");
    }
}
