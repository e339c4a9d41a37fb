//! States of an answer.

use std::future::Future;
use std::pin::Pin;

use hyper::body::Bytes;
use tokio::time::Instant;

use super::super::{
    client_call::AtClient,
    upstream::{ConcurrencySlot, Exchange},
    ws::subscriptions::Unanswered,
};
use crate::guard::rpc::{
    audit::audit_scope::AuditScope,
    decide::{authorize::Ask, message::BEFORE_ID, rejection::Rejection},
    limits::filters::Watch,
};

/// Why an answer ends early.
#[derive(Debug)]
pub enum Stop {
    /// The call with this id is rejected; nothing of its answer was forwarded.
    Refused(Rejection, Bytes),
    /// The answer breaks off.
    Broken(Rejection),
}

/// A piece of the answer, why it ends early, or its end.
pub type Piece = Option<Result<Bytes, Stop>>;

/// What the answer is doing.
pub(super) enum State {
    /// The next call has not started.
    Next,
    /// Waits for a concurrency slot.
    Waits(Box<(Ask, Coming<Result<ConcurrencySlot, Rejection>>)>),
    /// Waits for a connection to the client.
    Dials(Box<(Under, Coming<Option<Exchange>>, Option<ConcurrencySlot>)>),
    Asks(Box<(Under, AtClient)>),
    /// Waits for an answer to a call about subscriptions of the WebSocket.
    Subscribes(Box<(Under, Coming<Told>, ConcurrencySlot)>),
    Ended,
}

/// The answer after its id, or why there is none.
pub(super) type Told = Result<Bytes, Unanswered>;

pub(super) type Coming<T> = Pin<Box<dyn Future<Output = T> + Send + Sync>>;

/// A call that has its slot.
pub(super) struct Under {
    pub(super) id: Option<Bytes>,
    pub(super) audit_scope: AuditScope,
    pub(super) watch: Option<Watch>,
    /// Start of the answer, if a filter watch needs it.
    pub(super) seen: Vec<u8>,
    /// Where its answer begins in the collected small pieces.
    pub(super) start: usize,
    /// Whether a piece of its answer was forwarded or queued.
    pub(super) has_begun: bool,
    /// Whether a line end of the client is held back: in a batch only the last one is forwarded.
    pub(super) ends_line: bool,
    /// Bytes that the answer may still have, for a call without an id.
    pub(super) left: u64,
    pub(super) due: Instant,
}

impl Under {
    /// Counts bytes of the client's answer that are about to be forwarded. Does nothing for a call without an id.
    pub(super) fn answered(&mut self, bytes: usize) {
        if let Some(id) = &self.id {
            let before = if self.has_begun { 0 } else { BEFORE_ID.len() + id.len() };
            self.audit_scope.answered(before + bytes);
        }
    }
}
