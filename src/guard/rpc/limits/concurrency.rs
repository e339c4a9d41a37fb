//! Concurrency slots for calls at the client, and the queue of calls that wait for one. `fairness` decides which
//! callers may have one more; of the waiting ones, the caller with the fewest slots is next.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::{
    caller_state::CallerState,
    fairness::{self, Kind, Pace, Quickest, Seen},
};
use crate::guard::rpc::decide::rejection::Rejection;

/// Limits of the slots and the queue.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Number of concurrency slots.
    pub slots: u32,
    /// Calls that may wait for a slot; further ones are rejected at once.
    pub waiting: u32,
    /// Maximum time in the queue.
    pub deadlines: Duration,
}

/// The concurrency slots of a client.
#[derive(Debug)]
pub struct ConcurrencyLimit(Arc<All>);

#[derive(Debug)]
struct All {
    since: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Number of slots.
    number: u32,
    taken: u32,
    waiting: u32,
    /// Ticket of the next call that waits.
    ticket: u64,
    callers: HashMap<String, Of>,
}

/// State of one caller.
#[derive(Debug)]
struct Of {
    pace: Pace,
    kind: Kind,
    /// Start of each of its calls that hold a slot, in seconds.
    began: Vec<f64>,
    waiting: VecDeque<(u64, oneshot::Sender<f64>)>,
}

/// Slots of one caller, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Calls that wait.
    pub waiting: u32,
    /// Calls that hold a slot.
    pub taken: u32,
    /// Whether its calls take long, so that it has few slots.
    pub is_slow: bool,
}

/// A concurrency slot. Dropping it frees the slot.
#[derive(Debug)]
pub struct ConcurrencySlot {
    all: Arc<All>,
    of: Arc<CallerState>,
    began: f64,
}

impl Drop for ConcurrencySlot {
    fn drop(&mut self) {
        self.all.state().end(&self.of.name, self.began, self.all.now());
    }
}

/// A waiting call. Dropping it leaves the queue.
struct Waits {
    all: Arc<All>,
    of: Arc<CallerState>,
    ticket: u64,
    turn: oneshot::Receiver<f64>,
}

impl Drop for Waits {
    fn drop(&mut self) {
        let mut state = self.all.state();
        state.leave(&self.of.name, self.ticket);
        // it may have been given a slot since the last poll
        if let Ok(began) = self.turn.try_recv() {
            state.end(&self.of.name, began, self.all.now());
        }
    }
}

impl All {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds since the limit was created.
    fn now(&self) -> f64 {
        self.since.elapsed().as_secs_f64()
    }
}

impl Of {
    fn new() -> Self {
        Self { pace: Pace::default(), kind: Kind::New, began: Vec::new(), waiting: VecDeque::new() }
    }

    fn own(&self) -> u32 {
        self.began.len() as u32
    }

    fn seen(&self, now: f64) -> Seen {
        self.pace.seen(self.began.iter().map(|began| now - began), now)
    }

    fn is_idle(&self, now: f64) -> bool {
        self.began.is_empty() && self.waiting.is_empty() && self.pace.is_forgotten(now)
    }
}

impl State {
    /// Updates the kind of every caller. Returns the number of slots that slow callers hold.
    fn classify(&mut self, now: f64) -> u32 {
        let mut quickest = Quickest::default();
        self.callers.values().for_each(|of| quickest.and(of.seen(now)));
        let mut slow = 0;
        for of in self.callers.values_mut() {
            of.kind = quickest.kind(of.seen(now));
            slow += if of.kind == Kind::Slow { of.own() } else { 0 };
        }
        slow
    }

    fn of(&mut self, name: &str, now: f64) -> &mut Of {
        if !self.callers.contains_key(name) {
            self.callers.retain(|_, of| !of.is_idle(now));
            self.callers.insert(name.to_owned(), Of::new());
        }
        self.callers.entry(name.to_owned()).or_insert_with(Of::new)
    }

    /// Takes a slot if the caller may have one now. Returns the start time.
    fn take(&mut self, name: &str, now: f64) -> Option<f64> {
        let own = self.of(name, now).own();
        let mut slots =
            fairness::ConcurrencyLimit { all: self.number, taken: self.taken, own, slow: self.taken };
        if !slots.may(Kind::Slow) {
            // a slow caller may have fewer slots
            slots.slow = self.classify(now);
            let kind = self.of(name, now).kind;
            if !slots.may(kind) {
                return None;
            }
        }
        self.taken += 1;
        self.of(name, now).began.push(now);
        Some(now)
    }

