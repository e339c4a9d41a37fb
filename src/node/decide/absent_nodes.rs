//! Tracks nodes of a network that are being deleted or were deleted in the last five minutes, since a node is often
//! deleted only to be created again. Annotations of the network's objects store the names, so that every replica of the
//! operator knows them. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::{
    model::{
        names::{self, Component},
        network_member::NetworkMember,
    },
    node::observed::Observed,
};

/// How long a node that has left is expected back.
pub const MOMENT: SignedDuration = SignedDuration::from_mins(5);

/// Maximum number of names read from an annotation.
const MAX_NAMES: usize = 1000;

/// Shortest interval between checks whether a node is still expected back.
const CHECK_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

/// Nodes of a network that are absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AbsentNodes {
    /// Other nodes of the network that are being deleted.
    pub ending: Vec<NetworkMember>,
    /// The network's validators, as stored in the annotation of their disruption budget.
    pub validators: Roll,
    /// Addresses of the chain's validators that ran here, as stored in another annotation of the budget.
    pub chain_validators: BTreeSet<String>,
    /// The current time.
    pub now: Timestamp,
}

/// A list of names that also stores which names have left it, and when: `NAME,NAME,NAME@SECOND`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    present: BTreeSet<String>,
    left: BTreeMap<String, i64>,
}

impl Roll {
    /// Reads the text of an annotation. Ignores invalid names and all after the first thousand: other writers may have
    /// changed the text, and the result must fit into an annotation again.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut roll = Self::default();
        let is_name = |name: &&str| names::is_plain(name.split('@').next().unwrap_or_default());
        for name in text.split(',').filter(is_name).take(MAX_NAMES) {
            match name.split_once('@') {
                None => drop(roll.present.insert(name.to_owned())),
                Some((name, second)) => {
                    if let Ok(second) = second.parse() {
                        roll.left.insert(name.to_owned(), second);
                    }
                }
            }
        }
        roll
    }

    /// The list with these names present. Names that were present before and are not any more leave now.
    #[must_use]
    pub fn next(&self, present: BTreeSet<String>, now: Timestamp) -> Self {
        let mut left = self.left.clone();
        left.extend(self.present.iter().map(|name| (name.clone(), now.as_second())));
        left.retain(|name, _| !present.contains(name));
        Self { present, left }
    }

    /// Whether a name has left so long ago that it is not expected back.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.left.values().any(|second| is_over(*second, now))
    }

    /// The list without the names that have left.
    #[must_use]
    pub fn settled(self) -> Self {
        Self { left: BTreeMap::new(), ..self }
    }

    /// The list without the names that have left and are not expected back.
    #[must_use]
    pub fn expected(mut self, now: Timestamp) -> Self {
        self.left.retain(|_, second| !is_over(*second, now));
        self
    }

    /// Number of names that are present.
    #[must_use]
    pub fn present(&self) -> usize {
        self.present.len()
    }

    /// Number of names that have left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.len()
    }

    fn next_end(&self) -> Option<Timestamp> {
        Timestamp::from_second(*self.left.values().min()?).ok()?.checked_add(MOMENT).ok()
    }
}

impl fmt::Display for Roll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.left.iter().map(|(name, second)| format!("{name}@{second}"));
        let all: Vec<_> = self.present.iter().cloned().chain(left).collect();
        f.write_str(&all.join(","))
    }
}

/// Whether `second` is at least five minutes away from `now`, in either direction: a clock that was set back must not
/// prolong the wait.
fn is_over(second: i64, now: Timestamp) -> bool {
    (now.as_second() - second).unsigned_abs() >= MOMENT.as_secs().unsigned_abs()
}

/// Validators of the network, including those that are being deleted or were deleted in the last five minutes.
#[must_use]
pub fn validators(observed: &Observed, own: Option<&str>) -> Roll {
    let others = observed.network_members.iter().chain(&observed.absent.ending);
    let names = others.filter(|other| other.is_validator()).map(|other| other.name.clone());
    let present = names.chain(own.map(str::to_owned)).collect();
    observed.absent.validators.next(present, observed.absent.now).expected(observed.absent.now)
}

/// A validator of the network that is being deleted or was deleted in the last five minutes.
#[must_use]
pub fn leaving_validator(observed: &Observed, validators: &Roll) -> Option<String> {
    let ending = observed.absent.ending.iter().find(|other| other.role.is_none() || other.is_validator());
    ending.map(|other| other.name.clone()).or_else(|| validators.left.keys().next().cloned())
}

/// When a name that has left stops being expected back, or when to check that next.
#[must_use]
pub fn next(observed: &Observed) -> Option<Timestamp> {
    let client =
        observed.workloads.get(&Component::Client).and_then(|client| client.admitted_peers.as_deref());
    let admitted = client.and_then(|text| text.split_once(':')).map(|(_, ids)| Roll::read(ids));
    let ends = [Some(&observed.absent.validators), admitted.as_ref()];
    let end = ends.into_iter().flatten().filter_map(Roll::next_end).min()?;
    Some(end.max(observed.absent.now + CHECK_INTERVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn names(text: &str) -> BTreeSet<String> {
        text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn who_leaves_is_remembered_from_the_first_time_for_five_minutes_and_forgotten_on_return() {
        let all = Roll::default().next(names("a,b,c"), at(1000));
        assert_eq!((all.to_string().as_str(), all.left.len()), ("a,b,c", 0));
        let less = all.next(names("a,c"), at(2000));
        assert_eq!((less.to_string().as_str(), less.present(), less.left()), ("a,c,b@2000", 2, 1));
        let later = Roll::read(&less.to_string()).next(names("a"), at(2100));
        assert_eq!(later.to_string(), "a,b@2000,c@2100");
        assert!(!later.is_over(at(2299)) && later.is_over(at(2300)));
        assert_eq!(later.clone().expected(at(2300)).to_string(), "a,c@2100");
        assert_eq!(later.clone().settled().to_string(), "a");
        let back = later.next(names("a,b"), at(2200));
        assert_eq!(back.to_string(), "a,b,c@2100");
    }

    #[test]
    fn what_is_written_back_fits_into_an_annotation() {
        let many: Vec<_> = (0..36_000).map(|i| format!("g{i}")).collect();
        let roll = Roll::read(&many.join(",")).next(BTreeSet::new(), at(1000));
        assert_eq!((roll.present(), roll.left()), (0, 1000));
        let long = "x".repeat(60_000);
        assert_eq!(Roll::read(&format!("a,{long},b/c,..,a\"b,C,c@7")).to_string(), "a,c@7");
    }

    #[test]
    fn what_somebody_wrote_there_and_a_clock_that_was_put_back_do_no_harm() {
        assert_eq!(Roll::read(",a,,b@x,c@,d@5,").to_string(), "a,d@5");
        assert!(Roll::read("a@9000").is_over(at(5)));
        assert_eq!((Roll::read("").present(), Roll::read("").left()), (0, 0));
    }
}
