//! Whose turn it is: one pass per node at a time, so many at once. First whom something has happened to, then who
//! is to be looked at in any case, then who has failed, least often first. Nobody but the first may have every
//! place, and those that fail have half of them at most: a node that is new or was changed waits neither for those
//! that fail nor, once a replica begins to lead, for a thousand that may. (The runtime's own queue takes whom it
//! happens to find.)

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

/// Namespace and name.
pub(super) type Which = (String, String);

/// Where a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Its time comes then.
    Later(Instant),
    /// It is its turn as soon as there is a place: in this order, and then in that of arrival.
    Ready(Rank, u64),
}

/// Who goes before whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Something has happened to it.
    News,
    /// It is to be looked at, whether or not anything has happened.
    Look,
    /// It has failed so often.
    Fails(u32),
}

#[derive(Debug, Default)]
struct Turn {
    place: Option<Place>,
    /// Whether nothing has happened to it since it is to be looked at.
    looked_at: bool,
    /// Whether it has a pass now, and if so as what.
    runs: Option<Rank>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Turns {
    places: usize,
    known: HashMap<Which, Turn>,
    later: BTreeSet<(Instant, Which)>,
    ready: BTreeSet<(Rank, u64, Which)>,
    running: usize,
    /// Those of them to which nothing has happened, or which fail.
    patient: usize,
    failing: usize,
    arrived: u64,
}

impl Turns {
    /// For so many passes at once.
    pub(super) fn new(places: u16) -> Self {
        Self { places: usize::from(places).max(1), ..Self::default() }
    }

    /// Something happened to a node: its turn comes when no more has happened for `settles`.
    pub(super) fn wake(&mut self, which: Which, now: Instant, settles: Duration) {
        let turn = self.known.entry(which.clone()).or_default();
        turn.looked_at = false;
        if let Some(Place::Ready(Rank::Look, arrived)) = turn.place {
            turn.place = Some(Place::Ready(Rank::News, arrived));
            self.ready.remove(&(Rank::Look, arrived, which.clone()));
            self.ready.insert((Rank::News, arrived, which));
        } else {
            self.place(which, now + settles, |_| true);
        }
    }

    /// A node is to be looked at soon, whether or not anything has happened to it.
    pub(super) fn look_at(&mut self, which: Which, soon: Instant) {
        let turn = self.known.entry(which.clone()).or_default();
        turn.looked_at |= turn.place.is_none_or(|place| matches!(place, Place::Later(at) if at > soon));
        self.place(which, soon, |before| soon < before);
    }

    /// A pass has ended; the next one is due at `next`, or earlier if something happens.
    pub(super) fn ended(&mut self, which: Which, next: Option<Instant>) {
        let Some(turn) = self.known.get_mut(&which) else { return };
        if let Some(rank) = turn.runs.take() {
            self.running -= 1;
            self.patient -= usize::from(rank >= Rank::Look);
            self.failing -= usize::from(rank > Rank::Look);
        }
        match next {
            Some(next) => self.place(which, next, |before| next < before),
            None if turn.place.is_none() => drop(self.known.remove(&which)),
            None => {}
        }
    }

    /// The next one to have a pass now, if there is a place for it, and whether others' requests go before its.
    pub(super) fn next(&mut self, now: Instant, failures: impl Fn(&Which) -> u32) -> Option<(Which, bool)> {
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            let (_, which) = self.later.pop_first()?;
            let turn = self.known.entry(which.clone()).or_default();
            let rank = match failures(&which) {
                0 if turn.looked_at => Rank::Look,
                0 => Rank::News,
                failed => Rank::Fails(failed),
            };
            turn.place = Some(Place::Ready(rank, self.arrived));
            self.ready.insert((rank, self.arrived, which));
            self.arrived += 1;
        }
        let runs = |which: &Which| self.known.get(which).is_some_and(|turn| turn.runs.is_some());
        // where one rank finds no place, those after it find none either
        let chosen = self.ready.iter().find(|(rank, _, which)| !self.admits(*rank) || !runs(which));
        let chosen = chosen.filter(|(rank, ..)| self.admits(*rank)).cloned()?;
        self.ready.remove(&chosen);
        let (rank, _, which) = chosen;
        self.known.insert(which.clone(), Turn { runs: Some(rank), ..Turn::default() });
        self.running += 1;
        self.patient += usize::from(rank >= Rank::Look);
        self.failing += usize::from(rank > Rank::Look);
        Some((which, rank >= Rank::Look))
    }

    fn admits(&self, rank: Rank) -> bool {
        self.running < self.places
            && (rank == Rank::News || self.patient < self.places - self.places / 4)
            && (rank <= Rank::Look || self.failing < self.places.div_ceil(2))
    }

