//! The status of a node that does not decode: as it was, and why nothing moves. Pure.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::cluster::guard::Unreadable;

/// Reason of the conditions and of the event.
pub const REASON: &str = "Unreadable";

/// What the status is to say; `None` where it says so already, or is no status at all.
#[must_use]
pub fn status(node: &Unreadable, now: Timestamp) -> Option<Value> {
    let kinds = [("Stalled", "True"), ("Ready", "False")].map(|kind| (kind, REASON));
    said(node, (&kinds, &message(node)), now)
}

/// What the status is to say while the node is being deleted; `None` as in [`status`].
#[must_use]
pub fn ending(node: &Unreadable, waits: &str, now: Timestamp) -> Option<Value> {
    let message = format!(
        "being deleted: {waits}; keys and data are retained, whatever spec.deletionPolicy says, as {}",
        message(node)
    );
    said(node, (&[(("Ready", "False"), "Terminating")], &message), now)
}

type Kinds<'a> = &'a [((&'a str, &'a str), &'a str)];

fn said(node: &Unreadable, (kinds, message): (Kinds<'_>, &str), now: Timestamp) -> Option<Value> {
    let generation = node.metadata.generation.unwrap_or_default();
    let mut status = node.status.clone();
    if status.is_null() {
        status = json!({});
    }
    let before = status["conditions"].as_array().cloned().unwrap_or_default();
    let mut conditions = before.clone();
    let of = |condition: &Value, kind: &str| condition["type"] == kind;
    conditions.retain(|found| !["Ready", "Stalled", "Reconciling"].iter().any(|kind| of(found, kind)));
    // whole seconds, as the server keeps them
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    for ((kind, value), reason) in kinds {
        let same = before.iter().find(|found| of(found, kind) && found["status"] == *value);
        let since = same.map_or(json!(now), |found| found["lastTransitionTime"].clone());
        let earlier = before.iter().find(|found| of(found, kind));
        let generation = match *kind {
            // remembers the last generation that every part ran
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

/// What a person is told.
#[must_use]
pub fn message(node: &Unreadable) -> String {
    let message = format!("the object cannot be read: {}", node.error);
    // the server allows 32 kB, and an event less
    message.chars().take(1000).collect()
}

#[cfg(test)]
mod tests {
    use kube::api::ObjectMeta;

    use super::*;

    fn poison(status: Value) -> Unreadable {
        let metadata = ObjectMeta { generation: Some(7), ..ObjectMeta::default() };
        Unreadable { error: "no number".into(), metadata, spec: json!({}), status }
    }

    #[test]
    fn one_that_is_being_deleted_says_what_it_waits_for_and_what_is_retained() {
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        let stalled = status(&poison(json!({"peerAddress": "10.96.0.9"})), now).expect("a status");
        let after = ending(&poison(stalled), "its pods are being ended", now).expect("a status");
        let conditions = after["conditions"].as_array().expect("some");
        assert_eq!((conditions.len(), &conditions[0]["reason"]), (1, &json!("Terminating")));
        let message = conditions[0]["message"].as_str().unwrap_or_default();
        assert!(message.contains("its pods are being ended") && message.contains("retained"), "{message}");
        assert_eq!(after["peerAddress"], "10.96.0.9");
        assert_eq!(ending(&poison(after), "its pods are being ended", now), None, "it says so already");
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
        assert_eq!(generations, [6, 7], "Ready answers for what ran, Stalled for what is there");
        assert_eq!(
            status(&poison(after), now + std::time::Duration::from_secs(60)),
            None,
            "it says so already"
        );
        assert_eq!(status(&poison(json!("none")), now), None, "nothing that could be kept");
    }
}
