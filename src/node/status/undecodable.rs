//! Status of a node that does not decode: the earlier status, with `Stalled` and the decoding error. Pure.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::model::decode::Undecodable;

/// Reason of the conditions and of the event.
pub const REASON: &str = "Undecodable";

/// The new status; `None` where it is unchanged, or the present status is not an object.
#[must_use]
pub fn status(node: &Undecodable, now: Timestamp) -> Option<Value> {
    let kinds = [("Stalled", "True"), ("Ready", "False")].map(|kind| (kind, REASON));
    with_conditions(node, (&kinds, &message(node)), now)
}

/// The new status while the node is being deleted; `None` as in [`status`].
#[must_use]
pub fn ending(node: &Undecodable, waits: &str, now: Timestamp) -> Option<Value> {
    let message = format!(
        "the node is being deleted: {waits}; the node's keys and data are retained regardless of spec.deletionPolicy, because {}",
        message(node)
    );
    with_conditions(node, (&[(("Ready", "False"), "Terminating")], &message), now)
}

type Kinds<'a> = &'a [((&'a str, &'a str), &'a str)];

fn with_conditions(node: &Undecodable, (kinds, message): (Kinds<'_>, &str), now: Timestamp) -> Option<Value> {
    let generation = node.metadata.generation.unwrap_or_default();
    let mut status = node.status.clone();
    if status.is_null() {
        status = json!({});
    }
    let before = status["conditions"].as_array().cloned().unwrap_or_default();
    let mut conditions = before.clone();
    let of = |condition: &Value, kind: &str| condition["type"] == kind;
    conditions.retain(|found| !["Ready", "Stalled", "Reconciling"].iter().any(|kind| of(found, kind)));
    // the server stores whole seconds
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    for ((kind, value), reason) in kinds {
        let same = before.iter().find(|found| of(found, kind) && found["status"] == *value);
        let since = same.map_or(json!(now), |found| found["lastTransitionTime"].clone());
        let earlier = before.iter().find(|found| of(found, kind));
        let generation = match *kind {
            // stores the last generation that every part ran
            "Ready" => earlier.and_then(|ready| ready["observedGeneration"].as_i64()).unwrap_or_default(),
            _ => generation,
        };
        let condition = json!({"type": kind, "status": value, "reason": reason, "message": message,
            "lastTransitionTime": since, "observedGeneration": generation});
        conditions.insert(0, condition);
    }
    status.as_object_mut()?;
    status["conditions"] = Value::Array(conditions);
    status["observedGeneration"] = json!(generation);
    (status != node.status).then_some(status)
}

/// The message of the conditions and of the event, at most 1000 characters.
#[must_use]
pub fn message(node: &Undecodable) -> String {
    let message = format!("the QuorumNode does not decode, correct this error: {}", node.error);
    // the server allows 32 kB in a condition, and less in an event
    message.chars().take(1000).collect()
}

#[cfg(test)]
mod tests {
    use kube::api::ObjectMeta;

    use super::*;

    fn poison(status: Value) -> Undecodable {
        let metadata = ObjectMeta { generation: Some(7), ..ObjectMeta::default() };
        Undecodable { error: "no number".into(), metadata, spec: json!({}), status }
    }

    #[test]
    fn one_that_is_being_deleted_says_what_it_waits_for_and_what_is_retained() {
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        let stalled = status(&poison(json!({"peerAddress": "10.96.0.9"})), now).expect("a status");
        let after = ending(&poison(stalled), "evicting its pods", now).expect("a status");
        let conditions = after["conditions"].as_array().expect("some");
        assert_eq!((conditions.len(), &conditions[0]["reason"]), (1, &json!("Terminating")));
        let message = conditions[0]["message"].as_str().unwrap_or_default();
        assert!(message.contains("evicting its pods") && message.contains("retained"), "{message}");
        assert_eq!(after["peerAddress"], "10.96.0.9");
        assert_eq!(ending(&poison(after), "evicting its pods", now), None, "it says so already");
    }

    #[test]
    fn what_the_status_held_stays_and_the_rest_says_why_nothing_moves() {
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        let before = json!({"observedGeneration": 6, "identity": {"publicKey": "ab"}, "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z",
                "observedGeneration": 6},
            {"type": "Reconciling", "status": "True"}, {"type": "ConfigValid", "status": "True"}]});
        let after = status(&poison(before), now).expect("a status");
        assert_eq!(
            (&after["observedGeneration"], &after["identity"]["publicKey"]),
            (&json!(7), &json!("ab"))
        );
        let kinds: Vec<_> =
            after["conditions"].as_array().expect("some").iter().map(|found| &found["type"]).collect();
        assert_eq!(kinds, ["Ready", "Stalled", "ConfigValid"]);
        assert_eq!(after["conditions"][0]["lastTransitionTime"], json!(now));
        let generations = [0, 1].map(|at| after["conditions"][at]["observedGeneration"].clone());
        assert_eq!(generations, [6, 7], "Ready has the generation that ran, Stalled the current one");
        assert_eq!(
            status(&poison(after), now + std::time::Duration::from_secs(60)),
            None,
            "it says so already"
        );
        assert_eq!(status(&poison(json!("none")), now), None, "there is no status to preserve");
    }
}
