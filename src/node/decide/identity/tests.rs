use super::*;
use crate::node::observed::{Workload, samples};

/// `alice`, created at second 10, with a pinned identity and nothing running.
fn alice(claims: impl IntoIterator<Item = Claim>) -> Observed {
    let mut observed = samples::in_order(samples::smallest());
    samples::status(&mut observed).identity = Some(samples::recorded('b'));
    let meta = &mut std::sync::Arc::make_mut(&mut observed.node).metadata;
    meta.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(second(10)));
    observed.workloads.clear();
    observed.pods.clear();
    observed.claims = claims.into_iter().collect();
    observed
}

fn runs(mut observed: Observed) -> Observed {
    observed.workloads.insert(Component::Client, Workload::default());
    observed
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

/// Another node, created at this second, that neither runs nor reports that it starts no client.
fn other(made: i64) -> Claim {
    Claim { namespace: "other".into(), name: "zoe".into(), since: Some(second(made)), ..Claim::default() }
}

fn holder(observed: &Observed) -> Option<String> {
    match standing(observed) {
        IdentityDecision::Held(fault) => Some(fault.remedy),
        _ => None,
    }
}

#[test]
fn nothing_starts_before_its_identity_is_pinned() {
    let mut observed = alice([]);
    assert_eq!(standing(&observed), IdentityDecision::Free);
    samples::status(&mut observed).identity = None;
    assert_eq!(standing(&observed), IdentityDecision::Unclaimed);
}

#[test]
fn the_node_that_was_made_later_is_held_and_told_who_was_first() {
    let held = holder(&alice([other(9)])).expect("it is held");
    assert!(held.contains("QuorumNode other/zoe has the same key"), "{held}");
    assert_eq!(holder(&alice([other(11)])), None);
}

#[test]
fn of_two_that_were_made_at_once_the_first_by_name_goes_first() {
    assert_eq!(holder(&alice([other(10)])), None, "ledger is before other");
    assert!(holder(&alice([Claim { namespace: "a".into(), ..other(10) }])).is_some());
}

#[test]
fn what_runs_is_not_stopped_for_a_newcomer_however_old() {
    assert_eq!(standing(&runs(alice([other(9)]))), IdentityDecision::Free);
    assert!(holder(&alice([Claim { wants: true, ..other(11) }])).is_some());
}

#[test]
fn of_two_that_run_the_later_one_is_stopped() {
    let running = |made| Claim { wants: true, has_pod: true, ..other(made) };
    assert!(holder(&runs(alice([running(9)]))).is_some());
    assert_eq!(standing(&runs(alice([running(11)]))), IdentityDecision::Free);
}

#[test]
fn the_first_waits_until_the_later_one_has_stood_back_and_has_no_pod() {
    let waits = IdentityDecision::Waits("other/zoe".into());
    assert_eq!(standing(&alice([other(11)])), waits);
    let back = Claim { stands_back: true, ..other(11) };
    assert_eq!(standing(&alice([Claim { has_pod: true, ..back.clone() }])), waits);
    assert_eq!(standing(&alice([back])), IdentityDecision::Free);
}

#[test]
fn what_a_node_that_is_gone_left_running_holds_it() {
    let stray = Claim { since: None, wants: true, has_pod: true, ..other(0) };
    let held = holder(&alice([stray])).expect("it is held");
    assert!(held.contains("the client of other/zoe still runs with the same key"), "{held}");
}

/// In every state of two nodes, at most one may start or keep running.
#[test]
fn never_both() {
    let either = [false, true];
    for (own_wants, its_wants, pod, back) in either.into_iter().flat_map(|own| {
        either.into_iter().flat_map(move |its| {
            either.into_iter().flat_map(move |pod| either.into_iter().map(move |back| (own, its, pod, back)))
        })
    }) {
        for made in [9, 10, 11] {
            let seen = |wants| if wants { runs(alice([])) } else { alice([]) };
            let mut one = seen(own_wants);
            one.claims = vec![Claim { wants: its_wants, has_pod: pod, stands_back: back, ..other(made) }];
            let mut two = seen(its_wants);
            let meta = &mut std::sync::Arc::make_mut(&mut two.node).metadata;
            (meta.namespace, meta.name) = (Some("other".into()), Some("zoe".into()));
            meta.creation_timestamp =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(second(made)));
            two.claims = vec![Claim {
                namespace: "ledger".into(),
                name: "alice".into(),
                wants: own_wants,
                has_pod: own_wants,
                ..other(10)
            }];
            let free = [&one, &two].map(|seen| standing(seen) == IdentityDecision::Free);
            assert_ne!(free, [true, true], "{own_wants} {its_wants} {pod} {back} {made}");
        }
    }
}
