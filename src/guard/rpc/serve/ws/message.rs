//! A message that arrives in pieces, charged from its first byte.

use std::sync::Arc;
use std::task::Context;

use hyper::body::Bytes;
use tokio::time::Instant;

use crate::guard::rpc::limits::{
    caller_state::CallerState,
    memory_budget::{Budget, Charge},
};

/// Allocation step of a small message in bytes.
const SMALL: usize = 16 * 1024;
/// Allocation step of a large message in bytes. The charge equals the allocated memory.
const STEP: usize = 64 * 1024;

/// A message being received.
pub(super) struct Message {
    budget: Arc<Budget>,
    account: Arc<CallerState>,
    charge: Charge,
    first: Bytes,
    rest: Vec<u8>,
    began: Option<Instant>,
    /// A piece that is not charged yet.
    next: Option<Bytes>,
    /// When the message first had to wait for memory.
    waits: Option<Instant>,
}

impl Message {
    pub(super) fn new(budget: &Arc<Budget>, account: &Arc<CallerState>) -> Self {
        let (budget, account) = (budget.clone(), account.clone());
        let charge = Charge::nothing(&budget, &account);
        let (first, rest) = (Bytes::new(), Vec::new());
        Self { budget, account, charge, first, rest, began: None, next: None, waits: None }
    }

    /// When its first piece was taken.
    pub(super) fn began(&self) -> Option<Instant> {
        self.began
    }

    /// When it first had to wait for memory.
    pub(super) fn waits(&self) -> Option<Instant> {
        self.waits
    }

    /// Adds a piece. [`Self::poll_room`] must return true before the next one.
    pub(super) fn add(&mut self, piece: Bytes) {
        self.next = Some(piece);
    }

    /// Whether all pieces are charged. Otherwise wakes the task when memory may be available. The wait is not timed
    /// while the message is read `ahead`.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>, ahead: bool) -> bool {
        let Some(piece) = &self.next else { return true };
        let size = self.first.len() + self.rest.len() + piece.len();
        let room = match size {
            _ if self.first.is_empty() && self.rest.is_empty() => size,
            size if size <= self.rest.capacity() => self.rest.capacity(),
            size => size.next_multiple_of(if size < STEP { SMALL } else { STEP }),
        };
        let more = room.saturating_sub(self.charge.bytes());
        if self.charge.poll_grow(more, cx).is_pending() {
            if !ahead {
                self.waits.get_or_insert_with(Instant::now);
            }
            return false;
        }
        self.began.get_or_insert_with(Instant::now);
        let Some(piece) = self.next.take() else { return true };
        if size == piece.len() {
            self.first = piece;
            return true;
        }
        self.rest.reserve_exact(room - self.rest.len());
        self.rest.extend_from_slice(&std::mem::take(&mut self.first));
        self.rest.extend_from_slice(&piece);
        true
    }

    /// Returns the whole message with its charge.
    pub(super) fn take(&mut self) -> (Bytes, Charge) {
        (self.began, self.waits) = (None, None);
        let (first, rest) = (std::mem::take(&mut self.first), std::mem::take(&mut self.rest));
        let charge = std::mem::replace(&mut self.charge, Charge::nothing(&self.budget, &self.account));
        (if rest.is_empty() { first } else { rest.into() }, charge)
    }
}
