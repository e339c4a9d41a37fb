use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_900_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn is_away(part: &Part) -> bool {
    matches!(part.health, Health::Away(_))
}

fn limits(max_unavailable: usize) -> Limits {
    Limits { max_unavailable, ..Limits::strictest([]) }
}

fn away(since: Option<i64>) -> Health {
    Health::Away(Absence { since: since.map(at), ..Absence::default() })
}

fn health() -> impl Strategy<Value = Health> {
    prop_oneof![
        Just(Health::Serves(None)),
        (0i64..90).prop_map(|ago| Health::Serves(Some(at(NOW - ago)))),
        Just(Health::Away(Absence::default())),
        (0i64..120).prop_map(|ago| away(Some(NOW - ago))),
    ]
}

/// All parts of a few nodes, each with its health and whether it waits.
fn network() -> impl Strategy<Value = Vec<Part>> {
    let node = (any::<bool>(), prop::collection::vec((health(), any::<bool>()), 3));
    prop::collection::vec(node, 1..9).prop_map(|nodes| {
        let part = |i: usize, validates: bool, component: Component, seen: (Health, bool)| Part {
            named: Named { node: format!("node-{i}"), component },
            pod: format!("{i}-{component:?}"),
            is_validator: validates && component == Component::Client,
            health: seen.0,
            is_waiting: seen.1,
        };
        let of_node = |(i, (validates, seen)): (usize, (bool, Vec<(Health, bool)>))| {
            ORDER.into_iter().zip(seen).map(move |(component, seen)| part(i, validates, component, seen))
        };
        nodes.into_iter().enumerate().flat_map(of_node).collect()
    })
}

fn replaceable(network: &[Part], limits: Limits) -> Vec<&Part> {
    let waiting = network.iter().filter(|part| part.is_waiting);
    waiting.filter(|part| may_go(part, network, limits, at(NOW)).is_ok()).collect()
}

fn healthy(mut network: Vec<Part>) -> Vec<Part> {
    network.iter_mut().for_each(|part| part.health = Health::Serves(None));
    network
}

proptest! {
    /// All parts that one decision permits are replaced at once, as when all nodes reconcile at the same instant.
    #[test]
    fn no_more_is_unavailable_than_may_be_by_our_doing(network in network(), most in 1usize..5) {
        let limits = limits(most);
        let went = replaceable(&network, limits);
        let unavailable = |group: &dyn Fn(&&Part) -> bool| {
            let away = network.iter().filter(group).filter(|part| part.trouble(limits, at(NOW)).is_some());
            let missed = |part: &&Part| group(part) && !part.is_idle(&network, at(NOW));
            (went.iter().copied().filter(missed).count(), away.count())
        };
        let (gone, away) = unavailable(&|_| true);
        prop_assert!(gone == 0 || away + gone <= most, "{away} away and {gone} more of {most}");
        let (gone, away) = unavailable(&|part| part.is_validator);
        let validators = network.iter().filter(|part| part.is_validator).count();
        let tolerated = (validators.saturating_sub(1) / 3).max(1);
        prop_assert!(gone == 0 || away + gone <= tolerated, "{away} away and {gone} more validators");
    }

    #[test]
    fn a_node_loses_one_part_at_a_time(network in network(), most in 1usize..5) {
        let went = replaceable(&network, limits(most));
        for part in went.iter().filter(|part| !part.is_idle(&network, at(NOW))) {
            let lost = |other: &&Part| {
                let gone = other.trouble(limits(most), at(NOW)).is_some() || went.contains(other);
                other.named.node == part.named.node && gone
            };
            prop_assert_eq!(network.iter().filter(lost).count(), 1);
        }
    }

    #[test]
    fn a_part_that_has_not_served_for_a_minute_may_always_go(network in network(), most in 1usize..5) {
        for part in network.iter().filter(|part| part.is_lost(at(NOW))) {
            prop_assert_eq!(may_go(part, &network, limits(most), at(NOW)), Ok(()));
        }
    }

    #[test]
    fn somebody_goes_while_all_are_healthy_and_one_waits(network in network(), most in 1usize..5) {
        let network = healthy(network);
        let waits = network.iter().any(|part| part.is_waiting);
        prop_assert_eq!(!replaceable(&network, limits(most)).is_empty(), waits);
    }

    /// Each part is replaced exactly once.
    #[test]
    fn all_that_wait_are_replaced_in_the_end(network in network(), most in 1usize..5) {
        let mut network = healthy(network);
        for _ in 0..network.len() {
            let went: Vec<_> = replaceable(&network, limits(most)).iter().map(|part| part.named.clone()).collect();
            let goes = |part: &&mut Part| went.contains(&part.named);
            network.iter_mut().filter(goes).for_each(|part| part.is_waiting = false);
        }
        prop_assert!(network.iter().all(|part| !part.is_waiting));
    }

    /// The cause of every wait is true.
    #[test]
    fn what_is_waited_for_is_named(network in network(), most in 1usize..5) {
        let seen = |named: &Named| network.iter().find(|other| other.named == *named).expect("it is there");
        for part in &network {
            match may_go(part, &network, limits(most), at(NOW)) {
                Ok(()) => {}
                Err(Wait::Away(named, _)) => prop_assert!(is_away(seen(&named))),
                Err(Wait::MinReady(named, until)) => {
                    prop_assert!(until > at(NOW));
                    prop_assert!(!is_away(seen(&named)));
                }
                Err(Wait::Queued(named)) => {
                    prop_assert!(seen(&named).is_waiting);
                    prop_assert_ne!(named, part.named.clone());
                }
                Err(other) => prop_assert!(false, "{other:?}"),
            }
        }
    }
}

