//! Tests of how waiting tools (`kubectl wait`, Flux, Helm) interpret a status.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::testing::kstatus::{Computed, compute, wait_for_ready_returns};

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

/// The status after `before`, once the spec has changed and `change` is observed.
fn edited(
    before: &QuorumNodeStatus,
    change: impl FnOnce(&mut Observed, &mut Applied),
) -> (Value, QuorumNodeStatus) {
    let (mut observed, mut applied) = (in_order(member()), applied());
    *samples::status(&mut observed) = before.clone();
    Arc::make_mut(&mut observed.node).metadata.generation = Some(GENERATION + 1);
    change(&mut observed, &mut applied);
    let status = status(&observed, &validate::validate(&observed), &applied, later(60));
    (read(&observed, &status), status)
}

fn old(observed: &mut Observed, component: Component) {
    samples::pod(observed, component).revision = Some("r6".into());
}

const PARTS: [Component; 3] = [Component::Client, Component::TransactionManager, Component::Database];

#[test]
fn while_a_part_runs_an_older_revision_the_new_generation_is_not_done() {
    let before = report(&in_order(member()));
    for part in PARTS {
        let (object, status) = edited(&before, |observed, _| old(observed, part));
        assert_eq!(compute(&object), Computed::InProgress, "{part:?}");
        assert!(!wait_for_ready_returns(&object), "{part:?}");
        assert_eq!(
            (status.observed_generation, ready(&status).observed_generation),
            (GENERATION, Some(GENERATION))
        );
        assert_eq!(ready(&status).status, "True", "it serves");
        let reconciling = condition(&status, "Reconciling").expect("told");
        assert_eq!(
            (reconciling.reason.as_str(), reconciling.observed_generation),
            ("RollingOut", Some(GENERATION + 1))
        );
        assert!(
            reconciling.message.starts_with(&format!("the {} runs", part.spoken())),
            "{}",
            reconciling.message
        );
        let (object, status) = edited(&status, |_, _| {});
        assert_eq!((compute(&object), wait_for_ready_returns(&object)), (Computed::Current, true));
        assert_eq!((status.observed_generation, condition(&status, "Reconciling")), (GENERATION + 1, None));
    }
}

#[test]
fn a_part_that_is_not_known_to_run_the_newest_revision_holds_the_new_generation_back() {
    let before = report(&in_order(member()));
    for part in PARTS {
        let unwritten = edited(&before, |observed, applied| {
            applied.settled.remove(&validate::names_of(observed).workload(part));
        });
        let unwatchable = edited(&before, |observed, _| {
            observed.workloads.get_mut(&part).expect("there").settled = false;
        });
        let away = edited(&before, |observed, _| drop(observed.workloads.remove(&part)));
        for (object, status) in [&unwritten, &unwatchable, &away] {
            assert_eq!((compute(object), wait_for_ready_returns(object)), (Computed::InProgress, false));
            assert_eq!(status.observed_generation, GENERATION, "{part:?}");
            assert_eq!(condition(status, "Reconciling").map(|it| it.reason.as_str()), Some("RollingOut"));
        }
        let (object, status) = edited(&before, |observed, _| drop(observed.pods.remove(&part)));
        assert_eq!((compute(&object), wait_for_ready_returns(&object)), (Computed::InProgress, false));
        assert_eq!((status.observed_generation, ready(&status).status.as_str()), (GENERATION, "False"));
    }
}

/// A new guard image or certificate: `kubectl wait` compares only generations, kstatus also the condition.
#[test]
fn a_rollout_without_a_new_generation_is_reconciling_too() {
    let mut observed = in_order(member());
    *samples::status(&mut observed) = report(&observed);
    old(&mut observed, Component::Database);
    let status = report(&observed);
    assert_eq!(compute(&read(&observed, &status)), Computed::InProgress);
    assert_eq!(status.observed_generation, GENERATION);
    assert!(ready(&status).status == "True" && condition(&status, "Stalled").is_none());
}

#[test]
fn a_metadata_write_of_the_present_generation_is_no_rollout() {
    let mut observed = in_order(member());
    *samples::status(&mut observed) = report(&observed);
    let written = Applied { settled: [].into(), ..applied() };
    let status = status(&observed, &validate::validate(&observed), &written, now());
    assert_eq!(compute(&read(&observed, &status)), Computed::Current);
}

#[test]
fn a_stall_is_of_the_present_generation_and_what_follows_it_is_not_done_before_its_rollout() {
    let before = report(&in_order(member()));
    let (object, stalled) = edited(&before, |observed, _| observed.genesis = Found::Missing);
    assert_eq!((compute(&object), stalled.observed_generation), (Computed::Failed, GENERATION + 1));
    let stall = condition(&stalled, "Stalled").expect("told");
    assert_eq!(stall.observed_generation, Some(GENERATION + 1));
    assert!(!wait_for_ready_returns(&object));
    // corrected without a new generation
    let (object, rolling) = edited(&stalled, |observed, _| old(observed, Component::Client));
    assert_eq!((compute(&object), wait_for_ready_returns(&object)), (Computed::InProgress, false));
    let (object, _) = edited(&rolling, |_, _| {});
    assert_eq!((compute(&object), wait_for_ready_returns(&object)), (Computed::Current, true));
}

#[test]
fn passes_that_fail_do_not_report_the_new_generation_as_done() {
    let before = report(&in_order(member()));
    let (_, rolling) = edited(&before, |observed, _| old(observed, Component::Client));
    let mut observed = in_order(member());
    Arc::make_mut(&mut observed.node).metadata.generation = Some(GENERATION + 1);
    *samples::status(&mut observed) = rolling;
    let failing = failed(&observed.node, false, "Apply failed: etcd is away", now());
    assert_eq!(compute(&read(&observed, &failing)), Computed::InProgress);
    assert_eq!(condition(&failing, "Synced").and_then(|it| it.observed_generation), Some(GENERATION + 1));
    let (object, _) = edited(&failing, |observed, _| old(observed, Component::Client));
    assert_eq!((compute(&object), wait_for_ready_returns(&object)), (Computed::InProgress, false));
}

#[test]
fn a_paused_rollout_says_that_it_goes_on_when_the_node_does() {
    let before = report(&in_order(member()));
    let (object, status) = edited(&before, |observed, _| {
        spec(observed).paused = true;
        old(observed, Component::Client);
    });
    assert_eq!((compute(&object), wait_for_ready_returns(&object)), (Computed::InProgress, false));
    let message = &condition(&status, "Reconciling").expect("told").message;
    assert!(message.contains("set spec.paused to false"), "{message}");
}

#[test]
fn a_node_that_has_never_run_as_a_whole_answers_for_no_generation() {
    let mut observed = in_order(smallest());
    observed.pods.clear();
    let status = report(&observed);
    assert_eq!((status.observed_generation, ready(&status).observed_generation), (0, Some(0)));
    let valid = condition(&status, "ConfigValid").expect("judged");
    assert_eq!(valid.observed_generation, Some(GENERATION));
    assert_eq!(compute(&read(&observed, &status)), Computed::InProgress);
}
