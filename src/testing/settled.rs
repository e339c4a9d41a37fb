//! Normalizes objects so that the final states of two runs can be compared.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Removes or replaces values that depend on randomness, time or the order of events. `names` maps uids to names.
pub fn settle(object: &mut Value, names: &BTreeMap<String, String>) {
    let metadata = &mut object["metadata"];
    for changing in ["uid", "resourceVersion", "managedFields", "generation", "creationTimestamp"] {
        metadata[changing] = Value::Null;
    }
    for owner in metadata["ownerReferences"].as_array_mut().into_iter().flatten() {
        owner["uid"] = json!(owner["uid"].as_str().and_then(|uid| names.get(uid)));
    }
    if let Some(owners) = metadata["ownerReferences"].as_array_mut() {
        owners.sort_by_key(ToString::to_string);
    }
    // the client's identity comes from a random key, and its pod's revision depends on it
    for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
        for random in ["quorum.security/identity", "controller-revision-hash"] {
            if let Some(label) = object.pointer_mut(labels).and_then(|labels| labels.get_mut(random)) {
                *label = json!("some");
            }
        }
    }
    for containers in ["/spec/initContainers", "/spec/template/spec/initContainers"] {
        let containers = object.pointer_mut(containers).and_then(Value::as_array_mut);
        for argument in containers.into_iter().flatten().flat_map(|one| one["args"].as_array_mut()).flatten()
        {
            if argument.as_str().is_some_and(|text| text.starts_with("--expect-key=")) {
                *argument = json!("--expect-key=some");
            }
        }
    }
    if !object["status"]["updateRevision"].is_null() {
        object["status"]["updateRevision"] = json!("some");
    }
    for annotations in ["/metadata/annotations", "/spec/template/metadata/annotations"] {
        for random in ["certificates", "policy"] {
            if let Some(held) = object.pointer_mut(&format!("{annotations}/quorum.security~1{random}")) {
                *held = json!("some");
            }
        }
    }
    let metadata = &mut object["metadata"];
    // these depend on random keys and on addresses
    let ours = ["digest", "permitted", "managers", "validators", "chain-validators"];
    for random in ours.map(|name| format!("quorum.security/{name}")) {
        metadata["annotations"][random] = Value::Null;
    }
    for data in ["data", "stringData"] {
        for content in object[data].as_object_mut().into_iter().flatten() {
            *content.1 = json!("some");
        }
    }
    if object["kind"] == "Service" {
        object["spec"]["clusterIP"] = json!("some");
    }
    let status = &mut object["status"];
    for random in
        ["identity", "enode", "peerAddress", "certificates", "certificateExpiry", "networkAuthorities"]
    {
        if !status[random].is_null() {
            status[random] = json!("some");
        }
    }
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition["lastTransitionTime"] = Value::Null;
        condition["observedGeneration"] = Value::Null;
        if condition["type"] == "IdentityReady" {
            condition["message"] = Value::Null;
        }
    }
    // the observed generation depends on how often other writers changed the object
    if !status["observedGeneration"].is_null() {
        status["observedGeneration"] = json!("some");
    }
}
