//! Whose turn it is: one pass per node at a time, so many at once. First whom something has happened to, then who
//! is to be looked at in any case, then who has failed, least often first. Nobody but the first may have every
//! place, and those that fail have half of them at most: a node that is new or was changed waits neither for those
//! that fail nor, once a replica begins to lead, for a thousand that may. (The runtime's own queue takes whom it
//! happens to find.)

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::serve::Queue;

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

/// How long a burst of events may take to settle before a pass begins.
pub(super) const SETTLES: Duration = Duration::from_millis(100);

/// How long a stream of events that never settles may postpone a pass, what nodes say included. Only after its own
/// claim to an identity is it heard out whom others name: that two of them do not run with one key rests on it.
const AT_MOST: Duration = Duration::from_secs(1);

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Something to an object of the node's own.
    Own,
    /// What nodes say, this one or others: it may have to be weighed with what is said next.
    Said,
    /// It claims an identity now: whoever did before is heard of within [`SETTLES`].
    Claim,
    /// Anything else.
    Other,
}

#[derive(Debug, Default)]
struct Turn {
    place: Option<Place>,
    /// When it was last touched: by an event, or a pass, whose echo may still come.
    touched: Option<Instant>,
    /// The first event that no pass has begun after.
    since: Option<Instant>,
    /// The first and the last time that nodes said something, of those events.
    said: Option<(Instant, Instant)>,
    /// When its claim to an identity was seen, of those events.
    claimed: Option<Instant>,
    /// Whether nothing has happened to it since it is to be looked at.
    looked_at: bool,
    /// Whether it has a pass now, and if so as what.
    runs: Option<Rank>,
}

impl Turn {
    /// When what nodes say is heard out, as far as a pass waits for it.
    fn heard(&self) -> Option<Instant> {
        let said = self.said.map(|(first, last)| (last + SETTLES).min(first + AT_MOST));
        said.max(self.claimed.map(|claimed| claimed + SETTLES))
    }
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
    /// Since when those wait that are ready, in the order of arrival.
    waits: BTreeMap<u64, Instant>,
}

impl Turns {
    /// For so many passes at once.
    pub(super) fn new(places: u16) -> Self {
        Self { places: usize::from(places).max(1), ..Self::default() }
    }

    /// Something happened to a node: its turn comes when no more has happened for a while. Only where it was at
    /// rest for so long, and it is a thing of its own that somebody has changed, does its turn come at once.
    pub(super) fn wake(&mut self, which: Which, now: Instant, news: News) {
        let turn = self.known.entry(which.clone()).or_default();
        turn.looked_at = false;
        let touched = turn.touched.replace(now);
        let first = *turn.since.get_or_insert(now);
        match news {
            News::Said => turn.said = Some((turn.said.map_or(now, |(first, _)| first), now)),
            News::Claim => turn.claimed = Some(now),
            News::Own | News::Other => {}
        }
        let heard = turn.heard().unwrap_or(now);
        let at_rest = turn.runs.is_none() && touched.is_some_and(|touched| touched + SETTLES <= now);
        if let Some(Place::Ready(Rank::Look, arrived)) = turn.place {
            turn.place = Some(Place::Ready(Rank::News, arrived));
            self.ready.remove(&(Rank::Look, arrived, which.clone()));
            self.ready.insert((Rank::News, arrived, which));
        } else {
            let settled = if news == News::Own && at_rest { now } else { now + SETTLES };
            self.place(which, settled.min(first + AT_MOST).max(heard), |_| true);
        }
    }

    /// A node is to be looked at soon, whether or not anything has happened to it.
    pub(super) fn look_at(&mut self, which: Which, soon: Instant) {
        let turn = self.known.entry(which.clone()).or_default();
        turn.looked_at |= turn.place.is_none_or(|place| matches!(place, Place::Later(at) if at > soon));
        self.place(which, soon, |before| soon < before);
    }

    /// A pass has ended; the next one is due after `next`, or earlier if something happens.
    pub(super) fn ended(&mut self, which: Which, now: Instant, next: Option<Duration>) {
        let Some(turn) = self.known.get_mut(&which) else { return };
        turn.touched = Some(now);
        if let Some(rank) = turn.runs.take() {
            self.running -= 1;
            self.patient -= usize::from(rank >= Rank::Look);
            self.failing -= usize::from(rank > Rank::Look);
        }
        let heard = turn.heard().unwrap_or(now);
        match next.map(|next| heard.max(now + next)) {
            Some(next) => self.place(which, next, |before| next < before),
            None if turn.place.is_none() => drop(self.known.remove(&which)),
            None => {}
        }
    }

    /// The next one to have a pass now, if there is a place for it, and whether others' requests go before its.
    pub(super) fn next(&mut self, now: Instant, failures: impl Fn(&Which) -> u32) -> Option<(Which, bool)> {
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            let (due, which) = self.later.pop_first()?;
            let turn = self.known.entry(which.clone()).or_default();
            let rank = match failures(&which) {
                0 if turn.looked_at => Rank::Look,
                0 => Rank::News,
                failed => Rank::Fails(failed),
            };
            turn.place = Some(Place::Ready(rank, self.arrived));
            self.ready.insert((rank, self.arrived, which));
            self.waits.insert(self.arrived, due);
            self.arrived += 1;
        }
        let runs = |which: &Which| self.known.get(which).is_some_and(|turn| turn.runs.is_some());
        // where one rank finds no place, those after it find none either
        let chosen = self.ready.iter().find(|(rank, _, which)| !self.admits(*rank) || !runs(which));
        let chosen = chosen.filter(|(rank, ..)| self.admits(*rank)).cloned()?;
        self.ready.remove(&chosen);
        let (rank, arrived, which) = chosen;
        self.waits.remove(&arrived);
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

    /// How many wait and how many have a pass now.
    pub(super) fn queue(&self) -> Queue {
        Queue { waiting: self.ready.len(), since: self.waits.values().next().copied(), running: self.running }
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
mod tests;
