//! The rule by which pods are replaced by choice: few of a network at a time, and none while one that was replaced is not
//! healthy.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::ORDER;
use crate::{api::rollout::Rollout, node::names::Component};

/// A part of a network, as a rollout goes by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which one.
    pub named: Named,
    /// Uid of its pod; empty without one.
    pub pod: String,
    /// Whether the chain may need it to make blocks.
    pub is_validator: bool,
    /// Whether it serves.
    pub health: Health,
    /// Whether its pod is outdated, and the reconciles of its node would replace it.
    pub is_waiting: bool,
}

/// A part by its names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Named {
    /// Its node.
    pub node: String,
    /// Which part of it.
    pub component: Component,
}

/// Whether a part serves, and since when as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Serves(Option<Timestamp>),
    /// It does not.
    Away(Absence),
}

/// Why a part does not serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Absence {
    /// The cause, for a message.
    pub why: String,
    /// Since when.
    pub since: Option<Timestamp>,
}

/// How much of a network may be unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Parts that may be.
    pub max_unavailable: usize,
    /// How long a part must have served to be available.
    pub min_ready: SignedDuration,
    /// Validators that may be, as far as those are concerned that are no nodes here.
    pub validators: usize,
}

/// Why a part is not replaced yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Another part goes first.
    Turn(Named),
    /// A part has begun to serve, and is available from then on.
    Soaks(Named, Timestamp),
    /// A part does not serve.
    Away(Named, Absence),
    /// As many pods of the fleet as may be are on their way.
    Fleet {
        /// How many may be.
        most: usize,
        /// Those that have been for long.
        stopped: Vec<String>,
    },
    /// What this operator renders is tried on that node first.
    Trial(String),
    /// It was tried on this node, which did not get on.
    Tried,
    /// A disruption budget refuses the end of its pod.
    Budget(Named),
    /// The chain stands still, or was not looked at yet.
    Chain,
    /// A client has not caught up with the others of its network, or has too few peers.
    CatchesUp(Named),
    /// So many validators of the chain, of which this is the first by its address, ran here and do not any more that no other one
    /// can be spared.
    Voter(String),
}

impl Limits {
    /// The strictest of several.
    #[must_use]
    pub fn strictest(of: impl IntoIterator<Item = Rollout>) -> Self {
        let strictest = of.into_iter().reduce(|one, other| Rollout {
            max_unavailable: one.max_unavailable.min(other.max_unavailable),
            min_ready_seconds: one.min_ready_seconds.max(other.min_ready_seconds),
        });
        let strictest = strictest.unwrap_or_default();
        Self {
            max_unavailable: usize::try_from(strictest.max_unavailable).unwrap_or_default().max(1),
            min_ready: SignedDuration::from_secs(strictest.min_ready_seconds.into()),
            validators: usize::MAX,
        }
    }
}

impl Part {
    /// Members before validators, by node, and within one the database first.
    fn place(&self) -> (bool, &str, Option<usize>) {
        let order = ORDER.iter().position(|component| *component == self.named.component);
        (self.is_validator, &self.named.node, order)
    }

    /// Why it is not available.
    #[must_use]
    pub fn trouble(&self, limits: Limits, now: Timestamp) -> Option<Wait> {
        match &self.health {
            Health::Away(absence) => Some(Wait::Away(self.named.clone(), absence.clone())),
            Health::Serves(since) => {
                let available = since.and_then(|since| since.checked_add(limits.min_ready).ok());
                let available = available.filter(|available| *available > now);
                available.map(|available| Wait::Soaks(self.named.clone(), available))
            }
        }
    }

    fn is_away(&self) -> bool {
        matches!(self.health, Health::Away(_))
    }

    /// Whether nobody misses it: it does not serve, or is a database whose one client, the transaction manager, does not.
    #[must_use]
    pub fn is_idle(&self, network: &[Part]) -> bool {
        let manager = Named { component: Component::TransactionManager, ..self.named.clone() };
        let is_database = self.named.component == Component::Database;
        self.is_away() || is_database && network.iter().any(|other| other.named == manager && other.is_away())
    }
}

/// Decides whether a part that waits may be replaced now. `network` are the parts of its network, itself among them.
///
/// # Errors
/// What it waits for.
pub fn may_go(part: &Part, network: &[Part], limits: Limits, now: Timestamp) -> Result<(), Wait> {
    if part.is_idle(network) {
        return Ok(());
    }
    // a node that is short of a part already loses no other
    let own = |other: &&Part| other.named.node == part.named.node;
    if let Some(wait) = network.iter().filter(own).find_map(|own| own.trouble(limits, now)) {
        return Err(wait);
    }
    if let Some(first) = network.iter().filter(own).find(|own| own.is_waiting && own.place() < part.place()) {
        return Err(Wait::Turn(first.named.clone()));
    }
    let is_whole = |node: &str| {
        let mut parts = network.iter().filter(|other| other.named.node == node);
        parts.all(|other| other.trouble(limits, now).is_none())
    };
    let goes_before =
        |other: &&Part| other.is_waiting && other.place() < part.place() && is_whole(&other.named.node);
    let taken = |group: &dyn Fn(&&Part) -> bool| {
        let away = network.iter().filter(group).filter_map(|other| other.trouble(limits, now));
        let before = network.iter().filter(group).filter(goes_before);
        away.chain(before.map(|other| Wait::Turn(other.named.clone()))).collect::<Vec<_>>()
    };
    has_room(taken(&|_| true), limits.max_unavailable)?;
    if part.is_validator {
        let validators = network.iter().filter(|other| other.is_validator).count();
        let tolerated = (validators.saturating_sub(1) / 3).max(1);
        has_room(
            taken(&|other| other.is_validator),
            limits.max_unavailable.min(tolerated).min(limits.validators),
        )?;
    }
    Ok(())
}

