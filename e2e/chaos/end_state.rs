//! Final state of a namespace, without values that randomness, the order of events or the server decides.

use std::collections::BTreeMap;

use quorum_operator::testing::settled;
use serde_json::{Value, json};

use crate::{
    api_server::{ApiServer, path},
    scripted_hosts::HOSTS,
    user_actions::NODES,
};

const KINDS: [&str; 9] = [
    "quorumnodes",
    "statefulsets",
    "services",
    "configmaps",
    "secrets",
    "serviceaccounts",
    "networkpolicies",
    "poddisruptionbudgets",
    "persistentvolumeclaims",
];

/// Checks that every node is Ready. The inner error lists the failing conditions.
pub(crate) async fn is_ready(api_server: &ApiServer, namespace: &str) -> anyhow::Result<Result<(), String>> {
    let mut troubles = vec![];
    for name in NODES {
        let node = api_server.get(&path("quorumnodes", namespace, name)).await?;
        let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let bad: Vec<_> = conditions
            .iter()
            .filter(|condition| {
                ["Ready", "Synced"].iter().any(|kind| condition["type"] == *kind)
                    && condition["status"] != "True"
            })
            .map(|condition| {
                format!(
                    "{}={} {}: {}",
                    condition["type"], condition["status"], condition["reason"], condition["message"]
                )
            })
            .collect();
        if conditions.is_empty() || !bad.is_empty() {
            troubles.push(format!("{namespace}/{name}: {}", bad.join("; ")));
        }
    }
    Ok(if troubles.is_empty() { Ok(()) } else { Err(troubles.join("\n")) })
}

/// All objects of the namespace, normalized so that two namespaces can be compared.
pub(crate) async fn end(api_server: &ApiServer, namespace: &str) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut objects = BTreeMap::new();
    let mut names = BTreeMap::new();
    for kind in KINDS {
        for object in api_server.list(&path(kind, namespace, "")).await? {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            names.insert(object["metadata"]["uid"].as_str().unwrap_or_default().to_owned(), name.clone());
            objects.insert(format!("{kind}/{name}"), object);
        }
    }
    let address = |object: &Value| object["status"]["identity"]["address"].as_str().map(str::to_owned);
    let addresses: Vec<_> = objects.values().filter_map(address).collect();
    for (name, object) in &mut objects {
        settled::settle(object, &names);
        if !name.starts_with("quorumnodes/") {
            object["status"] = Value::Null;
        }
        for by_the_server in ["clusterIP", "clusterIPs", "volumeName"] {
            object["spec"][by_the_server] = Value::Null;
        }
        // annotations of the volume controller
        if name.starts_with("persistentvolumeclaims/") {
            object["metadata"]["annotations"] = Value::Null;
        }
        // digests of random keys and IDs derived from them
        let notes = &mut object["spec"]["template"]["metadata"]["annotations"];
        for (_, note) in notes.as_object_mut().into_iter().flatten() {
            *note = json!("some");
        }
        // hosts that the scheduler chose
        let mut text = object.to_string().replace(namespace, "here");
        for host in HOSTS {
            text = text.replace(host, "a host");
        }
        // addresses derived from random keys
        for address in &addresses {
            text = text.replace(address, "an address");
        }
        *object = serde_json::from_str(&text)?;
    }
    Ok(objects)
}

/// Descriptions of the differences between two states; empty if they are equal.
pub(crate) fn difference(calm: &BTreeMap<String, Value>, foul: &BTreeMap<String, Value>) -> Vec<String> {
    let mut found = vec![];
    for name in calm.keys().chain(foul.keys()).collect::<std::collections::BTreeSet<_>>() {
        match (calm.get(name), foul.get(name)) {
            (Some(calm), Some(foul)) => compare(name, calm, foul, &mut found),
            (calm, _) => found.push(format!("{name}: only {}", if calm.is_some() { "calm" } else { "foul" })),
        }
    }
    found
}

fn compare(at: &str, calm: &Value, foul: &Value, found: &mut Vec<String>) {
    match (calm, foul) {
        (Value::Object(one), Value::Object(other)) => {
            for key in one.keys().chain(other.keys()).collect::<std::collections::BTreeSet<_>>() {
                compare(&format!("{at}.{key}"), &calm[key.as_str()], &foul[key.as_str()], found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (i, (calm, foul)) in one.iter().zip(other).enumerate() {
                compare(&format!("{at}[{i}]"), calm, foul, found);
            }
        }
        _ if calm != foul => found.push(format!("{at}: calm {calm}, foul {foul}")),
        _ => {}
    }
}