fn part(node: &str, component: Component, health: Health) -> Part {
    let named = Named { node: node.into(), component };
    Part { named, pod: String::new(), is_validator: false, health, is_waiting: true }
}

/// The transaction manager may be waiting for the database to be replaced.
#[test]
fn a_database_goes_while_its_own_transaction_manager_does_not_serve() {
    let goes = |managers_node: &str, health| {
        let database = part("a", Component::Database, Health::Serves(None));
        let manager = part(managers_node, Component::TransactionManager, health);
        may_go(&database, &[database.clone(), manager], limits(1), at(NOW)).is_ok()
    };
    let away = || away(Some(NOW - 60));
    assert!(goes("a", away()) && goes("a", Health::Serves(None)));
    assert!(!goes("b", away()), "another node's");
    let client = part("a", Component::Client, away());
    let database = part("a", Component::Database, Health::Serves(None));
    assert!(may_go(&database, &[database.clone(), client], limits(1), at(NOW)).is_err());
}

/// A part that is not ready for a moment counts as away, and a replacement must not prolong that.
#[test]
fn a_part_that_has_not_served_for_less_than_a_minute_waits_like_any_other() {
    let other = part("b", Component::Client, Health::Serves(Some(at(NOW - 5))));
    let goes = |since| {
        let own = part("a", Component::Client, away(since));
        may_go(&own, &[own.clone(), other.clone()], limits(1), at(NOW))
    };
    let own = Named { node: "a".into(), component: Component::Client };
    assert!(matches!(goes(Some(NOW - 59)), Err(Wait::Away(named, _)) if named == own));
    assert_eq!((goes(Some(NOW - 60)), goes(None)), (Ok(()), Ok(())));
}

#[test]
fn no_more_validators_are_away_than_the_chain_can_spare_whatever_may_be() {
    for (validators, most) in [(1, 1), (3, 1), (4, 1), (6, 1), (7, 2), (10, 3)] {
        let validator = |i: usize| {
            let part = part(&format!("node-{i}"), Component::Client, Health::Serves(None));
            Part { is_validator: true, ..part }
        };
        let network: Vec<_> = (0..validators).map(validator).collect();
        assert_eq!(replaceable(&network, limits(100)).len(), most, "of {validators}");
        // as when some of them were not voted in
        let fewer = Limits { validators: 1, ..limits(100) };
        assert_eq!(replaceable(&network, fewer).len(), 1, "of {validators}");
    }
}

#[test]
fn the_strictest_of_different_limits_counts() {
    let rollout = |max_unavailable, min_ready_seconds| Rollout { max_unavailable, min_ready_seconds };
    let limits = Limits::strictest([rollout(7, 5), rollout(3, 90), rollout(4, 0)]);
    assert_eq!(
        limits,
        Limits { max_unavailable: 3, min_ready: SignedDuration::from_secs(90), validators: usize::MAX }
    );
    let usual =
        Limits { max_unavailable: 1, min_ready: SignedDuration::from_secs(30), validators: usize::MAX };
    assert_eq!(Limits::strictest([]), usual);
}
