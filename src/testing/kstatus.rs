//! Status of an object as waiting tools compute it: kstatus (Flux, Helm, Argo CD) and `kubectl wait`.

use serde_json::{Value, json};

/// Status values of kstatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Computed {
    /// The object matches its spec.
    Current,
    /// The controller is still working; the tool continues to wait.
    InProgress,
    /// The controller cannot continue; the tool stops waiting.
    Failed,
    /// The object is being deleted.
    Terminating,
}

/// Applies the rules of sigs.k8s.io/cli-utils/pkg/kstatus for kinds that it does not know, in the same order.
/// An object without any of these fields is current.
#[must_use]
pub fn compute(object: &Value) -> Computed {
    let is = |kind: &str| condition(object, kind).map(|it| it["status"].clone());
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

/// Whether `kubectl wait --for=condition=Ready` returns. It compares the condition's observed generation, or that of
/// the status if the condition has none (`getObservedGeneration` in kubectl's pkg/cmd/wait/condition.go).
#[must_use]
pub fn wait_for_ready_returns(object: &Value) -> bool {
    let Some(ready) = condition(object, "Ready") else { return false };
    let observed =
        ready["observedGeneration"].as_i64().or_else(|| object["status"]["observedGeneration"].as_i64());
    let is_old = observed < object["metadata"]["generation"].as_i64() && observed.is_some();
    !is_old && ready["status"] == "True"
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|it| it["type"] == kind)
}
