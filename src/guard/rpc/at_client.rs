//! A call at the client: its turn is held until the client has answered, whoever still waits for the answer.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::Bytes;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::message::ANSWER;
use super::upstream::{Exchange, Fault, Turn, Upstream};

/// Why there is no answer, or no end of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The client did not answer properly.
    Client,
    /// It took too long.
    Slow,
}

/// A call that was sent, and its answer.
pub struct AtClient {
    /// There until it has ended.
    held: Option<(Exchange, Turn)>,
    upstream: Arc<Upstream>,
    due: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// The first bytes of the answer, as long as they are too few.
    first: Vec<u8>,
    is_known: bool,
}

impl AtClient {
    /// A request that is to be answered by then.
    #[must_use]
    pub fn new(exchange: Exchange, turn: Turn, upstream: Arc<Upstream>, due: Instant) -> Self {
        let (timer, first) = (None, Vec::new());
        Self { held: Some((exchange, turn)), upstream, due, timer, first, is_known: false }
    }

    /// Whether all of the answer was given.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.held.is_none()
    }

    /// Bytes of the answer that are still to come, where that is known.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        self.held.as_ref().map_or(Some(0), |(exchange, _)| exchange.left())
    }

    /// The next bytes of the answer, without the beginning that every answer has.
    ///
    /// # Errors
    /// Where there is no answer to this call, or it breaks off.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failed>>> {
        let polled = self.poll_piece(cx);
        if polled.is_pending() {
            let due = self.due;
            ready!(self.timer.get_or_insert_with(|| Box::pin(sleep_until(due))).as_mut().poll(cx));
            // the connection ends, and what the client can stop with it
            self.held = None;
            return Poll::Ready(Some(Err(Failed::Slow)));
        }
        if matches!(polled, Poll::Ready(Some(Err(_)))) {
            self.held = None;
        }
        polled
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failed>>> {
        loop {
            let Some((exchange, _)) = &mut self.held else { return Poll::Ready(None) };
            if let Err(fault) = ready!(exchange.poll_head(cx)) {
                return Poll::Ready(Some(Err(fault.into())));
            }
            let piece = ready!(exchange.poll_piece(cx)).transpose().map_err(Failed::from);
            if exchange.has_ended() {
                self.end();
            }
            match piece {
                Err(failed) => return Poll::Ready(Some(Err(failed))),
                Ok(None) if self.is_known => return Poll::Ready(None),
                Ok(None) => return Poll::Ready(Some(Err(Failed::Client))),
                Ok(Some(piece)) if self.is_known => return Poll::Ready(Some(Ok(piece))),
                Ok(Some(piece)) => match self.begin(piece) {
                    Some(piece) => return Poll::Ready(Some(piece)),
                    None if self.held.is_none() => return Poll::Ready(Some(Err(Failed::Client))),
                    None => {}
                },
            }
        }
    }

    /// What follows the beginning that every answer has, once there is more than that.
    fn begin(&mut self, piece: Bytes) -> Option<Result<Bytes, Failed>> {
        let piece = if self.first.is_empty() {
            piece
        } else {
            self.first.extend_from_slice(&piece);
            Bytes::from(std::mem::take(&mut self.first))
        };
        let size = ANSWER.len();
        if piece.len() <= size {
            self.first = piece.to_vec();
            return None;
        }
        self.is_known = piece.starts_with(ANSWER) && piece[size] == b',';
        Some(if self.is_known { Ok(piece.slice(size..)) } else { Err(Failed::Client) })
    }

    fn end(&mut self) {
        if let Some((exchange, turn)) = self.held.take() {
            self.upstream.keep(exchange);
            drop(turn);
        }
    }
}

impl From<Fault> for Failed {
    fn from(_: Fault) -> Self {
        Self::Client
    }
}

/// The client goes on with what nobody waits for: its turn lasts as long, or until it is due.
impl Drop for AtClient {
    fn drop(&mut self) {
        let (Some((mut exchange, turn)), Ok(runtime)) = (self.held.take(), Handle::try_current()) else {
            return;
        };
        let (upstream, due) = (self.upstream.clone(), self.due);
        runtime.spawn(async move {
            let drained = timeout_at(due, std::future::poll_fn(|cx| exchange.poll_drain(cx))).await;
            if matches!(drained, Ok(Ok(()))) {
                upstream.keep(exchange);
            }
            drop(turn);
        });
    }
}
