//! Answers the calls of a body: sends them to the client one after another and streams each answer to the caller. Never
//! holds a whole answer.

mod asker;
mod request;
mod state;

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant as StdInstant};

use hyper::body::Bytes;
use tokio::time::Instant;

pub use self::asker::Asker;
use self::request::request;
pub use self::state::{Piece, Stop};
use self::state::{State, Under};
use super::{
    client_call::{AtClient, Failed},
    upstream::{ConcurrencySlot, Exchange},
    ws::subscriptions::Unanswered,
};
use crate::guard::rpc::{
    decide::{
        authorize::{Ask, Slot},
        message,
        rejection::Rejection,
    },
    limits::filters::{self, Watch},
};

/// Small pieces are collected up to this many bytes.
const TOGETHER: usize = 8 * 1024;
/// Pieces of at least this many bytes are forwarded without a copy.
const LARGE: usize = 4 * 1024;

/// The answer to a body, as a stream of pieces.
pub struct Answers {
    asker: Asker,
    slots: std::vec::IntoIter<Slot>,
    is_batch: bool,
    state: State,
    /// Small pieces, collected until they are forwarded.
    small: Vec<u8>,
    /// Pieces to forward next.
    queue: VecDeque<Bytes>,
    /// Whether the batch's answer has an element already.
    has_one: bool,
    /// Whether any piece was forwarded.
    is_out: bool,
    /// Bytes that the answers may still have.
    left: u64,
}

impl Answers {
    /// Creates the answer to authorized calls. Does nothing before it is polled.
    #[must_use]
    pub fn new(asker: Asker, slots: Vec<Slot>, is_batch: bool) -> Self {
        let left = asker.rules.policy.limits.answer_bytes.into();
        let (state, slots) = (State::Next, slots.into_iter());
        let (small, queue) = (Vec::new(), VecDeque::new());
        Self { asker, slots, is_batch, state, small, queue, has_one: false, is_out: false, left }
    }

    /// Whether a call waits for a concurrency slot. The reader of further calls should stop meanwhile.
    #[must_use]
    pub fn waits(&self) -> bool {
        matches!(self.state, State::Waits(_))
    }

