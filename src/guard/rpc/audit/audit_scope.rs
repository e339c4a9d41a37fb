//! Audit records of calls: of rejected ones, and of forwarded ones however their answer ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{
    Space,
    record::{self, Fact, Verdict, Way},
};
use crate::guard::rpc::{
    decide::{authorize::Authorized, rejection::Rejection, side_effects::changes_state},
    limits::caller_state::CallerState,
    metrics::Metrics,
};

/// Caller and connection that calls are recorded for. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    /// Counters and the audit log.
    pub counts: Arc<Metrics>,
    /// Connection and transport of the calls.
    pub way: Way,
    /// The caller, if it is known.
    pub account: Option<Arc<CallerState>>,
    /// How the caller is known, as in [`Known::who`](crate::guard::rpc::decide::identity::Known).
    pub who: Option<Arc<str>>,
    /// When the request arrived.
    pub since: Instant,
}

/// Reason if the connection ended before the call did.
const CUT: &str = "cut";
/// Reasons if a request's header could not be read.
const HEADER_TOO_LARGE: &str = "header_too_large";
const HEADER_MALFORMED: &str = "header_malformed";

/// The next number for a call with two records.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl Ledger {
    /// Records a request that is rejected as a whole.
    pub fn refused(&self, rejection: &Rejection, bytes: u64) {
        self.refused_call(None, rejection, bytes);
    }

    /// Records a request whose header could not be read. The HTTP library has answered it already.
    pub fn unread(&self, is_too_large: bool) {
        self.not_passed_on(None, if is_too_large { HEADER_TOO_LARGE } else { HEADER_MALFORMED }, 0);
    }

    /// Records a rejected call, alone or in a batch.
    pub fn refused_call(&self, method: Option<&str>, rejection: &Rejection, bytes: u64) {
        self.not_passed_on(method, rejection.reason, bytes);
    }

    fn not_passed_on(&self, method: Option<&str>, reason: &'static str, bytes: u64) {
        self.counts.refused(self.account.as_deref(), reason);
        let reason = Some(reason);
        let took = self.since.elapsed();
        let fact = Fact { reason, bytes: (bytes, 0), took, ..self.fact(Verdict::Refused, method) };
        self.counts.audit.note(&self.way, &fact);
    }

    /// Records the rejected calls of a body.
    pub fn judged(&self, judged: &Authorized<'_>) {
        for refused in judged.refused() {
            self.refused_call(refused.method, &refused.why, refused.bytes as u64);
        }
    }

    /// Records a call whose connection ended before it got a concurrency slot.
    pub fn cut(&self, method: &str, bytes: u64) {
        self.not_passed_on(Some(method), CUT, bytes);
    }

    /// Reserves space for all records of a call before it is sent. Called once the call has its concurrency slot, so
    /// waiting calls reserve no space.
    ///
    /// # Errors
    /// If there is no space. The call must not be sent; the caller of this function records that.
    pub fn open(&self, method: &str, bytes: u64) -> Result<AuditScope, Rejection> {
        let line = record::most(&self.fact(Verdict::Allowed, Some(method)));
        let call = changes_state(method).then(|| NUMBERS.fetch_add(1, Ordering::Relaxed));
        let lines = if call.is_some() { 2 } else { 1 };
        let space = self.counts.audit.reserve(lines * line).ok_or_else(Rejection::audit_blocked)?;
        let state = State::Open;
        Ok(AuditScope { ledger: self.clone(), method: method.into(), bytes, answered: 0, call, space, state })
    }

    /// Records that a WebSocket was opened.
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

/// Records one call that is about to be forwarded. If dropped early, it records the call as cut, or as rejected if it
/// was not sent.
pub struct AuditScope {
    ledger: Ledger,
    method: Box<str>,
    bytes: u64,
    answered: u64,
    /// Number of the call if it may change state.
    call: Option<u64>,
    space: Space,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was sent yet.
    Open,
    Sent,
    /// The last record is written.
    Ended,
}

impl AuditScope {
    /// Marks the call as sent. Writes the record `begun` if the call may change state.
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

    /// Adds to the number of bytes forwarded to the caller.
    pub fn answered(&mut self, bytes: usize) {
        self.answered += bytes as u64;
    }

    /// Writes the last record; `reason` says how the answer ended early. A call that was not sent is recorded as
    /// rejected.
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

    /// Records that the call was rejected after all and did not reach the client.
    pub fn shed(&mut self, rejection: &Rejection) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Ended => {}
            State::Sent if self.call.is_some() => {
                // `begun` is on record, so the end of the call must be as well
                let ledger = &self.ledger;
                ledger.counts.refused(ledger.account.as_deref(), rejection.reason);
                let took = ledger.since.elapsed();
                self.last(Verdict::Refused, Some(rejection.reason), took);
            }
            State::Open | State::Sent => self.refused(rejection.reason),
        }
    }

    fn last(&mut self, verdict: Verdict, reason: Option<&'static str>, took: Duration) {
        let Self { ledger, method, space, call, bytes, answered, .. } = self;
        let bytes = (*bytes, *answered);
        let fact = Fact { reason, call: *call, bytes, took, ..ledger.fact(verdict, Some(method)) };
        ledger.counts.audit.last(space, &ledger.way, &fact);
    }

    /// Records a rejection. It uses the space of rejections, not that of calls.
    fn refused(&mut self, reason: &'static str) {
        let Self { ledger, space, .. } = self;
        ledger.counts.refused(ledger.account.as_deref(), reason);
        let (reason, bytes, took) = (Some(reason), (self.bytes, 0), ledger.since.elapsed());
        let fact = Fact { reason, bytes, took, ..ledger.fact(Verdict::Refused, Some(&self.method)) };
        ledger.counts.audit.note(&ledger.way, &fact);
        ledger.counts.audit.release(space);
    }
}

impl Drop for AuditScope {
    fn drop(&mut self) {
        self.end(Some(CUT));
    }
}

#[cfg(test)]
mod tests;
