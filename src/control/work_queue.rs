//! Work queue with priorities: one reconcile per node at a time, with a limit on all of them. Changed nodes come first,
//! then resyncs, then failing nodes, those with the fewest failures first. Only changed nodes may take every slot, and
//! failing nodes take at most half. So a new or changed node waits neither for failing nodes nor for the resync of a
//! thousand nodes when a replica begins to lead. (The queue of the controller runtime has no defined order.)

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::{model::names::NamespacedName, serve::Queue};

/// Where a node is in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QueueState {
    /// Due at this time.
    Later(Instant),
    /// Waits for a slot, ordered by priority and then by arrival.
    Ready(Priority, u64),
}

/// Priority, highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Priority {
    /// Something has changed for the node.
    Change,
    /// The node is due without a known change.
    Resync,
    /// The node has failed this many times in a row.
    Failed(u32),
}

/// Quiet time after an event before a reconcile begins, so that a burst of events settles.
pub(super) const SETTLES: Duration = Duration::from_millis(100);

/// Longest time that a stream of events postpones a reconcile. Only after the node's own claim to an identity does the
/// reconcile wait longer, for competing claims, so that two nodes never run with one key.
const AT_MOST: Duration = Duration::from_secs(1);

/// Kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A change of one of the node's own objects.
    Own,
    /// A change of the spec or status of this or another node. The next such change may have to be considered with it.
    Said,
    /// The node now claims an identity. Earlier claims of others arrive within [`SETTLES`].
    Claim,
    /// Anything else.
    Other,
}

#[derive(Debug, Default)]
struct QueuedNode {
    place: Option<QueueState>,
    /// Last event or reconcile. Events of a reconcile's own writes may still arrive.
    touched: Option<Instant>,
    /// First event since the last reconcile began.
    since: Option<Instant>,
    /// First and last [`Change::Said`] among those events.
    said: Option<(Instant, Instant)>,
    /// [`Change::Claim`] among those events.
    claimed: Option<Instant>,
    /// Whether it is due for a resync, and nothing has changed since.
    looked_at: bool,
    /// Priority of its running reconcile, if one runs.
    runs: Option<Priority>,
}

impl QueuedNode {
    /// Time until which a reconcile waits for further changes of nodes.
    fn heard(&self) -> Option<Instant> {
        let said = self.said.map(|(first, last)| (last + SETTLES).min(first + AT_MOST));
        said.max(self.claimed.map(|claimed| claimed + SETTLES))
    }
}

/// Work queue of one scope.
#[derive(Debug, Default)]
pub(super) struct WorkQueue {
    slots: usize,
    known: HashMap<NamespacedName, QueuedNode>,
    later: BTreeSet<(Instant, NamespacedName)>,
    ready: BTreeSet<(Priority, u64, NamespacedName)>,
    running: usize,
    /// Running reconciles without a known change, and among them those of failing nodes.
    patient: usize,
    failing: usize,
    arrived: u64,
    /// Due times of the nodes that wait for a slot, in order of arrival.
    waits: BTreeMap<u64, Instant>,
}

impl WorkQueue {
    /// Creates a queue with this number of slots.
    pub(super) fn new(slots: u16) -> Self {
        Self { slots: usize::from(slots).max(1), ..Self::default() }
    }

    /// Queues a node after a change. It is due when nothing more has changed for [`SETTLES`], or at once if it had been
    /// idle for that long and one of its own objects changed.
    pub(super) fn wake(&mut self, which: NamespacedName, now: Instant, news: Change) {
        let turn = self.known.entry(which.clone()).or_default();
        turn.looked_at = false;
        let touched = turn.touched.replace(now);
        let first = *turn.since.get_or_insert(now);
        match news {
            Change::Said => turn.said = Some((turn.said.map_or(now, |(first, _)| first), now)),
            Change::Claim => turn.claimed = Some(now),
            Change::Own | Change::Other => {}
        }
        let heard = turn.heard().unwrap_or(now);
        let at_rest = turn.runs.is_none() && touched.is_some_and(|touched| touched + SETTLES <= now);
        if let Some(QueueState::Ready(Priority::Resync, arrived)) = turn.place {
            turn.place = Some(QueueState::Ready(Priority::Change, arrived));
            self.ready.remove(&(Priority::Resync, arrived, which.clone()));
            self.ready.insert((Priority::Change, arrived, which));
        } else {
            let settled = if news == Change::Own && at_rest { now } else { now + SETTLES };
            self.place(which, settled.min(first + AT_MOST).max(heard), |_| true);
        }
    }