/// Whether fewer are taken than may be. Of those that are, what does not serve is named before what has just begun to.
fn has_room(taken: Vec<Wait>, most: usize) -> Result<(), Wait> {
    if taken.len() < most {
        return Ok(());
    }
    let rank = |wait: &Wait| match wait {
        Wait::Away(..) => (0, None),
        Wait::Soaks(_, available) => (1, Some(*available)),
        _ => (2, None),
    };
    taken.into_iter().min_by_key(rank).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_900_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn limits(max_unavailable: usize) -> Limits {
        Limits { max_unavailable, ..Limits::strictest([]) }
    }

    fn health() -> impl Strategy<Value = Health> {
        prop_oneof![
            Just(Health::Serves(None)),
            (0i64..90).prop_map(|ago| Health::Serves(Some(at(NOW - ago)))),
            Just(Health::Away(Absence::default())),
        ]
    }

    /// Every part of a few nodes, each with its health and whether it waits.
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

    fn let_go(network: &[Part], limits: Limits) -> Vec<&Part> {
        let waiting = network.iter().filter(|part| part.is_waiting);
        waiting.filter(|part| may_go(part, network, limits, at(NOW)).is_ok()).collect()
    }

    fn healthy(mut network: Vec<Part>) -> Vec<Part> {
        network.iter_mut().for_each(|part| part.health = Health::Serves(None));
        network
    }

    proptest! {
        /// All that may go by one look go at once, as where each node is reconciled at the same instant.
        #[test]
        fn no_more_is_unavailable_than_may_be_by_our_doing(network in network(), most in 1usize..5) {
            let limits = limits(most);
            let went = let_go(&network, limits);
            let unavailable = |group: &dyn Fn(&&Part) -> bool| {
                let away = network.iter().filter(group).filter(|part| part.trouble(limits, at(NOW)).is_some());
                let missed = |part: &&Part| group(part) && !part.is_idle(&network);
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
            let went = let_go(&network, limits(most));
            for part in went.iter().filter(|part| !part.is_idle(&network)) {
                let lost = |other: &&Part| {
                    let gone = other.trouble(limits(most), at(NOW)).is_some() || went.contains(other);
                    other.named.node == part.named.node && gone
                };
                prop_assert_eq!(network.iter().filter(lost).count(), 1);
            }
        }

        #[test]
        fn a_part_that_does_not_serve_may_always_go(network in network(), most in 1usize..5) {
            for part in network.iter().filter(|part| part.is_away()) {
                prop_assert_eq!(may_go(part, &network, limits(most), at(NOW)), Ok(()));
            }
        }

        #[test]
        fn somebody_goes_while_all_are_healthy_and_one_waits(network in network(), most in 1usize..5) {
            let network = healthy(network);
            let waits = network.iter().any(|part| part.is_waiting);
            prop_assert_eq!(!let_go(&network, limits(most)).is_empty(), waits);
        }

        /// Each is replaced, and none twice.
        #[test]
        fn all_that_wait_are_replaced_in_the_end(network in network(), most in 1usize..5) {
            let mut network = healthy(network);
            for _ in 0..network.len() {
                let went: Vec<_> = let_go(&network, limits(most)).iter().map(|part| part.named.clone()).collect();
                let goes = |part: &&mut Part| went.contains(&part.named);
                network.iter_mut().filter(goes).for_each(|part| part.is_waiting = false);
            }
            prop_assert!(network.iter().all(|part| !part.is_waiting));
        }

        /// Whatever waits, waits for something that is so.
        #[test]
        fn what_is_waited_for_is_named(network in network(), most in 1usize..5) {
            let seen = |named: &Named| network.iter().find(|other| other.named == *named).expect("it is there");
            for part in &network {
                match may_go(part, &network, limits(most), at(NOW)) {
                    Ok(()) => {}
                    Err(Wait::Away(named, _)) => prop_assert!(seen(&named).is_away()),
                    Err(Wait::Soaks(named, until)) => {
                        prop_assert!(until > at(NOW));
                        prop_assert!(!seen(&named).is_away());
                    }
                    Err(Wait::Turn(named)) => {
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

    /// It may be what the transaction manager waits for.
    #[test]
    fn a_database_goes_while_its_own_transaction_manager_does_not_serve() {
        let goes = |managers_node: &str, health| {
            let database = part("a", Component::Database, Health::Serves(None));
            let manager = part(managers_node, Component::TransactionManager, health);
            may_go(&database, &[database.clone(), manager], limits(1), at(NOW)).is_ok()
        };
        let away = || Health::Away(Absence::default());
        assert!(goes("a", away()) && goes("a", Health::Serves(None)));
        assert!(!goes("b", away()), "another node's");
        let client = part("a", Component::Client, away());
        let database = part("a", Component::Database, Health::Serves(None));
        assert!(may_go(&database, &[database.clone(), client], limits(1), at(NOW)).is_err());
    }

    #[test]
    fn no_more_validators_are_away_than_the_chain_can_spare_whatever_may_be() {
        for (validators, most) in [(1, 1), (3, 1), (4, 1), (6, 1), (7, 2), (10, 3)] {
            let validator = |i: usize| {
                let part = part(&format!("node-{i}"), Component::Client, Health::Serves(None));
                Part { is_validator: true, ..part }
            };
            let network: Vec<_> = (0..validators).map(validator).collect();
            assert_eq!(let_go(&network, limits(100)).len(), most, "of {validators}");
            // as where some of them were not voted in
            let fewer = Limits { validators: 1, ..limits(100) };
            assert_eq!(let_go(&network, fewer).len(), 1, "of {validators}");
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
}
