//! Requeue time: when the next reconcile of a node is due without any event, as the earliest of its timers. Pure.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{
    REQUEUE_SOON,
    apply::Applied,
    decide::{
        absent_nodes, ca_rotation,
        identity::IdentityDecision,
        placement, rejected_pods,
        rollout::{self, plan::Wait},
    },
    desired,
    issue::stalled_renewal,
    observed::Observed,
    status,
    validate::Validated,
};
use crate::model::fault::Fault;

/// Interval of checks while a node waits for another one: in the rollout queue, or for an identity that both claim.
const OTHER_NODE: SignedDuration = SignedDuration::from_secs(15);

/// Longest wait for a replaced pod to become available. Another part of its network may become available earlier.
const MIN_READY_AT_MOST: Duration = Duration::from_secs(60);

/// Interval at which a rejected growth of a volume is retried.
const VOLUME_GROWTH: SignedDuration = SignedDuration::from_mins(1);

/// Interval of checks while a watch is forbidden, or while a CA rotates.
const UNWATCHED: SignedDuration = SignedDuration::from_mins(1);

/// Time of the next reconcile. `debounced` is the remaining wait of a status update that changes only messages.
#[must_use]
pub fn next(
    observed: &Observed,
    validated: &Result<Validated, Vec<Fault>>,
    applied: &Applied,
    debounced: Option<Duration>,
    now: Timestamp,
) -> Option<Timestamp> {
    let after = |wait: Duration| now.checked_add(wait).ok();
    let field_conflict = applied.field_conflicts.iter().map(|conflict| conflict.again).min().and_then(after);
    let of_any_node = [
        field_conflict,
        applied.proves,
        applied.changed.then_some(REQUEUE_SOON).and_then(after),
        (!applied.volumes_not_grown.is_empty()).then(|| now + VOLUME_GROWTH),
        (!observed.unwatchable.is_empty()).then(|| now + UNWATCHED),
        debounced.and_then(after),
        absent_nodes::next(observed),
        rejected_pods::next(observed, now),
        placement::next(observed, now),
    ];
    let of_this_spec = match validated {
        Ok(node) => [
            status::next_renewal(node, observed, now),
            other_node(observed, node, applied, now),
            ca_rotation::is_watched(node, observed, now).then(|| now + UNWATCHED),
            status::next_alarm(node, observed, now),
            desired::next_meeting(observed, node, now),
        ],
        Err(_) => [stalled_renewal::next(observed, now), None, None, None, None],
    };
    of_any_node.into_iter().chain(of_this_spec).flatten().min()
}

/// Time of the next check of another node that this one waits for. A change of that node triggers no event of this one.
fn other_node(observed: &Observed, node: &Validated, applied: &Applied, now: Timestamp) -> Option<Timestamp> {
    let waits = matches!(node.standing, IdentityDecision::Waits(_) | IdentityDecision::Held(_))
        || rollout::is_pending(observed, node);
    waits.then(|| match &applied.rollout {
        // until then no other pod may be replaced either
        Some(Wait::MinReady(_, available)) => (*available).min(now + MIN_READY_AT_MOST),
        _ => now + OTHER_NODE,
    })
}