    /// When to ask again, if nothing happens before.
    pub(super) fn until(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    fn place(&mut self, which: Which, at: Instant, moves: impl FnOnce(Instant) -> bool) {
        let turn = self.known.entry(which.clone()).or_default();
        match turn.place {
            Some(Place::Ready(..)) => return,
            Some(Place::Later(before)) if !moves(before) => return,
            Some(Place::Later(before)) => drop(self.later.remove(&(before, which.clone()))),
            None => {}
        }
        turn.place = Some(Place::Later(at));
        self.later.insert((at, which));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLES: Duration = Duration::from_millis(100);

    fn which(name: &str) -> Which {
        ("ledger".into(), name.into())
    }

    /// Names that begin with `sick` have failed.
    fn failures(which: &Which) -> u32 {
        u32::from(which.1.starts_with("sick"))
    }

    #[test]
    fn those_that_fail_have_half_of_the_places_and_a_new_one_goes_first() {
        let (mut turns, now) = (Turns::new(4), Instant::now());
        for i in 0..100 {
            turns.wake(which(&format!("sick-{i}")), now, Duration::ZERO);
        }
        assert!(turns.next(now, failures).is_some() && turns.next(now, failures).is_some());
        assert_eq!(turns.next(now, failures), None, "half of four");
        turns.wake(which("new"), now, Duration::ZERO);
        assert_eq!(turns.next(now, failures), Some((which("new"), false)));
        assert_eq!((turns.running, turns.ready.len()), (3, 98));
    }

    #[test]
    fn those_that_fail_have_their_turns_in_the_order_in_which_they_came() {
        let (mut turns, now) = (Turns::new(1), Instant::now());
        let names: Vec<_> = (0..50).map(|i| which(&format!("sick-{i:02}"))).collect();
        for (i, which) in (0..).zip(&names) {
            turns.wake(which.clone(), now + Duration::from_millis(i), Duration::ZERO);
        }
        let now = now + Duration::from_secs(1);
        for which in &names {
            assert_eq!(turns.next(now, failures), Some((which.clone(), true)));
            turns.ended(which.clone(), Some(now));
        }
    }

    #[test]
    fn one_to_which_something_happens_waits_for_none_that_is_only_to_be_looked_at() {
        let (mut turns, now) = (Turns::new(8), Instant::now());
        for i in 0..100 {
            turns.look_at(which(&format!("old-{i:02}")), now);
        }
        for i in 0..6 {
            assert_eq!(turns.next(now, failures), Some((which(&format!("old-{i:02}")), true)));
        }
        assert_eq!(turns.next(now, failures), None, "two of eight places are for news");
        turns.wake(which("new"), now, Duration::ZERO);
        turns.wake(which("old-77"), now, Duration::ZERO);
        let chosen =
            [turns.next(now, failures), turns.next(now, failures)].map(|chosen| chosen.expect("one"));
        assert_eq!(chosen, [(which("old-77"), false), (which("new"), false)]);
        assert_eq!(turns.next(now, failures), None);
        turns.ended(which("old-00"), None);
        turns.ended(which("new"), Some(now));
        // what is due again by itself is no longer only looked at
        assert_eq!(turns.next(now, failures), Some((which("new"), false)));
        assert_eq!(turns.next(now, failures), Some((which("old-06"), true)));
        assert_eq!((turns.running, turns.patient, turns.failing), (8, 6, 0));
    }

    #[test]
    fn to_be_looked_at_soon_is_sooner_than_later_and_no_later_than_before() {
        let (mut turns, now) = (Turns::new(1), Instant::now());
        turns.wake(which("a"), now, SETTLES);
        turns.look_at(which("a"), now + SETTLES * 2);
        assert_eq!(turns.until(), Some(now + SETTLES));
        turns.look_at(which("a"), now);
        assert_eq!(turns.until(), Some(now));
    }

    #[test]
    fn no_node_has_two_passes_at_once_and_what_happens_meanwhile_is_not_lost() {
        let (mut turns, now) = (Turns::new(4), Instant::now());
        turns.wake(which("a"), now, SETTLES);
        assert_eq!(turns.next(now, failures), None, "more may happen");
        assert_eq!(turns.until(), Some(now + SETTLES));
        turns.wake(which("a"), now + SETTLES / 2, SETTLES);
        assert_eq!(turns.next(now + SETTLES, failures), None, "more did");
        let now = now + SETTLES * 2;
        assert_eq!(turns.next(now, failures), Some((which("a"), false)));
        turns.wake(which("a"), now, Duration::ZERO);
        assert_eq!(turns.next(now, failures), None);
        turns.ended(which("a"), Some(now + Duration::from_secs(600)));
        assert_eq!(turns.next(now, failures), Some((which("a"), false)), "at once, not when it was due");
        turns.ended(which("a"), None);
        assert!(turns.known.is_empty(), "a node that is gone is forgotten");
    }
}
