//! Evictions: the server grants or refuses each by the disruption budget that selects the pod.

use serde_json::{Value, json};

use super::{
    request::Target,
    state::{Refusal, State, not_found},
};

/// Deletes a pod if its budget allows that.
pub(super) fn evict(state: &mut State, target: &Target, eviction: &Value) -> Result<Value, Refusal> {
    let pod = state.get(target).ok_or_else(|| not_found(target))?;
    let budgets: Vec<_> = state
        .of_kind("poddisruptionbudgets")
        .filter(|(budget, _)| budget.namespace == target.namespace)
        .filter(|(_, budget)| selects(budget, pod))
        .map(|(_, budget)| budget)
        .collect();
    let refused = match budgets.as_slice() {
        [] => None,
        [budget] => (!is_granted(state, budget, pod)).then(|| {
            let message = "Cannot evict pod as it would violate the pod's disruption budget.";
            Refusal::new(429, "TooManyRequests", message)
        }),
        _ => Some(Refusal::new(
            500,
            "InternalError",
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        )),
    };
    match refused {
        Some(refusal) => Err(refusal),
        None => state
            .delete(target, &eviction["deleteOptions"])
            .map(|_| json!({"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201})),
    }
}

fn is_granted(state: &State, budget: &Value, pod: &Value) -> bool {
    if is_terminating(pod) || !is_ready(pod) && budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    {
        return true;
    }
    let pods: Vec<_> =
        state.of_kind("pods").map(|(_, other)| other).filter(|other| selects(budget, other)).collect();
    let healthy = pods.iter().filter(|pod| is_ready(pod) && !is_terminating(pod)).count();
    let healthy = i64::try_from(healthy).unwrap_or_default();
    // the disruption controller counts only workloads that have a pod now
    let expected = i64::try_from(pods.len()).unwrap_or_default();
    let wanted = match (budget["spec"]["minAvailable"].as_i64(), budget["spec"]["maxUnavailable"].as_i64()) {
        (Some(least), _) => least,
        (None, Some(most)) => expected - most,
        (None, None) => expected - 1,
    };
    healthy > wanted
}

fn selects(budget: &Value, pod: &Value) -> bool {
    let labels = &pod["metadata"]["labels"];
    let wanted = budget["spec"]["selector"]["matchLabels"].as_object();
    wanted.is_some_and(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
}

fn is_terminating(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_string()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|it| it["type"] == "Ready" && it["status"] == "True"))
}
