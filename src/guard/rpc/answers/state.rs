//! What is being done for an answer.

use std::future::Future;
use std::pin::Pin;

use hyper::body::Bytes;
use tokio::time::Instant;

use super::super::at_client::AtClient;
use super::super::entry::Entry;
use super::super::filters::Watch;
use super::super::judge::Ask;
use super::super::message::BEFORE_ID;
use super::super::refusal::Refusal;
use super::super::upstream::{Exchange, Turn};
use super::super::ws::subscriptions::Unanswered;

/// Why an answer ends.
#[derive(Debug)]
pub enum Stop {
    /// There is none to the call with this id; nothing of it was passed on.
    Refused(Refusal, Bytes),
    /// It breaks off.
    Broken(Refusal),
}

/// What is passed on, or why nothing is.
pub type Piece = Option<Result<Bytes, Stop>>;

/// What is being done.
pub(super) enum State {
    /// Nothing: the next call's turn is next.
    Next,
    /// For a turn.
    Waits(Box<(Ask, Coming<Result<Turn, Refusal>>)>),
    /// For a connection to the client.
    Dials(Box<(Under, Coming<Option<Exchange>>, Option<Turn>)>),
    Asks(Box<(Under, AtClient)>),
    /// Of a WebSocket's subscriptions.
    Subscribes(Box<(Under, Coming<Told>, Turn)>),
    Ended,
}

/// What is told of a subscription that was asked for, behind the answer's id.
pub(super) type Told = Result<Bytes, Unanswered>;

pub(super) type Coming<T> = Pin<Box<dyn Future<Output = T> + Send + Sync>>;

/// A call that has its turn.
pub(super) struct Under {
    pub(super) id: Option<Bytes>,
    pub(super) entry: Entry,
    pub(super) watch: Option<Watch>,
    /// The beginning of the answer, where something is looked for in it.
    pub(super) seen: Vec<u8>,
    /// Where its answer begins in what is passed on together.
    pub(super) start: usize,
    /// Whether something of its answer was passed on, or will be next.
    pub(super) has_begun: bool,
    /// The client ends an answer with a line's end, which in a batch stands behind the last one alone.
    pub(super) ends_line: bool,
    /// Bytes that may still be answered, where nobody waits for them.
    pub(super) left: u64,
    pub(super) due: Instant,
}

impl Under {
    /// So many bytes of the client's answer are passed on next, if anybody waits for them.
    pub(super) fn answered(&mut self, bytes: usize) {
        if let Some(id) = &self.id {
            let before = if self.has_begun { 0 } else { BEFORE_ID.len() + id.len() };
            self.entry.answered(before + bytes);
        }
    }
}
