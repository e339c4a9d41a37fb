//! What is recorded of calls: of those that are refused at once, and of those that are passed on, however their answer
//! ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::account::Account;
use super::audit::Space;
use super::counts::Counts;
use super::effect::changes_state;
use super::judge::Judged;
use super::record::{self, Fact, Verdict, Way};
use super::refusal::Refusal;

/// To whom calls are put down, and over what they came. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    /// What is counted, and where records go.
    pub counts: Arc<Counts>,
    /// Over what they came.
    pub way: Way,
    /// Who asked.
    pub account: Option<Arc<Account>>,
    /// By what it is known, as [`Known::who`](super::identity::Known) has it.
    pub who: Option<Arc<str>>,
    /// When they came.
    pub since: Instant,
}

/// How a connection ended before its call.
const CUT: &str = "cut";
/// Why a request's header could not be read.
const HEADER_TOO_LARGE: &str = "header_too_large";
const HEADER_MALFORMED: &str = "header_malformed";

/// Numbers of calls that have two records.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl Ledger {
    /// Puts down a request of which nothing is passed on.
    pub fn refused(&self, refusal: &Refusal, bytes: u64) {
        self.refused_call(None, refusal, bytes);
    }

    /// Puts down a request whose header could not be read; what reads it has answered it already.
    pub fn unread(&self, is_too_large: bool) {
        self.not_passed_on(None, if is_too_large { HEADER_TOO_LARGE } else { HEADER_MALFORMED }, 0);
    }

    /// Puts down a call, of a batch or alone, that is not passed on.
    pub fn refused_call(&self, method: Option<&str>, refusal: &Refusal, bytes: u64) {
        self.not_passed_on(method, refusal.reason, bytes);
    }

    fn not_passed_on(&self, method: Option<&str>, reason: &'static str, bytes: u64) {
        self.counts.refused(self.account.as_deref(), reason);
        let reason = Some(reason);
        let took = self.since.elapsed();
        let fact = Fact { reason, bytes: (bytes, 0), took, ..self.fact(Verdict::Refused, method) };
        self.counts.audit.note(&self.way, &fact);
    }

    /// Puts down what of a body is not passed on.
    pub fn judged(&self, judged: &Judged<'_>) {
        for refused in judged.refused() {
            self.refused_call(refused.method, &refused.why, refused.bytes as u64);
        }
    }

    /// Puts down a call that ended before it had its turn.
    pub fn cut(&self, method: &str, bytes: u64) {
        self.not_passed_on(Some(method), CUT, bytes);
    }

    /// Reserves space for all records of one call, before it is sent. A call has its turn at the client by then: what
    /// only waits for one keeps no space from others.
    ///
    /// # Errors
    /// Where there is no room: the call may not be made. That is not put down yet.
    pub fn open(&self, method: &str, bytes: u64) -> Result<Entry, Refusal> {
        let line = record::most(&self.fact(Verdict::Allowed, Some(method)));
        let call = changes_state(method).then(|| NUMBERS.fetch_add(1, Ordering::Relaxed));
        let lines = if call.is_some() { 2 } else { 1 };
        let space = self.counts.audit.reserve(lines * line).ok_or_else(Refusal::audit_blocked)?;
        let state = State::Open;
        Ok(Entry { ledger: self.clone(), method: method.into(), bytes, answered: 0, call, space, state })
    }

    /// Puts down that a WebSocket was opened.
    pub fn opened(&self) {
        let fact = Fact { took: self.since.elapsed(), ..self.fact(Verdict::Opened, None) };
        self.counts.audit.note(&self.way, &fact);
    }

    fn fact<'a>(&'a self, verdict: Verdict, method: Option<&'a str>) -> Fact<'a> {
        Fact {
            caller: self.account.as_ref().map(|account| account.name.as_str()),
            who: self.who.as_deref(),
            method,
            verdict,
            reason: None,
            call: None,
            bytes: (0, 0),
            took: Duration::ZERO,
        }
    }
}

/// A call that is to be passed on. Dropped, it is put down as cut: as refused where it was not sent.
pub struct Entry {
    ledger: Ledger,
    method: Box<str>,
    bytes: u64,
    answered: u64,
    /// Its number, if it may change something.
    call: Option<u64>,
    space: Space,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing of it was sent.
    Open,
    Sent,
    /// It is put down.
    Ended,
}

impl Entry {
    /// It goes to the client now. A call that may change something is put down as begun.
    pub fn sent(&mut self) {
        if self.state != State::Open {
            return;
        }
        self.state = State::Sent;
        if self.call.is_some() {
            let Self { ledger, method, space, call, bytes, .. } = self;
            let (bytes, took) = ((*bytes, 0), ledger.since.elapsed());
            let fact = Fact { call: *call, bytes, took, ..ledger.fact(Verdict::Begun, Some(method)) };
            ledger.counts.audit.write(space, &ledger.way, &fact);
        }
    }

    /// So many more bytes were passed to the caller.
    pub fn answered(&mut self, bytes: usize) {
        self.answered += bytes as u64;
    }

    /// Puts it down: answered, or how its answer ended early. What was not sent is put down as refused.
    pub fn end(&mut self, reason: Option<&'static str>) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Ended => {}
            State::Open => self.refused(reason.unwrap_or(CUT)),
            State::Sent => {
                let took = self.ledger.since.elapsed();
                if let Some(account) = &self.ledger.account {
                    account.allowed.fetch_add(1, Ordering::Relaxed);
                }
                self.ledger.counts.answered(took, reason);
                self.last(Verdict::Allowed, reason, took);
            }
        }
    }

    /// Puts it down as not passed on after all: it did not reach the client.
    pub fn shed(&mut self, refusal: &Refusal) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Ended => {}
            State::Sent if self.call.is_some() => {
                // it was said that it begins, so it is said how it ended
                let ledger = &self.ledger;
                ledger.counts.refused(ledger.account.as_deref(), refusal.reason);
                let took = ledger.since.elapsed();
                self.last(Verdict::Refused, Some(refusal.reason), took);
            }
            State::Open | State::Sent => self.refused(refusal.reason),
        }
    }

    fn last(&mut self, verdict: Verdict, reason: Option<&'static str>, took: Duration) {
        let Self { ledger, method, space, call, bytes, answered, .. } = self;
        let bytes = (*bytes, *answered);
        let fact = Fact { reason, call: *call, bytes, took, ..ledger.fact(verdict, Some(method)) };
        ledger.counts.audit.last(space, &ledger.way, &fact);
    }

    /// It is of no call that was made, and has the space that those have.
    fn refused(&mut self, reason: &'static str) {
        let Self { ledger, space, .. } = self;
        ledger.counts.refused(ledger.account.as_deref(), reason);
        let (reason, bytes, took) = (Some(reason), (self.bytes, 0), ledger.since.elapsed());
        let fact = Fact { reason, bytes, took, ..ledger.fact(Verdict::Refused, Some(&self.method)) };
        ledger.counts.audit.note(&ledger.way, &fact);
        ledger.counts.audit.release(space);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.end(Some(CUT));
    }
}

#[cfg(test)]
mod tests;
