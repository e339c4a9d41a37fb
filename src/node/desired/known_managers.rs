//! Managers of the network that a transaction manager knows. Tessera reads its peers only at start and rejects all
//! others, so a new manager requires a restart. A manager that leaves stays known, so that its return requires none.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::{
    model::names::{self, Component},
    node::{
        decide::rollout,
        observed::Observed,
        validate::{Manager, Validated},
    },
};

/// How long a new manager serves before the others are restarted for it, so that several new ones are one change.
const SETTLED: SignedDuration = SignedDuration::from_secs(30);

/// Maximum number of names that are read.
const MOST: usize = 1000;

/// Known managers as recorded on the manager's workload: `MARK:NAME,NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Part of the pod template: a new value restarts the manager.
    pub(super) mark: String,
    names: BTreeSet<String>,
}

/// Whether new managers may cause a restart.
#[derive(Clone, Copy, Debug, Default)]
pub struct Joining {
    /// The current time.
    pub now: Timestamp,
    /// Whether the manager's pod will be replaced anyway, or does not serve.
    pub is_free: bool,
}

impl Joining {
    /// From the observed pod of the manager.
    #[must_use]
    pub fn of(observed: &Observed, now: Timestamp) -> Self {
        let part = Component::TransactionManager;
        let serves = observed.pods.get(&part).is_some_and(|pod| pod.ready && !pod.terminating);
        Self { now, is_free: !serves || rollout::is_behind(observed, part) }
    }
}

impl Known {
    /// The next record, from the current one and the nodes that have a manager, each with the time since which it
    /// serves. The mark changes for a new manager that serves, since the others could not connect to one that does not.
    /// The record then includes all managers that exist.
    pub(super) fn next(live: Option<&str>, there: &BTreeMap<String, Option<Timestamp>>, at: Joining) -> Self {
        let names = there.keys().cloned().collect();
        let Some(live) = live.map(Self::read) else { return Self { mark: String::new(), names } };
        let serves = |since: Option<Timestamp>| since.is_some_and(|since| is_settled(since, at.now));
        if !live.newcomers(there).any(|since| at.is_free || serves(since)) {
            return live;
        }
        // the mark includes the list: a reconcile that reads an older annotation must not get the mark of another list
        let next = Self { mark: live.to_string(), names };
        let mark =
            Sha256::digest(next.to_string()).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Self { mark, ..next }
    }

    /// Managers in the configuration: those that exist, and those that are known. So a pod with this mark knows at
    /// least the recorded ones, whenever it starts.
    pub(super) fn listed<'a>(&'a self, manager: &'a Manager) -> BTreeSet<&'a str> {
        self.names.iter().chain(manager.network_members.keys()).map(String::as_str).collect()
    }

    fn newcomers<'a>(
        &'a self,
        there: &'a BTreeMap<String, Option<Timestamp>>,
    ) -> impl Iterator<Item = Option<Timestamp>> + 'a {
        there.iter().filter(|(name, _)| !self.names.contains(*name)).map(|(_, since)| *since)
    }

    fn read(text: &str) -> Self {
        let (mark, names) = text.split_once(':').unwrap_or_default();
        // any writer of the workload may have written it, and a name becomes part of an address
        let names =
            names.split(',').filter(|name| names::is_plain(name)).take(MOST).map(str::to_owned).collect();
        Self { mark: if names::is_plain(mark) { mark.to_owned() } else { String::new() }, names }
    }
}

/// Whether `since` is long enough ago. A clock that was set back does not extend the wait.
fn is_settled(since: Timestamp, now: Timestamp) -> bool {
    since.duration_until(now).abs() >= SETTLED
}