    /// Queues a node for a resync, whether or not anything has changed.
    pub(super) fn look_at(&mut self, which: NamespacedName, soon: Instant) {
        let turn = self.known.entry(which.clone()).or_default();
        turn.looked_at |= turn.place.is_none_or(|place| matches!(place, QueueState::Later(at) if at > soon));
        self.place(which, soon, |before| soon < before);
    }

    /// Records the end of a reconcile. The next one is due after `next`, or earlier after a change.
    pub(super) fn ended(&mut self, which: NamespacedName, now: Instant, next: Option<Duration>) {
        let Some(turn) = self.known.get_mut(&which) else { return };
        turn.touched = Some(now);
        if let Some(priority) = turn.runs.take() {
            self.running -= 1;
            self.patient -= usize::from(priority >= Priority::Resync);
            self.failing -= usize::from(priority > Priority::Resync);
        }
        let heard = turn.heard().unwrap_or(now);
        match next.map(|next| heard.max(now + next)) {
            Some(next) => self.place(which, next, |before| next < before),
            None if turn.place.is_none() => drop(self.known.remove(&which)),
            None => {}
        }
    }

    /// Next node to reconcile, if a slot is free for it, and whether its requests have low priority.
    pub(super) fn next(
        &mut self,
        now: Instant,
        failures: impl Fn(&NamespacedName) -> u32,
    ) -> Option<(NamespacedName, bool)> {
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            let (due, which) = self.later.pop_first()?;
            let turn = self.known.entry(which.clone()).or_default();
            let priority = match failures(&which) {
                0 if turn.looked_at => Priority::Resync,
                0 => Priority::Change,
                failed => Priority::Failed(failed),
            };
            turn.place = Some(QueueState::Ready(priority, self.arrived));
            self.ready.insert((priority, self.arrived, which));
            self.waits.insert(self.arrived, due);
            self.arrived += 1;
        }
        let runs = |which: &NamespacedName| self.known.get(which).is_some_and(|turn| turn.runs.is_some());
        // if a priority gets no slot, lower ones get none either
        let chosen = self.ready.iter().find(|(priority, _, which)| !self.admits(*priority) || !runs(which));
        let chosen = chosen.filter(|(priority, ..)| self.admits(*priority)).cloned()?;
        self.ready.remove(&chosen);
        let (priority, arrived, which) = chosen;
        self.waits.remove(&arrived);
        self.known.insert(which.clone(), QueuedNode { runs: Some(priority), ..QueuedNode::default() });
        self.running += 1;
        self.patient += usize::from(priority >= Priority::Resync);
        self.failing += usize::from(priority > Priority::Resync);
        Some((which, priority >= Priority::Resync))
    }

    fn admits(&self, priority: Priority) -> bool {
        self.running < self.slots
            && (priority == Priority::Change || self.patient < self.slots - self.slots / 4)
            && (priority <= Priority::Resync || self.failing < self.slots.div_ceil(2))
    }

    /// Number of waiting and of running reconciles.
    pub(super) fn queue(&self) -> Queue {
        Queue { waiting: self.ready.len(), since: self.waits.values().next().copied(), running: self.running }
    }

    /// Time at which to call `next` again, if nothing changes before.
    pub(super) fn until(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    fn place(&mut self, which: NamespacedName, at: Instant, moves: impl FnOnce(Instant) -> bool) {
        let turn = self.known.entry(which.clone()).or_default();
        match turn.place {
            Some(QueueState::Ready(..)) => return,
            Some(QueueState::Later(before)) if !moves(before) => return,
            Some(QueueState::Later(before)) => drop(self.later.remove(&(before, which.clone()))),
            None => {}
        }
        turn.place = Some(QueueState::Later(at));
        self.later.insert((at, which));
    }
}

#[cfg(test)]
mod tests;
