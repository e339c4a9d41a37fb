//! What will be recorded of calls that were passed on, however their answer ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::account::Account;
use super::counts::Counts;
use super::judge::{Judged, size};
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
        self.counts.refused(self.account.as_deref(), refusal.reason);
        self.counts.audit.record(self.way, [self.fact(None, Some(refusal.reason), (bytes, 0))]);
    }

    /// Puts down what of a body of so many bytes is not passed on.
    pub fn judged(&self, judged: &Judged<'_>, bytes: u64) {
        if judged.refused.is_empty() {
            return;
        }
        let facts = judged.refused.iter().map(|refused| {
            self.counts.refused(self.account.as_deref(), refused.why.reason);
            let bytes = if judged.is_batch { refused.bytes as u64 } else { bytes };
            self.fact(refused.method, Some(refused.why.reason), (bytes, 0))
        });
        self.counts.audit.record(self.way, facts);
    }

    /// What will be put down of what is passed on.
    pub fn open(&self, judged: &Judged<'_>, bytes: u64) -> Entry {
        let calls = judged
            .allowed
            .iter()
            .map(|call| (call.method.to_owned(), if judged.is_batch { size(call) as u64 } else { bytes }));
        Entry { ledger: self.clone(), calls: calls.collect(), answered: 0 }
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

/// Calls that were passed on. Dropped, they are put down as cut.
pub struct Entry {
    ledger: Ledger,
    /// Methods, and the bytes of each call. Empty once they are put down.
    calls: Vec<(String, u64)>,
    answered: u64,
}

impl Entry {
    /// So many more bytes were passed to the caller.
    pub fn answered(&mut self, bytes: usize) {
        self.answered += bytes as u64;
    }

    /// Puts them down: answered, or why not.
    pub fn end(&mut self, reason: Option<&'static str>) {
        let calls = std::mem::take(&mut self.calls);
        if calls.is_empty() {
            return;
        }
        let counts = &self.ledger.counts;
        let took = self.ledger.since.elapsed();
        if let Some(account) = &self.ledger.account {
            account.allowed.fetch_add(calls.len() as u64, Ordering::Relaxed);
        }
        counts.answered(took, reason);
        let facts = calls.iter().map(|(method, bytes)| Fact {
            is_allowed: true,
            ..self.ledger.fact(Some(method), reason, (*bytes, self.answered))
        });
        counts.audit.record(self.ledger.way, facts);
    }

    /// Puts them down as not passed on after all.
    pub fn shed(&mut self, refusal: &Refusal) {
        let ledger = &self.ledger;
        let facts = self.calls.iter().map(|(method, bytes)| {
            ledger.counts.refused(ledger.account.as_deref(), refusal.reason);
            ledger.fact(Some(method), Some(refusal.reason), (*bytes, 0))
        });
        ledger.counts.audit.record(ledger.way, facts);
        self.calls.clear();
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.end(Some("cut"));
    }
}