/// Time at which the next new manager has served for long enough.
#[must_use]
pub fn next_meeting(observed: &Observed, node: &Validated, now: Timestamp) -> Option<Timestamp> {
    let there = &node.manager.as_ref()?.network_members;
    let known = Known::read(observed.managers.as_deref()?);
    let unsettled = known.newcomers(there).flatten().filter(|since| !is_settled(*since, now));
    unsettled.min()?.checked_add(SETTLED).ok().map(|end| end.min(now + SETTLED))
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.mark, Vec::from_iter(self.names.iter().cloned()).join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: i64 = 1_800_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(START + second).expect("a time")
    }

    fn free(second: i64, is_free: bool) -> Joining {
        Joining { now: at(second), is_free }
    }

    /// Nodes by a letter, each with the second since which its manager serves.
    fn there(nodes: &[(&str, Option<i64>)]) -> BTreeMap<String, Option<Timestamp>> {
        nodes.iter().map(|(name, since)| ((*name).to_owned(), since.map(at))).collect()
    }

    /// The list that a running manager has read: the last one written before its pod was created.
    #[derive(Default)]
    struct Pod {
        mark: String,
        read: BTreeSet<String>,
    }

    fn list(known: &Known, there: &BTreeMap<String, Option<Timestamp>>) -> BTreeSet<String> {
        known.names.iter().chain(there.keys()).cloned().collect()
    }

    proptest! {
        /// A manager is restarted if and only if it has not read the name of a manager that has served for half a
        /// minute, unless the restart costs nothing. A running manager has read all recorded names, whenever its pod
        /// was created.
        #[test]
        fn a_manager_is_restarted_for_whom_it_has_not_read_and_for_nobody_else(
            steps in prop::collection::vec(
                (prop::collection::btree_map("[a-f]", prop::option::of(1i64..200), 0..5), 1i64..100, any::<(bool, bool)>()),
                1..24,
            )
        ) {
            let (mut live, mut now, mut pod) = (None::<String>, 0, Pod::default());
            for (nodes, step, (is_free, dies)) in &steps {
                now += step;
                let there: BTreeMap<_, _> =
                    nodes.iter().map(|(name, since)| (name.clone(), since.map(|ago| at(now - ago)))).collect();
                let before = live.as_deref().map(Known::read);
                let next = Known::next(live.as_deref(), &there, free(now, *is_free));
                if let Some(before) = &before {
                    let is_new = |name: &&String| !before.names.contains(*name);
                    let serves = |name: &&String| nodes[*name].is_some_and(|ago| ago >= 30);
                    let newcomers: Vec<_> = there.keys().filter(is_new).collect();
                    let moves = *is_free && !newcomers.is_empty() || newcomers.iter().any(serves);
                    prop_assert_eq!(next.mark != before.mark, moves, "{} to {}", before, next);
                    // a manager that leaves stays known, and one that is not included is not
                    prop_assert!(moves || next == *before);
                }
                prop_assert_eq!(Known::read(&next.to_string()), next.clone());
                // a write with a lost response is repeated unchanged
                prop_assert_eq!(&Known::next(live.as_deref(), &there, free(now, *is_free)), &next);
                prop_assert_eq!(&Known::next(Some(&next.to_string()), &there, free(now, *is_free)), &next);
                if live.is_none() || pod.mark != next.mark || *dies {
                    pod = Pod { mark: next.mark.clone(), read: list(&next, &there) };
                }
                prop_assert!(next.names.is_subset(&pod.read), "{} of {:?}", next, pod.read);
                live = Some(next.to_string());
            }
        }

        /// Two reconciles that begin with the same annotation, one of them late.
        #[test]
        fn another_list_has_another_mark(
            one in prop::collection::btree_set("[a-f]", 0..5), other in prop::collection::btree_set("[a-f]", 0..5)
        ) {
            let mark = |names: &BTreeSet<String>| {
                let there = names.iter().map(|name| (name.clone(), None)).collect();
                Known::next(Some("ab:z"), &there, free(0, true)).mark
            };
            prop_assert_eq!(mark(&one) == mark(&other), one == other);
        }
    }

    #[test]
    fn a_manager_that_starts_has_no_mark_and_knows_all_who_are_there() {
        let all = there(&[("bob", None), ("dave", Some(9))]);
        assert_eq!(Known::next(None, &all, free(9, false)).to_string(), ":bob,dave");
    }

    #[test]
    fn all_who_are_there_are_taken_in_for_the_first_of_them_that_serves() {
        let known = |nodes: &[(&str, Option<i64>)]| {
            Known::next(Some("ab:bob,gone"), &there(nodes), free(100, false)).to_string()
        };
        let bob = ("bob", Some(0));
        assert_eq!(known(&[bob, ("dora", None)]), "ab:bob,gone", "it does not serve");
        assert_eq!(known(&[bob, ("dora", Some(71))]), "ab:bob,gone", "others may come");
        let both = known(&[bob, ("dora", Some(70)), ("erin", None)]);
        let (mark, names) = both.split_once(':').expect("a mark");
        assert_eq!(names, "bob,dora,erin");
        assert_ne!(mark, "ab");
        assert_eq!(known(&[bob, ("dora", Some(700))]).split_once(':').map(|it| it.1), Some("bob,dora"));
    }

    #[test]
    fn what_somebody_wrote_there_does_no_harm() {
        assert_eq!(Known::read(",a,,:x").to_string(), ":x");
        let forged = "f00dbeef:bob,evil.example:9000/#,a\"b,..,ok-name";
        assert_eq!(Known::read(forged).to_string(), "f00dbeef:bob,ok-name");
        assert_eq!(Known::read("no mark").to_string(), ":");
        assert_eq!(Known::next(Some(""), &BTreeMap::new(), free(0, true)).to_string(), ":");
    }
}
