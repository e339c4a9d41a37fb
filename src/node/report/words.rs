//! Which words of a status may wait. While a node is on its way each pass finds something new to say, and all of
//! it is said at the end. Pure.

use crate::api::QuorumNodeStatus;

/// Whether only words about the way differ. Whatever another node waits for, whoever reads the summary by
/// machine must know, or answers a change of the spec, is said at once.
#[must_use]
pub fn are_words(before: &QuorumNodeStatus, after: &QuorumNodeStatus) -> bool {
    let on_its_way = |status: &QuorumNodeStatus| {
        let said = |kind: &str| status.conditions.iter().find(|found| found.type_ == kind);
        let summary = ["Ready", "Reconciling", "Stalled", "Synced"];
        summary.map(|kind| said(kind).map(|found| found.status.clone()))
    };
    let [_, reconciling, ..] = on_its_way(before);
    reconciling.as_deref() == Some("True")
        && on_its_way(before) == on_its_way(after)
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
