//! What tools that follow kstatus (`kubectl wait`, Flux, Helm) make of a status. The rules are those of
//! sigs.k8s.io/cli-utils/pkg/kstatus for a kind it does not know.

use serde_json::{Value, json};

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Computed {
    Current,
    InProgress,
    Failed,
    Terminating,
}

/// In the order in which kstatus looks; what says nothing is current.
pub(super) fn compute(object: &Value) -> Computed {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let is = |kind: &str| conditions.iter().find(|it| it["type"] == kind).map(|it| it["status"].clone());
    let observed = &object["status"]["observedGeneration"];
    if !object["metadata"]["deletionTimestamp"].is_null() {
        Computed::Terminating
    } else if observed.is_i64() && *observed != object["metadata"]["generation"]
        || is("Reconciling") == Some(json!("True"))
    {
        Computed::InProgress
    } else if is("Stalled") == Some(json!("True")) {
        Computed::Failed
    } else {
        match is("Ready") {
            Some(status) if status != "True" => Computed::InProgress,
            _ => Computed::Current,
        }
    }
}

/// The node as a client reads it, once the status is written.
pub(super) fn read(observed: &Observed, status: &QuorumNodeStatus) -> Value {
    let mut object = serde_json::to_value(&*observed.node).expect("a node is JSON");
    object["status"] = serde_json::to_value(status).expect("a status is JSON");
    object
}

#[test]
fn a_node_is_current_in_progress_or_failed_as_its_conditions_say() {
    for (observed, expected) in [
        (in_order(member()), Computed::Current),
        (starting(), Computed::InProgress),
        (stuck(), Computed::Failed),
    ] {
        assert_eq!(compute(&read(&observed, &report(&observed))), expected);
    }
}

#[test]
fn a_status_of_an_earlier_generation_is_in_progress_whatever_it_says() {
    let observed = in_order(member());
    let mut object = read(&observed, &report(&observed));
    object["metadata"]["generation"] = json!(GENERATION + 1);
    assert_eq!(compute(&object), Computed::InProgress);
}

#[test]
fn a_node_that_nobody_has_looked_at_is_in_progress_by_the_default_of_its_status() {
    let definition = serde_json::to_value(&crate::api::definitions()[0]).expect("a definition is JSON");
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut object = read(&in_order(smallest()), &QuorumNodeStatus::default());
    object["status"] = schema["properties"]["status"]["default"].clone();
    assert_eq!(compute(&object), Computed::InProgress);
}

#[test]
fn a_node_that_is_being_deleted_is_terminating() {
    let observed = in_order(smallest());
    let mut object = read(&observed, &report(&observed));
    object["metadata"]["deletionTimestamp"] = json!("2031-03-07T11:13:17Z");
    assert_eq!(compute(&object), Computed::Terminating);
}
