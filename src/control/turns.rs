//! Whose turn it is: one pass per node at a time, so many at once, and whoever has failed least goes first. Those
//! that fail have half of the places at most, so that a node that is new or well need not wait for them. (The
//! runtime's own queue takes whom it happens to find.)

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
    /// It is its turn as soon as there is a place: failures so far, order of arrival.
    Ready(u32, u64),
}

#[derive(Debug, Default)]
struct Turn {
    place: Option<Place>,
    /// Whether it has a pass now, and if so whether as one that fails.
    runs: Option<bool>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Turns {
    places: usize,
    known: HashMap<Which, Turn>,
    later: BTreeSet<(Instant, Which)>,
    ready: BTreeSet<(u32, u64, Which)>,
    running: usize,
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
        self.place(which, now + settles, |_| true);
    }

    /// A pass has ended; the next one is due at `next`, or earlier if something happens.
    pub(super) fn ended(&mut self, which: Which, next: Option<Instant>) {
        let Some(turn) = self.known.get_mut(&which) else { return };
        if let Some(fails) = turn.runs.take() {
            self.running -= 1;
            self.failing -= usize::from(fails);
        }
        match next {
            Some(next) => self.place(which, next, |before| next < before),
            None if turn.place.is_none() => drop(self.known.remove(&which)),
            None => {}
        }
    }

    /// The next one to have a pass now, if there is a place for it.
    pub(super) fn next(&mut self, now: Instant, failures: impl Fn(&Which) -> u32) -> Option<Which> {
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            let (_, which) = self.later.pop_first()?;
            let (failed, arrived) = (failures(&which), self.arrived);
            self.arrived += 1;
            self.known.entry(which.clone()).or_default().place = Some(Place::Ready(failed, arrived));
            self.ready.insert((failed, arrived, which));
        }
        if self.running >= self.places {
            return None;
        }
        let full = self.failing >= self.places.div_ceil(2);
        let runs = |which: &Which| self.known.get(which).is_some_and(|turn| turn.runs.is_some());
        let chosen = self.ready.iter().find(|(failed, _, which)| (full && *failed > 0) || !runs(which));
        let chosen = chosen.filter(|(failed, ..)| !(full && *failed > 0)).cloned()?;
        self.ready.remove(&chosen);
        let (failed, _, which) = chosen;
        self.known.insert(which.clone(), Turn { place: None, runs: Some(failed > 0) });
        self.running += 1;
        self.failing += usize::from(failed > 0);
        Some(which)
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
        assert_eq!(turns.next(now, failures), Some(which("new")));
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
            assert_eq!(turns.next(now, failures).as_ref(), Some(which));
            turns.ended(which.clone(), Some(now));
        }
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
        assert_eq!(turns.next(now, failures), Some(which("a")));
        turns.wake(which("a"), now, Duration::ZERO);
        assert_eq!(turns.next(now, failures), None);
        turns.ended(which("a"), Some(now + Duration::from_secs(600)));
        assert_eq!(turns.next(now, failures), Some(which("a")), "at once, not when it was due");
        turns.ended(which("a"), None);
        assert!(turns.known.is_empty(), "a node that is gone is forgotten");
    }
}
