//! Entries of the calls of one body, which are passed on together.

use super::entry::{Entry, Ledger};
use super::judge::{Judged, size};
use super::refusal::Refusal;

/// An entry for each call that is passed on.
pub struct Entries(Vec<Entry>);

/// Puts down what of a body of so many bytes is not passed on.
pub fn refused(ledger: &Ledger, judged: &Judged<'_>, bytes: u64) {
    for refused in &judged.refused {
        let bytes = if judged.is_batch { refused.bytes as u64 } else { bytes };
        ledger.refused_call(refused.method, &refused.why, bytes);
    }
}

/// Puts down what would have been passed on as not passed on.
pub fn shed(ledger: &Ledger, judged: &Judged<'_>, bytes: u64, refusal: &Refusal) {
    for call in &judged.allowed {
        let bytes = if judged.is_batch { size(call) as u64 } else { bytes };
        ledger.refused_call(Some(call.method), refusal, bytes);
    }
}

impl Entries {
    /// Reserves space for the records of all of them.
    ///
    /// # Errors
    /// Where there is not enough for all; none of them is put down.
    pub fn open(ledger: &Ledger, judged: &Judged<'_>, bytes: u64) -> Result<Self, Refusal> {
        let mut entries = Self(Vec::with_capacity(judged.allowed.len()));
        for call in &judged.allowed {
            let bytes = if judged.is_batch { size(call) as u64 } else { bytes };
            match ledger.open(call.method, bytes) {
                Ok(entry) => entries.0.push(entry),
                Err(refusal) => {
                    entries.0.drain(..).for_each(Entry::withdraw);
                    return Err(refusal);
                }
            }
        }
        Ok(entries)
    }

    /// As [`Entry::sent`].
    pub fn sent(&mut self) {
        self.0.iter_mut().for_each(Entry::sent);
    }

    /// As [`Entry::answered`], for each.
    pub fn answered(&mut self, bytes: usize) {
        self.0.iter_mut().for_each(|entry| entry.answered(bytes));
    }

    /// As [`Entry::end`].
    pub fn end(&mut self, reason: Option<&'static str>) {
        self.0.iter_mut().for_each(|entry| entry.end(reason));
    }

    /// As [`Entry::shed`].
    pub fn shed(&mut self, refusal: &Refusal) {
        self.0.iter_mut().for_each(|entry| entry.shed(refusal));
    }
}
