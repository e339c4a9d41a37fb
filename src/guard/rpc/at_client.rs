//! A call at the client: its turn is held until the client has answered or is out of time, whoever still waits for the
//! answer, and also where its caller does not read.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::body::Bytes;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
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

/// The exchange with the client, and the turn that it takes; there until it has ended.
#[derive(Clone)]
struct Held(Arc<Mutex<Option<(Exchange, Turn)>>>);

impl Held {
    fn lock(&self) -> MutexGuard<'_, Option<(Exchange, Turn)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that was sent, and its answer.
pub struct AtClient {
    held: Held,
    has_ended: bool,
    upstream: Arc<Upstream>,
    due: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// Ends the exchange when it is due, also while nobody asks for the next piece.
    watch: Option<AbortHandle>,
    /// The first bytes of the answer, as long as they are too few.
    first: Vec<u8>,
    is_known: bool,
}

impl AtClient {
    /// A request that is to be answered by then.
    #[must_use]
    pub fn new(exchange: Exchange, turn: Turn, upstream: Arc<Upstream>, due: Instant) -> Self {
        let held = Held(Arc::new(Mutex::new(Some((exchange, turn)))));
        let (timer, watch, first) = (None, None, Vec::new());
        Self { held, has_ended: false, upstream, due, timer, watch, first, is_known: false }
    }

    /// Whether all of the answer was given.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Bytes of the answer that are still to come, where that is known.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        if self.has_ended {
            return Some(0);
        }
        self.held.lock().as_ref().and_then(|(exchange, _)| exchange.left())
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

    /// More of the answer is to come, and a caller who does not read asks for none of it: its turn ends all the same.
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
}

impl From<Fault> for Failed {
    fn from(_: Fault) -> Self {
        Self::Client
    }
}

/// The client goes on with what nobody waits for: its turn lasts as long, or until it is due.
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