    /// Whether the answer is complete.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended) && self.queue.is_empty() && self.small.is_empty()
    }

    /// Returns the number of bytes still to come, if it is known.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        let there = self.small.len() + self.queue.iter().map(Bytes::len).sum::<usize>();
        let coming = match &self.state {
            State::Ended => 0,
            // the only call is answered
            State::Next if !self.is_batch && self.slots.len() == 0 => 0,
            State::Asks(asks) if !self.is_batch && asks.0.id.is_some() => asks.1.left()?,
            _ => return None,
        };
        Some(there as u64 + coming)
    }

    /// Returns the next piece.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        loop {
            if self.small.len() >= TOGETHER || (matches!(self.state, State::Ended) && !self.small.is_empty())
            {
                self.queue.push_back(std::mem::take(&mut self.small).into());
            }
            if let Some(next) = self.queue.front() {
                let server_state = &self.asker.connection.server_state;
                let account = self.asker.rules.account(self.asker.known.caller);
                let charge = ready!(server_state.budget.poll_charge(account, next.len(), cx));
                let Some(next) = self.queue.pop_front() else { continue };
                self.is_out = true;
                return Poll::Ready(Some(Ok(charge.travel_with(next))));
            }
            if matches!(self.state, State::Ended) {
                return Poll::Ready(None);
            }
            if let Err(stop) = ready!(self.advance(cx)) {
                self.state = State::Ended;
                self.small.clear();
                return Poll::Ready(Some(Err(stop)));
            }
        }
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        match std::mem::replace(&mut self.state, State::Next) {
            State::Next => match self.slots.next() {
                None => {
                    if self.is_batch && self.has_one {
                        self.small.extend_from_slice(b"]\n");
                    }
                    self.state = State::Ended;
                }
                Some(Slot::Silent) => {}
                Some(Slot::Answer(text)) => self.put(&text),
                Some(Slot::Ask(ask)) => return Poll::Ready(self.begin(ask)),
            },
            State::Waits(mut waits) => {
                let Poll::Ready(turn) = waits.1.as_mut().poll(cx) else {
                    self.state = State::Waits(waits);
                    return Poll::Pending;
                };
                let (ask, _) = *waits;
                return Poll::Ready(match turn {
                    Ok(turn) => self.send(ask, turn),
                    Err(rejection) => self.unasked(ask, rejection),
                });
            }
            State::Dials(mut dials) => {
                let Poll::Ready(exchange) = dials.1.as_mut().poll(cx) else {
                    self.state = State::Dials(dials);
                    return Poll::Pending;
                };
                let (mut under, _, turn) = *dials;
                match (exchange, turn) {
                    (Some(exchange), Some(turn)) => self.ask(under, exchange, turn),
                    _ => {
                        let rejection = Rejection::client_unreachable();
                        under.audit_scope.shed(&rejection);
                        under.watch.take().into_iter().for_each(Watch::unasked);
                        return Poll::Ready(self.give_up(under, rejection));
                    }
                }
            }
            State::Asks(mut asks) => {
                let Poll::Ready(piece) = asks.1.poll(cx) else {
                    self.state = State::Asks(asks);
                    return Poll::Pending;
                };
                return Poll::Ready(self.answered(asks, piece));
            }
            State::Subscribes(mut asks) => {
                let Poll::Ready(answer) = asks.1.as_mut().poll(cx) else {
                    self.state = State::Subscribes(asks);
                    return Poll::Pending;
                };
                let (mut under, _, turn) = *asks;
                drop(turn);
                match answer {
                    Ok(text) => {
                        under.answered(text.len());
                        under.audit_scope.end(None);
                        self.pass(&mut under, text);
                    }
                    Err(Unanswered::NotAsked(rejection)) => {
                        under.audit_scope.shed(&rejection);
                        return Poll::Ready(self.give_up(under, rejection));
                    }
                    Err(Unanswered::Asked(rejection)) => {
                        under.audit_scope.end(Some(rejection.reason));
                        return Poll::Ready(self.give_up(under, rejection));
                    }
                }
            }
            State::Ended => self.state = State::Ended,
        }
        Poll::Ready(Ok(()))
    }

    /// Starts a call: takes a concurrency slot, or waits for one.
    fn begin(&mut self, ask: Ask) -> Result<(), Stop> {
        let Asker { connection, rules, known, .. } = &self.asker;
        // an answer that is dropped needs no bytes
        if self.left == 0 && ask.id.is_some() {
            return self.unasked(ask, Rejection::answer_too_large(rules.policy.limits.answer_bytes));
        }
        // the current policy determines the number of slots
        let now = connection.server_state.rules();
        let limits = &now.policy.limits;
        let (upstream, account) = (&connection.server_state.http, rules.account(known.caller));
        if let Some(turn) = upstream.turn_now(account, limits) {
            return self.send(ask, turn);
        }
        let (upstream, account) = (upstream.clone(), account.clone());
        let turn = Box::pin(async move { upstream.turn(&account, &now.policy.limits).await });
        self.state = State::Waits(Box::new((ask, turn)));
        Ok(())
    }

    /// Records and answers a call that is not sent to the client.
    fn unasked(&mut self, ask: Ask, rejection: Rejection) -> Result<(), Stop> {
        self.asker.ledger.refused_call(Some(&ask.method), &rejection, ask.bytes);
        self.refuse(rejection, ask.id)
    }

    /// Sends a call that has its slot, if the current rules still allow it.
    fn send(&mut self, ask: Ask, turn: ConcurrencySlot) -> Result<(), Stop> {
        let Asker { connection, rules, known, ledger, .. } = &self.asker;
        let (server_state, limits) = (&connection.server_state, &rules.policy.limits);
        if !server_state.rules.borrow().still_allows(rules, known, &ask.method) {
            return self.unasked(ask, Rejection::revoked());
        }
        let filters = filters::before(rules.account(known.caller), &ask, limits.filters, StdInstant::now());
        let watch = match filters {
            Ok(watch) => watch,
            Err(most) => return self.unasked(ask, Rejection::filters(most)),
        };
        let audit_scope = match ledger.open(&ask.method, ask.bytes) {
            Ok(audit_scope) => audit_scope,
            Err(rejection) => {
                watch.into_iter().for_each(Watch::unasked);
                return self.unasked(ask, rejection);
            }
        };
        let due = Instant::now() + Duration::from_secs(limits.answer_seconds.into());
        let (has_begun, ends_line) = (false, false);
        let Ask { id, method, params, .. } = ask;
        let (seen, left) = (Vec::new(), limits.answer_bytes.into());
        let mut under = Under { id, audit_scope, watch, seen, start: 0, has_begun, ends_line, left, due };
        if let Some(subscriptions) = self.asker.subscriptions.clone()
            && (method.ends_with("_subscribe") || method.ends_with("_unsubscribe"))
        {
            under.audit_scope.sent();
            let answer = Box::pin(async move { subscriptions.ask(&method, &params, due).await });
            self.state = State::Subscribes(Box::new((under, answer, turn)));
            return Ok(());
        }
        match server_state.http.ask_now(request(&method, params)) {
            Ok(exchange) => self.ask(under, exchange, turn),
            Err(request) => {
                let upstream = server_state.http.clone();
                let exchange = Box::pin(async move { upstream.ask(request).await });
                self.state = State::Dials(Box::new((under, exchange, Some(turn))));
            }
        }
        Ok(())
    }

    fn ask(&mut self, mut under: Under, exchange: Exchange, turn: ConcurrencySlot) {
        under.audit_scope.sent();
        let upstream = self.asker.connection.server_state.http.clone();
        let at_client = AtClient::new(exchange, turn, upstream, under.due);
        self.state = State::Asks(Box::new((under, at_client)));
    }

    /// Handles a piece of the client's answer.
    fn answered(
        &mut self,
        mut asks: Box<(Under, AtClient)>,
        piece: Option<Result<Bytes, Failed>>,
    ) -> Result<(), Stop> {
        let limits = &self.asker.rules.policy.limits;
        let (under, at_client) = &mut *asks;
        // an answer that is dropped uses nothing of what the others may have
        let left = if under.id.is_some() { &mut self.left } else { &mut under.left };
        let rejection = match &piece {
            Some(Ok(piece)) => {
                let coming = piece.len() as u64 + at_client.left().filter(|_| !under.has_begun).unwrap_or(0);
                (coming > *left).then(|| Rejection::answer_too_large(limits.answer_bytes))
            }
            Some(Err(Failed::Client)) => Some(Rejection::client_failed()),
            Some(Err(Failed::Slow)) => Some(Rejection::answer_too_slow(limits.answer_seconds)),
            None => None,
        };
        if let Some(rejection) = rejection {
            if rejection.reason == "answer_too_large" {
                // the remaining calls are not sent
                *left = 0;
            }
            under.audit_scope.end(Some(rejection.reason));
            return self.give_up(asks.0, rejection);
        }
        let piece = piece.and_then(Result::ok);
        let has_ended = piece.is_none() || at_client.has_ended();
        let piece = piece.unwrap_or_default();
        *left -= piece.len() as u64;
        under.answered(piece.len());
        if under.watch.is_some() {
            under.seen.extend_from_slice(&piece[..piece.len().min(filters::SEEN)]);
            if has_ended || under.seen.len() >= filters::SEEN {
                under.watch.take().into_iter().for_each(|watch| watch.after(&under.seen, StdInstant::now()));
            }
        }
        if has_ended {
            under.audit_scope.end(None);
        }
        self.pass(under, piece);
        if !has_ended {
            self.state = State::Asks(asks);
        }
        Ok(())
    }

    /// Ends a call whose answer is missing or incomplete.
    fn give_up(&mut self, under: Under, rejection: Rejection) -> Result<(), Stop> {
        if !under.has_begun {
            return self.refuse(rejection, under.id);
        }
        if self.is_out || !self.queue.is_empty() {
            return Err(Stop::Broken(rejection));
        }
        // nothing of it was forwarded yet
        self.small.truncate(under.start);
        self.has_one = under.start > 0;
        self.refuse(rejection, under.id)
    }

    /// Forwards a piece of the client's answer.
    fn pass(&mut self, under: &mut Under, mut piece: Bytes) {
        let Some(id) = &under.id else { return };
        if piece.is_empty() {
            return;
        }
        if !under.has_begun {
            under.has_begun = true;
            under.start = self.small.len();
            self.separate();
            self.small.extend_from_slice(message::BEFORE_ID);
            self.small.extend_from_slice(id);
        }
        if self.is_batch {
            if std::mem::take(&mut under.ends_line) {
                self.small.push(b'\n');
            }
            if piece.ends_with(b"\n") {
                under.ends_line = true;
                piece.truncate(piece.len() - 1);
            }
        }
        if piece.len() < LARGE {
            self.small.extend_from_slice(&piece);
            return;
        }
        self.queue.push_back(std::mem::take(&mut self.small).into());
        self.queue.push_back(piece);
    }

    /// Writes what separates an answer from the one before.
    fn separate(&mut self) {
        if self.is_batch {
            self.small.push(if self.has_one { b',' } else { b'[' });
        }
        self.has_one = true;
    }

    /// Appends an answer of the guard itself.
    fn put(&mut self, text: &[u8]) {
        self.separate();
        self.small.extend_from_slice(text);
        if !self.is_batch {
            self.small.push(b'\n');
        }
    }

    /// Answers a call with a rejection, if nothing of its answer was forwarded. A call without an id gets no answer.
    fn refuse(&mut self, rejection: Rejection, id: Option<Bytes>) -> Result<(), Stop> {
        let Some(id) = id else { return Ok(()) };
        if !self.is_batch {
            return Err(Stop::Refused(rejection, id));
        }
        let text = rejection.text(std::str::from_utf8(&id).ok());
        self.put(&text);
        Ok(())
    }
}

/// Records a call that was still waiting for its slot.
impl Drop for Answers {
    fn drop(&mut self) {
        if let State::Waits(waits) = &self.state {
            self.asker.ledger.cut(&waits.0.method, waits.0.bytes);
        }
    }
}