    /// Frees the slot of a call that began at `began`.
    fn end(&mut self, name: &str, began: f64, now: f64) {
        let of = self.of(name, now);
        if let Some(at) = of.began.iter().position(|one| one.total_cmp(&began).is_eq()) {
            of.began.swap_remove(at);
            of.pace.ended(now - began, now);
            self.taken -= 1;
        }
        self.pass_on(now);
    }

    /// Gives free slots to waiting calls whose callers may have one.
    fn pass_on(&mut self, now: f64) {
        if self.waiting == 0 || self.taken >= self.number {
            return;
        }
        let mut slow = self.classify(now);
        loop {
            let (all, taken) = (self.number, self.taken);
            let may = |of: &Of| fairness::ConcurrencyLimit { all, taken, own: of.own(), slow }.may(of.kind);
            let next = self.callers.values_mut().filter(|of| !of.waiting.is_empty() && may(of));
            let next = next.min_by_key(|of| (of.own(), of.waiting.front().map(|(ticket, _)| *ticket)));
            let Some((of, (_, turn))) = next.and_then(|of| of.waiting.pop_front().map(|next| (of, next)))
            else {
                return;
            };
            of.began.push(now);
            slow += u32::from(of.kind == Kind::Slow);
            self.taken += 1;
            self.waiting -= 1;
            // the receiver exists: a call that stops waiting leaves the queue first
            let _ = turn.send(now);
        }
    }

    /// Puts a call into the queue if its caller may have one more waiting call.
    fn wait(&mut self, name: &str, most: u32, now: f64) -> Option<(u64, oneshot::Receiver<f64>)> {
        let (ticket, waiting) = (self.ticket, self.waiting);
        let of = self.of(name, now);
        if !fairness::may_wait(most, waiting, of.waiting.len() as u32) {
            return None;
        }
        let (give, turn) = oneshot::channel();
        of.waiting.push_back((ticket, give));
        self.ticket += 1;
        self.waiting += 1;
        Some((ticket, turn))
    }

    fn leave(&mut self, name: &str, ticket: u64) {
        let Some(of) = self.callers.get_mut(name) else { return };
        if let Ok(at) = of.waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket) {
            of.waiting.remove(at);
            self.waiting -= 1;
        }
    }

    /// Changes the number of slots. Calls under way keep theirs until they end.
    fn resize(&mut self, number: u32, now: f64) {
        if self.number != number {
            self.number = number;
            self.pass_on(now);
        }
    }
}

impl Default for ConcurrencyLimit {
    fn default() -> Self {
        Self(Arc::new(All { since: Instant::now(), state: Mutex::default() }))
    }
}

impl ConcurrencyLimit {
    /// Returns the number of waiting calls and of calls that hold a slot.
    pub fn load(&self) -> (u32, u32) {
        let state = self.0.state();
        (state.waiting, state.taken)
    }

    /// Returns the load of each caller that called lately, by name.
    pub fn loads(&self) -> HashMap<String, Load> {
        let mut state = self.0.state();
        state.classify(self.0.now());
        let load = |of: &Of| Load {
            waiting: of.waiting.len() as u32,
            taken: of.own(),
            is_slow: of.kind == Kind::Slow,
        };
        state.callers.iter().map(|(name, of)| (name.clone(), load(of))).collect()
    }

    /// Takes a slot if the caller may have one now.
    pub fn take_now(&self, of: &Arc<CallerState>, share: Share) -> Option<ConcurrencySlot> {
        let (now, mut state) = (self.0.now(), self.0.state());
        state.resize(share.slots, now);
        let began = state.take(&of.name, now)?;
        Some(self.turn(of, began))
    }

    /// Waits for a slot. Dropping it frees the slot.
    ///
    /// # Errors
    /// If too many calls wait already, or no slot became free in time.
    pub async fn take(&self, of: &Arc<CallerState>, share: Share) -> Result<ConcurrencySlot, Rejection> {
        let mut waits = {
            let (now, mut state) = (self.0.now(), self.0.state());
            state.resize(share.slots, now);
            // under the same lock, so that no slot is freed in between
            if let Some(began) = state.take(&of.name, now) {
                return Ok(self.turn(of, began));
            }
            let waits = state.wait(&of.name, share.waiting, now);
            let (ticket, turn) = waits.ok_or_else(Rejection::client_busy)?;
            Waits { all: self.0.clone(), of: of.clone(), ticket, turn }
        };
        let turn = timeout(share.deadlines, &mut waits.turn).await;
        let began = turn.ok().and_then(Result::ok).ok_or_else(Rejection::client_busy)?;
        Ok(self.turn(of, began))
    }

    fn turn(&self, of: &Arc<CallerState>, began: f64) -> ConcurrencySlot {
        ConcurrencySlot { all: self.0.clone(), of: of.clone(), began }
    }
}

#[cfg(test)]
mod tests;
