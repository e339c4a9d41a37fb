//! What will be recorded of calls that are passed on, however their answers end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::account::Account;
use super::counts::Counts;
use super::judge::Judged;
use super::record::{Fact, Way};
use super::refusal::Refusal;

/// To whom calls are put down, and over what they came.
#[derive(Clone)]
pub struct Ledger {
    /// What is counted, and where records go.
    pub counts: Arc<Counts>,
    /// Over what they came.
    pub way: Way,
    /// Who asked.
    pub account: Option<Arc<Account>>,
    /// When they came.
    pub since: Instant,
}

impl Ledger {
    /// Puts down a request of which nothing is passed on.
    pub fn refused(&self, refusal: &Refusal, bytes: u64) {
        self.refused_call(None, refusal, bytes);
    }

    /// Puts down a call that is not passed on.
    pub fn refused_call(&self, method: Option<&str>, refusal: &Refusal, bytes: u64) {
        self.counts.refused(self.account.as_deref(), refusal.reason);
        self.counts.audit.record(self.way, [self.fact(method, Some(refusal.reason), (bytes, 0))]);
    }

    /// Puts down what of a body of so many bytes is not passed on.
    pub fn judged(&self, judged: &Judged<'_>, bytes: u64) {
        for refused in judged.refused() {
            let bytes = if judged.is_batch { refused.bytes as u64 } else { bytes };
            self.refused_call(refused.method, &refused.why, bytes);
        }
    }

    /// What will be put down of a call that is to be passed on.
    ///
    /// # Errors
    /// Where its record would have no place.
    pub fn open(&self, method: &str, bytes: u64) -> Result<Entry, Refusal> {
        if !self.counts.audit.has_room() {
            return Err(Refusal::audit_blocked());
        }
        let call = Some((method.to_owned(), bytes));
        Ok(Entry { ledger: self.clone(), call, answered: 0, is_sent: false })
    }

    fn fact<'a>(
        &'a self,
        method: Option<&'a str>,
        reason: Option<&'static str>,
        bytes: (u64, u64),
    ) -> Fact<'a> {
        let caller = self.account.as_ref().map(|account| account.name.as_str());
        Fact { caller, method, reason, is_allowed: false, bytes, took: self.since.elapsed() }
    }
}

/// A call that is to be passed on. Dropped, it is put down as cut.
pub struct Entry {
    ledger: Ledger,
    /// Its method, and its bytes. Nothing once it is put down.
    call: Option<(String, u64)>,
    answered: u64,
    is_sent: bool,
}

impl Entry {
    /// It goes to the client now.
    pub fn sent(&mut self) {
        self.is_sent = true;
    }

    /// So many more bytes were passed to the caller.
    pub fn answered(&mut self, bytes: usize) {
        self.answered += bytes as u64;
    }

    /// Puts it down: answered, or why not.
    pub fn end(&mut self, reason: Option<&'static str>) {
        let Some((method, bytes)) = self.call.take() else { return };
        let counts = &self.ledger.counts;
        if let Some(account) = &self.ledger.account {
            account.allowed.fetch_add(1, Ordering::Relaxed);
        }
        counts.answered(self.ledger.since.elapsed(), reason);
        let fact = self.ledger.fact(Some(&method), reason, (bytes, self.answered));
        counts.audit.record(self.ledger.way, [Fact { is_allowed: true, ..fact }]);
    }

    /// Puts it down as not passed on after all.
    pub fn shed(&mut self, refusal: &Refusal) {
        if let Some((method, bytes)) = self.call.take() {
            self.ledger.refused_call(Some(&method), refusal, bytes);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.is_sent {
            self.end(Some("cut"));
        } else if let Some((method, bytes)) = self.call.take() {
            let ledger = &self.ledger;
            ledger.counts.refused(ledger.account.as_deref(), "cut");
            ledger.counts.audit.record(ledger.way, [ledger.fact(Some(&method), Some("cut"), (bytes, 0))]);
        }
    }
}
