//! Debounces status updates that change only messages: a node that is reconciling changes its messages often, and only
//! the last ones matter. Pure.

use crate::api::QuorumNodeStatus;

/// Whether the status of a reconciling node differs only in details that may be written later. Fields that other nodes
/// or tools wait for are never among them: the status of the summary conditions, `observedGeneration`, `peerAddress`
/// and `networkAuthorities`.
#[must_use]
pub fn are_words(before: &QuorumNodeStatus, after: &QuorumNodeStatus) -> bool {
    let summary = |status: &QuorumNodeStatus| {
        let condition = |kind: &str| status.conditions.iter().find(|found| found.type_ == kind);
        let kinds = ["Ready", "Reconciling", "Stalled", "Synced"];
        kinds.map(|kind| condition(kind).map(|found| found.status.clone()))
    };
    let [_, reconciling, ..] = summary(before);
    reconciling.as_deref() == Some("True")
        && summary(before) == summary(after)
        && before.observed_generation == after.observed_generation
        && before.peer_address == after.peer_address
        && before.network_authorities == after.network_authorities
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(change: impl FnOnce(&mut Value)) -> QuorumNodeStatus {
        let condition = |kind: &str, status: &str, reason: &str| {
            json!({"type": kind, "status": status, "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let mut status = json!({"observedGeneration": 1, "certificates": [], "conditions": [
            condition("Ready", "False", "Progressing"), condition("Reconciling", "True", "Progressing"),
            condition("ClientAvailable", "False", "WaitingForPeers")]});
        change(&mut status);
        serde_json::from_value(status).expect("a status")
    }

    #[test]
    fn what_others_wait_for_and_what_machines_read_is_no_mere_word() {
        let before = status(|_| {});
        let may_wait = |change: &dyn Fn(&mut Value)| are_words(&before, &status(change));
        assert!(may_wait(&|it| it["conditions"][2]["message"] = json!("for bob")));
        assert!(may_wait(&|it| it["conditions"][2]["status"] = json!("Unknown")));
        assert!(may_wait(&|it| it["conditions"][0]["reason"] = json!("NotReady")));
        assert!(!may_wait(&|it| it["conditions"][0]["status"] = json!("True")));
        assert!(!may_wait(&|it| it["conditions"][1]["status"] = json!("False")));
        assert!(!may_wait(&|it| it["conditions"][2]["type"] = json!("Stalled")));
        assert!(!may_wait(&|it| it["conditions"][2]["type"] = json!("Synced")));
        assert!(!may_wait(&|it| it["observedGeneration"] = json!(2)));
        assert!(!may_wait(&|it| it["peerAddress"] = json!("10.0.0.1")));
        assert!(!may_wait(&|it| it["networkAuthorities"] = json!({"signed": [], "trusted": []})));
        let ready = status(|it| it["conditions"][1]["status"] = json!("False"));
        let other = status(|it| {
            it["conditions"][1]["status"] = json!("False");
            it["conditions"][2]["message"] = json!("x");
        });
        assert!(!are_words(&ready, &other), "a node that is not on its way");
    }
}
