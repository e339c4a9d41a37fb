//! Finds parts whose pod the server rejects, because of a quota, a LimitRange, Pod Security or a security context
//! constraint. A StatefulSet has no condition for that; only Events give the cause.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::Event,
    jiff::{SignedDuration, Timestamp},
};

use crate::{
    api::QuorumNode,
    model::names::Component,
    node::observed::{Observed, Pod, Workload},
};

/// Time after which a missing pod is overdue. Most pods are created at once.
const OVERDUE: SignedDuration = SignedDuration::from_secs(20);

/// Longest interval between checks for a missing pod. The watch reports the pod when it is created.
const MAX_INTERVAL: SignedDuration = SignedDuration::from_mins(10);

/// Parts without a pod although their workload, as its controller has observed it, needs one.
pub fn missing<'a>(
    workloads: &'a BTreeMap<Component, Workload>,
    pods: &'a BTreeMap<Component, Pod>,
) -> impl Iterator<Item = (Component, &'a Workload)> {
    let is_missing = |(part, workload): &(&Component, &Workload)| {
        workload.settled && !workload.stopped && !pods.contains_key(part)
    };
    workloads.iter().filter(is_missing).map(|(part, workload)| (*part, workload))
}

/// Whether a part has not served for so long that its missing pod is overdue.
#[must_use]
pub fn is_overdue(node: &QuorumNode, part: Component, now: Timestamp) -> bool {
    since(node, part).is_some_and(|since| now.duration_since(since) >= OVERDUE)
}

/// When to check a missing pod again, at intervals that grow with the time it has been missing.
#[must_use]
pub fn next(observed: &Observed, now: Timestamp) -> Option<Timestamp> {
    let missing = missing(&observed.workloads, &observed.pods);
    let wait = |(part, _)| {
        let age = since(&observed.node, part).map(|since| now.duration_since(since)).unwrap_or_default();
        (age / 2).clamp(OVERDUE, MAX_INTERVAL)
    };
    now.checked_add(missing.map(wait).min()?).ok()
}

/// Since when a part has not served, according to the status.
fn since(node: &QuorumNode, part: Component) -> Option<Timestamp> {
    let kind = match part {
        Component::Client => "ClientAvailable",
        Component::TransactionManager | Component::Database => "TransactionManagerAvailable",
    };
    let conditions = &node.status.as_ref()?.conditions;
    let found = conditions.iter().find(|found| found.type_ == kind && found.status == "False")?;
    Some(found.last_transition_time.0)
}

/// The message of the latest Event.
#[must_use]
pub fn newest(events: &[Event]) -> Option<&str> {
    let time_of = |event: &&Event| {
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        let series = event.series.as_ref().and_then(|series| Some(series.last_observed_time.as_ref()?.0));
        let first = event.event_time.as_ref().map(|time| time.0);
        let made = event.metadata.creation_timestamp.as_ref().map(|time| time.0);
        last.max(series).max(first).or(made)
    };
    events.iter().max_by_key(time_of)?.message.as_deref()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
    use serde_json::json;

    use super::*;
    use crate::node::observed::samples::{in_order, member, now, smallest, status};

    fn later(seconds: i64) -> Timestamp {
        now() + SignedDuration::from_secs(seconds)
    }

    /// A client without a pod that has not served since [`now`].
    fn without_pod() -> Observed {
        let mut observed = in_order(smallest());
        observed.pods.clear();
        status(&mut observed).conditions = vec![Condition {
            type_: "ClientAvailable".into(),
            status: "False".into(),
            reason: "NotStarted".into(),
            message: String::new(),
            last_transition_time: Time(now()),
            observed_generation: None,
        }];
        observed
    }

    #[test]
    fn a_part_is_missing_whose_settled_workload_wants_a_pod_and_has_none() {
        let parts = |observed: &Observed| -> Vec<_> {
            missing(&observed.workloads, &observed.pods).map(|(part, _)| part).collect()
        };
        let mut observed = in_order(member());
        assert_eq!(parts(&observed), []);
        observed.pods.remove(&Component::Database);
        assert_eq!(parts(&observed), [Component::Database]);
        let workload = observed.workloads.get_mut(&Component::Database).expect("a workload");
        workload.settled = false;
        assert_eq!(parts(&observed), []);
        let workload = observed.workloads.get_mut(&Component::Database).expect("a workload");
        (workload.settled, workload.stopped) = (true, true);
        assert_eq!(parts(&observed), []);
    }

    #[test]
    fn a_pod_is_asked_about_when_it_has_been_missing_for_a_while_and_then_ever_more_rarely() {
        let mut observed = without_pod();
        let overdue =
            |observed: &Observed, after| is_overdue(&observed.node, Component::Client, later(after));
        assert!(!overdue(&observed, 19) && overdue(&observed, 20));
        for (after, wait) in [(0, 20), (20, 20), (100, 50), (86_400, 600)] {
            assert_eq!(next(&observed, later(after)), Some(later(after + wait)), "after {after} s");
        }
        status(&mut observed).conditions[0].status = "True".into();
        assert!(!overdue(&observed, 86_400), "it served a moment ago");
        assert_eq!(next(&observed, later(7)), Some(later(27)));
        assert_eq!(next(&in_order(smallest()), later(7)), None);
    }

    #[test]
    fn the_event_that_was_told_last_counts_however_it_is_dated() {
        let event = |fields: serde_json::Value| -> Event {
            let mut event = json!({"metadata": {}, "involvedObject": {}});
            event.as_object_mut().expect("an object").extend(fields.as_object().expect("fields").clone());
            serde_json::from_value(event).expect("an Event")
        };
        let old = event(json!({"message": "old", "lastTimestamp": "2026-11-30T10:00:00Z"}));
        let series = json!({"lastObservedTime": "2026-11-30T12:00:00.000000Z", "count": 7});
        for new in [
            json!({"message": "new", "lastTimestamp": "2026-11-30T11:00:00Z"}),
            json!({"message": "new", "eventTime": "2026-11-30T11:00:00.000000Z"}),
            json!({"message": "new", "eventTime": "2026-11-30T09:00:00.000000Z", "series": series}),
            json!({"message": "new", "metadata": {"creationTimestamp": "2026-11-30T11:00:00Z"}}),
        ] {
            let events = [old.clone(), event(new), event(json!({"message": "undated"}))];
            assert_eq!(newest(&events), Some("new"));
        }
        assert_eq!(newest(&[]), None);
    }
}
