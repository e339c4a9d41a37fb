//! Share of the concurrency slots that each caller may hold, by the time its calls take. Pure.
//!
//! The client runs many quick calls as easily as a few, but a few long ones keep its processors from the calls of
//! others. So callers with quick calls share nearly all slots, and callers with long calls get a few.

/// Seconds after which an observation counts half.
const HALF_LIFE: f64 = 30.0;
/// Seconds after its last call during which a caller is compared with others.
const LATELY: f64 = 60.0;
/// Seconds after its last call until a caller is forgotten.
const FORGOTTEN: f64 = 300.0;
/// Calls that take less than this, in seconds, are quick.
const QUICK: f64 = 0.05;
/// Calls that take more than this, in seconds, are long, whatever those of others take.
const LONG: f64 = 1.0;
/// Calls are also long if they take more than this many times as long as another caller's.
const TIMES: f64 = 2.0;
/// Calls that must have ended before a caller counts as quick.
const ENOUGH: f64 = 8.0;

/// Durations of a caller's calls at the client. They are weighted by time, so that many quick calls do not hide a long
/// one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    calls: f64,
    /// Sum of the durations in seconds, and sum of their squares.
    seconds: f64,
    squares: f64,
    /// Time in seconds that the sums refer to.
    at: f64,
}

impl Pace {
    /// Adds a call that ended at `now` after `took` seconds.
    pub fn ended(&mut self, took: f64, now: f64) {
        *self = self.now(now);
        self.calls += 1.0;
        self.seconds += took;
        self.squares += took * took;
    }

    /// Whether the last call is so long ago that the observations no longer count.
    #[must_use]
    pub fn is_forgotten(&self, now: f64) -> bool {
        now - self.at > FORGOTTEN
    }

    /// Returns the observations decayed to a later time.
    fn now(self, now: f64) -> Self {
        let left = (-(now - self.at).max(0.0) / HALF_LIFE).exp2();
        let (calls, seconds, squares) = (self.calls * left, self.seconds * left, self.squares * left);
        Self { calls, seconds, squares, at: self.at.max(now) }
    }

    /// Adds calls that are still running, with the seconds that each has run so far.
    #[must_use]
    pub fn seen(&self, running: impl Iterator<Item = f64>, now: f64) -> Seen {
        let mut pace =
            if self.is_forgotten(now) { Self { at: now, ..Self::default() } } else { self.now(now) };
        let is_enough = pace.calls >= ENOUGH;
        // a running call gives only a lower bound, which cannot show that a caller is quick
        let compared = pace.typical().filter(|_| is_enough && now - self.at < LATELY);
        for ran in running {
            pace.seconds += ran;
            pace.squares += ran * ran;
        }
        Seen { typical: pace.typical(), compared, is_enough }
    }

    fn typical(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.squares / self.seconds)
    }
}

/// Summary of a caller's calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Typical duration of its calls in seconds, weighted by time; `None` without calls.
    typical: Option<f64>,
    /// The same for ended calls, if there were enough of them lately to compare others with.
    compared: Option<f64>,
    /// Whether enough of its calls have ended.
    is_enough: bool,
}

impl Seen {
    /// Classifies the caller. `quickest` is the typical duration of the quickest other caller. A caller is not slow
    /// merely because the client is slow for all, or if no other caller calls.
    fn kind(&self, quickest: Option<f64>) -> Kind {
        let long = quickest.map_or(LONG, |quickest| (TIMES * quickest).clamp(QUICK, LONG));
        if self.typical.is_some_and(|typical| typical > long) {
            Kind::Slow
        } else if self.is_enough {
            Kind::Quick
        } else {
            Kind::New
        }
    }
}

/// Typical durations, in seconds, of the two quickest callers that called lately.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quickest([Option<f64>; 2]);

impl Quickest {
    /// Adds a caller.
    pub fn and(&mut self, seen: Seen) {
        let Some(typical) = seen.compared else { return };
        let [first, second] = self.0;
        let is_less = |than: Option<f64>| than.is_none_or(|than| typical < than);
        self.0 = match (is_less(first), is_less(second)) {
            (true, _) => [Some(typical), first],
            (false, true) => [first, Some(typical)],
            (false, false) => return,
        };
    }

    /// Classifies one of the added callers by comparison with the others.
    #[must_use]
    pub fn kind(&self, seen: Seen) -> Kind {
        let [first, second] = self.0;
        let is_first = seen.compared.is_some() && seen.compared == first;
        seen.kind(if is_first { second } else { first })
    }
}

/// Kind of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its calls are quick.
    Quick,
    /// Too few of its calls have ended.
    New,
    /// Its calls take long.
    Slow,
}

/// State of the concurrency slots as one caller sees them.
#[derive(Clone, Copy, Debug)]
pub struct ConcurrencyLimit {
    /// All slots.
    pub all: u32,
    /// Slots in use.
    pub taken: u32,
    /// Slots in use by this caller.
    pub own: u32,
    /// Slots in use by slow callers.
    pub slow: u32,
}

impl ConcurrencyLimit {
    /// Whether a caller of this kind may have one more slot.
    ///
    /// A caller may hold fewer slots than are free: one caller alone holds at most half, two hold a third each, and
    /// some are always left for another. A caller that is not quick holds at most an eighth. Slow callers hold an
    /// eighth together; while they hold less than half of all slots, each of them may hold one.
    #[must_use]
    pub fn may(self, kind: Kind) -> bool {
        let few = (self.all / 8).max(1);
        let slow = if self.own == 0 { (self.all / 2).max(1) } else { few };
        self.own < self.all.saturating_sub(self.taken)
            && (kind == Kind::Quick || self.own < few)
            && (kind != Kind::Slow || self.slow < slow)
    }
}

/// Whether a caller may have one more waiting call: it must have fewer than the queue has free places.
#[must_use]
pub fn may_wait(most: u32, waiting: u32, own: u32) -> bool {
    own < most.saturating_sub(waiting)
}

#[cfg(test)]
mod tests;
