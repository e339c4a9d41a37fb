//! Turns at the client: so many at a time, and calls that wait for theirs. Who may have one is decided by `fairness`; of
//! those that wait and may, the caller with the fewest turns is next.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::account::Account;
use super::fairness::{self, Kind, Pace, Quickest, Seen};
use super::refusal::Refusal;

/// How many there are, who waits, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// At a time.
    pub turns: u32,
    /// That wait for one; one more is refused at once.
    pub waiting: u32,
    /// For so long.
    pub patience: Duration,
}

/// Turns that can be had.
#[derive(Debug)]
pub struct Turns(Arc<All>);

#[derive(Debug)]
struct All {
    since: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How many there are.
    number: u32,
    taken: u32,
    waiting: u32,
    /// Of the next call that waits.
    ticket: u64,
    callers: HashMap<String, Of>,
}

/// What is known of a caller.
#[derive(Debug)]
struct Of {
    pace: Pace,
    kind: Kind,
    /// When its calls that have a turn began, in seconds.
    began: Vec<f64>,
    waiting: VecDeque<(u64, oneshot::Sender<f64>)>,
}

/// A caller's turns, for people who look after the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Calls that wait.
    pub waiting: u32,
    /// Calls that have a turn.
    pub taken: u32,
    /// Whether its calls are long, so that it has few turns.
    pub is_slow: bool,
}

/// A turn that is taken while this is there.
#[derive(Debug)]
pub struct Turn {
    all: Arc<All>,
    of: Arc<Account>,
    began: f64,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.all.state().end(&self.of.name, self.began, self.all.now());
    }
}

/// A call that waits, also where the wait is given up.
struct Waits {
    all: Arc<All>,
    of: Arc<Account>,
    ticket: u64,
    turn: oneshot::Receiver<f64>,
}

impl Drop for Waits {
    fn drop(&mut self) {
        let mut state = self.all.state();
        state.leave(&self.of.name, self.ticket);
        // it may have had its turn since it was last looked at
        if let Ok(began) = self.turn.try_recv() {
            state.end(&self.of.name, began, self.all.now());
        }
    }
}

impl All {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds since there are turns.
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
    /// What kinds of callers there are now, and how many turns slow ones have.
    fn judge(&mut self, now: f64) -> u32 {
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

    /// A turn, if the caller may have one now.
    fn take(&mut self, name: &str, now: f64) -> Option<f64> {
        let own = self.of(name, now).own();
        let mut turns = fairness::Turns { all: self.number, taken: self.taken, own, slow: self.taken };
        if !turns.may(Kind::Slow) {
            // whoever is slow may have fewer
            turns.slow = self.judge(now);
            let kind = self.of(name, now).kind;
            if !turns.may(kind) {
                return None;
            }
        }
        self.taken += 1;
        self.of(name, now).began.push(now);
        Some(now)
    }

    /// A call has ended that began then.
    fn end(&mut self, name: &str, began: f64, now: f64) {
        let of = self.of(name, now);
        if let Some(at) = of.began.iter().position(|one| one.total_cmp(&began).is_eq()) {
            of.began.swap_remove(at);
            of.pace.ended(now - began, now);
            self.taken -= 1;
        }
        self.pass_on(now);
    }

    /// Turns that are free are had by those that wait and may.
    fn pass_on(&mut self, now: f64) {
        if self.waiting == 0 || self.taken >= self.number {
            return;
        }
        let mut slow = self.judge(now);
        loop {
            let (all, taken) = (self.number, self.taken);
            let may = |of: &Of| fairness::Turns { all, taken, own: of.own(), slow }.may(of.kind);
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
            // who waits no more has left the queue before
            let _ = turn.send(now);
        }
    }

    /// A call waits from now on, if one more may.
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

    /// There are so many from now on; those under way keep theirs until they end.
    fn resize(&mut self, number: u32, now: f64) {
        if self.number != number {
            self.number = number;
            self.pass_on(now);
        }
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(All { since: Instant::now(), state: Mutex::default() }))
    }
}

impl Turns {
    /// How many wait, and how many have a turn.
    pub fn load(&self) -> (u32, u32) {
        let state = self.0.state();
        (state.waiting, state.taken)
    }

    /// The same of each caller that called lately, by its name.
    pub fn loads(&self) -> HashMap<String, Load> {
        let mut state = self.0.state();
        state.judge(self.0.now());
        let load = |of: &Of| Load {
            waiting: of.waiting.len() as u32,
            taken: of.own(),
            is_slow: of.kind == Kind::Slow,
        };
        state.callers.iter().map(|(name, of)| (name.clone(), load(of))).collect()
    }

    /// A turn, if the caller may have one now.
    pub fn take_now(&self, of: &Arc<Account>, share: Share) -> Option<Turn> {
        let (now, mut state) = (self.0.now(), self.0.state());
        state.resize(share.turns, now);
        let began = state.take(&of.name, now)?;
        Some(self.turn(of, began))
    }

    /// A turn, which ends when what is given is dropped.
    ///
    /// # Errors
    /// Where too many wait already, or there was none in time.
    pub async fn take(&self, of: &Arc<Account>, share: Share) -> Result<Turn, Refusal> {
        let mut waits = {
            let (now, mut state) = (self.0.now(), self.0.state());
            state.resize(share.turns, now);
            // at once, so that no turn is given back in between
            if let Some(began) = state.take(&of.name, now) {
                return Ok(self.turn(of, began));
            }
            let waits = state.wait(&of.name, share.waiting, now);
            let (ticket, turn) = waits.ok_or_else(Refusal::client_busy)?;
            Waits { all: self.0.clone(), of: of.clone(), ticket, turn }
        };
        let turn = timeout(share.patience, &mut waits.turn).await;
        let began = turn.ok().and_then(Result::ok).ok_or_else(Refusal::client_busy)?;
        Ok(self.turn(of, began))
    }

    fn turn(&self, of: &Arc<Account>, began: f64) -> Turn {
        Turn { all: self.0.clone(), of: of.clone(), began }
    }
}

#[cfg(test)]
mod tests;
