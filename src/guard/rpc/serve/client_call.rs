//! A call at the client. It holds its concurrency slot until the client has answered or its time is up, even if the
//! caller does not read or is gone.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::body::Bytes;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::upstream::{ConcurrencySlot, Exchange, Fault, Upstream};
use crate::guard::rpc::decide::message::ANSWER;

/// Why the answer is missing or incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The client's answer is not valid.
    Client,
    /// The client's answer took too long.
    Slow,
}

/// The exchange with the client and its slot; `None` once it has ended.
#[derive(Clone)]
struct Held(Arc<Mutex<Option<(Exchange, ConcurrencySlot)>>>);

impl Held {
    fn lock(&self) -> MutexGuard<'_, Option<(Exchange, ConcurrencySlot)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that was sent to the client, and its answer.
pub struct AtClient {
    held: Held,
    has_ended: bool,
    upstream: Arc<Upstream>,
    due: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// Task that ends the exchange at its deadline even if the next piece is never requested.
    watch: Option<AbortHandle>,
    /// First bytes of the answer while they are too few to check.
    first: Vec<u8>,
    is_known: bool,
}

impl AtClient {
    /// Starts with a request that must be answered by `due`.
    #[must_use]
    pub fn new(exchange: Exchange, turn: ConcurrencySlot, upstream: Arc<Upstream>, due: Instant) -> Self {
        let held = Held(Arc::new(Mutex::new(Some((exchange, turn)))));
        let (timer, watch, first) = (None, None, Vec::new());
        Self { held, has_ended: false, upstream, due, timer, watch, first, is_known: false }
    }

    /// Whether the answer is complete.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Returns the number of bytes still to come, if it is known.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        if self.has_ended {
            return Some(0);
        }
        self.held.lock().as_ref().and_then(|(exchange, _)| exchange.left())
    }

    /// Returns the next piece of the answer, without the start that all answers share.
    ///
    /// # Errors
    /// If the answer is missing, invalid or incomplete.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failed>>> {
        let polled = self.poll_piece(cx);
        if polled.is_pending() {
            let due = self.due;
            ready!(self.timer.get_or_insert_with(|| Box::pin(sleep_until(due))).as_mut().poll(cx));
            // closing the connection also stops the client's work where it can
            self.end();
            return Poll::Ready(Some(Err(Failed::Slow)));
        }
        if matches!(polled, Poll::Ready(Some(Err(_)))) {
            self.end();
        } else if !self.has_ended && self.watch.is_none() {
            self.watch();
        }
        polled
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failed>>> {
        loop {
            if self.has_ended {
                return Poll::Ready(None);
            }
            let held = self.held.clone();
            let mut held = held.lock();
            let Some((exchange, _)) = held.as_mut() else { return Poll::Ready(Some(Err(Failed::Slow))) };
            if let Err(fault) = ready!(exchange.poll_head(cx)) {
                return Poll::Ready(Some(Err(fault.into())));
            }
            let piece = ready!(exchange.poll_piece(cx)).transpose().map_err(Failed::from);
            if exchange.has_ended() {
                self.has_ended = true;
                if let Some((exchange, turn)) = held.take() {
                    self.upstream.keep(exchange);
                    drop(turn);
                }
            }
            drop(held);
            match piece {
                Err(failed) => return Poll::Ready(Some(Err(failed))),
                Ok(None) if self.is_known => return Poll::Ready(None),
                Ok(None) => return Poll::Ready(Some(Err(Failed::Client))),
                Ok(Some(piece)) if self.is_known => return Poll::Ready(Some(Ok(piece))),
                Ok(Some(piece)) => match self.begin(piece) {
                    Some(piece) => return Poll::Ready(Some(piece)),
                    None if self.has_ended => return Poll::Ready(Some(Err(Failed::Client))),
                    None => {}
                },
            }
        }
    }

    /// Starts a task that frees the slot at the deadline, because a caller that does not read requests no further
    /// pieces.
    fn watch(&mut self) {
        let (held, due) = (self.held.clone(), self.due);
        let watch = async move {
            sleep_until(due).await;
            drop(held.lock().take());
        };
        self.watch = Handle::try_current().ok().map(|runtime| runtime.spawn(watch).abort_handle());
    }

    fn end(&mut self) {
        self.has_ended = true;
        drop(self.held.lock().take());
    }

    /// Removes the start that all answers share, once enough bytes have arrived.
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
}

impl From<Fault> for Failed {
    fn from(_: Fault) -> Self {
        Self::Client
    }
}

/// The client continues after the caller is gone. The slot stays in use until the client ends or the deadline.
impl Drop for AtClient {
    fn drop(&mut self) {
        self.watch.iter().for_each(AbortHandle::abort);
        let held = self.held.lock().take();
        let (Some((mut exchange, turn)), Ok(runtime)) = (held, Handle::try_current()) else { return };
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
