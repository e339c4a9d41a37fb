//! How many turns at the client a caller may have, by the time that its calls take there. Pure.
//!
//! The client runs many quick calls as well as a few, but a few long ones keep its processors from everybody else's. So
//! callers whose calls are quick share nearly all turns, and callers whose calls are long have a few of them.

/// Seconds after which what was seen of a caller counts half.
const HALF_LIFE: f64 = 30.0;
/// Seconds for which a caller is compared with others after its last call.
const LATELY: f64 = 60.0;
/// Seconds after its last call that a caller is forgotten.
const FORGOTTEN: f64 = 300.0;
/// Calls that take less, in seconds, are quick.
const QUICK: f64 = 0.05;
/// Calls that take more, in seconds, are long, however long those of others take.
const LONG: f64 = 1.0;
/// So many times as long as another caller's are calls that are held back for it.
const TIMES: f64 = 2.0;
/// So many calls must have ended before a caller is known to be quick.
const ENOUGH: f64 = 8.0;

/// How long the calls of a caller take at the client. Seconds weigh, not calls, so that many quick calls do not hide a
/// long one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    calls: f64,
    /// Seconds that they took together, and the sum of the squares.
    seconds: f64,
    squares: f64,
    /// When this was right, in seconds.
    at: f64,
}

impl Pace {
    /// A call has ended, and took so many seconds.
    pub fn ended(&mut self, took: f64, now: f64) {
        *self = self.now(now);
        self.calls += 1.0;
        self.seconds += took;
        self.squares += took * took;
    }

    /// Whether it is so long ago that it says nothing any more.
    #[must_use]
    pub fn is_forgotten(&self, now: f64) -> bool {
        now - self.at > FORGOTTEN
    }

    /// The same, as it counts at a later time.
    fn now(self, now: f64) -> Self {
        let left = (-(now - self.at).max(0.0) / HALF_LIFE).exp2();
        let (calls, seconds, squares) = (self.calls * left, self.seconds * left, self.squares * left);
        Self { calls, seconds, squares, at: self.at.max(now) }
    }

    /// With calls that have run for so many seconds each and still run.
    #[must_use]
    pub fn seen(&self, running: impl Iterator<Item = f64>, now: f64) -> Seen {
        let mut pace =
            if self.is_forgotten(now) { Self { at: now, ..Self::default() } } else { self.now(now) };
        let is_enough = pace.calls >= ENOUGH;
        // what still runs says how long a call takes at least, which makes nobody quick
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

/// What was seen of a caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// What a call of it takes, in seconds, weighted by time; `None` where it made none.
    typical: Option<f64>,
    /// The same of calls that have ended, where there were enough of them lately to compare others with.
    compared: Option<f64>,
    /// Whether enough of its calls have ended.
    is_enough: bool,
}

impl Seen {
    /// What kind of caller this is. `quickest` is what calls of the quickest of the others take: where the client is
    /// slow for everybody, or nobody else calls, nobody is held back for it.
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

/// What the calls of the two quickest callers take that called lately, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quickest([Option<f64>; 2]);

impl Quickest {
    /// With one more caller.
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

    /// What kind of caller one of them is, compared with the others.
    #[must_use]
    pub fn kind(&self, seen: Seen) -> Kind {
        let [first, second] = self.0;
        let is_first = seen.compared.is_some() && seen.compared == first;
        seen.kind(if is_first { second } else { first })
    }
}

/// What kind of caller it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its calls are quick.
    Quick,
    /// Too few of its calls are known.
    New,
    /// Its calls are long.
    Slow,
}

/// Turns at the client.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    /// There are.
    pub all: u32,
    /// Somebody has.
    pub taken: u32,
    /// The caller has.
    pub own: u32,
    /// Slow callers have.
    pub slow: u32,
}

impl Turns {
    /// Whether a caller of this kind may have one more: fewer than are free, so one caller has half at most, two have
    /// a third each, and somebody else always finds some. Who is not known to be quick has an eighth at most. Slow
    /// ones have an eighth together; each has one all the same while they have less than half of all.
    #[must_use]
    pub fn may(self, kind: Kind) -> bool {
        let few = (self.all / 8).max(1);
        let slow = if self.own == 0 { (self.all / 2).max(1) } else { few };
        self.own < self.all.saturating_sub(self.taken)
            && (kind == Kind::Quick || self.own < few)
            && (kind != Kind::Slow || self.slow < slow)
    }
}

/// Whether a caller may have one more call wait, where so many do: fewer than more may wait.
#[must_use]
pub fn may_wait(most: u32, waiting: u32, own: u32) -> bool {
    own < most.saturating_sub(waiting)
}

#[cfg(test)]
mod tests;
